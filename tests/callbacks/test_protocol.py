"""The protocol table: a known number of rows, the same after resuming, and one evaluation of the test split."""

from __future__ import annotations

import csv
import json
import math
import signal

import pyarrow.parquet as pq
import pytest
import torch

from trimer.cli.main import main
from trimer.simulate.simulated_molecules import simulated_molecules

pytestmark = pytest.mark.usefixtures("rough_figures")
MEASURED = {  # metrics of a validation
    "regression": {
        "loss", "rmse", "mae", "p95_error", "r2", "spearman", "slope", "intercept", "pearson", "r_squared",
        "labels_seen",
    },
    "single": {
        "loss", "accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall", "mcc", "auroc",
        "average_precision", "cross_entropy", "ece",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """type of label -> arguments of a short fine-tuning in epochs."""
    folder = tmp_path_factory.mktemp("protocol")
    rows = [f"{smiles},{len(smiles)},{'ab'[smiles.count('O') > 1]}" for smiles in simulated_molecules(80, seed=3)]
    (folder / "my.csv").write_text("\n".join(["smiles,length of it,kind", *rows]) + "\n")
    common = [
        "data=labelled_molecules", f"data.source.paths={folder / 'my.csv'}", "data.tokens_per_batch=300",
        "model=smiles_nano", "model.d_model=32", "trainer=epochs", "trainer.max_epochs=4",
        "trainer.precision=32-true", "trainer.enable_progress_bar=false", "scheduler=warmup_plateau",
        "scheduler.interval=epoch", "scheduler.warmup=2", "callbacks=protocol", "baselines=false", "optimizer.lr=0.01",
        "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}", f"paths.cache={folder / 'cache'}",
        "callbacks.last.every_n_train_steps=1",
    ]  # fmt: skip
    return {
        "regression": [*common, "task=regression", "data.target=regression", "data.source.labels=length of it"],
        "single": [*common, "task=classification", "data.target=single", "data.source.labels=kind"],
    }


def table(folder) -> list[tuple]:
    with open(folder / "protocol.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert pq.read_table(folder / "protocol.parquet").to_pylist() == [
        {**row, "epoch": int(row["epoch"]), "value": float(row["value"])} for row in rows
    ]
    assert all(math.isfinite(float(row["value"])) for row in rows)
    typed = [(row["split"], int(row["epoch"]), row["metric"], float(row["value"])) for row in rows]
    assert len({row[:3] for row in typed}) == len(typed), "no row is there twice"
    return typed


@pytest.fixture(scope="module")
def runs(words, tmp_path_factory):
    """type of label -> folder of its run."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in words:
        assert main(["train", *words[kind], f"hydra.run.dir={folder / kind}"]) == 0
    return folder


@pytest.mark.parametrize("kind", MEASURED)
def test_the_number_of_rows_is_as_expected(runs, kind):
    rows, metrics, epochs = table(runs / kind), MEASURED[kind], range(4)
    best = torch.load(runs / kind / "checkpoints/best.ckpt", weights_only=True)["epoch"]
    expected = {("all", -1, name) for name in metrics}
    expected |= {("validation", epoch, name) for epoch in epochs for name in metrics}
    expected |= {("train", epoch, name) for epoch in epochs for name in ("loss", "lr")}
    expected |= {("test", best, name) for name in metrics}
    assert {row[:3] for row in rows} == expected
    assert len(rows) == len(metrics) + 4 * (len(metrics) + 2) + len(metrics)
    assert rows[0][0] == "all" and {row[0] for row in rows[-len(metrics) :]} == {"test"}
    properties = set(pq.read_table(runs / kind / "protocol.parquet")["property"].to_pylist())
    assert properties == {"length of it" if kind == "regression" else "labelled"}


def test_the_values_equal_those_of_the_run(runs):
    rows = {row[:3]: row[3] for row in table(runs / "regression")}
    assert [rows["train", epoch, "lr"] for epoch in range(4)] == [0.005, 0.01, 0.01, 0.01]
    with open(runs / "regression" / "metrics.csv", newline="") as file:
        logged = list(csv.DictReader(file))
    for split, name, column in (("validation", "rmse", "val/rmse"), ("train", "loss", "train/loss_epoch")):
        values = [float(row[column]) for row in logged if row[column]]
        assert values == pytest.approx([rows[split, epoch, name] for epoch in range(4)], rel=1e-6)
    result = json.loads((runs / "regression" / "result.json").read_text())["metrics"]
    best = next(epoch for split, epoch, _ in rows if split == "test")
    for name in ("rmse", "mae", "r2", "spearman"):
        assert rows["test", best, name] == pytest.approx(result[f"test/{name}"], abs=1e-9)
    assert rows["all", -1, "labels_seen"] == 80 and rows["test", best, "labels_seen"] == 16
    assert rows["all", -1, "rmse"] > rows["test", best, "rmse"]


def test_the_figures_are_in_the_test_folder(runs):
    assert {"protocol.png", "before_and_after.png"} <= {path.name for path in (runs / "regression/test").iterdir()}
    assert (runs / "single/test/protocol.png").is_file()
    assert not (runs / "single/test/before_and_after.png").exists()


@pytest.mark.parametrize(
    ("batch", "settings"),
    [
        (4, []),
        ("last", []),
        ("last", ["trainer.check_val_every_n_epoch=2"]),
        ("last", ["trainer.num_sanity_val_steps=2"]),
    ],
)
def test_a_resumed_run_continues_the_same_table(words, runs, tmp_path, batch, settings, monkeypatch):
    words = [*words["regression"], *settings]
    whole = tmp_path / "whole" if settings else runs / "regression"
    assert not settings or main(["train", *words, f"hydra.run.dir={whole}"]) == 0

    def stop(self, trainer, module, outputs, batch_, index) -> None:
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and trainer.current_epoch == 2
        if last if batch == "last" else trainer.fit_loop.total_batch_idx == batch:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr("trimer.callbacks.throughput.Throughput.on_train_batch_end", stop)
        assert main(["train", *words, f"hydra.run.dir={tmp_path / 'parts'}"]) == 143
    signal.signal(signal.SIGINT, before)
    assert "test" not in {row[0] for row in table(tmp_path / "parts")}
    assert main(["train", *words, f"resume={tmp_path / 'parts'}", f"hydra.run.dir={tmp_path / 'parts'}"]) == 0
    assert table(tmp_path / "parts") == table(whole)
    again = [*words, f"resume={tmp_path / 'parts'}", f"hydra.run.dir={tmp_path / 'parts'}"]
    assert main(["train", *again]) == 0  # only the test is left
    assert table(tmp_path / "parts") == table(whole)


def test_undefined_metrics_have_no_row(words, tmp_path):
    """The correlation of a split with one row is undefined."""
    few = ["data.split.fractions={train: 0.96, val: 0.02, test: 0.02}", "trainer.max_epochs=2"]
    assert main(["train", *words["regression"], *few, f"hydra.run.dir={tmp_path}"]) == 0
    rows = table(tmp_path)
    assert {row[2] for row in rows if row[0] == "all"} == MEASURED["regression"]
    if {row[3] for row in rows if row[0] == "validation" and row[2] == "labels_seen"} == {1.0}:
        assert "spearman" not in {row[2] for row in rows if row[0] == "validation"}


def test_runs_in_steps_and_runs_without_a_test_have_a_table(words, tmp_path):
    """In a run measured in steps, an incomplete epoch has the rows it reached."""
    others = [word for word in words["single"] if not word.startswith(("trainer=", "trainer.max_e", "scheduler"))]
    others += ["trainer.max_steps=5", "trainer.val_check_interval=5", "trainer.limit_train_batches=3", "test=false"]
    assert main(["train", *others, f"hydra.run.dir={tmp_path}"]) == 0
    rows = [row[:3] for row in table(tmp_path)]
    assert [row for row in rows if row[0] == "train"] == [
        ("train", epoch, name) for epoch in (0, 1) for name in ("loss", "lr")
    ]
    assert {row[1] for row in rows if row[0] == "validation"} == {1}


def test_a_masked_language_model_has_a_protocol(tmp_path):
    words = [
        "data=simulated_proteins", "data.source.proteins=100", "data.tokens_per_batch=1500", "model=esm2_nano",
        "model.d_model=32", "task=masked_lm", "trainer=epochs", "trainer.max_epochs=2", "baselines=false",
        "scheduler=warmup_plateau", "scheduler.interval=epoch", "scheduler.warmup=1", "callbacks=protocol",
        "trainer.enable_progress_bar=false", "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}",
    ]  # fmt: skip
    assert main(["train", *words, f"hydra.run.dir={tmp_path}"]) == 0
    rows = table(tmp_path)
    assert len(rows) == 3 + 2 * (3 + 2) + 3
    assert {row[2] for row in rows if row[0] == "test"} == {"loss", "perplexity", "token_accuracy"}


def test_data_that_cannot_be_read_by_split_are_rejected(tmp_path, capsys):
    words = ["data.source.molecules=40", "callbacks=protocol", "trainer.max_steps=1", f"hydra.run.dir={tmp_path}"]
    assert main(["train", *words]) == 1
    assert "which data=SpectraToMolecules does not support" in " ".join(capsys.readouterr().err.split())
