"""metrics.csv survives a resumption, and loggers are closed after success and failure."""

from __future__ import annotations

import csv

import pytest

from trimer.loggers import CSV, open_loggers


def rows(folder) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_metrics_add_columns_to_the_csv(tmp_path):
    logger = CSV(tmp_path, flush_every=2)
    for step in range(5):
        logger.log_metrics({"train/loss": 1.0 / (step + 1), "epoch": 0}, step)
    logger.log_metrics({"val/loss": 0.5, "epoch": 0}, 4)
    logger.finalize("success")
    found = rows(tmp_path)
    assert list(found[0]) == ["epoch", "step", "train/loss", "val/loss"]
    assert [row["step"] for row in found] == ["0", "1", "2", "3", "4", "4"]
    assert (found[5]["train/loss"], found[5]["val/loss"]) == ("", "0.5")


def test_a_resumed_run_continues_the_file(tmp_path):
    first = CSV(tmp_path)
    for step in range(10, 60, 10):  # the checkpoint was written at step 30, the run died after step 50
        first.log_metrics({"train/loss": float(step)}, step)
    first.log_metrics({"val/loss": 3.0}, 30)
    first.save()
    second = CSV(tmp_path)
    second.drop_rows_after(None, 40)  # a checkpoint of an earlier version stores only the step
    second.log_metrics({"train/loss": -1.0}, 40)
    second.log_metrics({"train/loss": -1.0, "lr": 0.1}, 50)
    second.finalize("success")
    written = rows(tmp_path)
    assert [(row["step"], row["train/loss"]) for row in written if row["train/loss"]] == [
        ("10", "10.0"),
        ("20", "20.0"),
        ("30", "30.0"),
        ("40", "-1.0"),
        ("50", "-1.0"),
    ]
    assert [row["val/loss"] for row in written if row["val/loss"]] == ["3.0"]


def test_evaluating_the_test_split_again_keeps_the_training_rows(tmp_path):
    first = CSV(tmp_path)
    first.log_metrics({"train/loss": 1.0}, 100)
    first.log_metrics({"test/loss": 1.0}, 100)
    first.save()
    second = CSV(tmp_path)
    second.drop_rows_after(1, 100)  # the rows recorded in the checkpoint
    second.log_metrics({"test/loss": 2.0}, 100)
    second.save()
    assert [(row["train/loss"], row["test/loss"]) for row in rows(tmp_path)] == [("1.0", ""), ("", "2.0")]


class Recorder(CSV):
    status = None

    def finalize(self, status: str) -> None:
        self.status = status


@pytest.mark.parametrize(
    ("error", "status"), [(None, "success"), (ValueError, "failed"), (KeyboardInterrupt, "failed")]
)
def test_loggers_are_closed_after_success_and_failure(tmp_path, error, status):
    logger = Recorder(tmp_path)

    def run() -> None:
        with open_loggers([logger], {"seed": 1}) as loggers:
            assert loggers == [logger]
            if error:
                raise error

    if error:
        with pytest.raises(error):
            run()
    else:
        run()
    assert logger.status == status


def test_jobs_of_one_process_are_logged_as_separate_runs(tmp_path, monkeypatch):
    """Without closing, W&B writes the second job into the run of the first."""
    wandb = pytest.importorskip("wandb")
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    identities = []
    for job in ("a", "b"):
        logger = WandbLogger(project="test", id=job, save_dir=str(tmp_path), offline=True)
        with open_loggers([logger], {"seed": 1}):
            logger.log_metrics({"loss": 1.0}, 1)
            identities.append(logger.experiment.id)
        assert wandb.run is None
    assert identities == ["a", "b"]
