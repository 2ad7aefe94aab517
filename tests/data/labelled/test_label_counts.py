"""The table of labels by split, as a training prints it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from trimer.data.labelled.label_counts import NO_LABEL, WIDTH, label_table

ROWS = {"train": np.arange(0, 60_000), "val": np.arange(60_000, 80_000), "test": np.arange(80_000, 100_000)}
SPLIT = SimpleNamespace(names=list(ROWS), rows=ROWS.__getitem__)
LONG = "a class of compounds with a very long name that does not end before the column of its counts begins"


def table(target: str, labels: np.ndarray, classes: list[str]) -> list[str]:
    return label_table(target, classes, labels, SPLIT).splitlines()


def test_numbers_have_count_mean_and_deviation():
    labels = np.repeat([1.0, 3.0], 50_000)[:, None] * [[1.0, 100.0]]
    labels[:30_000, 0] = np.nan
    text = table("regression", labels, ["retention", "logS"])
    assert text[0] == "labels: count, mean ± standard deviation"
    assert text[1].split() == ["label", "train", "val", "test"] and len(text[1]) == len(text[2])
    assert text[2].split("  ")[0] == "retention" and "30,000, 1.667 ± 0.9428" in text[2] and "20,000, 3 ± 0" in text[2]


@pytest.mark.parametrize("target", ["single", "residue", "multi", "regression"])
def test_the_table_fits_a_narrow_terminal(target):
    classes = ["short", LONG]
    if target in ("single", "residue"):
        labels = np.tile([0, 1, 1, -1] if target == "residue" else [0, 1, 1, 0], 25_000)
    else:
        labels = np.tile([[0.0, 1.0], [1.0, np.nan]], (50_000, 1)) * (1234.5 if target == "regression" else 1)
    text = table(target, labels, classes)
    assert max(map(len, text)) <= WIDTH
    assert any(line.startswith("a class of") and "…" in line for line in text)
    assert any(line.startswith(NO_LABEL) for line in text) == (target == "residue")


def test_many_classes_are_counted_at_the_end():
    text = table("single", np.arange(100_000) % 50, [f"class {number}" for number in range(50)])
    assert text[0].split() == ["class", "train", "val", "test"] and text[-1] == "... and 10 more (labels.json)"
