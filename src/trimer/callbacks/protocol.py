"""What a fine-tuning has to show, in one long table: all data before it, validation by epoch, the test part after."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import lightning as L
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trimer.baselines.model_before import begun_with
from trimer.errors import ConfigError
from trimer.files import write_text, written
from trimer.reporting.attempts import attempt

log = logging.getLogger(__name__)

COLUMNS = ("property", "split", "epoch", "metric", "value")
SPLITS = ("all", "train", "validation", "test")  # in the order of the table, within an epoch
BEFORE = -1  # the epoch of what was measured before the first one
ANSWERS = "protocol_before.npz"


class Protocol(L.Callback):
    """Writes `protocol.csv` and `protocol.parquet`: one row for each property, split, epoch and metric.

    all, epoch -1: every row of every part, before the training: the answers of the checkpoint that the run began with,
    on its own scale, if it has learnt these labels (the same network as "before fine-tuning" in the table of the test
    part); else those of the network as it begins. validation: at the end of each epoch that has one.
    train: `loss`, the mean over the epoch in training mode, and `lr`, the rate of its last step. test: once, at the
    end, under the epoch of the weights that are measured, the best. What is not defined has no row.
    The metrics are the task's own, each of all the answers of a part together. Of numbers it also keeps what was
    predicted of the test part before the training (`protocol_before.npz`).
    folder: of the run. The table travels with the checkpoints, so a resumed run goes on with the table it had there.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.property = ""
        self._forget()

    def _forget(self) -> None:
        self.values: dict[tuple[str, int, str], float] = {}
        self._rate = math.nan

    @property
    def rows(self) -> list[dict]:
        """The table, in the order of the epochs; the test part comes last."""
        keys = sorted(self.values, key=lambda key: (key[0] == "test", key[1], SPLITS.index(key[0])))
        return [
            dict(zip(COLUMNS, (self.property, split, epoch, metric, self.values[split, epoch, metric]), strict=True))
            for split, epoch, metric in keys
        ]

    def add(self, split: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Put metrics into the table, in place of those that it has of this split and epoch; there is one test."""
        replaced = [key for key in self.values if key[0] == split and (key[1] == epoch or split == "test")]
        self.values = {key: value for key, value in self.values.items() if key not in replaced}
        self.values |= {(split, epoch, name): float(v) for name, v in metrics.items() if math.isfinite(v)}

    def save(self) -> None:
        """Write the table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.folder / "protocol.csv", text.getvalue())
        types = pa.schema(zip(COLUMNS, (pa.string(), pa.string(), pa.int64(), pa.string(), pa.float64()), strict=True))
        with written(self.folder / "protocol.parquet") as partial:
            pq.write_table(pa.Table.from_pylist(self.rows, types), partial)

    # ---------------------------------------------------------------- during the training

    def state_dict(self) -> dict:
        return {"rows": [[*key, value] for key, value in self.values.items()], "rate": self._rate}

    def load_state_dict(self, state: dict) -> None:
        self.values = {(split, epoch, metric): value for split, epoch, metric, value in state["rows"]}
        self._rate = state["rate"]

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._forget()  # what a checkpoint knows comes after this
        if not hasattr(trainer.datamodule, "evaluation_batches"):
            raise ConfigError(
                f"callbacks=protocol measures all data before the training, and data="
                f"{type(trainer.datamodule).__name__} cannot be read part by part: take callbacks=default"
            )
        self.property = module.property_of(trainer.datamodule)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        data = trainer.datamodule
        if trainer.fast_dev_run:
            return
        if trainer.global_step:
            if ("all", BEFORE) not in {key[:2] for key in self.values}:
                log.warning("protocol: this run was begun without callbacks=protocol, so nothing of before is in it")
            return
        with trainer.precision_plugin.forward_context(), self._before(module):
            parts = [data.evaluation_batches(part) for part in data.split.names]
            self.add("all", BEFORE, module.evaluate(itertools.chain.from_iterable(parts)))
            if getattr(data, "target", None) == "regression" and "test" in data.split.names:
                attempt(ANSWERS, self._keep_answers, trainer, module, data)  # for a figure only
        self._save(trainer)

    @contextlib.contextmanager
    def _before(self, module: L.LightningModule) -> Iterator[None]:
        """The task with the network that the run began with, if that has learnt these labels."""
        labels = (module.contract or {}).get("labels")
        begun = begun_with(self.folder, labels) if labels else None
        if begun is None:
            yield
            return
        learning, module.net = module.net, begun.net.to(module.device)
        try:
            yield
        finally:
            module.net = learning

    def _keep_answers(self, trainer: L.Trainer, module: L.LightningModule, data) -> None:
        from trimer.evaluation.label_evaluation import answered

        training = module.net.training
        try:
            raw, labels, _ = answered(module.net.eval(), data, "test")
        finally:
            module.net.train(training)
        answers = module.net.answers(raw.to(module.device)).cpu().numpy()
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez(self.folder / ANSWERS, answers=answers, labels=labels.numpy())

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch, batch_idx: int) -> None:
        self._rate = module.optimizers().param_groups[0]["lr"]  # before the schedule moves on

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs, batch, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop._num_ready_batches_reached():  # before a checkpoint is written
            self._add_training(trainer, module, trainer.current_epoch)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.add("validation", trainer.current_epoch, module.validated)
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """An epoch that was not finished has its row too, until a resumed run finishes it."""
        epochs = trainer.fit_loop.epoch_progress.current
        if not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            self._add_training(trainer, module, epochs.processed - 1)
        self._save(trainer)
        attempt("the protocol of the tracker", self.log_table, trainer)

    def _add_training(self, trainer: L.Trainer, module: L.LightningModule, epoch: int) -> None:
        self.add("train", epoch, {"loss": module.epoch_loss(), "lr": self._rate})
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self.save()

    # ---------------------------------------------------------------- after it

    def log_table(self, trainer: L.Trainer) -> None:
        """The table, for every tracker that is a W&B run."""
        from lightning.pytorch.loggers import WandbLogger

        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                import wandb

                table = wandb.Table(columns=list(COLUMNS), data=[list(row.values()) for row in self.rows])
                logger.experiment.log({"protocol": table, "trainer/global_step": trainer.global_step})
