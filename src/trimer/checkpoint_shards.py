"""Reading a checkpoint that is a folder of shards (`trimer.accelerators.sharded_checkpoints`) in one process."""

from __future__ import annotations

from pathlib import Path

import torch

PLAIN = "meta.pt"  # everything except weights and optimizer; Lightning's name


def is_sharded(path: Path) -> bool:
    """Whether a path is a checkpoint folder of shards."""
    return (path / PLAIN).is_file() and (path / ".metadata").is_file()


def read_sharded(path: Path) -> dict:
    """The content of a sharded checkpoint, with whole weights and without the state of the optimizer."""
    # Imported here, because only few checkpoints are folders.
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    from trimer.checkpoint_index import load_shards, read_index

    prefix, weights = "state_dict.", {}
    for name, saved in read_index(path).state_dict_metadata.items():
        if name.startswith(prefix) and isinstance(saved, TensorStorageMetadata):
            weights[name.removeprefix(prefix)] = torch.empty(saved.size, dtype=saved.properties.dtype)
    load_shards({"state_dict": weights}, path, no_dist=True)
    return torch.load(path / PLAIN, map_location="cpu", weights_only=True) | {"state_dict": weights}
