"""Keys that are added to a checkpoint after its training: calibration, and what predictions are compared with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trimer.checkpoint_shards import PLAIN, is_sharded
from trimer.errors import CheckpointError
from trimer.pretrained.packed import is_packed

log = logging.getLogger(__name__)


def check_can_update(path: Path) -> None:
    """CheckpointError for a packed checkpoint, whose files are not changed."""
    if is_packed(path):
        raise CheckpointError(
            f"{path} is a packed checkpoint, which is not changed: calibrate the checkpoint of its training run, and "
            "pack that again"
        )


def update_checkpoint(path: Path, keys: Mapping[str, Any]) -> None:
    """Add or replace keys of a checkpoint; the file is complete at any time. path: a file or a folder of shards.

    The weights in a folder of shards are not replaced: their key is left out with a warning.
    """
    from trimer.callbacks.checkpoints import WholeFiles

    check_can_update(path)
    file, keys = path, dict(keys)
    if is_sharded(path):
        file = path / PLAIN
        if keys.pop("state_dict", None) is not None:
            log.warning("%s is a folder of shards: temperature and thresholds are not stored in it", path)
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    WholeFiles().save_checkpoint({**checkpoint, **keys}, file)
