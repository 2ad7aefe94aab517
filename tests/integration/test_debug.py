"""Each choice of `debug` leaves something to read, which the last line names; `trainer.max_time` ends a run cleanly."""

from __future__ import annotations

import csv
import json

import pytest

from trimer.cli.main import main

SMALL = [
    "data.source.molecules=30",
    "data.tokens_per_batch=700",
    "model.d_model=16",
    "model.encoder_ffn=16",
    "model.decoder_ffn=16",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path_factory.getbasetemp() / "debug-cache"))


@pytest.mark.parametrize(
    ("choice", "settings", "name", "content"),
    [
        ("fast", [], "result.json", '"status": "ok"'),
        ("overfit", ["trainer.max_steps=3"], "curves.png", None),
        (
            "limit",
            ["trainer.max_steps=2", "trainer.limit_train_batches=1.0", "trainer.limit_val_batches=1.0"],
            "metrics.csv",
            "train/loss",
        ),
        ("profiler", ["trainer.max_steps=2"], "fit-profile.txt", "run_training_batch"),
        ("lr_finder", ["callbacks.lr_finder.steps=12"], "lr_finder.png", None),
    ],
)
def test_a_debug_run_names_what_it_leaves(tmp_path, capsys, choice, settings, name, content):
    folder = tmp_path / "run"
    assert main(["train", *SMALL, f"debug={choice}", f"hydra.run.dir={folder}", *settings]) == 0
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith("next: ") and name in last_line
    assert (folder / name).stat().st_size > 0
    assert content is None or content in (folder / name).read_text()
    if choice == "lr_finder":
        with (folder / "lr_finder.csv").open() as file:
            rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
        assert rates == sorted(rates) and 2 <= len(rates) <= 12
        assert not (folder / "checkpoints").exists()


def test_a_nan_is_traced_to_its_operation(tmp_path, capsys, monkeypatch):
    from trimer.tasks.seq2seq import Seq2Seq

    step = Seq2Seq.training_step
    monkeypatch.setattr(Seq2Seq, "training_step", lambda *words: (step(*words) - 1e9).clamp(max=-1).sqrt())
    folder = tmp_path / "run"
    assert main(["train", *SMALL, "debug=anomaly", f"hydra.run.dir={folder}"]) == 1
    assert "SqrtBackward0" in capsys.readouterr().err
    assert "SqrtBackward0" in json.loads((folder / "result.json").read_text())["error"]


def test_a_run_ends_when_its_time_is_over_and_keeps_its_weights(tmp_path):
    folder = tmp_path / "run"
    words = [f"hydra.run.dir={folder}", "trainer.max_time={seconds: 1}", "test=false", "trainer.limit_val_batches=0"]
    assert main(["train", *SMALL, *words, "trainer.max_steps=1000000"]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert (result["status"], result["stopped_early"]) == ("ok", "trainer.max_time is over")
    assert 0 < result["steps"] < 1000000
    assert (folder / "checkpoints" / "last.ckpt").is_file()
