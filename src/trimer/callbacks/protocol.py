"""The record of a fine-tuning in one long table: all splits before it, validation by epoch, the test split after it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trimer.accelerators.cpu_evaluation import any_shapes
from trimer.baselines.model_before import begun_with
from trimer.errors import ConfigError
from trimer.files import write_csv, written
from trimer.reporting.attempts import attempt

log = logging.getLogger(__name__)

COLUMNS = ("property", "split", "epoch", "metric", "value")
SPLITS = ("all", "train", "validation", "test")  # order of the rows within an epoch
BEFORE = -1  # epoch number of the metrics before training
PREDICTIONS_BEFORE = "protocol_before.npz"


class Protocol(L.Callback):
    """Writes `protocol.csv` and `protocol.parquet`: one row per property, split, epoch and metric.

    split "all", epoch -1: all rows of all splits before training. If the initial checkpoint was trained on these
    labels, its predictions on its own scale (the model "before fine-tuning" in the table of the test split); otherwise
    those of the network as it starts. "validation": at the end of each epoch with a validation. "train": `loss`, the
    mean over the epoch in training mode, and `lr`, the learning rate of its last step. "test": once, at the end, with
    the epoch of the evaluated (best) weights. Undefined metrics have no row.
    The metrics are those of the task, computed over all predictions of a split. For regression, the predictions for the
    test split before training are saved too (`protocol_before.npz`).
    folder: the run folder. The checkpoints hold the table, so a resumed run continues with the table of its checkpoint.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.property = ""
        self._reset()

    def _reset(self) -> None:
        self.values: dict[tuple[str, int, str], float] = {}
        self._rate = math.nan

    @property
    def rows(self) -> list[dict]:
        """The table, sorted by epoch; the test split comes last."""
        keys = sorted(self.values, key=lambda key: (key[0] == "test", key[1], SPLITS.index(key[0])))
        return [
            dict(zip(COLUMNS, (self.property, split, epoch, metric, self.values[split, epoch, metric]), strict=True))
            for split, epoch, metric in keys
        ]

    def add(self, split: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Set the metrics of a split and epoch, replacing earlier ones; the test split has one epoch only."""
        replaced = [key for key in self.values if key[0] == split and (key[1] == epoch or split == "test")]
        self.values = {key: value for key, value in self.values.items() if key not in replaced}
        self.values |= {(split, epoch, name): float(v) for name, v in metrics.items() if math.isfinite(v)}

    def save(self) -> None:
        """Write the table."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_csv(self.folder / "protocol.csv", COLUMNS, self.rows)
        types = pa.schema(zip(COLUMNS, (pa.string(), pa.string(), pa.int64(), pa.string(), pa.float64()), strict=True))
        with written(self.folder / "protocol.parquet") as partial:
            pq.write_table(pa.Table.from_pylist(self.rows, types), partial)

    # ---------------------------------------------------------------- during the training

    def state_dict(self) -> dict:
        return {"rows": [[*key, value] for key, value in self.values.items()], "rate": self._rate}

    def load_state_dict(self, state: dict) -> None:
        self.values = {(split, epoch, metric): value for split, epoch, metric, value in state["rows"]}
        self._rate = state["rate"]

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        if stage != "fit":
            return
        self._reset()  # the state of a checkpoint is loaded later
        if not hasattr(trainer.datamodule, "evaluation_batches"):
            raise ConfigError(
                f"callbacks=protocol evaluates all splits before training, which data="
                f"{type(trainer.datamodule).__name__} does not support: use callbacks=default"
            )
        self.property = module.property_of(trainer.datamodule)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        data = trainer.datamodule
        if trainer.fast_dev_run:
            return
        if trainer.global_step:
            if ("all", BEFORE) not in {key[:2] for key in self.values}:
                log.warning("protocol: this run began without callbacks=protocol, so it has no metrics before training")
            return
        with trainer.precision_plugin.forward_context(), any_shapes(module), self._before(module):
            batches = [data.evaluation_batches(split) for split in data.split.names]
            self.add("all", BEFORE, module.evaluate(itertools.chain.from_iterable(batches)))
            if getattr(data, "predicts_numbers", False) and "test" in data.split.names:
                attempt(PREDICTIONS_BEFORE, self._save_predictions, trainer, module, data)  # only a figure needs them
        self._save(trainer)

    @contextlib.contextmanager
    def _before(self, module: Any) -> Iterator[None]:
        """Give the task the network of the initial checkpoint, if that was trained on these labels."""
        contract = module.contract or {}
        labels, features = contract.get("labels"), contract.get("data", {}).get("features") or ()
        initial = begun_with(self.folder, labels, features) if labels else None
        if initial is None:
            yield
            return
        trained_net, module.net = module.net, initial.net.to(next(module.net.parameters()).device)
        try:
            yield
        finally:
            module.net = trained_net

    def _save_predictions(self, trainer: Any, module: Any, data) -> None:
        from trimer.evaluation.label_outputs import raw_outputs

        training = module.net.training
        try:
            raw, labels, _ = raw_outputs(module.net.eval(), data, "test")
        finally:
            module.net.train(training)
        device = next(module.net.parameters()).device
        predictions = module.net.predictions(raw.to(device)).cpu().numpy()
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez(self.folder / PREDICTIONS_BEFORE, answers=predictions, labels=labels.numpy())

    def on_train_batch_start(self, trainer: Any, module: Any, batch, batch_idx: int) -> None:
        self._rate = module.optimizers().param_groups[0]["lr"]  # before the schedule changes it

    def on_train_batch_end(self, trainer: Any, module: Any, outputs, batch, batch_idx: int) -> None:
        if trainer.fit_loop.epoch_loop._num_ready_batches_reached():  # before a checkpoint is written
            self._add_training(trainer, module, trainer.current_epoch)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.add("validation", trainer.current_epoch, module.validated)
            self._save(trainer)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Add a row for an unfinished epoch; a resumed run replaces it."""
        epochs = trainer.fit_loop.epoch_progress.current
        if not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            self._add_training(trainer, module, epochs.processed - 1)
        self._save(trainer)
        attempt("the protocol of the tracker", self.log_table, trainer)

    def _add_training(self, trainer: Any, module: Any, epoch: int) -> None:
        self.add("train", epoch, {"loss": module.epoch_loss(), "lr": self._rate})
        self._save(trainer)

    def _save(self, trainer: Any) -> None:
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self.save()

    # ---------------------------------------------------------------- after it

    def log_table(self, trainer: L.Trainer) -> None:
        """Log the table to every W&B run."""
        from trimer.trackers.wandb_run import wandb_runs

        for run in wandb_runs(trainer):
            import wandb

            table = wandb.Table(columns=list(COLUMNS), data=[list(row.values()) for row in self.rows])
            run.log_objects({"protocol": table})
