"""Which parameters decay, the optimizers, and how the learning rate goes over a run.

The length of a schedule is a number of the config (`trainer.max_steps`), never an estimate of the trainer: an estimate
changes when a run is resumed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from trimer.errors import ConfigError
from trimer.orthogonal import orthogonal

EPOCH_LOSS = "train/loss_epoch"
INTERVALS = ("step", "epoch")
FUSED = {"query_key_value": 3, "key_value": 2}  # linear layers of that name hold so many matrices, one above the other


def parameter_groups(
    net: nn.Module, weight_decay: float, scales: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """Parameters in two groups, `matrices` that decay, and `rest` that do not: norms, biases and embeddings.

    A weight shared by an embedding and an output layer counts as an embedding. Frozen parameters are left out.
    `parts` of a group says how many matrices each of its parameters holds: 3 where queries, keys and values are one.
    scales: of the learning rate, by id of the parameter; then there are two groups for each `scale`, the highest first.
    """
    embeddings = {id(module.weight) for module in net.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))}
    parts = {
        id(module.weight): FUSED[name.rpartition(".")[2]]
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in FUSED
    }
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for parameter in net.parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and id(parameter) not in embeddings
            (matrices if decays else rest).append(parameter)
    groups = [
        {"name": "matrices", "params": matrices, "weight_decay": weight_decay},
        {"name": "rest", "params": rest, "weight_decay": 0.0},
    ]
    if scales is not None:
        groups = [
            {**group, "params": [p for p in group["params"] if scales[id(p)] == scale], "scale": scale}
            for scale in sorted(set(scales.values()), reverse=True)
            for group in groups
        ]
    for group in groups:
        if group["name"] == "matrices":
            group["parts"] = [parts.get(id(parameter), 1) for parameter in group["params"]]
    return [group for group in groups if group["params"]]


def depth_scales(net: nn.Module, decay: float) -> dict[int, float]:
    """Learning rate of each parameter of an encoder with a head, as a share of the head's, by id.

    The head has 1, the last block `decay`, each block below it `decay` times that, what is before the blocks once more
    (Howard and Ruder 2018).
    """
    blocks = len(net.layers)
    scales = {id(parameter): decay ** (blocks + 1) for parameter in net.parameters()}
    norm = getattr(net.encoder, "norm", None)
    for depth, parts in [(blocks - number, [block]) for number, block in enumerate(net.layers)]:
        scales |= {id(parameter): decay**depth for part in parts for parameter in part.parameters()}
    if norm is not None:
        scales |= {id(parameter): decay for parameter in norm.parameters()}
    return scales | {id(parameter): 1.0 for parameter in net.head.parameters()}


def weight_decay(factory: Callable[..., torch.optim.Optimizer]) -> float:
    """The weight decay that an optimizer factory sets, or else the default of what it calls."""
    if "weight_decay" in getattr(factory, "keywords", {}):
        return factory.keywords["weight_decay"]
    parameter = inspect.signature(factory).parameters.get("weight_decay")
    return 0.0 if parameter is None or parameter.default is parameter.empty else parameter.default


def adamw(
    params: Iterable[Any],
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.98),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    fused: bool = True,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019), by default as one fused kernel, which XLA does not have."""
    params = list(params)
    first = params[0]["params"][0] if isinstance(params[0], dict) else params[0]
    fused = fused and first.device.type not in ("xla", "tpu")
    optimizer = torch.optim.AdamW(params, lr=lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay, fused=fused)
    # Lightning refuses to clip gradients of optimizers that could undo the scaling of fp16 themselves, as fused ones
    # can. Without the mark the gradients are unscaled before, and clipped, as with any other optimizer.
    optimizer._step_supports_amp_scaling = False
    return optimizer


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024) for the group `matrices` of `parameter_groups`, AdamW for all other parameters.

    The momentum of a matrix is made orthogonal, and scaled to the size that AdamW's update would have
    (https://arxiv.org/abs/2502.16982), so `lr` is of AdamW's order too. precision: as trainer.precision; the products
    are in bf16 where it says so, else in fp32. separate_qkv: queries, keys and values of one layer are orthogonalised
    apart. shared: of several processes that train one model, each orthogonalises its share of the matrices.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        adamw_lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        precision: str = "32-true",
        separate_qkv: bool = False,
        shared: bool = True,
    ) -> None:
        self.separate_qkv, self.shared = separate_qkv, shared
        groups = [dict(group) if isinstance(group, dict) else {"params": [group]} for group in params]
        matrices = [group for group in groups if group.get("name") == "matrices"]
        if any(parameter.ndim != 2 for group in matrices for parameter in group["params"]):
            raise ConfigError("optimizer=muon updates matrices only; this model has weights of more dimensions")
        others = [group for group in groups if group.get("name") != "matrices"]
        self.dtype = torch.bfloat16 if str(precision).startswith("bf16") else torch.float32
        ours = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.adamw = (
            torch.optim.AdamW(others, lr=adamw_lr, betas=tuple(betas), eps=eps, weight_decay=weight_decay)
            if others
            else None
        )
        of_adamw = self.adamw.param_groups if self.adamw else []
        super().__init__([{**ours, **group} for group in matrices] + of_adamw, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; AdamW works on this optimizer's own groups and state, which are what is saved."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        matrices = [group for group in self.param_groups if group.get("name") == "matrices"]
        for group in matrices:
            self._update(group)
        if self.adamw is not None:
            self.adamw.param_groups, self.adamw.state = self.param_groups[len(matrices) :], self.state
            self.adamw.step()
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        parts = group["parts"] if self.separate_qkv and "parts" in group else [1] * len(group["params"])
        moved = [(p, n) for p, n in zip(group["params"], parts, strict=True) if p.grad is not None]
        momenta = [self._momentum(parameter, group["momentum"]) for parameter, _ in moved]
        updates = orthogonal(momenta, self.dtype, [n for _, n in moved], self.shared)
        for (parameter, n), update in zip(moved, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            longest = max(parameter.shape[0] // n, parameter.shape[1])
            parameter.add_(update, alpha=-group["lr"] * 0.2 * longest**0.5)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """The running mean of the gradient, looked at one step ahead (Nesterov)."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter.grad)
        mean = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(mean, momentum)


def warmup_cosine(
    optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.05, min_lr_ratio: float = 0.1
) -> LambdaLR:
    """Linear rise over `warmup` (steps, or a share of `total_steps` if below 1), then half a cosine down.

    min_lr_ratio: where it ends, as a share of the peak.
    """
    return _schedule(optimizer, total_steps, warmup, min_lr_ratio, lambda done: (1 + math.cos(math.pi * done)) / 2)


def warmup_linear(
    optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.05, min_lr_ratio: float = 0.0
) -> LambdaLR:
    """Linear rise as in `warmup_cosine`, then linear down to `min_lr_ratio` of the peak."""
    return _schedule(optimizer, total_steps, warmup, min_lr_ratio, lambda done: 1 - done)


def warmup_constant(optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Linear rise as in `warmup_cosine`, then the peak for good."""
    return _schedule(optimizer, total_steps, warmup, 0.0, lambda done: 1.0)


class WarmupPlateau(LambdaLR):
    """Linear rise over `warmup` steps to the peak and no higher; then `factor` times less whenever nothing improves.

    interval: what `warmup` counts. With "epoch" the rate rises between epochs only: in epoch e, from 0, it is
    peak * min((e + 1) / warmup, 1), however many batches and devices make an epoch.
    monitor, mode: the metric that is followed, and whether it is to fall ("min") or to rise: one of the validations,
    or `train/loss_epoch`, the mean loss of the training over an epoch. patience: values without an improvement by more
    than `min_delta` that are let pass before the rate falls at the next, counted from the last one that improved or
    the last fall. Values during the rise are not counted. The task tells it of each value (`observe`).
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        warmup: int,
        monitor: str = "val/loss",
        mode: str = "min",
        factor: float = 0.5,
        patience: int = 3,
        min_delta: float = 0.0,
        min_lr_ratio: float = 0.0,
        interval: str = "step",
    ):
        if warmup < 0 or patience < 0 or min_delta < 0:
            raise ConfigError("scheduler: warmup, patience and min_delta must not be negative")
        if mode not in ("min", "max") or not 0 < factor < 1 or not 0 <= min_lr_ratio <= 1:
            raise ConfigError("scheduler: mode is min or max, factor between 0 and 1, min_lr_ratio from 0 to 1")
        if interval not in INTERVALS:
            raise ConfigError(f"scheduler.interval={interval} must be one of {', '.join(INTERVALS)}")
        if monitor == EPOCH_LOSS and interval != "epoch":
            raise ConfigError(f"scheduler.monitor={monitor} is known once an epoch: set scheduler.interval=epoch")
        self.warmup, self.monitor, self.mode, self.interval = warmup, monitor, mode, interval
        self.factor, self.patience, self.min_delta, self.min_lr_ratio = factor, patience, min_delta, min_lr_ratio
        self.share, self.best, self.waited = 1.0, math.inf, 0
        super().__init__(optimizer, self._share_at)

    def _share_at(self, step: int) -> float:
        length = self.warmup + (self.interval == "step")  # in epochs the last of the rise has the peak already
        return min((step + 1) / max(length, 1), 1.0) * self.share  # the first step moves too

    def observe(self, value: float) -> None:
        """The metric of a validation, or of an epoch."""
        if self.last_epoch < self.warmup + (self.interval == "epoch"):  # the epoch has ended, and is counted
            return
        value = value if self.mode == "min" else -value
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.share, self.waited = max(self.share * self.factor, self.min_lr_ratio), 0
            for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
                group["lr"] = base * self._share_at(self.last_epoch)


def _schedule(
    optimizer: torch.optim.Optimizer,
    total_steps: int,
    warmup: float,
    min_lr_ratio: float,
    shape: Callable[[float], float],
) -> LambdaLR:
    """shape: from the share of the way after the warm-up, 0 to 1, to the share of the way from peak to floor."""
    if total_steps < 1:
        raise ConfigError(
            f"scheduler.total_steps is {total_steps}: give trainer.max_steps=<number of steps>, or "
            "count in epochs: scheduler=warmup_plateau scheduler.interval=epoch"
        )
    if not (warmup >= 0 and 0 <= min_lr_ratio <= 1):
        raise ConfigError("scheduler: warmup must not be negative, and min_lr_ratio must lie between 0 and 1")
    rise = round(warmup * total_steps) if warmup < 1 else round(warmup)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)  # the first step moves too
        done = min(1.0, (step - rise) / max(1, total_steps - rise))
        return min_lr_ratio + (1 - min_lr_ratio) * shape(done)

    return LambdaLR(optimizer, factor)
