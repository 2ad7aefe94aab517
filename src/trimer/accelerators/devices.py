"""Lightning classes for TPUs: accelerators, strategies, precision and checkpoints of torch_tpu and torch-xla."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.accelerators import Accelerator, XLAAccelerator
from lightning.pytorch.plugins.io import XLACheckpointIO
from lightning.pytorch.plugins.precision import XLAPrecision
from lightning.pytorch.strategies import SingleDeviceXLAStrategy

from trimer.callbacks.checkpoints import WholeFiles


class OneDevice:
    """The methods of a Lightning accelerator for a single device of the type `kind`."""

    kind: ClassVar[str]

    @staticmethod
    def parse_devices(devices: Any) -> int:
        return int(devices)

    @classmethod
    def get_parallel_devices(cls, devices: int) -> list[torch.device]:
        return [torch.device(cls.kind, index) for index in range(devices)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True  # checked by `trimer.accelerators.stacks.check_device`


class TorchTPU(OneDevice, Accelerator):
    """A TPU chip through torch_tpu, which Lightning does not support."""

    kind = "tpu"

    def setup_device(self, device: torch.device) -> None:
        import torch_tpu  # noqa: F401 - registers the device type

    def teardown(self) -> None:
        pass

    @staticmethod
    def name() -> str:
        return "torch_tpu"


class XLADevice(OneDevice, XLAAccelerator):  # type: ignore[misc]  # its staticmethods are wrapped
    """One XLA device, a TPU chip or the CPU; Lightning's accelerator supports TPU chips only."""

    kind = "xla"


class XLAFiles(WholeFiles, XLACheckpointIO):
    """Complete checkpoint files or none, with all tensors on the CPU."""

    def save_checkpoint(self, checkpoint: dict, path: str | Path, storage_options=None) -> None:
        import torch_xla.core.xla_model as xm

        super().save_checkpoint(xm._maybe_convert_to_cpu(checkpoint, convert=True), path, storage_options)


class XLAMixed(XLAPrecision):
    """`bf16-mixed`: weights and sums in fp32, matrix products in bf16. Lightning only has `bf16-true` for XLA."""

    def __init__(self) -> None:
        super().__init__("32-true")
        self.precision = "bf16-mixed"

    def forward_context(self) -> AbstractContextManager:
        return torch.autocast("xla", dtype=torch.bfloat16)


class XLAStrategy(SingleDeviceXLAStrategy):
    """Executes pending XLA operations before each training step and after each validation batch.

    XLA compiles all operations since the last execution into one program. Without this, operations pending from a
    validation or a logger would change the program of the next step, and a whole validation would be one program.
    """

    def setup(self, trainer: Any) -> None:
        import torch_xla.core.xla_model as xm

        super().setup(trainer)
        xm.set_rng_state(torch.initial_seed())  # XLA has a separate random number generator

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        import torch_xla

        torch_xla.sync()
        return super().training_step(*args, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        import torch_xla

        output = super().validation_step(*args, **kwargs)
        torch_xla.sync()
        return output

    def on_validation_end(self) -> None:
        import torch_xla

        super().on_validation_end()
        torch_xla.sync()
