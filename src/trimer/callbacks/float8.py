"""Products of a training in FP8, by torchao, on GPUs that have them."""

from __future__ import annotations

from dataclasses import replace

import lightning as L
import torch
from torch import nn

from trimer.errors import ConfigError

SMALLEST_CAPABILITY = (8, 9)  # Ada and Hopper
RECIPES = ("tensorwise", "rowwise")
MULTIPLE = 16  # rows and columns of a weight


class Float8(L.Callback):
    """Compute the linear layers of the blocks in FP8 while training; weights, and their names, stay as they are.

    It goes with trainer.precision=bf16-mixed and task.compile=true, without which the rounding costs more than the
    products save. recipe: torchao's name of how values are scaled, `tensorwise` (fastest) or `rowwise` (more exact).
    emulate: compute with rounded values in the usual products, on any device; slow, for tests.
    """

    def __init__(self, recipe: str = "tensorwise", emulate: bool = False) -> None:
        if recipe not in RECIPES:
            raise ConfigError(f"callbacks.float8.recipe={recipe} is not one of {', '.join(RECIPES)}")
        self.recipe, self.emulate = recipe, emulate

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        device = trainer.strategy.root_device
        if not self.emulate:
            check_fp8(device)
        use_float8(module.net, self.recipe, self.emulate)


def check_fp8(device: torch.device) -> None:
    """ConfigError unless the device multiplies in FP8."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= SMALLEST_CAPABILITY:
        return
    here = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the device {device.type}"
    raise ConfigError(
        f"callbacks=float8 needs a GPU with FP8 products (H100, H200, L4, RTX 40 or newer), and {here} has none: train "
        "without it"
    )


def use_float8(net: nn.Module, recipe: str, emulate: bool) -> None:
    """Let the linear layers inside the blocks of a network compute in FP8, in place."""
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    except ImportError as error:
        raise ConfigError("callbacks=float8 needs torchao: pip install torchao") from error
    config = replace(Float8LinearConfig.from_recipe_name(recipe), emulate=emulate)
    for blocks in net.modules():
        if isinstance(blocks, nn.ModuleList):
            convert_to_float8_training(blocks, module_filter_fn=fits_fp8, config=config)


def fits_fp8(module: nn.Module, name: str) -> bool:
    """Whether FP8 products can take the weight of a linear layer."""
    return module.in_features % MULTIPLE == 0 and module.out_features % MULTIPLE == 0
