"""Reading the shards of a checkpoint folder without running code from it.

torch.distributed.checkpoint reads the index `.metadata` and values that are no tensors with Python's pickle, which can
run any code. Here the index is read by an unpickler that knows only the classes of an index, as inert records that are
checked and then converted; values are read with `weights_only=True`.
"""

from __future__ import annotations

import io
import math
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader, load
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

from trimer.errors import CheckpointError

INDEX = ".metadata"  # PyTorch's name
MAX_INDEX_BYTES = 1 << 28  # an index has about 200 bytes for each tensor and shard
MAX_DIMENSIONS = 16


def load_shards(state: dict[str, Any], folder: Path, no_dist: bool = False) -> None:
    """Fill the tensors and values of `state` from a checkpoint folder.

    no_dist: read everything in this process instead of together with the other processes of the run. CheckpointError
    for a folder that is damaged, or whose index holds more than the description of tensors.
    """
    reader = ShardReader(folder)
    reader.read_metadata()  # before `load`, which would hide the reason of an error
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process is intended
            load(state, storage_reader=reader, planner=ShardPlanner(), no_dist=no_dist)
    except CheckpointException as error:  # not a subclass of Exception
        reason, _ = next(iter(error.failures.values()))
        if isinstance(reason, pickle.UnpicklingError):  # its message advises to load the file unsafely
            reason = ValueError("it holds more than tensors and plain values, and reading it could run code")
        raise CheckpointError(
            f"{folder} is a checkpoint folder whose shards cannot be read ({reason}); copy it again, or use another "
            "checkpoint"
        ) from error


class ShardReader(FileSystemReader):
    """A reader of checkpoint folders that reads the index without running code."""

    def read_metadata(self) -> Metadata:  # without `rank`: we write no index of single ranks
        metadata = read_index(Path(self.path))
        metadata.storage_meta = StorageMeta(load_id=self.load_id)
        return metadata


class ShardPlanner(DefaultLoadPlanner):
    """PyTorch's plan of what to read, which reads values that are no tensors with `weights_only=True`."""

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        content = torch.load(value, map_location="cpu", weights_only=True)
        keys = self.mappings[read_item.dest_index.fqn]
        target: Any = self.original_state_dict
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = content


def read_index(folder: Path) -> Metadata:
    """The index of a checkpoint folder; CheckpointError if it holds anything else or does not fit its shards."""
    path = folder / INDEX
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise CheckpointError(
                f"{path} is larger than {MAX_INDEX_BYTES >> 20} MiB, too large for an index of shards"
            )
        with path.open("rb") as stream:
            metadata = _Converter()(_IndexUnpickler(stream).load())
        if not isinstance(metadata, Metadata):
            raise _NotAnIndex("it holds no index")
        _check_sizes(metadata, folder)
    except _NotAnIndex as error:
        raise CheckpointError(f"{path} is rejected: {error}; use a checkpoint that trimer train has written") from error
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"{error.filename or path} cannot be read: {reason}; copy the folder again") from error
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can raise any error
        raise CheckpointError(
            f"{path} is damaged ({error}); copy the folder again, or use another checkpoint"
        ) from error
    return metadata


class _NotAnIndex(Exception):
    """Content that an index of shards does not have."""


class _Record:
    """Stands for an object of the pickle: what would be called, with which arguments and state. It does nothing."""

    convert: Callable[[tuple, Any], Any]
    args: tuple
    state: Any

    def __new__(cls, *args: Any) -> _Record:
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _IndexUnpickler(pickle.Unpickler):
    """Reads the pickle of an index into records; any class or function that is not part of an index is an error."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._classes: dict[str, type[_Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(dtype := vars(torch).get(name), torch.dtype):
            return dtype
        full = f"{module}.{name}"
        if full not in CONVERTERS:
            raise _NotAnIndex(
                f"it names {full}, which is not part of an index of shards, and reading it could run code"
            )
        return self._classes.setdefault(full, type("_Record", (_Record,), {"convert": CONVERTERS[full]}))

    def persistent_load(self, pid: Any) -> Any:
        raise _NotAnIndex("it refers to objects outside the file")


class _Converter:
    """The objects that records stand for, in nested containers. Content that is used repeatedly is converted once."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, (str, int, float, torch.dtype)):  # bool is an int
            return value
        if id(value) not in self._done:
            self._done[id(value)] = self._convert(value)
        return self._done[id(value)]

    def _convert(self, value: Any) -> Any:
        if isinstance(value, _Record):
            return type(value).convert(self(value.args), self(value.state))
        if isinstance(value, dict):
            return {self(key): self(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self(item) for item in value)
        raise _NotAnIndex(f"it holds a value of type {type(value).__name__}")


def _as(kind: type, *types: type | tuple[type, ...]) -> Callable[[tuple, Any], Any]:
    """A converter to a dataclass whose first fields have these types. State: the values of the fields by name."""
    names = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]

    def convert(args: tuple, state: Any) -> Any:
        if args or not isinstance(state, (dict, type(None))):
            raise _NotAnIndex(f"a {kind.__name__} is incomplete")
        values = {name: item for name, item in (state or {}).items() if name in names}
        for name, expected in zip(names, types, strict=False):
            if not isinstance(values.get(name), expected):
                raise _NotAnIndex(f"{name} of a {kind.__name__} has the wrong type")
        return kind(**values)

    return convert


def _size(args: tuple, state: Any) -> torch.Size:
    (lengths,) = args
    if len(lengths) > MAX_DIMENSIONS or not all(type(length) is int and 0 <= length < 1 << 62 for length in lengths):
        raise _NotAnIndex(f"it describes a tensor with the impossible size {str(lengths)[:99]}")
    return torch.Size(lengths)


def _properties(args: tuple, state: Any) -> TensorProperties:
    dtype = state[0]
    if not isinstance(dtype, torch.dtype) or state[1] is not torch.strided:
        raise _NotAnIndex("it describes a tensor without a type or with a layout other than strided")
    return TensorProperties(dtype=dtype)  # the other fields are deprecated


def _layout(args: tuple, state: Any) -> torch.layout | None:
    return torch.strided if args == ("torch.strided",) else None


def _stored_at(args: tuple, state: Any) -> _StorageInfo:
    name, offset, length = (state[key] for key in ("relative_path", "offset", "length"))
    if not isinstance(name, str) or PurePosixPath(name).name != name or "\\" in name or name == "..":
        raise _NotAnIndex(f"it names a shard outside its folder ({str(name)[:99]})")
    if state.get("transform_descriptors"):
        raise _NotAnIndex("its shards are compressed")
    if not all(type(number) is int and number >= 0 for number in (offset, length)):
        raise _NotAnIndex("it holds an impossible position in a shard")
    return _StorageInfo(name, offset, length)


def _nothing(args: tuple, state: Any) -> None:
    return None


METADATA = "torch.distributed.checkpoint.metadata"
# Everything that an index may name, besides torch's data types.
CONVERTERS: dict[str, Any] = {
    name: staticmethod(convert)
    for name, convert in {
        f"{METADATA}.Metadata": _as(Metadata, dict, (dict, type(None)), dict),
        f"{METADATA}.MetadataIndex": _as(MetadataIndex, str, (torch.Size, type(None)), (int, type(None))),
        f"{METADATA}.TensorStorageMetadata": _as(TensorStorageMetadata, TensorProperties, torch.Size, list),
        f"{METADATA}.ChunkStorageMetadata": _as(ChunkStorageMetadata, torch.Size, torch.Size),
        f"{METADATA}.BytesStorageMetadata": _as(BytesStorageMetadata),
        f"{METADATA}.TensorProperties": _properties,
        f"{METADATA}._MEM_FORMAT_ENCODING": _nothing,  # deprecated
        f"{METADATA}.StorageMeta": _nothing,  # where and when it was written; the reader makes its own
        "torch.distributed.checkpoint.filesystem._StorageInfo": _stored_at,
        "torch.Size": _size,
        "torch.serialization._get_layout": _layout,
        # The path to which the folder was written, which is not used.
        "pathlib.PosixPath": _nothing,
        "pathlib.WindowsPath": _nothing,
        "pathlib._local.PosixPath": _nothing,  # Python 3.13
        "pathlib._local.WindowsPath": _nothing,
    }.items()
}


def _check_sizes(metadata: Metadata, folder: Path) -> None:
    """Require that the shards are there and large enough for all tensors of the index."""
    described = 0
    for name, saved in metadata.state_dict_metadata.items():
        if not isinstance(name, str) or not isinstance(saved, (TensorStorageMetadata, BytesStorageMetadata)):
            raise _NotAnIndex("it describes something other than tensors and values")
        if isinstance(saved, TensorStorageMetadata):
            if not all(isinstance(chunk, ChunkStorageMetadata) for chunk in saved.chunks):
                raise _NotAnIndex(f"the shards of {name} are not described")
            described += math.prod(saved.size) * saved.properties.dtype.itemsize
    shards = set()
    for index, place in metadata.storage_data.items():
        if not isinstance(index, MetadataIndex) or not isinstance(place, _StorageInfo):
            raise _NotAnIndex("it does not say where the shards are")
        shards.add(place.relative_path)
    stored = sum((folder / name).stat().st_size for name in shards)
    if described > stored:
        raise _NotAnIndex(f"it describes tensors of {described:,} bytes, but its shards have {stored:,} bytes")
