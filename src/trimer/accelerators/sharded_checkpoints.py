"""Checkpoints of a model that is sharded over devices, written shard by shard while the training continues."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy

from trimer.checkpoint_shards import PLAIN, is_sharded
from trimer.errors import ConfigError
from trimer.files import sync_folder, temporary_path
from trimer.run import RunFolder

PREVIOUS = "previous.ckpt"  # the former `last.ckpt`, between two renames; resume= finds it too


class ShardedModelStrategy(ModelParallelStrategy):
    """fsdp2 that resumes from a folder of shards without running code from it; Lightning's uses Python's pickle.

    data_parallel_size: devices among which the batches are divided; None: all devices of all nodes.
    """

    def __init__(
        self,
        data_parallel_size: int | None,
        tensor_parallel_size: int = 1,
        save_distributed_checkpoint: bool = False,
        **settings: Any,
    ) -> None:
        settings |= {"save_distributed_checkpoint": save_distributed_checkpoint}
        super().__init__(data_parallel_size or "auto", tensor_parallel_size, **settings)

    def setup_environment(self) -> None:
        devices, tensor = self.num_nodes * self.num_processes, int(self._tensor_parallel_size)
        if self._data_parallel_size == "auto":  # in Lightning the number of nodes
            self._data_parallel_size = devices // tensor
        if int(self._data_parallel_size) * tensor != devices:
            raise ConfigError(
                f"trainer.strategy.data_parallel_size={self._data_parallel_size} times tensor_parallel_size={tensor} "
                f"must be {devices}, the number of devices (trainer.devices, trainer.num_nodes): set the former "
                "to null"
            )
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = True) -> dict[str, Any]:
        path = Path(self.broadcast(checkpoint_path))
        if not is_sharded(path):
            return super().load_checkpoint(path, weights_only=True)
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_model_state_dict,
            get_optimizer_state_dict,
            set_optimizer_state_dict,
        )

        from trimer.checkpoint_index import load_shards

        assert self.model is not None and self.lightning_module is not None
        state: dict[str, Any] = {"state_dict": get_model_state_dict(self.model)}
        load_shards(state, path)
        self.model.load_state_dict(state["state_dict"], strict=self.lightning_module.strict_loading)
        options = StateDictOptions(cpu_offload=True)
        for i, optimizer in enumerate(self.optimizers):
            state = {f"optimizer_{i}": get_optimizer_state_dict(self.model, optimizer)}
            load_shards(state, path)
            set_optimizer_state_dict(self.model, optimizer, optim_state_dict=state[f"optimizer_{i}"], options=options)
        return torch.load(path / PLAIN, map_location="cpu", weights_only=True)


def check_resumable(strategy: Any, checkpoint: Path) -> None:
    """ConfigError for a folder of shards and a strategy of Lightning: these read folders with Python's pickle."""
    if checkpoint.is_dir() and not isinstance(strategy, ShardedModelStrategy):
        raise ConfigError(
            f"{checkpoint} is a folder of shards, which trainer.strategy={type(strategy).__name__} cannot resume from: "
            "set trainer=fsdp2_async or trainer=fsdp2"
        )


class AsyncShardsStrategy(ShardedModelStrategy):
    """fsdp2 whose `last.ckpt` is a folder to which each device writes its own shards (torch.distributed.checkpoint).

    A step waits only until the shards are copied to host memory; they are written in the background. The folder gets
    its final name when it is complete on disk. Only one checkpoint is written at a time: the next one, and the end of
    the training, wait for it. Checkpoints of weights only (`best.ckpt`) are single files, which every command reads.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "save_distributed_checkpoint": True})
        self._writing: tuple[Future, Future] | None = None  # of the shards, of the final name
        self._group: dist.ProcessGroup | None = None

    def setup_environment(self) -> None:
        super().setup_environment()
        # The background threads communicate during the training, so they need a separate process group.
        self._group = dist.new_group(backend="gloo")

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        self.finish_writing()
        path = Path(self.broadcast(filepath))
        if "optimizer_states" not in checkpoint:
            self._save_whole(checkpoint, path)
            return
        from torch.distributed.checkpoint import async_save

        RunFolder.check_present(path)
        partial = temporary_path(path, one_writer=True)
        if self.is_global_zero:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        state = {"state_dict": checkpoint.pop("state_dict")}
        state |= {f"optimizer_{i}": optimizer for i, optimizer in enumerate(checkpoint.pop("optimizer_states"))}
        if self.is_global_zero:
            with (partial / PLAIN).open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        self.barrier()
        future = async_save(state, checkpoint_id=partial, process_group=self._group)
        assert isinstance(future, Future)  # as for the default type of background writer
        named: Future[None] = Future()

        def written(done: Future) -> None:
            try:
                # The first process writes the index after all others have written, so it finishes last.
                if self.is_global_zero and done.exception() is None:
                    give_name(partial, path)
                named.set_result(None)
            except BaseException as error:  # raised by finish_writing; a callback of a Future would only log it
                named.set_exception(error)

        future.add_done_callback(written)
        self._writing = (future, named)

    def finish_writing(self) -> None:
        """Wait for the checkpoint that is being written, and raise its error if there was one."""
        if self._writing is None:
            return
        (future, named), self._writing = self._writing, None
        named.exception()  # wait until the folder has its name, so that an error of the shards is raised first
        future.result()
        named.result()

    def teardown(self) -> None:
        self.finish_writing()
        super().teardown()

    def _save_whole(self, checkpoint: dict[str, Any], path: Path) -> None:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        assert self.model is not None
        checkpoint["state_dict"] = get_model_state_dict(self.model, options=options)
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(checkpoint, path)


def give_name(partial: Path, path: Path) -> None:
    """Rename a complete folder; a folder that already has the name is removed afterwards."""
    sync_folder(partial)
    previous = path.with_name(PREVIOUS)
    shutil.rmtree(previous, ignore_errors=True)
    if path.is_dir():
        os.replace(path, previous)
    os.replace(partial, path)
    sync_folder(path.parent)
    shutil.rmtree(previous, ignore_errors=True)
