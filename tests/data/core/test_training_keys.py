"""Keys of training data: sets of keys, and the overlap of each record with training."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trimer.data.core.draws import keys
from trimer.data.core.training_keys import (
    FALSE_POSITIVES,
    contains,
    key_set,
    protein_keys,
    sequence_keys,
    text_keys,
    unknown_stage,
)
from trimer.evaluation.training_overlap import training_overlap


def numbers(count: int, seed: int) -> np.ndarray:
    return keys(seed, np.arange(count)).view(np.int64)


def test_small_sets_are_sorted_and_unique():
    mine = numbers(1000, 0)
    stored = key_set(np.concatenate([mine, mine, [0]]))
    assert stored["count"] == 1000 and stored["sorted"].dtype == torch.int64
    assert stored["sorted"].tolist() == sorted(mine.tolist())
    assert contains(stored, mine).all() and not contains(stored, numbers(1000, 1)).any()
    assert not contains(stored, np.zeros(3, np.int64)).any(), "a missing key is in no set"
    assert not contains(key_set(np.zeros(0, np.int64)), mine).any()


def test_large_sets_become_a_filter_of_the_stated_rate_and_size():
    mine = numbers(20_000, 0)
    stored = key_set(mine, limit=10_000)
    assert "sorted" not in stored and stored["false_positives"] == FALSE_POSITIVES == 0.001
    assert 8 * stored["filter"].numel() == pytest.approx(14.38 * len(mine), rel=0.01)
    assert contains(stored, mine).all()
    assert contains(stored, numbers(200_000, 1)).mean() == pytest.approx(FALSE_POSITIVES, rel=0.25)


def test_protein_keys_do_not_depend_on_spelling():
    one, same, other = protein_keys(["MKLJ", "mkl1", "MKLA"])
    assert one == same != other
    assert text_keys(["a", None, "", "a"]).tolist() == [text_keys(["a"])[0], 0, 0, text_keys(["a"])[0]]
    assert list(sequence_keys("peptides", ["AK"])) == ["peptide"]


def stages() -> list[dict]:
    def sets(**texts):
        return {kind: key_set(text_keys(some)) for kind, some in texts.items()}

    first = {"name": "pre", "data": "", "known": True, "rows": {}, "keys": {"train": sets(molecule=["a", "b"])}}
    second = {"train": sets(molecule=["c"], spectrum=["s"]), "val": sets(molecule=["d", "a"], spectrum=[])}
    return [unknown_stage("public weights x"), first, {**first, "name": "fine", "keys": second}]


def test_every_record_gets_an_overlap_and_every_stage_a_count():
    molecules, spectra = ["a", "c", "d", "e", None, None, "c"], ["x", "s", "x", "x", "s", "x", "x"]
    overlap = training_overlap(stages(), {"molecule": text_keys(molecules), "spectrum": text_keys(spectra)})
    assert overlap.rows == [
        "train: molecule",
        "train: molecule, spectrum",
        "validation: molecule",
        "no",
        "train: spectrum",
        "unknown",
        "train: molecule",
    ]
    assert overlap.counts() == {"records": 7, "in_train": 4, "in_validation": 1, "new": 1, "unknown": 1}
    shared = {(row["stage"], row["split"], row["key"]): row["shared"] for row in overlap.shared}
    assert shared == {
        ("pre", "train", "molecule"): 1,
        ("fine", "train", "molecule"): 2,
        ("fine", "train", "spectrum"): 2,
        ("fine", "validation", "molecule"): 2,
        ("fine", "validation", "spectrum"): 0,
    }
    text = "\n".join(overlap.lines("spectra"))
    assert "4 of 7 spectra were in train, 1 in validation only, 1 in neither, 1 unknown" in text
    assert "pre, train: 1 of 5 by InChIKey block 1" in text and "not known what public weights x was trained on" in text


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["x"], "0 of 1 molecule was in train"),
        (["a"], "1 of 1 molecule was in train"),
        (["a", "x"], "1 of 2 molecules was in train"),
        (["x", "y"], "0 of 2 molecules were in train"),
    ],
)
def test_noun_and_verb_of_the_summary_agree_with_the_number(names, sentence):
    overlap = training_overlap(stages(), {"molecule": text_keys(names)})
    assert sentence in overlap.lines("molecules")[0]


def test_without_keys_the_overlap_is_unknown():
    overlap = training_overlap(None, {"protein": text_keys(["a", "b"])})
    assert overlap.rows == ["unknown", "unknown"]
    assert "not known what this checkpoint, which carries no keys, was trained on" in overlap.lines()[-1]
    other = training_overlap(stages(), {"protein": text_keys(["a"])})
    assert other.rows == ["unknown"], "stages of molecules have no keys of proteins"


def test_the_overlap_column_is_added_to_rows_and_ranks(tmp_path):
    overlap = training_overlap(stages(), {"molecule": text_keys(["a", "e"])})
    pq.write_table(pa.table({"id": ["1", "2"]}), tmp_path / "rows.parquet")
    pq.write_table(pa.table({"rank": [1, 2, 1], "id": ["1", "1", "2"]}), tmp_path / "ranks.parquet")
    pq.write_table(pa.table({"id": ["1", "1", "1"]}), tmp_path / "residues.parquet")
    for name in ("rows", "ranks", "residues"):
        overlap.add_to(tmp_path / f"{name}.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["in_training"].to_pylist() == ["train: molecule", "no"]
    ranks = pq.read_table(tmp_path / "ranks.parquet")["in_training"].to_pylist()
    assert ranks == ["train: molecule", "train: molecule", "no"]
    assert "in_training" not in pq.read_table(tmp_path / "residues.parquet").column_names
