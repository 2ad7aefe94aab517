"""Stored predictions of two runs are paired by record."""

from __future__ import annotations

import paired_runs
import pytest
from stored_runs import write_predictions

from trimer.errors import InputError


def test_the_difference_of_two_runs_is_that_of_their_accuracies(tmp_path, capsys):
    labels = ["no", "yes"] * 20
    good = write_predictions(tmp_path / "good", labels, [0.1, 0.9] * 20)
    half = write_predictions(tmp_path / "half", labels, [0.1, 0.9] * 10 + [0.9, 0.1] * 10)
    paired_runs.main([str(good), str(half)])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"| {good} | **100.0**") for line in lines)
    assert any(line.startswith(f"| {half} | ▲ +50.0 ± ") for line in lines)
    values = paired_runs.compare([half, good]).rows[0]["values"]
    assert values["accuracy_difference"] == -0.5 and values["accuracy_difference_p"] == pytest.approx(2 / 2**20)


def test_runs_of_other_records_are_rejected(tmp_path):
    one = write_predictions(tmp_path / "one", ["no", "yes"], [0.1, 0.9])
    two = write_predictions(tmp_path / "two", ["yes", "no"], [0.1, 0.9])
    with pytest.raises(InputError, match="other test records or labels"):
        paired_runs.compare([one, two])
    with pytest.raises(InputError, match="name the folder of a run"):
        paired_runs.compare([tmp_path])
