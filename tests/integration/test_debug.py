"""Each choice of `debug` leaves something to read, which the last line names; `trainer.max_time` ends a run cleanly."""

from __future__ import annotations

import csv
import json

import pytest
from tiny_trainings import TINY

from trimer.cli.main import main


@pytest.mark.parametrize(
    ("choice", "settings", "name", "content"),
    [
        ("fast", [], "result.json", '"status": "ok"'),
        ("overfit", ["trainer.max_steps=3"], "curves.png", None),
        ("limit", ["trainer.max_steps=2", "trainer.log_every_n_steps=1"], "metrics.csv", "train/loss"),  # of 8 batches
        ("profiler", ["trainer.max_steps=2"], "fit-profile.txt", "run_training_batch"),
        ("schedule", ["trainer.max_steps=100"], "schedule.svg", "planned end: 100"),
        ("lr_finder", ["callbacks.lr_finder.steps=12"], "lr_finder.png", None),
    ],
)
def test_a_debug_run_names_what_it_leaves(tmp_path, capsys, choice, settings, name, content):
    folder = tmp_path / "run"
    assert main(["train", *TINY, f"debug={choice}", f"hydra.run.dir={folder}", *settings]) == 0
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith("next: ") and name in last_line
    assert (folder / name).stat().st_size > 0
    assert content is None or content in (folder / name).read_text()
    if choice == "lr_finder":
        with (folder / "lr_finder.csv").open() as file:
            rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
        assert rates == sorted(rates) and 2 <= len(rates) <= 12
        assert not (folder / "checkpoints").exists()
    if choice == "schedule":
        assert json.loads((folder / "result.json").read_text())["steps"] == 0
        with (folder / "schedule.csv").open() as file:
            rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
        assert len(rates) == 100 and rates.index(max(rates)) == 5 and rates[-1] < rates[5] / 5  # warmup_cosine


def test_a_nan_is_traced_to_its_operation(tmp_path, capsys, monkeypatch):
    from trimer.tasks.seq2seq import Seq2Seq

    step = Seq2Seq.training_step
    monkeypatch.setattr(Seq2Seq, "training_step", lambda *words: (step(*words) - 1e9).clamp(max=-1).sqrt())
    folder = tmp_path / "run"
    assert main(["train", *TINY, "debug=anomaly", f"hydra.run.dir={folder}"]) == 1
    assert "SqrtBackward0" in capsys.readouterr().err
    assert "SqrtBackward0" in json.loads((folder / "result.json").read_text())["error"]


def test_a_run_ends_when_its_time_is_over_and_keeps_its_weights(tmp_path):
    folder = tmp_path / "run"
    words = [f"hydra.run.dir={folder}", "trainer.max_time={seconds: 1}", "test=false", "trainer.limit_val_batches=0"]
    assert main(["train", *TINY, *words, "trainer.max_steps=1000000"]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert (result["status"], result["stopped_early"]) == ("ok", "trainer.max_time is over")
    assert 0 < result["steps"] < 1000000
    assert (folder / "checkpoints" / "last.ckpt").is_file()
