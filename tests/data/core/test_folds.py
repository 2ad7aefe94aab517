"""Folds of cross-validation: every group is tested once, and no key is in two splits."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core.folds import checked_folds, fold_split
from trimer.errors import ConfigError, InputError
from trimer.simulate.simulated_molecules import simulated_molecules


@pytest.fixture(scope="module")
def keys() -> dict[str, np.ndarray]:
    """300 rows with two keys, of which one joins groups of the other; a large group of 40 rows."""
    random = np.random.default_rng(0)
    molecules = np.sort(random.integers(0, 120, 300)).astype(str).astype(object)
    scaffolds = np.array([f"ring {int(name) // 2}" for name in molecules], dtype=object)
    molecules[:40] = "large"
    return {"inchikey1": molecules, "scaffold": scaffolds}


def test_every_row_is_tested_once_and_folds_have_equal_sizes(keys):
    splits = [fold_split(keys, fold, 5, seed=3) for fold in range(5)]
    tested = np.concatenate([split.rows("test") for split in splits])
    assert sorted(tested) == list(range(300))
    for split in splits:
        split.assert_disjoint(keys)
        assert 54 <= len(split.rows("test")) <= 66
        assert 15 <= len(split.rows("val")) <= 45  # a ninth of the other folds
    assert splits[1].manifest["method"] == "fold 1 of 5 over inchikey1 and scaffold"


def test_folds_follow_the_seed_of_the_split_only(keys):
    one, other = fold_split(keys, 0, 5, seed=3), fold_split(keys, 0, 5, seed=4)
    assert (one.codes == fold_split(keys, 0, 5, seed=3).codes).all()
    assert (one.codes != other.codes).any()


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ({"fold": 5, "folds": 5}, "fold=5 must be from 0 to 4"),
        ({"fold": 0, "folds": 1}, "folds=1 must be a whole number from 2"),
        ({"fold": 0, "folds": 5, "column": "FOLD"}, "data.split.column=null and data.split.keys"),
    ],
)
def test_impossible_folds_are_explained(split, sentence):
    with pytest.raises(ConfigError, match=sentence):
        checked_folds(split)


def test_more_folds_than_groups_are_explained():
    with pytest.raises(InputError, match="folds=3 is more than the 2 groups over key"):
        fold_split({"key": ["a", "a", "b"]}, 0, 3)


def test_without_a_fold_the_settings_are_those_of_earlier_versions():
    assert checked_folds({"keys": ["row"], "fold": None, "folds": 5}) == {"keys": ["row"]}


KINDS = {
    "molecules": ["data.source.paths=${data.cache}/mine.smi", "data.max_length=100"],
    "simulated_spectra": ["data.source.molecules=40", "data.source.spectra_per_molecule=1"],
    "simulated_peptides": ["data.source.count=60"],
    "simulated_fragments": ["data.source.count=60"],
    "simulated_proteins": ["data.source.proteins=60"],
}


@pytest.mark.parametrize("data", KINDS)
def test_all_kinds_of_data_have_folds(data, tmp_path):
    (tmp_path / "mine.smi").write_text("\n".join(simulated_molecules(60, seed=3)))
    words = [f"data={data}", *KINDS[data], f"data.cache={tmp_path}", "data.split.folds=3", "data.prepare_workers=1"]
    tested = []
    for fold in range(3):
        module = build(compose("train", [*words, f"data.split.fold={fold}"]).data)
        module.prepare_data()
        module.setup()
        tested += module.split_rows("test").tolist()
        assert len(module.split_rows("val"))
    assert sorted(tested) == list(range(len(module.split)))
