"""Keys that are added to a checkpoint after its training: calibration, and what predictions are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trimer.checkpoint_shards import PLAIN, is_sharded


def update_checkpoint(path: Path, keys: Mapping[str, Any]) -> None:
    """Add or replace keys of a checkpoint; the file is complete at any time. path: a file or a folder of shards.

    A folder of shards keeps its weights: the key `state_dict` can only be replaced in a file.
    """
    from trimer.callbacks.checkpoints import WholeFiles

    file = path / PLAIN if is_sharded(path) else path
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    WholeFiles().save_checkpoint({**checkpoint, **keys}, file)
