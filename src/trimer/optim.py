"""Parameter groups, optimizers and learning rate schedules.

The length of a schedule is set by the config (`trainer.max_steps`), not estimated by the trainer: an estimate would
change when a run is resumed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from trimer.accelerators.stacks import XLA_TYPES
from trimer.errors import ConfigError
from trimer.orthogonal import orthogonal

EPOCH_LOSS = "train/loss_epoch"
INTERVALS = ("step", "epoch")
FUSED = {"query_key_value": 3, "key_value": 2}  # linear layer: number of matrices that its weight stacks


def parameter_groups(
    net: nn.Module, weight_decay: float, scales: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """Parameters in two groups: `matrices` with weight decay, and `rest` without: norms, biases and embeddings.

    A weight shared by an embedding and an output layer counts as an embedding. Frozen parameters are left out.
    `parts` of a group is the number of matrices that each of its parameters stacks: 3 for queries, keys and values.
    scales: factors of the learning rate, by id of the parameter; they make two groups per `scale`, the highest first.
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
    groups: list[dict[str, Any]] = [
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


def depth_scales(net: Any, decay: float) -> dict[int, float]:
    """Learning rate factor of each parameter of an encoder with a head, by id of the parameter.

    The head has 1, the last block `decay`, each block below it `decay` times the factor of the block above, and so has
    the embedding below the first block (Howard and Ruder 2018).
    """
    blocks = len(net.layers)
    scales = {id(parameter): decay ** (blocks + 1) for parameter in net.parameters()}
    norm = getattr(net.encoder, "norm", None)
    for number, block in enumerate(net.layers):
        scales |= {id(parameter): decay ** (blocks - number) for parameter in block.parameters()}
    if norm is not None:
        scales |= {id(parameter): decay for parameter in norm.parameters()}
    return scales | {id(parameter): 1.0 for parameter in net.head.parameters()}


def weight_decay(factory: Callable[..., torch.optim.Optimizer]) -> float:
    """The weight decay that an optimizer factory sets, else the default of the optimizer."""
    keywords = getattr(factory, "keywords", {})
    if "weight_decay" in keywords:
        return keywords["weight_decay"]
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
    """AdamW (Loshchilov and Hutter 2019), by default as one fused kernel, except on XLA devices, which have none."""
    params = list(params)
    first = params[0]["params"][0] if isinstance(params[0], dict) else params[0]
    beta1, beta2 = betas
    fused = fused and first.device.type not in XLA_TYPES
    optimizer = torch.optim.AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=fused)
    # Lightning does not clip gradients for optimizers that can undo the fp16 loss scaling, as fused ones can. Without
    # this attribute the gradients are unscaled and clipped first, as with any other optimizer.
    optimizer._step_supports_amp_scaling = False
    return optimizer


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024) for the group `matrices` of `parameter_groups`, AdamW for all other parameters.

    The momentum of a matrix is orthogonalised and scaled to the size of an AdamW update
    (https://arxiv.org/abs/2502.16982), so suitable values of `lr` are similar to those of AdamW. precision: as
    trainer.precision; products are computed in bf16 if it is bf16, else in fp32. separate_qkv: orthogonalise queries,
    keys and values of a layer separately. shared: if several processes train one model, each orthogonalises a share of
    the matrices.
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
            raise ConfigError(
                "optimizer=muon updates matrices only, and this model has weights of more than two dimensions: use "
                "optimizer=adamw"
            )
        others = [group for group in groups if group.get("name") != "matrices"]
        self.dtype = torch.bfloat16 if str(precision).startswith("bf16") else torch.float32
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.adamw = (
            torch.optim.AdamW(others, lr=adamw_lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)
            if others
            else None
        )
        adamw_groups = self.adamw.param_groups if self.adamw else []
        super().__init__([{**defaults, **group} for group in matrices] + adamw_groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of Muon and AdamW; AdamW uses the groups and the state of this optimizer, which are saved."""
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
        updated = [(p, n) for p, n in zip(group["params"], parts, strict=True) if p.grad is not None]
        momenta = [self._momentum(parameter, parameter.grad, group["momentum"]) for parameter, _ in updated]
        updates = orthogonal(momenta, self.dtype, [n for _, n in updated], self.shared)
        for (parameter, n), update in zip(updated, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            longest = max(parameter.shape[0] // n, parameter.shape[1])
            parameter.add_(update, alpha=-group["lr"] * 0.2 * longest**0.5)

    def _momentum(self, parameter: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """The running mean of the gradient with Nesterov momentum."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def warmup_cosine(
    optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.05, min_lr_ratio: float = 0.1
) -> LambdaLR:
    """Linear warm-up over `warmup` (steps, or a fraction of `total_steps` if below 1), then cosine decay.

    min_lr_ratio: final learning rate as a fraction of the peak.
    """
    return _schedule(optimizer, total_steps, warmup, min_lr_ratio, lambda x: (1 + math.cos(math.pi * x)) / 2)


def warmup_linear(
    optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.05, min_lr_ratio: float = 0.0
) -> LambdaLR:
    """Linear warm-up as in `warmup_cosine`, then linear decay to `min_lr_ratio` of the peak."""
    return _schedule(optimizer, total_steps, warmup, min_lr_ratio, lambda x: 1 - x)


def warmup_constant(optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.05) -> LambdaLR:
    """Linear warm-up as in `warmup_cosine`, then a constant learning rate."""
    return _schedule(optimizer, total_steps, warmup, 0.0, lambda x: 1.0)


class WarmupPlateau(LambdaLR):
    """Linear warm-up over `warmup` steps to the peak, then a reduction by `factor` whenever the metric stops improving.

    interval: unit of `warmup`, "step" or "epoch". With "epoch" the rate changes between epochs only: in epoch e, from
    0, it is peak * min((e + 1) / warmup, 1), for any number of batches and devices.
    monitor, mode: the metric, and whether lower ("min") or higher ("max") values are better: a validation metric, or
    `train/loss_epoch`, the mean training loss of an epoch. patience: evaluations without an improvement of more than
    `min_delta` before the rate is reduced at the next one, counted from the last improvement or reduction. Evaluations
    during the warm-up are not counted. The task passes each value to `observe`.
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
            raise ConfigError(
                f"scheduler.warmup={warmup}, patience={patience}, min_delta={min_delta} must all be 0 or more"
            )
        if mode not in ("min", "max") or not 0 < factor < 1 or not 0 <= min_lr_ratio <= 1:
            raise ConfigError(
                "scheduler: mode must be min or max, factor must lie between 0 and 1, min_lr_ratio from 0 to 1"
            )
        if interval not in INTERVALS:
            raise ConfigError(f"scheduler.interval={interval} must be one of {', '.join(INTERVALS)}")
        if monitor == EPOCH_LOSS and interval != "epoch":
            raise ConfigError(f"scheduler.monitor={monitor} is computed once per epoch: set scheduler.interval=epoch")
        self.warmup, self.monitor, self.mode, self.interval = warmup, monitor, mode, interval
        self.factor, self.patience, self.min_delta, self.min_lr_ratio = factor, patience, min_delta, min_lr_ratio
        self.share, self.best, self.waited = 1.0, math.inf, 0
        super().__init__(optimizer, self._share_at)

    def _share_at(self, step: int) -> float:
        length = self.warmup + (self.interval == "step")  # in epochs, the last one of the warm-up already has the peak
        return min((step + 1) / max(length, 1), 1.0) * self.share  # above 0 in the first step

    def observe(self, value: float) -> None:
        """Update the state with the metric of a validation or an epoch."""
        if self.last_epoch < self.warmup + (self.interval == "epoch"):  # the epoch that just ended is counted
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
    """shape: progress after the warm-up (0 to 1) -> learning rate between the final value (0) and the peak (1)."""
    if total_steps < 1:
        raise ConfigError(
            f"scheduler.total_steps is {total_steps}: set trainer.max_steps=<number of steps>, or use a schedule in "
            "epochs: scheduler=warmup_plateau scheduler.interval=epoch"
        )
    if not (warmup >= 0 and 0 <= min_lr_ratio <= 1):
        raise ConfigError(f"scheduler.warmup={warmup} must be 0 or more, and min_lr_ratio={min_lr_ratio} from 0 to 1")
    warmup_steps = round(warmup * total_steps) if warmup < 1 else round(warmup)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)  # above 0 in the first step
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return min_lr_ratio + (1 - min_lr_ratio) * shape(progress)

    return LambdaLR(optimizer, factor)
