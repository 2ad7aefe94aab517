"""Training with FP8 matrix products by torchao, on GPUs that support them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import nn

from trimer.errors import ConfigError

SMALLEST_CAPABILITY = (8, 9)  # Ada and Hopper
RECIPES = ("tensorwise", "rowwise")
MULTIPLE = 16  # of which rows and columns of a weight are multiples


class Float8(L.Callback):
    """Computes the linear layers of the blocks in FP8 during training; weights and their names do not change.

    Use it with trainer.precision=bf16-mixed and task.compile=true; otherwise the rounding costs more time than the
    products save. recipe: scaling in torchao, `tensorwise` (fastest) or `rowwise` (more accurate). emulate: round
    values, but compute the usual products, on any device; slow, for tests.
    """

    def __init__(self, recipe: str, emulate: bool) -> None:
        if recipe not in RECIPES:
            raise ConfigError(f"callbacks.float8.recipe={recipe} is not one of {', '.join(RECIPES)}")
        self.recipe, self.emulate = recipe, emulate

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        if stage != "fit":
            return
        device = trainer.strategy.root_device
        if not self.emulate:
            check_fp8(device)
        use_float8(module.net, self.recipe, self.emulate)


def check_fp8(device: torch.device) -> None:
    """ConfigError if the device does not support FP8 products."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= SMALLEST_CAPABILITY:
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the device {device.type}"
    raise ConfigError(
        f"callbacks=float8 needs a GPU with FP8 products (H100, H200, L4, RTX 40 or newer), and {name} has none: train "
        "without it"
    )


def use_float8(net: nn.Module, recipe: str, emulate: bool) -> None:
    """Replace the linear layers inside the blocks of a network by FP8 layers, in place."""
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    except ImportError as error:
        raise ConfigError("callbacks=float8 needs torchao: pip install torchao") from error
    # The gradient of a weight is a sum over all tokens of a batch, and kernels sum over multiples of 16 values only.
    config = replace(Float8LinearConfig.from_recipe_name(recipe), emulate=emulate, pad_inner_dim=True)
    for blocks in net.modules():
        if isinstance(blocks, nn.ModuleList):
            convert_to_float8_training(blocks, module_filter_fn=fits_fp8, config=config)


def fits_fp8(module: nn.Module, name: str) -> bool:
    """Whether the weight of a linear layer has a shape that FP8 products support."""
    return isinstance(module, nn.Linear) and module.in_features % MULTIPLE == 0 and module.out_features % MULTIPLE == 0
