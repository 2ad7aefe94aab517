"""Reading a checkpoint that is a folder of shards (`trimer.accelerators.sharded_checkpoints`) in one process."""

from __future__ import annotations

from pathlib import Path

import torch

PLAIN = "meta.pt"  # all but weights and optimizer; Lightning's name


def is_sharded(path: Path) -> bool:
    """Whether this is a folder of shards."""
    return (path / PLAIN).is_file() and (path / ".metadata").is_file()


def read_sharded(path: Path) -> dict:
    """The content but for the state of the optimizer, with whole weights."""
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.default_planner import _EmptyStateDictPlanner
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

    weights: dict = {}
    planner = _EmptyStateDictPlanner(keys={"state_dict"})  # as torch.distributed.checkpoint.format_utils reads all
    _load_state_dict(weights, FileSystemReader(path), planner=planner, no_dist=True)
    return torch.load(path / PLAIN, map_location="cpu", weights_only=True) | weights
