"""Lightning's trainer on GPUs or the CPU with batches of one shape, so that whole blocks of a network are compiled."""

from __future__ import annotations

from typing import Any

import lightning as L

from trimer.errors import ConfigError


class StaticGpuTrainer(L.Trainer):
    """A Trainer whose data loaders give batches of one shape, with which `task.compile=true` compiles whole blocks.

    row_length: tokens in a row of a batch, None for the shortest one that can be filled well. cuda_graphs: run the
    kernels of a compiled block as one CUDA graph, on one GPU. settings: arguments of Lightning's Trainer.
    """

    def __init__(self, row_length: int | None, cuda_graphs: bool, **settings: Any):
        if row_length is not None and row_length < 1:
            raise ConfigError(f"trainer.row_length={row_length} must be 1 or more, or null")
        expected = {"accelerator": ("gpu", "cuda"), "devices": (1,), "num_nodes": (1,), "strategy": ("auto",)}
        for name, values in expected.items() if cuda_graphs else ():
            if settings.get(name, values[0]) not in values:
                raise ConfigError(
                    f"trainer.cuda_graphs=true runs on one GPU: it needs trainer.{name}={values[0]}, not "
                    f"{settings[name]}"
                )
        self.row_length, self.cuda_graphs = row_length, cuda_graphs
        super().__init__(**settings)
