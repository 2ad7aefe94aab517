"""Preparation in shards: each of several jobs computes some records of a source, and one job joins them into a store.

The chunks of a source are numbered in its order; CHUNKS consecutive ones are a block, and block k belongs to shard
k mod n. A job reads the whole source and computes its own blocks: the columns, and a drop report of each block. Rules
that need other records, such as duplicates, run when the blocks are joined in the order of the source, by the same
code as in one process. So the store is the same bit for bit.

A shard is a store in a folder beside that of the final store: complete or absent, found by its settings, and removed
after the join.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from trimer.data.core.drops import DropReport
from trimer.data.core.store import Column, Store, StoreWriter, cache_folder, cached_store, is_intact, is_store
from trimer.errors import ConfigError, InputError

LAYOUT = 1  # increase when shards are divided or stored in another way, so that old ones are not read
CHUNKS = 16  # of a source in a block: about 30,000 molecules or 4 MiB of FASTA

Chunk = TypeVar("Chunk")


@dataclass
class Piece:
    """Consecutive records, prepared without knowledge of other records.

    columns: of the records that pass the rules. report: the dropped ones. spelling: counts of `Spelling.counts`, one
    for each chunk with any.
    """

    columns: Mapping[str, Column]
    report: DropReport
    spelling: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Shard:
    """Shard `number` (from 0) of `count`."""

    number: int
    count: int

    def __post_init__(self) -> None:
        check_count(self.count)
        if not 0 <= self.number < self.count:
            raise ConfigError(f"shard={self.number} must be from 0 to {self.count - 1}, since shards={self.count}")

    def chunks_of_shard(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The chunks of a source that belong to this shard."""
        for number, chunk in enumerate(chunks):
            if number // CHUNKS % self.count == self.number:
                yield chunk


def check_count(count: int) -> None:
    """ConfigError for an impossible number of shards."""
    if count < 1:
        raise ConfigError(f"shards={count} must be 1 or more, or null to prepare the data in one process")


class MissingShards(InputError):
    """Shards that have to be prepared, by their numbers."""

    def __init__(self, sentence: str, numbers: Sequence[int]) -> None:
        super().__init__(sentence)
        self.numbers = list(numbers)


class Shards:
    """The shards of one store. folder: of the final store. recipe: the settings that shape it, as plain values."""

    def __init__(self, folder: Path, recipe: Mapping, count: int) -> None:
        check_count(count)
        self.store_folder, self.count = folder, count
        self.folder = folder.with_name(f"{folder.name}.shards")
        self.recipe = dict(recipe)

    def path(self, number: int) -> Path:
        """The folder of one shard."""
        key = {"layout": LAYOUT, "chunks": CHUNKS, "recipe": self.recipe}
        return cache_folder(self.folder, f"{number}_of_{self.count}", key)

    def write(self, shard: Shard, pieces: Callable[[], Iterable[Piece]]) -> Store:
        """Write a shard, unless it is complete. pieces: one for each chunk of the shard, in order."""

        def build(writer: StoreWriter) -> None:
            blocks: list[dict] = []
            report = DropReport()
            for number, piece in enumerate(pieces()):
                if number % CHUNKS == 0:
                    report = DropReport()
                    blocks.append({"first": writer.rows, "spelling": []})
                writer.append(piece.columns)
                report.merge(piece.report)
                blocks[-1] |= {"end": writer.rows, "report": report.to_dict()}
                blocks[-1]["spelling"] += piece.spelling
            if not blocks:  # a store has at least one column
                writer.append({"none": np.zeros(0, np.int8)})
            writer.manifest = {"recipe": self.recipe, "blocks": blocks}

        return cached_store(self.path(shard.number), build)

    def missing(self) -> list[int]:
        """The numbers of the shards that are not written, or damaged."""
        paths = {number: self.path(number) for number in range(self.count)}
        return [number for number, path in paths.items() if not (is_store(path) and is_intact(path))]

    def check_complete(self) -> None:
        """Raise MissingShards, which names them, unless all shards are complete."""
        if not (missing := self.missing()):
            return
        if len(missing) < self.count:
            raise MissingShards(
                f"{self.folder}: {len(missing)} of {self.count} shards are missing, unfinished or damaged; prepare "
                "them again",
                missing,
            )
        counts = sorted({int(path.name.partition("_of_")[2].partition("-")[0]) for path in self.folder.glob("*_of_*")})
        others = f" (there are shards of {' and '.join(map(str, counts))})" if counts else ""
        raise MissingShards(
            f"{self.folder}: no shard of {self.count} is prepared with these data and settings{others}; join shards "
            "with the settings that they were prepared with, or prepare them",
            missing,
        )

    def __iter__(self) -> Iterator[Piece]:
        """The blocks of all shards in the order of the source."""
        self.check_complete()
        stores = [Store(self.path(number)) for number in range(self.count)]
        blocks: list[Sequence[dict]] = [store.manifest["blocks"] for store in stores]
        for number in range(sum(map(len, blocks))):
            shard, place = number % self.count, number // self.count
            block = blocks[shard][place]
            columns = stores[shard].between(block["first"], block["end"])
            yield Piece(columns, DropReport.from_dict(block["report"]), block["spelling"])

    def remove(self) -> None:
        """Delete the shards, once the final store is complete."""
        if is_store(self.store_folder):
            shutil.rmtree(self.folder, ignore_errors=True)
