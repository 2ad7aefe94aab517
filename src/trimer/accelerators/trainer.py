"""Lightning's trainer on TPU chips, or on the CPU through XLA, with batches of one shape."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy

from trimer.accelerators.stacks import STATIC, TORCH_TPU, check_device
from trimer.callbacks.checkpoints import WholeFiles
from trimer.errors import ConfigError

PRECISIONS = ("bf16-mixed", "32-true")


class StaticTrainer(L.Trainer):
    """A Trainer whose data loaders give batches of one shape, which an XLA device compiles once.

    precision: "bf16-mixed" or "32-true". accelerator: "tpu" or "xla_cpu". devices: chips of each host. num_nodes: hosts
    of a pod slice. row_length: tokens in a row, null for the shortest one that can be filled well; each chip has
    data.tokens_per_batch / row_length rows of a batch. settings: arguments of Lightning's Trainer, without strategy and
    plugins. ConfigError if the device or its software is missing.
    """

    def __init__(
        self,
        precision: str,
        accelerator: str = "tpu",
        devices: int = 1,
        num_nodes: int = 1,
        strategy: str = "auto",
        plugins: list | None = None,
        row_length: int | None = None,
        **settings: Any,
    ):
        if accelerator not in STATIC:
            raise ConfigError(f"trainer.accelerator={accelerator} must be {' or '.join(STATIC)} with trainer=tpu")
        if precision not in PRECISIONS:
            raise ConfigError(f"trainer.precision={precision} must be {' or '.join(PRECISIONS)} on a TPU")
        if strategy != "auto":
            raise ConfigError(f"trainer.strategy={strategy}: trainer={accelerator} has its own, with strategy=auto")
        for name, value in (("devices", devices), ("num_nodes", num_nodes)):
            if value < 1:
                raise ConfigError(f"trainer.{name}={value} must be 1 or more")
        if row_length is not None and row_length < 1:
            raise ConfigError(f"trainer.row_length={row_length} must be 1 or more, or null")
        self.row_length = row_length
        self.chips = devices * num_nodes
        # The strategy writes checkpoints itself, so it replaces the plugin `WholeFiles`.
        plugins = [plugin for plugin in plugins or [] if not isinstance(plugin, WholeFiles)]
        if check_device(accelerator, devices, num_nodes) == TORCH_TPU:
            backend = _torch_tpu(precision)
        else:
            backend = _torch_xla(accelerator, precision, devices, num_nodes)
        super().__init__(**backend, devices=1, plugins=plugins, **settings)


def _torch_tpu(precision: str) -> dict[str, Any]:
    """Accelerator and strategy of torch_tpu."""
    from trimer.accelerators.devices import TorchTPU

    mixed = MixedPrecision("bf16-mixed", "tpu") if precision == "bf16-mixed" else None
    strategy = SingleDeviceStrategy("tpu:0", checkpoint_io=WholeFiles(), precision_plugin=mixed)
    return {"accelerator": TorchTPU(), "strategy": strategy}


def _torch_xla(accelerator: str, precision: str, devices: int, hosts: int) -> dict[str, Any]:
    """Accelerator and strategy of torch-xla."""
    from trimer.accelerators.devices import XLADevice, XLAFiles, XLAMixed, XLAPrecision, XLAStrategy

    plugin = XLAMixed() if precision == "bf16-mixed" else XLAPrecision("32-true")
    settings: dict[str, Any] = {"checkpoint_io": XLAFiles(), "precision_plugin": plugin}
    if devices * hosts == 1:
        return {"accelerator": XLADevice(), "strategy": XLAStrategy(0, **settings)}
    from trimer.accelerators.chips import ChipsStrategy, use_chips
    from trimer.accelerators.hosts import Hosts, first_address, host_rank

    use_chips(accelerator, devices, hosts)
    if hosts > 1:
        settings["hosts"] = Hosts(host_rank(accelerator), hosts, *first_address(accelerator))
    return {"accelerator": XLADevice(), "strategy": ChipsStrategy(devices * hosts, **settings)}
