"""metrics.csv survives a resumption, and loggers are closed whatever happens."""

from __future__ import annotations

import csv

import pytest

from trimer.loggers import CSV, open_loggers


def rows(folder) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_and_new_columns(tmp_path):
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
    for step in range(10, 60, 10):  # the checkpoint is that of step 30, the run died after step 50
        first.log_metrics({"train/loss": float(step)}, step)
    first.log_metrics({"val/loss": 3.0}, 30)
    first.save()
    second = CSV(tmp_path)
    second.drop_rows_after(None, 40)  # an earlier version's checkpoint, which knows the step alone
    second.log_metrics({"train/loss": -1.0}, 40)
    second.log_metrics({"train/loss": -1.0, "lr": 0.1}, 50)
    second.finalize("success")
    found = rows(tmp_path)
    assert [(row["step"], row["train/loss"]) for row in found if row["train/loss"]] == [
        ("10", "10.0"),
        ("20", "20.0"),
        ("30", "30.0"),
        ("40", "-1.0"),
        ("50", "-1.0"),
    ]
    assert [row["val/loss"] for row in found if row["val/loss"]] == ["3.0"]


def test_measuring_the_test_split_again_keeps_the_training(tmp_path):
    first = CSV(tmp_path)
    first.log_metrics({"train/loss": 1.0}, 100)
    first.log_metrics({"test/loss": 1.0}, 100)
    first.save()
    second = CSV(tmp_path)
    second.drop_rows_after(1, 100)  # the rows that the checkpoint knows
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
def test_loggers_are_closed_whatever_happens(tmp_path, error, status):
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


def test_jobs_of_one_process_are_runs_of_their_own(tmp_path, monkeypatch):
    """Without the closing, W&B writes the second job into the first one's run."""
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
