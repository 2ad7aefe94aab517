"""The base of all tasks: the loss as a sum over a count, optimizer, schedule, the count of real tokens."""

from __future__ import annotations

import logging
import math
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from trimer.errors import ConfigError, TrimerError
from trimer.models.memory import needs_checkpointing, training_bytes
from trimer.optim import EPOCH_LOSS
from trimer.protocols import Encoder, compile_parts, missing_members
from trimer.tasks.plain_lightning import PlainLightning

log = logging.getLogger(__name__)


# What a step adds to: attribute, shape and type.
SUMS = (("_step_count", (), torch.float32), ("_logged", (2,), torch.float32), ("_epoch", (2,), torch.float64))


class Task(PlainLightning):
    """A network with its tokenizer and how to train it.

    optimizer: parameters -> Optimizer. scheduler: Optimizer -> step-wise LR schedule. Both are factories, kept as
    plain attributes: a checkpoint holds plain values only. compile: the parts of the network that work token by token
    are compiled in place, so the names of the weights stay.

    A subclass's training_step returns the *sum* of the loss through `record_loss`; the gradients are divided by the
    count over the whole optimizer step: all accumulated batches, all devices. So the step does not depend on batches.
    It names the class of its `batch`, which the data module names too; its `study`; the protocol of its `model`; and
    its `nested_settings`: setting -> (what is called, which of its arguments are objects).
    metrics: torchmetrics by name, logged as `val/<name>`; a subclass gives them each batch by `update_metrics`.
    """

    batch: ClassVar[type]
    study: ClassVar[str] = "trimer.studies.study.Study"  # what can be done with a checkpoint
    nested_settings: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {}
    model: ClassVar[type] = Encoder

    def __init__(
        self,
        net: nn.Module,
        tokenizer,
        optimizer: Callable[[Iterable], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None,
        compile: bool = False,
        metrics: Mapping[str, Metric] | None = None,
    ):
        super().__init__()
        self.net: Any = net
        self.tokenizer = tokenizer
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.contract: dict | None = None
        self.training_keys: list[dict] | None = None  # what it was trained on: `trimer.data.core.training_keys`
        self._step_count: Tensor | None = None
        self._logged: Tensor | None = None
        self._epoch: Tensor | None = None  # sum of the loss of this epoch, and its count, on this device
        self._stop = False
        self.validated: dict[str, float] = {}  # the metrics of the last validation
        self.compile_net = compile
        self.keep_metrics(metrics)
        self.work: Counter[str] = Counter()  # what this process has trained on: tokens, residues, flops
        self.total_work: Counter[str] = Counter()  # of all devices, when they last came together

    @property
    def real_tokens(self) -> int:
        """Tokens that all devices have trained on, as of the last logging or checkpoint; padding is not counted."""
        return int(self.total_work["tokens"])

    def share_work(self) -> Counter[str]:
        """Sum the work over all devices, which must call this together."""
        self.total_work = Counter(self.work)
        names = sorted(self.work)
        if self.trainer.world_size > 1 and names:
            sums = torch.tensor([self.work[name] for name in names], dtype=torch.float64, device=self.device)
            self.total_work = Counter(dict(zip(names, self._over_devices(sums).tolist(), strict=True)))
        return self.total_work

    def check_parts(self, data: Any) -> None:
        """ConfigError unless the data module gives the batches, and the network has the methods, that the task uses."""
        if data.batch is not self.batch:
            raise ConfigError(
                f"task={type(self).__name__} reads batches of {self.batch.__name__}, and data={type(data).__name__} "
                f"gives {data.batch.__name__}: choose a task and data that fit"
            )
        if missing := missing_members(self.net, self.model):
            raise ConfigError(
                f"task={type(self).__name__} cannot train model={type(self.net).__name__}, which has no "
                f"{' and no '.join(missing)}: choose a task and a model that fit"
            )
        mask = getattr(self.net, "mask", None)
        if mask is not None and mask != getattr(data.tokenizer, "mask", mask):
            raise ConfigError(
                f"model.token_dropout=true takes token {mask} for a masked one, and in the vocabulary of these data "
                f"that is token {data.tokenizer.mask}: set model.token_dropout=false"
            )

    def start_from(self, learnt) -> None:
        """Start from a network that was fine-tuned on labels (`trimer.checkpoint.Loaded`)."""
        raise ConfigError(
            f"ckpt={learnt.path} was fine-tuned on labels, and task={type(self).__name__} needs the model before "
            "fine-tuning: name that one, or continue the run with resume=<run folder>"
        )

    def configure_for(self, data: Any) -> None:
        """Make what depends on the data, as a head; called once, after their setup and before training."""

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The batch on the device, without waiting for the copy of its pinned memory; Lightning would wait."""
        return batch.to(device, non_blocking=device.type not in ("cpu", "mps"))

    def log(self, name: str, value: Any, *args: Any, **settings: Any) -> None:
        """Log a value; a plain number stays in host memory, so that a progress bar does not wait for the device."""
        if isinstance(value, numbers.Number):
            value = torch.tensor(value, dtype=torch.get_default_dtype())
        super().log(name, value, *args, **settings)

    def configure_model(self) -> None:
        """Compile what can be; shard the network layer by layer where the strategy has a mesh of devices (fsdp2)."""
        for encoder in self.net.modules() if self.trainer.state.fn == "fit" else ():
            if getattr(encoder, "checkpointing", None) == "auto":
                encoder.checkpointing = self._needs_checkpointing(encoder)
        if self.compile_net:
            self.compile_net = False
            compile_parts(self.net)
        mesh = getattr(self, "device_mesh", None)
        if mesh is None or getattr(self, "_sharded", False):
            return
        from torch.distributed.fsdp import fully_shard

        from trimer.accelerators.precision import sharded_policy

        options = {"mesh": mesh["data_parallel"], "mp_policy": sharded_policy(self.trainer.precision)}
        for block in self.net.modules():
            if isinstance(block, nn.ModuleList):
                for layer in block:
                    fully_shard(layer, **options)
        fully_shard(self.net, **options)
        self._sharded = True

    def _needs_checkpointing(self, encoder: nn.Module) -> bool:
        """Whether the hidden states of an encoder are computed again, by the memory of the GPU that it trains on."""
        device = self.trainer.strategy.root_device
        if device.type != "cuda" or self.trainer.datamodule is None:
            return False
        tokens = self.trainer.datamodule.tokens_per_batch
        devices = self.trainer.world_size if getattr(self, "device_mesh", None) is not None else 1
        memory = torch.cuda.get_device_properties(device).total_memory
        wanted = training_bytes(encoder, tokens, self.trainer.precision, devices)
        chosen = needs_checkpointing(encoder, tokens, self.trainer.precision, devices, memory=memory)
        log.info(
            "activation checkpointing is %s: training on %s tokens a batch needs about %.0f GB without it, the GPU has "
            "%.0f GB",
            "on" if chosen else "off", f"{tokens:,}", wanted / 1e9, memory / 1e9,
        )  # fmt: skip
        return chosen

    def configure_optimizers(self):
        from trimer.optim import parameter_groups, weight_decay

        if self.optimizer_factory is None:
            raise TrimerError("this task was built for prediction: it has no optimizer")
        groups = parameter_groups(self.net, weight_decay(self.optimizer_factory))
        return self.with_schedule(self.optimizer_factory(groups))

    def with_schedule(self, optimizer: torch.optim.Optimizer):
        """The optimizer with its schedule, as Lightning expects it; a schedule counts steps unless it says epochs."""
        if self.scheduler_factory is None:
            return optimizer
        schedule = self.scheduler_factory(optimizer)
        interval = getattr(schedule, "interval", "step")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval}}

    def lr_scheduler_step(self, scheduler, metric) -> None:
        """Also gives a schedule that monitors it the epoch's training loss, before any checkpoint is written."""
        super().lr_scheduler_step(scheduler, metric)
        if getattr(scheduler, "monitor", None) == EPOCH_LOSS:
            scheduler.observe(self.epoch_loss())

    def record_loss(self, loss_sum: Tensor, count: Tensor | int, **work: float) -> Tensor:
        """Record count and work of a batch; return the summed loss.

        The mean loss is logged every `log_every_n_steps`. work: `tokens`, and other quantities logged per second.
        """
        loss = loss_sum.detach().float()
        values = torch.stack([loss, count.float() if isinstance(count, Tensor) else torch.full_like(loss, count)])
        self._step_count = values[1] if self._step_count is None else self._step_count + values[1]
        self._logged = values if self._logged is None else self._logged + values
        self._epoch = values.double() if self._epoch is None else self._epoch + values
        self.work.update(work)
        return loss_sum

    def on_fit_start(self) -> None:
        """Reset what an earlier fit has left.

        ConfigError for a warm-up longer than the training, and for processes of different precisions.
        """
        self._stop = False
        precision = str(self.trainer.precision)
        if (first := self.trainer.strategy.broadcast(precision)) != precision:
            raise ConfigError(
                f"this process computes in {precision}, the first one in {first}: give all the same trainer.precision="
            )
        schedule: Any = self.lr_schedulers()
        epochs = -1 if self.trainer.fast_dev_run else self.trainer.max_epochs
        if getattr(schedule, "interval", "step") == "epoch" and epochs is not None and 0 < epochs < schedule.warmup:
            raise ConfigError(
                f"scheduler.warmup={schedule.warmup} epochs are more than trainer.max_epochs={epochs}: set fewer"
            )

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        if batch_idx == 0:
            self._epoch = None
        if self.device.type in ("xla", "tpu"):  # a sum that does not exist yet would make another program
            for name, shape, dtype in SUMS:
                if getattr(self, name) is None:
                    setattr(self, name, torch.zeros(shape, dtype=dtype).to(self.device))

    def epoch_loss(self) -> float:
        """The mean training loss of this epoch so far: the sum over its count, of all devices; NaN where none began."""
        if self._epoch is None:
            return math.nan
        loss, count = self._over_devices(self._epoch).tolist()
        return loss / count if count > 0 else 0.0

    def _over_devices(self, sums: Tensor) -> Tensor:
        """The sums of all devices. The collective works in place, so it gets a copy: each device keeps its own sums."""
        if self.trainer.world_size == 1:
            return sums
        sums = sums.clone()
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self.trainer.strategy.reduce(sums, reduce_op="sum")
        torch.distributed.all_reduce(sums)  # the reduction of Lightning lets the host wait at a barrier first
        return sums

    def on_train_epoch_end(self) -> None:
        if self._epoch is not None:
            self.log(EPOCH_LOSS, self.epoch_loss(), batch_size=1)

    def on_train_end(self) -> None:
        self.share_work()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn the sum's gradient into the mean's, before clipping.

        Lightning has divided the loss by the number of accumulated batches, and DDP averages over devices: undo both.
        """
        count = self._over_devices(self._step_count)
        world = self.trainer.world_size
        factor = self.trainer.accumulate_grad_batches * world / torch.where(count > 0, count, 1.0)
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)
        self._step_count = None

    def on_train_batch_end(self, outputs, batch, batch_idx: int) -> None:
        """Log the mean loss of all devices since the last logging step: one log call an interval.

        A run that is asked to stop finishes its step, since no checkpoint holds the gradients of half a step.
        """
        trainer = self.trainer
        accumulating = trainer.fit_loop.epoch_loop._should_accumulate()
        self._stop |= trainer.should_stop
        trainer.should_stop = self._stop and not accumulating
        if accumulating or self._logged is None:
            return
        if trainer.global_step % trainer.log_every_n_steps == 0:
            total, count = self._over_devices(self._logged).tolist()  # the only time that a step waits for the device
            loss = total / count if count > 0 else total
            if not math.isfinite(loss):
                raise TrimerError(
                    f"the training loss is {loss} at step {trainer.global_step}: lower optimizer.lr, lengthen "
                    "the warm-up or set trainer.gradient_clip_val; checkpoints/ holds the last weights that were saved"
                )
            rate = self.optimizers().param_groups[0]["lr"]
            self.log_dict({"train/loss": loss, "lr": rate}, prog_bar=True, batch_size=1)
            self._logged = None

    def validation_metrics(self) -> dict[str, float]:
        """The metrics of the batches that `validation_step` has seen since they were last asked for.

        A subclass accumulates them in torchmetrics, and resets these here.
        """
        raise ConfigError(
            f"task={type(self).__name__} cannot be evaluated outside of a validation, as callbacks=protocol does: "
            "use callbacks=default"
        )

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the whole split."""
        self.log_validation(self.split_metrics())

    @torch.no_grad()
    def evaluate(self, batches: Iterable) -> dict[str, float]:
        """The metrics of a validation over these batches, by this device alone; those that are defined."""
        device, training = next(self.net.parameters()).device, self.net.training
        metrics = [module for module in self.modules() if isinstance(module, Metric)]
        shared = [metric.distributed_available_fn for metric in metrics]
        self.net.eval()
        try:
            for metric in metrics:
                metric.reset()
                metric.distributed_available_fn = None
            for number, batch in enumerate(batches):
                self.validation_step(self.transfer_batch_to_device(batch, device, 0), number)
            found = self.split_metrics()
        finally:
            self.net.train(training)
            for metric, available in zip(metrics, shared, strict=True):
                metric.distributed_available_fn = available
        return {name: float(value) for name, value in found.items() if math.isfinite(value)}

    def property_of(self, data: Any) -> str:
        """The name of the predicted property, for tables."""
        return data.kind

    def log_validation(self, values: Mapping[str, float | Tensor]) -> None:
        """Log the metrics of a validation as `val/<name>`, and give them to a schedule that monitors one."""
        self.validated = {name: float(value) for name, value in values.items()}
        named = {f"val/{name}": value for name, value in self.validated.items()}
        self.log_dict(named, prog_bar=True)
        fitting = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        schedule: Any = self.lr_schedulers() if fitting else None
        if hasattr(schedule, "observe") and schedule.monitor != EPOCH_LOSS:
            if schedule.monitor not in named:
                known = ", ".join([*sorted(named), EPOCH_LOSS])
                raise ConfigError(f"scheduler.monitor={schedule.monitor} is no metric of this task; there are {known}")
            schedule.observe(float(named[schedule.monitor]))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Add the contract: what is needed to rebuild net and tokenizer from the file alone."""
        if "format" in (self.contract or {}):
            checkpoint["trimer"] = self.contract
        checkpoint["training_keys"] = self.training_keys
        checkpoint["work"] = dict(self.share_work())
        checkpoint["logged"] = None if self._logged is None else self._over_devices(self._logged).tolist()
        checkpoint["epoch_sums"] = None if self._epoch is None else self._over_devices(self._epoch).tolist()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Take the sums back, which are those of all devices: the first device continues them, the others from zero."""
        first = self.trainer.global_rank == 0
        self.total_work = Counter(checkpoint["work"])
        self.work = Counter({name: value if first else 0 for name, value in self.total_work.items()})

        def sums(name: str, dtype: torch.dtype) -> Tensor | None:
            saved = checkpoint.get(name)
            return saved and torch.tensor(saved if first else [0.0, 0.0], dtype=dtype, device=self.device)

        self._logged, self._epoch = sums("logged", torch.float32), sums("epoch_sums", torch.float64)
