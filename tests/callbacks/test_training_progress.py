"""Progress of a training: steps, metrics of the last logging step, the position in a validation."""

from __future__ import annotations

import logging

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from trimer.callbacks.training_progress import TrainingProgress, batches, describe


class Line(L.LightningModule):
    """One weight, and a loss that is logged as in the tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).mean()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", 0.5)

    def test_step(self, batch, batch_idx):
        pass

    def on_train_batch_end(self, outputs, batch, batch_idx):
        step = self.trainer.global_step
        if step % self.trainer.log_every_n_steps == 0:
            self.log_dict({"train/loss": float(step), "lr": 6e-5, "tokens_per_second": 12345.0}, prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)


def trainer(**settings) -> L.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu"}
    return L.Trainer(callbacks=[TrainingProgress()], log_every_n_steps=2, num_sanity_val_steps=0, **quiet, **settings)


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, "trimer.progress")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "trimer.progress"]


LOADER = DataLoader(torch.ones(20, 1), batch_size=1)


def test_a_training_limited_in_steps_counts_steps(messages):
    trainer(max_steps=30, val_check_interval=10, limit_val_batches=2).fit(Line(), LOADER, LOADER)
    lines = messages()
    assert len(lines) == 10
    assert lines[0].startswith("train: step 3/30, ETA 0:") and "loss 2, lr 6.0e-05, 12,345 tokens/s" in lines[0]
    assert lines[-1].startswith("train: step 30/30, took 0:") and "loss 30," in lines[-1]
    assert not any("validation" in line for line in lines)


def test_epochs_and_accumulated_batches_are_counted_in_steps(messages):
    trainer(max_epochs=2, accumulate_grad_batches=4, limit_val_batches=0).fit(Line(), LOADER, LOADER)
    assert len(messages()) == 10
    assert messages()[0].startswith("train: step 1/10") and "epoch 1/2" in messages()[0]
    assert messages()[-1].startswith("train: step 10/10") and "epoch 2/2" in messages()[-1]


def test_a_resumed_training_starts_at_its_step(messages, tmp_path):
    first = trainer(max_steps=10)
    first.fit(Line(), LOADER, LOADER)
    first.save_checkpoint(tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt")["callbacks"] == {}, "the progress keeps no state"
    earlier = len(messages())
    trainer(max_steps=20).fit(Line(), LOADER, LOADER, ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert [line.partition(",")[0] for line in messages()[earlier:]] == [
        f"train: step {step}/20" for step in range(12, 21, 2)
    ]


def test_validate_and_test_count_batches(messages):
    trainer().validate(Line(), LOADER, verbose=False)
    trainer().test(Line(), LOADER, verbose=False)
    lines = messages()
    assert lines[0].startswith("validate: 2/20 batches") and lines[-1].startswith("test: 20/20 batches")
    assert len(lines) == 20


def test_metrics_are_read_at_logging_steps_only(monkeypatch):
    read = []
    real = L.Trainer.progress_bar_metrics.fget
    monkeypatch.setattr(L.Trainer, "progress_bar_metrics", property(lambda self: read.append(1) or real(self)))
    trainer(max_steps=20, limit_val_batches=0).fit(Line(), LOADER, LOADER)
    assert len(read) == 10


def test_a_display_is_closed_after_an_error(messages):
    class Failing(Line):
        def training_step(self, batch, batch_idx):
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        trainer(max_steps=3).fit(Failing(), LOADER, LOADER)
    trainer(max_steps=3).fit(Line(), LOADER, LOADER)
    assert messages()[-1].startswith("train: step 3/3")


def test_values_are_formatted_briefly():
    assert describe({"lr": 6e-5, "train/loss": 2.345678, "other": 1.0}) == ["loss 2.346", "lr 6.0e-05"]
    assert batches([3, 4]) == 7 and batches(float("inf")) is None
