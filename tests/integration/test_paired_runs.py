"""Stored predictions of two runs are paired by record."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import paired_runs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimer.errors import InputError


def write(folder: Path, labels: list[str], probabilities: list[float]) -> Path:
    """The files of a run with two classes that the script reads. probabilities: of the second class."""
    (folder / "test").mkdir(parents=True)
    columns = {"id": [str(n) for n in range(len(labels))], "label": labels}
    columns |= {"probability of no": [1 - p for p in probabilities], "probability of yes": probabilities}
    pq.write_table(pa.table(columns), folder / "test" / "predictions.parquet")
    (folder / "labels.json").write_text(json.dumps({"target": "single"}))
    with (folder / "test" / "probabilities.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["class", "threshold"], ["no", 0.5], ["yes", 0.5]])
    return folder


def test_the_difference_of_two_runs_is_that_of_their_accuracies(tmp_path, capsys):
    labels = ["no", "yes"] * 20
    good = write(tmp_path / "good", labels, [0.1, 0.9] * 20)
    half = write(tmp_path / "half", labels, [0.1, 0.9] * 10 + [0.9, 0.1] * 10)
    paired_runs.main([str(good), str(half)])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"| {good} | **100.0**") for line in lines)
    assert any(line.startswith(f"| {half} | ▲ +50.0 ± ") for line in lines)
    values = paired_runs.compare([half, good]).rows[0]["values"]
    assert values["accuracy_difference"] == -0.5 and values["accuracy_difference_p"] == pytest.approx(2 / 2**20)


def test_runs_of_other_records_are_rejected(tmp_path):
    one = write(tmp_path / "one", ["no", "yes"], [0.1, 0.9])
    two = write(tmp_path / "two", ["yes", "no"], [0.1, 0.9])
    with pytest.raises(InputError, match="other test records or labels"):
        paired_runs.compare([one, two])
    with pytest.raises(InputError, match="name the folder of a run"):
        paired_runs.compare([tmp_path])
