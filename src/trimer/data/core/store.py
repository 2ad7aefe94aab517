"""Stores: columns on disk, prepared once and read by memory-mapping.

A store is a folder: `columns.arrow` (Arrow IPC, record batches of 100,000 rows, memory-mapped on reading, so that
opening takes milliseconds and a row is a view of the file) and `manifest.json`. The manifest is written last and the
folder is renamed at the end, so a store is either complete or absent.

Shapes: n rows, P values of a ragged column in total.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from trimer.data.core.ragged import Ragged
from trimer.data.core.store_files import (
    FORMAT,
    checksums,
    claimed_folder,
    read_head,
    remove_abandoned,
    unchanged,
    unwritable,
)
from trimer.data.core.stored_ragged import StoredRagged
from trimer.errors import InputError
from trimer.locks import FolderLock
from trimer.progress import Display

log = logging.getLogger(__name__)

BATCH_ROWS = 100_000  # of every record batch of a store but the last one

_intact: set[tuple[Path, int]] = set()  # files that this process has checked

Column = Ragged | np.ndarray | Sequence[str | None]


class StoreWriter:
    """Writes a store chunk by chunk in constant memory; `folder` appears only if the whole block succeeds.

        with StoreWriter(folder) as writer:
            for tokens, smiles in chunks:
                writer.append({"tokens": Ragged(...), "smiles": smiles})
            writer.manifest["source"] = "..."

    Every chunk has the same columns. Ragged columns and arrays keep their dtype; anything else is text (None allowed).
    A full disk raises an InputError, and the half-written folder is removed.
    """

    def __init__(self, folder: str | Path, manifest: Mapping | None = None) -> None:
        self.folder = Path(folder)
        self.manifest: dict = dict(manifest or {})
        self.rows = 0
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._writer: pa.RecordBatchFileWriter | None = None
        self._sink: pa.NativeFile | None = None
        self._kinds: dict[str, str] = {}
        self._temporary: Path  # set on entering, like the lock
        self._lock: FolderLock
        self._display = Display("prepare", unit="rows")

    def __enter__(self) -> StoreWriter:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.folder.parent)
            self._temporary, self._lock = claimed_folder(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        self._display.__enter__()
        return self

    def append(self, columns: Mapping[str, Column]) -> None:
        """Add the rows of a chunk."""
        batch, kinds = _record_batch(columns)
        if self._kinds and kinds != self._kinds:
            raise ValueError(f"chunk has columns {kinds}, the store has {self._kinds}")
        self._kinds = kinds
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self.rows += batch.num_rows
        self._display.advance(batch.num_rows)
        if self._waiting_rows >= BATCH_ROWS:
            self._write(self._waiting_rows - self._waiting_rows % BATCH_ROWS)

    def _write(self, rows: int) -> None:
        """Write the first `rows` waiting rows in batches of BATCH_ROWS; only the last one of a store may be shorter."""
        table = pa.Table.from_batches(self._waiting)
        try:
            if self._writer is None:
                self._sink = pa.OSFile(str(self._temporary / "columns.arrow"), "wb")
                self._writer = pa.ipc.new_file(self._sink, table.schema)
            for start in range(0, rows, BATCH_ROWS):
                batch = table.slice(start, min(BATCH_ROWS, rows - start)).combine_chunks()
                self._writer.write_table(batch, max_chunksize=BATCH_ROWS)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        rest = table.slice(rows).combine_chunks()
        self._waiting, self._waiting_rows = rest.to_batches(), rest.num_rows

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._display.__exit__()
            if self._sink is not None and not self._sink.closed:
                with contextlib.suppress(OSError):  # a full disk: its error has been raised already
                    self._sink.close()
            self._lock.release()
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _finish(self) -> None:
        if not self._kinds:
            raise InputError(f"{self.folder}: nothing was written, because the source has no rows")
        if self._waiting_rows or self._writer is None:
            self._write(self._waiting_rows)
        try:
            for output in (self._writer, self._sink):
                if output is not None:
                    output.close()
            path = self._temporary / "columns.arrow"
            size = path.stat().st_size
            head = {"format": FORMAT, "rows": self.rows, "bytes": size, "columns": self._kinds}
            head["crc32"] = checksums(path)
            text = json.dumps({"store": head, "manifest": self.manifest}, indent=1, ensure_ascii=False)
            (self._temporary / "manifest.json").write_text(text + "\n", encoding="utf-8")
            self._temporary.chmod(0o755)  # mkdtemp creates private folders
            _move_into_place(self._temporary, self.folder)
            self._lock.moved(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error


class Store:
    """A prepared store, opened by memory-mapping. Pickled as its path, so a worker process opens it again."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        head = read_head(self.folder)
        if head is None:
            raise InputError(f"{self.folder} holds no complete store: prepare the data again (trimer prepare)")
        self.manifest: dict = head["manifest"]
        self._kinds: dict[str, str] = head["store"]["columns"]
        self._rows: int = head["store"]["rows"]
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(self.folder / "columns.arrow"), "r"))
            self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"{self.folder} is damaged: delete it and prepare the data again (trimer prepare)"
            ) from error
        self._ragged: dict[str, StoredRagged] = {}

    def __len__(self) -> int:
        return self._rows

    def __reduce__(self) -> tuple:
        return Store, (self.folder,)

    @property
    def columns(self) -> list[str]:
        return list(self._kinds)

    def ragged(self, name: str) -> StoredRagged:
        """A ragged column; row i is a read-only view of the file."""
        if name not in self._ragged:
            self._ragged[name] = StoredRagged(self._arrays(name, "ragged"))
        return self._ragged[name]

    def array(self, name: str) -> np.ndarray:
        """(n,) column of numbers; a view of the file if it has one record batch."""
        batches = self.array_in_parts(name)
        return batches[0] if len(batches) == 1 else np.concatenate(batches)

    def array_in_parts(self, name: str) -> list[np.ndarray]:
        """A column of numbers as views of the file, one for each record batch."""
        return [array.to_numpy(zero_copy_only=False) for array in self._arrays(name, "array")]

    def strings(self, name: str, rows: np.ndarray | None = None) -> list[str | None]:
        """Column of texts, or only some rows of it; None where missing."""
        column = pa.chunked_array(self._arrays(name, "text"), pa.large_string())
        try:
            return (column if rows is None else column.take(pa.array(rows, pa.int64()))).to_pylist()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.folder} is damaged: delete it and prepare the data again (trimer prepare)"
            ) from error

    def values(self, name: str) -> np.ndarray:
        """(n,) column of numbers, or of texts as objects."""
        if self._kinds.get(name) == "array":
            return self.array(name)
        return np.array(self.strings(name), dtype=object)

    def array_at(self, name: str, rows: np.ndarray) -> np.ndarray:
        """The numbers of some rows; reads only these."""
        batches = self.array_in_parts(name)
        numbers = np.empty(len(rows), batches[0].dtype)
        batch, place = np.divmod(rows, max(len(batches[0]), 1))
        for number in np.unique(batch).tolist():
            here = batch == number
            numbers[here] = batches[number][place[here]]
        return numbers

    def between(self, start: int, stop: int) -> dict[str, Column]:
        """All columns of rows start to stop, copied, as `StoreWriter.append` takes them; reads only these rows."""
        columns: dict[str, Column] = {}
        for name, kind in self._kinds.items():
            if kind == "ragged":
                columns[name] = self.ragged(name).between(start, stop)
            elif kind == "text":
                columns[name] = self.texts_between(name, start, stop)
            else:
                column = pa.chunked_array(self._arrays(name, kind)).slice(start, stop - start)
                columns[name] = column.to_numpy()
        return columns

    def texts_between(self, name: str, start: int, stop: int) -> list[str | None]:
        """The texts of rows start to stop; None where missing."""
        return pa.chunked_array(self._arrays(name, "text"), pa.large_string()).slice(start, stop - start).to_pylist()

    def _arrays(self, name: str, kind: str) -> list[pa.Array]:
        if self._kinds.get(name) != kind:
            known = ", ".join(f"{n} ({k})" for n, k in self._kinds.items())
            raise KeyError(f"{self.folder} has no {kind} column '{name}', it has {known}")
        return [batch.column(name) for batch in self._batches]


def is_store(folder: str | Path) -> bool:
    """Whether the folder is a complete store."""
    return read_head(Path(folder)) is not None


def is_intact(folder: Path) -> bool:
    """Whether the columns of a store match the checksums in its manifest; checked once in a process.

    A store without checksums, from an older version, is checked as an Arrow file.
    """
    path = folder / "columns.arrow"
    mark = (path, path.stat().st_mtime_ns)
    if mark in _intact:
        return True
    head = read_head(folder)
    if head is None:
        return False
    expected = head["store"].get("crc32")
    if expected is None:
        try:
            for batch in Store(folder)._batches:
                batch.validate(full=True)
        except (InputError, pa.ArrowInvalid):
            return False
    elif not unchanged(path, expected):
        return False
    _intact.add(mark)
    return True


def cached_store(folder: str | Path, build: Callable[[StoreWriter], None]) -> Store:
    """Open the store under `folder`; build it first if it is missing, incomplete or damaged."""
    folder = Path(folder)
    if is_store(folder) and not is_intact(folder):
        log.warning("%s is damaged and is prepared again", folder)
    if not (is_store(folder) and is_intact(folder)):
        with StoreWriter(folder) as writer:
            build(writer)
        with contextlib.suppress(InputError):  # another process may be replacing the same damaged store
            return Store(folder)
        time.sleep(1)
    return Store(folder)


def cache_folder(root: str | Path, name: str, key: Mapping) -> Path:
    """Cache folder for the result of `key` (plain values: settings and digests): root/name-<16 hex digits>."""
    text = json.dumps(key, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Path(root) / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _record_batch(columns: Mapping[str, Column]) -> tuple[pa.RecordBatch, dict[str, str]]:
    arrays: dict[str, pa.Array] = {}
    kinds: dict[str, str] = {}
    for name, column in columns.items():
        if isinstance(column, Ragged):
            arrays[name] = pa.LargeListArray.from_arrays(
                pa.array(np.ascontiguousarray(column.offsets, np.int64)), pa.array(np.ascontiguousarray(column.values))
            )
            kinds[name] = "ragged"
        elif isinstance(column, np.ndarray) and column.dtype.kind in "biuf":
            arrays[name] = pa.array(column)
            kinds[name] = "array"
        else:
            arrays[name] = pa.array(list(column), pa.large_string())
            kinds[name] = "text"
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"columns of one store have different numbers of rows: {sizes}")
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays)), kinds


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Rename the folder; keep a complete store that another process has written meanwhile, replace a broken one."""
    if folder.exists() and not (is_store(folder) and is_intact(folder)):
        shutil.rmtree(folder, ignore_errors=True)  # another process may replace it at the same time
    try:
        os.rename(temporary, folder)
    except OSError:
        if not is_store(folder):
            raise
