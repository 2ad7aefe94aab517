"""Support of tasks for a plain `lightning.Trainer`, without Hydra and without a run folder.

`fit`, `validate`, `test` and `predict` prepare the task for their data module. `trimer.checkpoint.load` and
`load_from_checkpoint` read the checkpoints of such a trainer.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import lightning as L
from torch import Tensor, nn
from torchmetrics import Metric

from trimer.arguments import KeepsArguments, undescribed, without_undescribed
from trimer.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

PARTS = ("net", "tokenizer", "optimizer", "scheduler")  # arguments of a task that are objects, not settings


class PlainLightning(KeepsArguments, L.LightningModule):
    """Setup, test, predict, and loading for `Task`."""

    trainer: Any  # Lightning sets some of its attributes where type checkers do not see them
    contract: dict | None
    training_keys: list[dict] | None
    metrics: Any  # nn.ModuleDict of torchmetrics
    optimizer_factory: Any
    ready = False  # whether `setup` has prepared the task for its data

    def setup(self, stage: str) -> None:
        """Prepare the task for the data of the trainer, unless `trimer train` or an earlier stage has done so.

        ConfigError if the data do not fit the task or the checkpoint from which it was loaded.
        """
        from trimer.accelerators.precision import keep_data_whole
        from trimer.checkpoint import check_labels

        keep_data_whole(self.trainer)
        if self.trainer.world_size > 1 and self.trainer._accelerator_connector.use_distributed_sampler:
            raise ConfigError(
                "the data module already distributes batches over devices: pass use_distributed_sampler=False to "
                "lightning.Trainer"
            )
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            self.check_without_data()
            return
        if self.ready or "format" in (self.contract or {}):
            labels = {"target": data.target, "classes": list(data.classes)} if hasattr(data, "classes") else None
            check_labels(self.contract or {}, labels, "this task")
            return
        self.check_parts(data)
        self.ready = True
        configured = self.contract is not None
        self.contract = {**self.described(data), **(self.contract or {})}
        if not configured:
            self.configure_for(data)
        first = self.trainer.is_global_zero  # which writes the checkpoints
        if stage == "fit" and first and self.training_keys is None and hasattr(data, "row_keys"):
            from trimer.data.core.training_keys import stages_of

            self.training_keys = stages_of(data, type(self).__name__, None)

    def check_without_data(self) -> None:
        """ConfigError if the task cannot run with data loaders alone."""

    def check_parts(self, data: Any) -> None:
        """ConfigError if data module, network and task do not fit together."""

    def configure_for(self, data: Any) -> None:
        """Create what depends on the data."""

    def described(self, data: Any) -> dict[str, Any]:
        """The contract of a checkpoint, from the arguments of the objects; empty with a warning if some are unknown."""
        from trimer.checkpoint import contract

        model: Any = self.made_with.get("net")
        task = {name: value for name, value in self.made_with.items() if name not in PARTS}
        task["metrics"] = without_undescribed(task.get("metrics"))
        unknown = [*undescribed(model, "net"), *undescribed(task, "task")]
        if not unknown and (not isinstance(model, dict) or "_target_" not in model):
            unknown = ["net"]
        reason = f"no config describes {', '.join(unknown)}: let its class inherit from trimer.arguments.KeepsArguments"
        if not unknown:
            config = {
                "task": task,
                "model": {name: value for name, value in model.items() if name != "vocab_size"},
                "data": without_undescribed(getattr(data, "made_with", {"_target_": _path(type(data))})),
            }
            try:
                return contract(config, self.tokenizer)
            except ConfigError as error:  # the package of the task is not allowed in checkpoints
                reason = str(error)
        log.warning("checkpoints of this training cannot be read by trimer.load: %s", reason)
        return {}

    # ---------------------------------------------------------------- test and predict

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Same as a validation step."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the whole split as `test/<name>`."""
        values = {f"test/{name}": float(value) for name, value in self.split_metrics().items()}
        self.log_dict(values, batch_size=1)

    def split_metrics(self) -> dict[str, Any]:
        """The metrics of all batches since the last call, including those of `task.metrics`."""
        return {**self.validation_metrics(), **self.user_metrics()}

    def validation_metrics(self) -> dict[str, float]:
        """The metrics of all batches of `validation_step` since the last call.

        A subclass accumulates them in torchmetrics and resets these here.
        """
        raise ConfigError(
            f"task={type(self).__name__} cannot be evaluated outside of a validation, as callbacks=protocol does: "
            "use callbacks=default"
        )

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Row numbers of a batch and their predictions."""
        raise ConfigError(f"task={type(self).__name__} has no predict_step: implement it, or call its network")

    # ---------------------------------------------------------------- metrics of the user

    def keep_metrics(self, metrics: Mapping[str, Any] | None) -> None:
        """Register the metrics of `task.metrics`, by the names under which they are logged."""
        metrics = {name: metric for name, metric in (metrics or {}).items() if metric is not None}
        for name, metric in metrics.items():
            if not isinstance(metric, Metric):
                raise ConfigError(
                    f"task.metrics.{name} is a {type(metric).__name__}: pass a torchmetrics.Metric "
                    "with update(predictions, labels) and compute()"
                )
        self.metrics = nn.ModuleDict(metrics)

    def update_metrics(self, predictions: Tensor, labels: Tensor) -> None:
        """Update each metric of `task.metrics` with a batch."""
        for metric in self.metrics.values():
            metric.update(predictions.detach(), labels)

    def user_metrics(self) -> dict[str, float]:
        """The values of `task.metrics` for the batches since the last call."""
        values = {name: float(metric.compute()) for name, metric in self.metrics.items()}
        for metric in self.metrics.values():
            metric.reset()
        return values

    # ---------------------------------------------------------------- loading and tuning

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, **settings: Any
    ) -> Self:
        """The task of a checkpoint with its network and tokenizer, rebuilt from the file alone.

        settings: arguments of the task to change, such as `optimizer`, which checkpoints do not hold. The file is read
        with `weights_only=True`, and only allowed classes are built (`trimer.building`).
        """
        from trimer.building import build, located
        from trimer.checkpoint import load

        for name, fixed in (("strict", True), ("weights_only", True), ("hparams_file", None)):
            if settings.pop(name, fixed) not in (fixed, None):
                raise ConfigError(f"load_from_checkpoint({name}=...): Trimer always loads with {name}={fixed}")
        loaded = load(checkpoint_path)
        kind = located(loaded.contract["kind"], str(loaded.path))
        if not issubclass(kind, cls):
            raise CheckpointError(f"{loaded.path} contains a {kind.__name__}: load it with {kind.__name__} or Task")
        task = build(loaded.contract["task"], net=loaded.net, tokenizer=loaded.tokenizer, **settings)
        task.restore(loaded)
        return task.train() if map_location is None else task.train().to(map_location)

    def restore(self, loaded: Loaded) -> None:
        """Restore contract and training stages from the checkpoint of this network."""
        self.contract, self.training_keys = loaded.contract, loaded.training_keys

    def configure_callbacks(self) -> list:
        """No callbacks. ConfigError for a callback of Lightning that is not supported."""
        from lightning.pytorch.callbacks import BatchSizeFinder

        if any(isinstance(callback, BatchSizeFinder) for callback in self.trainer.callbacks):
            raise ConfigError(
                "BatchSizeFinder changes the number of rows, but batches are limited by data.tokens_per_batch: remove "
                "it and use trimer train debug=batch_size"
            )
        return []

    @property
    def lr(self) -> float:
        """The peak learning rate, which LearningRateFinder reads and sets. ConfigError if there is not exactly one."""
        factory = self.optimizer_factory
        if factory is None or getattr(self, "layer_decay", 1.0) != 1.0:
            reason = "has no optimizer" if factory is None else f"has one per block (layer_decay={self.layer_decay})"
            raise ConfigError(f"LearningRateFinder needs one learning rate, but this task {reason}")
        keywords = getattr(factory, "keywords", {})
        parameter = inspect.signature(factory).parameters.get("lr")
        rate = keywords.get("lr", None if parameter is None else parameter.default)
        if not isinstance(rate, (int, float)):
            raise ConfigError("LearningRateFinder needs optimizer=functools.partial(<optimizer>, lr=<number>)")
        return float(rate)

    @lr.setter
    def lr(self, rate: float) -> None:
        """Also update existing optimizers and schedules; the finder itself sets the rate of the first step."""
        self.optimizer_factory = functools.partial(self.optimizer_factory, lr=rate)
        if (trainer := self._trainer) is None:
            return
        for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
            group["initial_lr"] = rate
        for config in trainer.lr_scheduler_configs:
            config.scheduler.base_lrs = [rate] * len(config.scheduler.base_lrs)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
