"""A checkpoint folder of another source cannot run code: not by its index, its values or its plain part."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint import save
from torch.distributed.checkpoint.metadata import Metadata

from trimer.checkpoint import KEYS, load, read
from trimer.checkpoint_index import load_shards, read_index
from trimer.errors import CheckpointError

CONTRACT = {"format": 1, **{key: {} for key in KEYS[1:]}, "kind": "trimer.tasks.masked_lm.MaskedLM"}


class Evil:
    """An object whose unpickling creates a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def state() -> dict:
    weights = {"net.weight": torch.arange(12.0).reshape(3, 4), "net.bias": torch.ones(3, dtype=torch.bfloat16)}
    groups = [{"lr": 0.25, "betas": (0.9, 0.99), "name": "all", "foreach": None, "params": ["net.weight"]}]
    moments = {"net.weight": {"step": torch.tensor(3.0), "exp_avg": torch.full((3, 4), 0.5)}}
    return {"state_dict": weights, "optimizer_0": {"state": moments, "param_groups": groups}}


def write_folder(folder: Path, content: dict, plain: dict | None = None) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.distributed is not initialized
        save(content, checkpoint_id=folder)
    torch.save({"trimer": CONTRACT} if plain is None else plain, folder / "meta.pt")
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "last.ckpt", state())


def change_index(folder: Path, change) -> None:
    """Rewrite the index as PyTorch would write it, after `change(index)`."""
    index = pickle.loads((folder / ".metadata").read_bytes())
    change(index)
    (folder / ".metadata").write_bytes(pickle.dumps(index))


def test_an_honest_folder_is_read_whole(folder):
    weights = read(folder)["state_dict"]
    assert weights.keys() == state()["state_dict"].keys()
    assert all(torch.equal(weights[name], value) for name, value in state()["state_dict"].items())
    assert weights["net.bias"].dtype == torch.bfloat16


def test_values_of_the_optimizer_are_read(folder):
    loaded = state()
    loaded["optimizer_0"]["param_groups"][0] |= {"lr": 0.0, "betas": (0, 0), "name": "", "foreach": True}
    loaded["optimizer_0"]["state"]["net.weight"]["exp_avg"].zero_()
    load_shards(loaded, folder, no_dist=True)
    assert loaded["optimizer_0"]["param_groups"] == state()["optimizer_0"]["param_groups"]
    assert torch.equal(loaded["optimizer_0"]["state"]["net.weight"]["exp_avg"], torch.full((3, 4), 0.5))


def test_the_index_agrees_with_pytorch(folder):
    index, expected = read_index(folder), pickle.loads((folder / ".metadata").read_bytes())
    assert index.state_dict_metadata == expected.state_dict_metadata
    assert index.storage_data == expected.storage_data
    assert index.planner_data == expected.planner_data and index.version == expected.version


@pytest.mark.parametrize("inside", ["alone", "as a field"])
@pytest.mark.parametrize("reader", [read, load])
def test_an_index_that_would_run_code_is_rejected(folder, tmp_path, reader, inside):
    created = tmp_path / "created"
    if inside == "alone":
        (folder / ".metadata").write_bytes(pickle.dumps(Evil(created)))
    else:
        change_index(folder, lambda index: setattr(index, "planner_data", {"x": Evil(created)}))
    with pytest.raises(CheckpointError, match=r"last\.ckpt/\.metadata is rejected: it names .*mkdir.* could run code"):
        reader(folder)
    assert not created.exists()


def test_a_value_or_plain_part_that_would_run_code_is_rejected(tmp_path):
    created = tmp_path / "created"
    content = state()
    content["optimizer_0"]["param_groups"][0]["lr"] = Evil(created)
    folder = write_folder(tmp_path / "value.ckpt", content)
    with pytest.raises(CheckpointError, match=r"value\.ckpt .*could run code") as caught:
        load_shards(state(), folder, no_dist=True)
    assert "weights_only" not in str(caught.value)
    folder = write_folder(tmp_path / "plain.ckpt", state(), {"trimer": CONTRACT, "x": Evil(created)})
    with pytest.raises(CheckpointError, match=r"plain\.ckpt .*meta\.pt .*could run code") as caught:
        read(folder)
    assert "weights_only" not in str(caught.value)
    assert not created.exists()


def test_an_index_cannot_change_classes(folder):
    """The operation that sets the state of an object, applied to a class, would set attributes of the class."""
    name = b"ctorch.distributed.checkpoint.metadata\nMetadata\n"
    (folder / ".metadata").write_bytes(b"\x80\x04" + name + b"N}X\x06\x00\x00\x00hackedI1\ns\x86b.")
    with pytest.raises(CheckpointError, match=r"\.metadata is"):
        read(folder)
    assert not hasattr(Metadata, "hacked")


def test_descriptions_that_do_not_fit_the_shards_are_rejected(folder):
    original = (folder / ".metadata").read_bytes()

    def huge(index):
        index.state_dict_metadata["state_dict.net.weight"].size = torch.Size([1 << 40, 1 << 20])

    def outside(index):
        next(iter(index.storage_data.values())).relative_path = "../other.distcp"

    def absent(index):
        next(iter(index.storage_data.values())).relative_path = "__9_0.distcp"

    def wrong_type(index):
        index.state_dict_metadata["state_dict.net.weight"].size = "12"

    for change, words in (
        (huge, r"it describes tensors of [\d,]+ bytes, but its shards have"),
        (outside, "outside its folder"),
        (absent, r"__9_0\.distcp cannot be read"),
        (wrong_type, "size of a TensorStorageMetadata has the wrong type"),
    ):
        change_index(folder, change)
        with pytest.raises(CheckpointError, match=words) as caught:
            read(folder)
        assert str(folder) in str(caught.value)
        (folder / ".metadata").write_bytes(original)
    read(folder)


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({}), pickle.dumps([1])])
def test_a_damaged_index_is_reported(folder, content):
    (folder / ".metadata").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.ckpt/\.metadata is (damaged|rejected)"):
        read(folder)


def test_damaged_shards_are_reported(folder):
    (shard,) = folder.glob("*.distcp")
    shard.write_bytes(b"\0" * shard.stat().st_size)
    with pytest.raises(CheckpointError, match=r"last\.ckpt is a checkpoint folder whose shards cannot be read"):
        read(folder)
