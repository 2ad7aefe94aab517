"""Keys added to a checkpoint."""

from __future__ import annotations

import pytest
import torch

from trimer.checkpoint_shards import PLAIN
from trimer.checkpoint_updates import update_checkpoint
from trimer.errors import CheckpointError
from trimer.pretrained.packed import WEIGHTS
from trimer.pretrained.registry import MODEL


def test_other_keys_of_a_file_are_kept(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"w": torch.ones(2)}, "epoch": 3, "calibration": 1}, path)
    update_checkpoint(path, {"calibration": {"spectra": 5}})
    again = torch.load(path, weights_only=True)
    assert again["epoch"] == 3 and again["calibration"] == {"spectra": 5} and again["state_dict"]["w"].sum() == 2
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_packed_checkpoint_is_not_changed(tmp_path):
    for name in (MODEL, WEIGHTS):
        (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError, match="is a packed checkpoint, which is not changed"):
        update_checkpoint(tmp_path, {"calibration": 2})
    assert (tmp_path / WEIGHTS).read_text() == "{}"


def test_the_weights_of_a_folder_of_shards_are_not_touched(tmp_path):
    folder = tmp_path / "last.ckpt"
    folder.mkdir()
    (folder / ".metadata").write_bytes(b"shards")
    torch.save({"epoch": 3}, folder / PLAIN)
    update_checkpoint(folder, {"calibration": 2, "state_dict": {}})
    assert torch.load(folder / PLAIN, weights_only=True) == {"epoch": 3, "calibration": 2}
    assert (folder / ".metadata").read_bytes() == b"shards"
