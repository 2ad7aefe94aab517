"""Base class of all tasks: loss normalised over an optimizer step, optimizer, schedule, token counts, logging."""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from trimer.accelerators.stacks import XLA_TYPES
from trimer.errors import ConfigError, TrimerError
from trimer.optim import EPOCH_LOSS, parameter_groups, weight_decay
from trimer.protocols import Encoder, missing_members
from trimer.tasks.network_setup import choose_checkpointing, compile_network, shard, zero_gradients
from trimer.tasks.plain_lightning import PlainLightning

# Running sums of a training: attribute, shape and dtype.
SUMS = (("_step_count", (), torch.float32), ("_logged", (2,), torch.float32), ("_epoch", (2,), torch.float64))


class Task(PlainLightning):
    """A network with its tokenizer, and how to train it.

    optimizer: parameters -> Optimizer. scheduler: Optimizer -> LR schedule by steps. Both are factories. compile:
    compile the network in place, which keeps the names of the weights: its token-wise layers, or whole blocks if all
    batches have one shape. metrics: torchmetrics by name, logged as `val/<name>`; a subclass updates them by
    `update_metrics`.

    The training_step of a subclass returns the *sum* of the loss through `record_loss`. Gradients are divided by the
    count of the whole optimizer step, over all accumulated batches and devices, so a step does not depend on how it is
    divided into batches. A subclass sets `batch`, the class of its batches, as in the data module; `study`; `model`,
    the protocol of its network; and `nested_settings`: setting -> (called function, arguments that are objects).
    """

    batch: ClassVar[type]
    study: ClassVar[str] = "trimer.studies.study.Study"  # evaluations and predictions for a checkpoint
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
        self.training_keys: list[dict] | None = None  # records of the training: `trimer.data.core.training_keys`
        self._step_count: Tensor | None = None
        self._logged: Tensor | None = None
        self._epoch: Tensor | None = None  # loss and count of this epoch on this device
        self.gradient_factor: Tensor | float = 1.0  # of the last step: gradient of the mean by that of the sum
        self._stop = False
        self._sharded = False
        self.validated: dict[str, float] = {}  # the metrics of the last validation
        self.compile_net = compile
        self.keep_metrics(metrics)
        self.work: Counter[str] = Counter()  # of this process: tokens, residues, flops
        self.total_work: Counter[str] = Counter()  # of all devices, at the last `share_work`

    @property
    def real_tokens(self) -> int:
        """Tokens without padding that all devices have trained on, at the last logging step or checkpoint."""
        return int(self.total_work["tokens"])

    def share_work(self) -> Counter[str]:
        """Sum the work over all devices, which must all call this."""
        self.total_work = Counter(self.work)
        names = sorted(self.work)
        if self.trainer.world_size > 1 and names:
            sums = torch.tensor([self.work[name] for name in names], dtype=torch.float64, device=self.device)
            self.total_work = Counter(dict(zip(names, self._over_devices(sums).tolist(), strict=True)))
        return self.total_work

    def check_parts(self, data: Any) -> None:
        """ConfigError unless data module and network fit the task."""
        if data.batch is not self.batch:
            raise ConfigError(
                f"task={type(self).__name__} needs batches of {self.batch.__name__}, but data={type(data).__name__} "
                f"has {data.batch.__name__}: choose a task and data that fit"
            )
        if missing := missing_members(self.net, self.model):
            raise ConfigError(
                f"task={type(self).__name__} cannot train model={type(self.net).__name__}, which has no "
                f"{' and no '.join(missing)}: choose a task and a model that fit"
            )
        mask = getattr(self.net, "mask", None)
        if mask is not None and mask != getattr(data.tokenizer, "mask", mask):
            raise ConfigError(
                f"model.token_dropout=true needs {mask} as id of the mask token, but it is {data.tokenizer.mask} in "
                f"the vocabulary of these data: set model.token_dropout=false"
            )

    def start_from(self, initial) -> None:
        """Start from a network that was fine-tuned on labels (`trimer.checkpoint.Loaded`)."""
        raise ConfigError(
            f"ckpt={initial.path} was fine-tuned on labels, and task={type(self).__name__} needs the model before "
            "fine-tuning: pass that checkpoint, or continue the run with resume=<run folder>"
        )

    def configure_for(self, data: Any) -> None:
        """Create what depends on the data, such as a head. Called once, after the setup of the data."""

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Copy a batch to the device without waiting for pinned memory, as Lightning would."""
        return batch.to(device, non_blocking=device.type not in ("cpu", "mps"))

    def log(self, name: str, value: Any, *args: Any, **settings: Any) -> None:
        """Log a value. Plain numbers stay in host memory, so that a progress bar does not wait for the device."""
        if isinstance(value, numbers.Number):
            value = torch.tensor(value, dtype=torch.get_default_dtype())
        super().log(name, value, *args, **settings)

    def configure_model(self) -> None:
        """Set activation checkpointing, compile, and shard the network if the strategy has a mesh of devices."""
        mesh = getattr(self, "device_mesh", None)
        if self.trainer.state.fn == "fit":
            choose_checkpointing(self.net, self.trainer, sharded=mesh is not None)
        if self.compile_net:
            self.compile_net = False
            compile_network(self.net, self.trainer)
        if mesh is not None and not self._sharded:
            shard(self.net, mesh, self.trainer)
            self._sharded = True

    def configure_optimizers(self):
        if self.optimizer_factory is None:
            raise TrimerError("this task was built for prediction and has no optimizer: pass optimizer= to train it")
        groups = parameter_groups(self.net, weight_decay(self.optimizer_factory))
        return self.with_schedule(self.optimizer_factory(groups))

    def with_schedule(self, optimizer: torch.optim.Optimizer):
        """The optimizer with its schedule, as Lightning expects it; without `interval`, a schedule counts steps."""
        if self.scheduler_factory is None:
            return optimizer
        schedule = self.scheduler_factory(optimizer)
        interval = getattr(schedule, "interval", "step")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval}}

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        zero_gradients(self.net, optimizer, self.trainer)

    def lr_scheduler_step(self, scheduler, metric) -> None:
        """Also pass the training loss of the epoch to a schedule that monitors it, before a checkpoint is written."""
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

    @property
    def mean_loss(self) -> float:
        """Mean loss on this device since the last logging step; NaN if nothing was recorded."""
        loss, count = (math.nan, 1.0) if self._logged is None else self._logged.tolist()
        return loss / count if count > 0 else loss

    def forget_loss(self) -> None:
        """Forget the loss since the last logging step."""
        self._logged = None

    def on_fit_start(self) -> None:
        """Reset the state of an earlier fit.

        ConfigError for a warm-up longer than the training, and for processes with different precisions.
        """
        self._stop = False
        precision = str(self.trainer.precision)
        if (first := self.trainer.strategy.broadcast(precision)) != precision:
            raise ConfigError(
                f"this process has trainer.precision={precision}, the first one {first}: set the same in all processes"
            )
        schedule: Any = self.lr_schedulers()
        epochs = -1 if self.trainer.fast_dev_run else self.trainer.max_epochs
        if getattr(schedule, "interval", "step") == "epoch" and epochs is not None and 0 < epochs < schedule.warmup:
            raise ConfigError(
                f"scheduler.warmup={schedule.warmup} epochs are more than trainer.max_epochs={epochs}: reduce it"
            )

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        if batch_idx == 0:
            self._epoch = None
        if self.device.type in XLA_TYPES:  # None instead of a tensor would compile another program
            for name, shape, dtype in SUMS:
                if getattr(self, name) is None:
                    setattr(self, name, torch.zeros(shape, dtype=dtype).to(self.device))

    def epoch_loss(self) -> float:
        """Mean training loss of this epoch so far, over all devices; NaN before the first batch."""
        if self._epoch is None:
            return math.nan
        loss, count = self._over_devices(self._epoch).tolist()
        return loss / count if count > 0 else 0.0

    def _over_devices(self, sums: Tensor) -> Tensor:
        """The sums over all devices. They are copied first, since the reduction works in place."""
        if self.trainer.world_size == 1:
            return sums
        sums = sums.clone()
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self.trainer.strategy.reduce(sums, reduce_op="sum")
        torch.distributed.all_reduce(sums)  # Lightning's reduction would wait at a barrier first
        return sums

    def on_train_epoch_end(self) -> None:
        if self._epoch is not None:
            self.log(EPOCH_LOSS, self.epoch_loss(), batch_size=1)

    def on_train_end(self) -> None:
        self.share_work()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Turn the gradient of the sum into that of the mean, before clipping.

        Lightning divides the loss by the number of accumulated batches, and DDP averages over devices: undo both.
        """
        if self._step_count is None:
            raise TrimerError(f"training_step of task={type(self).__name__} must return self.record_loss(loss, count)")
        count = self._over_devices(self._step_count)
        world = self.trainer.world_size
        factor = self.trainer.accumulate_grad_batches * world / torch.where(count > 0, count, 1.0)
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)
        self.gradient_factor = factor
        self._step_count = None

    def on_train_batch_end(self, outputs, batch, batch_idx: int) -> None:
        """Log the mean loss of all devices since the last logging step.

        A run that should stop finishes its step first, since checkpoints do not hold the gradients of half a step.
        """
        trainer = self.trainer
        accumulating = trainer.fit_loop.epoch_loop._should_accumulate()
        self._stop |= trainer.should_stop
        trainer.should_stop = self._stop and not accumulating
        if accumulating or self._logged is None:
            return
        if trainer.global_step % trainer.log_every_n_steps == 0:
            total, count = self._over_devices(self._logged).tolist()  # the only wait for the device
            loss = total / count if count > 0 else total
            if not math.isfinite(loss):
                raise TrimerError(
                    f"the training loss is {loss} at step {trainer.global_step}: lower optimizer.lr, lengthen "
                    "the warm-up or set trainer.gradient_clip_val; checkpoints/ holds the last weights that were saved"
                )
            optimizer: Any = self.optimizers()
            self.log_dict({"train/loss": loss, "lr": optimizer.param_groups[0]["lr"]}, prog_bar=True, batch_size=1)
            self._logged = None

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the whole split."""
        self.log_validation(self.split_metrics())

    @torch.no_grad()
    def evaluate(self, batches: Iterable) -> dict[str, float]:
        """The defined metrics of a validation over these batches, on this device only."""
        device, training = next(self.net.parameters()).device, self.net.training
        metrics = [module for module in self.modules() if isinstance(module, Metric)]
        availability = [metric.distributed_available_fn for metric in metrics]
        self.net.eval()
        try:
            for metric in metrics:
                metric.reset()
                metric.distributed_available_fn = None
            for number, batch in enumerate(batches):
                self.validation_step(self.transfer_batch_to_device(batch, device, 0), number)
            values = self.split_metrics()
        finally:
            self.net.train(training)
            for metric, available in zip(metrics, availability, strict=True):
                metric.distributed_available_fn = available
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}

    def property_of(self, data: Any) -> str:
        """The name of the predicted property, for tables."""
        return data.kind

    def log_validation(self, values: Mapping[str, float | Tensor]) -> None:
        """Log the metrics of a validation as `val/<name>`, and pass the monitored one to the schedule."""
        self.validated = {name: float(value) for name, value in values.items()}
        named = {f"val/{name}": value for name, value in self.validated.items()}
        self.log_dict(named, prog_bar=True)
        fitting = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        schedule: Any = self.lr_schedulers() if fitting else None
        if hasattr(schedule, "observe") and schedule.monitor != EPOCH_LOSS:
            if schedule.monitor not in named:
                known = ", ".join([*sorted(named), EPOCH_LOSS])
                raise ConfigError(
                    f"scheduler.monitor={schedule.monitor} is not a metric of this task: use one of {known}"
                )
            schedule.observe(float(named[schedule.monitor]))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Add the contract, which rebuilds network and tokenizer from the file alone, and the sums of all devices."""
        if "format" in (self.contract or {}):
            checkpoint["trimer"] = self.contract
        checkpoint["training_keys"] = self.training_keys
        checkpoint["work"] = dict(self.share_work())
        checkpoint["logged"] = None if self._logged is None else self._over_devices(self._logged).tolist()
        checkpoint["epoch_sums"] = None if self._epoch is None else self._over_devices(self._epoch).tolist()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Restore the sums over all devices: the first device continues them, the others start from zero."""
        first = self.trainer.global_rank == 0
        self.total_work = Counter(checkpoint["work"])
        self.work = Counter({name: value if first else 0 for name, value in self.total_work.items()})

        def sums(name: str, dtype: torch.dtype) -> Tensor | None:
            saved = checkpoint.get(name)
            return saved and torch.tensor(saved if first else [0.0, 0.0], dtype=dtype, device=self.device)

        self._logged, self._epoch = sums("logged", torch.float32), sums("epoch_sums", torch.float64)
