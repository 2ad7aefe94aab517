import json
import re
from pathlib import Path

import numpy as np
import pytest

from trimer.data.core.splits import UNUSED, Split, column_split, grouped_split, ordered_split, row_groups
from trimer.errors import ConfigError, InputError

LIBRARY = Path(__file__).parents[4] / "shared" / "data" / "spectra" / "massbank_pos.mgf"


def library(molecules: int = 300, seed: int = 0) -> dict[str, list]:
    """Rows of molecules that share scaffolds: several spectra each, some acyclic, some without key."""
    random = np.random.default_rng(seed)
    choices = ["", None, *(f"ring {i}" for i in range(90))]
    keys, scaffolds = [], []
    for molecule in range(molecules):
        scaffold = choices[random.integers(len(choices))]
        for _ in range(random.integers(1, 6)):
            keys.append(f"molecule {molecule}")
            scaffolds.append(scaffold)
    return {"inchikey1": keys, "scaffold": scaffolds}


def test_groups_are_connected_components():
    keys: dict[str, list] = {"a": ["x", "x", "y", "z", None, ""], "b": ["1", "2", "2", "3", None, float("nan")]}
    assert row_groups(keys).tolist() == [0, 0, 0, 1, 2, 3]


def test_numbers_can_be_keys():
    texts = {"a": ["x", "y", "x", "z"], "b": ["1", "1", "2", "3"]}
    numbers = {"a": np.array([-9, 4, -9, 7]), "b": np.array([0, 0, 2**60, 3])}
    assert row_groups(numbers).tolist() == row_groups(texts).tolist()
    assert (
        grouped_split(numbers, {"train": 0.5, "test": 0.5}).codes
        == grouped_split(texts, {"train": 0.5, "test": 0.5}).codes
    ).all()
    with pytest.raises(InputError, match="1 values of a are in two splits, for example"):
        column_split(["train", "train", "test", "test"]).assert_disjoint({"a": numbers["a"]})


def test_no_key_is_in_two_splits_and_sizes_match_the_fractions():
    keys = library()
    split = grouped_split(keys, {"train": 0.8, "val": 0.1, "test": 0.1}, seed=1)
    split.assert_disjoint(keys)
    rows = len(keys["inchikey1"])
    assert sorted(np.concatenate([split.rows(name) for name in split.names])) == list(range(rows))
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(len(split.rows(name)) / rows - share) < 0.03
    assert all(row["shared_rows"] == 0 for row in split.overlap(keys))
    assert split.manifest["sizes"]["test"] == len(split.rows("test"))


def test_the_same_seed_gives_the_same_split():
    keys = library()
    assert (grouped_split(keys, seed=3).codes == grouped_split(keys, seed=3).codes).all()
    assert (grouped_split(keys, seed=3).codes != grouped_split(keys, seed=4).codes).any()


def test_a_group_too_large_for_a_test_set_goes_to_train():
    keys = {"scaffold": ["benzene"] * 60 + [f"ring {i}" for i in range(140)]}
    for seed in range(10):
        assert set(grouped_split(keys, seed=seed).codes[:60]) == {0}


def test_acyclic_molecules_are_separate_groups():
    split = grouped_split({"scaffold": [""] * 50 + [None] * 50})
    assert split.manifest["groups"] == 100


def test_train_is_first_for_any_order_of_the_fractions():
    split = grouped_split({"key": [str(i) for i in range(100)]}, {"test": 0.2, "train": 0.8})
    assert split.names == ("train", "test")
    assert len(split.rows("test")) == 20


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.7, "val": 0.2, "test": 0.3}, "val: 0.2, test: 0.3} sum to 1.2: they must sum to 1"),
        ({"train": 0.5, "test": 0.2}, "sum to 0.7"),
        ({"train": 1.0, "val": 0.0, "test": 0.0}, "every split needs a fraction above 0"),
        ({"train": 1.5, "val": -0.5}, "every split needs a fraction above 0"),
        ({"val": 0.5, "test": 0.5}, "has no train"),
        ({}, "every split needs a fraction"),
    ],
)
def test_invalid_fractions_raise(fractions, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        grouped_split({"key": list("abcdefghij")}, fractions)
    with pytest.raises(ConfigError, match=re.escape(message)):
        ordered_split(list("abcdefghij"), fractions)


def test_all_rows_can_be_in_train():
    split = grouped_split({"a": list("abcdefghij")}, {"train": 1})
    assert split.names == ("train",) and len(split.rows("train")) == 10
    with pytest.raises(InputError, match="there is no split 'test': the data have train"):
        split.rows("test")


@pytest.mark.parametrize("seed", range(3))
def test_small_groups_give_sizes_within_one_percent(seed):
    """Like peptides with several charges and modifications."""
    random = np.random.default_rng(seed)
    keys = [f"peptide {i}" for i in range(1000) for _ in range(random.integers(1, 4))]
    split = grouped_split({"sequence": keys}, {"train": 0.7, "val": 0.2, "test": 0.1}, seed)
    for name, share in (("train", 0.7), ("val", 0.2), ("test", 0.1)):
        assert abs(len(split.rows(name)) / len(keys) - share) < 0.01


def test_too_few_groups_raise():
    with pytest.raises(InputError, match="empty"):
        grouped_split({"key": ["one"] * 10})
    with pytest.raises(InputError, match="every record was dropped"):
        grouped_split({"key": []})
    with pytest.raises(ConfigError, match="fraction above 0"):
        grouped_split({"key": ["a", "b"]}, {"train": 1.0, "test": 0})


def test_a_column_names_the_split_of_each_row():
    split = column_split(["train", "Validation", "test", "train"])
    assert split.names == ("train", "val", "test")
    assert split.codes.tolist() == [0, 1, 2, 0]
    split = column_split(["a", "b", "c"], {"a": "train", "b": "test", "c": None})
    assert split.rows("test").tolist() == [1]
    assert split.manifest["unused"] == 1
    with pytest.raises(InputError, match=r"row 2: the split column holds None"):
        column_split(["train", None])
    with pytest.raises(InputError, match="no split 'val'"):
        column_split(["train", "test"]).rows("val")


def test_save_writes_codes_and_manifest(tmp_path):
    split = grouped_split(library())
    split.save(tmp_path / "run" / "split")
    with np.load(tmp_path / "run" / "split.npz") as saved:
        assert (saved["codes"] == split.codes).all()
        assert tuple(saved["names"]) == split.names
    assert json.loads((tmp_path / "run" / "split.json").read_text()) == split.manifest


@pytest.mark.skipif(not LIBRARY.exists(), reason="the MassBank sample is not at hand")
def test_the_folds_of_the_massbank_sample_are_disjoint():
    columns: dict[str, list[str]] = {"FOLD": [], "INCHIKEY": []}
    with LIBRARY.open() as file:
        for line in file:
            key, _, value = line.rstrip("\n").partition("=")
            if key in columns:
                columns[key].append(value)
    split = column_split(columns["FOLD"])
    keys = {"inchikey1": [key[:14] for key in columns["INCHIKEY"]]}
    split.assert_disjoint(keys)
    assert split.manifest["sizes"] == {"train": 13_672, "val": 1_726, "test": 1_716}
    assert "test  inchikey1: 0 of 291 values" in split.overlap_report(split.overlap(keys))


def deepchem(groups: list[list[int]], rows: int, train: float, val: float) -> list[list[int]]:
    """Reference: DeepChem's scaffold splitter with the cutoffs of its `split` method, group by group."""
    splits: list[list[int]] = [[], [], []]
    for group in sorted(groups, key=lambda group: (len(group), group[0]), reverse=True):
        full = len(splits[0]) + len(group) > train * rows
        fuller = len(splits[0]) + len(splits[1]) + len(group) > (train + val) * rows
        splits[2 if full and fuller else 1 if full else 0] += group
    return [sorted(rows_of_split) for rows_of_split in splits]


def test_the_largest_scaffolds_go_to_train():
    scaffolds = ["a", "a", "b", "c", "c", "b", None, "", "d", "e"]
    split = ordered_split(scaffolds, {"train": 0.6, "val": 0.2, "test": 0.2})
    # Groups of two in the order in which they begin, the last first: none (6), c (3), b (2), a (0); then e and d.
    assert split.rows("train").tolist() == [2, 3, 4, 5, 6, 7]
    assert split.rows("val").tolist() == [0, 1]
    assert split.rows("test").tolist() == [8, 9]
    assert split.manifest["method"] == "scaffold, largest first" and split.manifest["groups"] == 6


@pytest.mark.parametrize("seed", range(5))
def test_scaffold_splits_agree_with_deepchem(seed):
    random = np.random.default_rng(seed)
    scaffolds = [f"ring {int(number)}" if number else "" for number in random.geometric(0.04, 500) - 1]
    groups: dict[str, list[int]] = {}
    for row, scaffold in enumerate(scaffolds):
        groups.setdefault(scaffold, []).append(row)
    split = ordered_split(scaffolds)
    assert [split.rows(name).tolist() for name in split.names] == deepchem(list(groups.values()), 500, 0.8, 0.1)


def test_validation_is_drawn_from_train():
    keys = {"a": [f"group {row // 3}" for row in range(90)]}
    codes = np.array([0] * 60 + [UNUSED] * 6 + [1] * 24, np.uint8)
    split = Split.build(codes, ["train", "test"], method="column")
    extended = split.with_validation(keys, 0.25, seed=1)
    assert extended.names == ("train", "val", "test")
    assert extended.rows("test").tolist() == split.rows("test").tolist()
    assert (extended.codes == UNUSED).tolist() == (codes == UNUSED).tolist()
    assert sorted([*extended.rows("train"), *extended.rows("val")]) == list(range(60))
    assert 12 <= len(extended.rows("val")) <= 18
    extended.assert_disjoint(keys)
    assert extended.manifest["method"] == "column" and extended.manifest["sizes"]["val"] == len(extended.rows("val"))
    assert extended.manifest["sha256"] != split.manifest["sha256"]
    assert (split.with_validation(keys, 0.25, seed=1).codes == extended.codes).all()
    assert (split.with_validation(keys, 0.25, seed=2).codes != extended.codes).any()


def test_spread_marks_other_rows_as_unused():
    split = column_split(["train", "test", "train"])
    assert split.spread(np.arange(3), 3) is split
    wide = split.spread(np.array([1, 3, 4]), 6)
    assert wide.codes.tolist() == [UNUSED, 0, UNUSED, 1, 0, UNUSED]
    assert wide.manifest["unused"] == 3 and wide.manifest["rows"] == 6 and wide.manifest["method"] == "column"
