"""Folders of shards: resuming runs no code of theirs, and errors of writing them reach the user."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

from tests.test_checkpoint_index import CONTRACT, Evil, write_folder
from trimer.accelerators import sharded_checkpoints
from trimer.accelerators.sharded_checkpoints import AsyncShardsStrategy, ShardedModelStrategy, check_resumable
from trimer.errors import CheckpointError, ConfigError
from trimer.run import RunFolder


def trained(steps: int, lr: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(steps)
    net = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    for _ in range(steps):
        net(torch.ones(3)).sum().backward()
        optimizer.step()
    return net, optimizer


@pytest.fixture
def folder(tmp_path):
    net, optimizer = trained(3, lr=0.1)
    content = {
        "state_dict": get_model_state_dict(net),
        "optimizer_0": get_optimizer_state_dict(net, optimizer),
    }
    return write_folder(tmp_path / "last.ckpt", content, {"trimer": CONTRACT, "global_step": 3})


@pytest.fixture(params=[ShardedModelStrategy, AsyncShardsStrategy])
def strategy(request):
    strategy = request.param(data_parallel_size=None)
    strategy.model, optimizer = trained(1, lr=0.5)
    strategy._lightning_module = SimpleNamespace(strict_loading=True)
    strategy._optimizers = [optimizer]
    return strategy


def test_weights_and_optimizer_are_resumed(folder, strategy):
    checkpoint = strategy.load_checkpoint(folder, weights_only=False)
    net, optimizer = trained(3, lr=0.1)
    assert checkpoint == {"trimer": CONTRACT, "global_step": 3}
    assert all(torch.equal(a, b) for a, b in zip(strategy.model.parameters(), net.parameters(), strict=True))
    (resumed,) = strategy.optimizers
    assert resumed.param_groups[0]["lr"] == 0.1
    for theirs, ours in zip(resumed.state.values(), optimizer.state.values(), strict=True):
        assert theirs["step"] == 3 and torch.equal(theirs["exp_avg"], ours["exp_avg"])


def test_resuming_runs_no_code_of_the_folder(folder, strategy, tmp_path):
    (folder / ".metadata").write_bytes(pickle.dumps(Evil(tmp_path / "created")))
    with pytest.raises(CheckpointError, match=r"last\.ckpt/\.metadata is rejected"):
        strategy.load_checkpoint(folder, weights_only=False)
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("kind", [FSDPStrategy, ModelParallelStrategy, SingleDeviceStrategy])
def test_strategies_of_lightning_do_not_read_folders(folder, kind, strategy):
    with pytest.raises(ConfigError, match=rf"last\.ckpt .*trainer\.strategy={kind.__name__}.* trainer=fsdp2_async"):
        check_resumable(object.__new__(kind), folder)
    check_resumable(strategy, folder)
    check_resumable(object.__new__(kind), folder / "meta.pt")


def marked(path: Path, text: str) -> Path:
    """A folder of shards with some content."""
    path.mkdir(parents=True)
    (path / "meta.pt").write_text(text)
    return path


def test_a_folder_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events, replace = [], os.replace
    last, partial = marked(tmp_path / "last.ckpt", "old"), marked(tmp_path / ".last.ckpt.writing", "new")
    monkeypatch.setattr(sharded_checkpoints, "sync_folder", lambda folder: events.append(f"sync {folder.name}"))
    monkeypatch.setattr(os, "replace", lambda old, new: (events.append(f"{old.name} -> {new.name}"), replace(old, new)))
    sharded_checkpoints.give_name(partial, last)
    renames = ["last.ckpt -> previous.ckpt", ".last.ckpt.writing -> last.ckpt"]
    assert events == ["sync .last.ckpt.writing", *renames, f"sync {tmp_path.name}"]
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"] and (last / "meta.pt").read_text() == "new"


@pytest.mark.parametrize(("renames", "content"), [(0, "old"), (1, "old"), (2, "new")])
def test_a_run_killed_at_a_rename_can_be_resumed(tmp_path, monkeypatch, renames, content):
    class Killed(BaseException):
        pass

    done, replace = [], os.replace

    def limited(old, new):
        if len(done) == renames:
            raise Killed
        done.append(replace(old, new))

    last = marked(tmp_path / "checkpoints" / "last.ckpt", "old")
    partial = marked(tmp_path / "checkpoints" / ".last.ckpt.writing", "new")
    monkeypatch.setattr(os, "replace", limited)
    if renames < 2:
        with pytest.raises(Killed):
            sharded_checkpoints.give_name(partial, last)
    else:
        sharded_checkpoints.give_name(partial, last)
    found = RunFolder(tmp_path).last_checkpoint()
    assert (found / "meta.pt").read_text() == content


def test_an_error_of_the_final_rename_is_raised(tmp_path, monkeypatch):
    import torch.distributed as dist

    def failing(partial, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(sharded_checkpoints, "give_name", failing)
    strategy = AsyncShardsStrategy(data_parallel_size=None)
    strategy.accelerator = SimpleNamespace()
    monkeypatch.setattr(AsyncShardsStrategy, "is_global_zero", True)
    monkeypatch.setattr(AsyncShardsStrategy, "barrier", lambda self, name=None: None)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        state = {"state_dict": {"weight": torch.ones(3)}, "optimizer_states": []}
        strategy.save_checkpoint({**state, "trimer": CONTRACT}, tmp_path / "last.ckpt")
        with pytest.raises(OSError, match="No space left"):
            strategy.save_checkpoint({**state, "trimer": CONTRACT}, tmp_path / "last.ckpt")
        strategy.finish_writing()  # an error is raised once
    finally:
        dist.destroy_process_group()
