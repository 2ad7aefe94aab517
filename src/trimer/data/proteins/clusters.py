"""Clusters of related proteins, read from a text file whose lines hold an id, a tab and a cluster name.

Names are stored as 64-bit digests, so that the clusters of a hundred million proteins fit in memory.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimer.data.core.draws import digest, digests
from trimer.data.text.opening import read_lines
from trimer.errors import InputError


@dataclass(frozen=True)
class Clusters:
    """The clusters of m proteins.

    ids: (m,) int64 digests of protein names, ascending. clusters: (m,) int64 digests of cluster names.
    """

    ids: np.ndarray
    clusters: np.ndarray

    def of(self, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int64 cluster of each name, and (n,) bool whether it has one; 0 where it has none."""
        wanted = digests(name.encode() for name in names)
        positions = np.searchsorted(self.ids, wanted).clip(max=len(self.ids) - 1)
        known = self.ids[positions] == wanted
        return np.where(known, self.clusters[positions], 0), known

    def names_of(self, names: list[str], path: str) -> list[str]:
        """The cluster of each name as text; InputError for names without one. path: the file, for the message."""
        numbers, known = self.of(names)
        unclustered = [name for name, has_cluster in zip(names, known, strict=True) if not has_cluster]
        check_clusters(unclustered, len(names), "proteins", path)
        return [f"{number:x}" for number in numbers.tolist()]


def read_clusters(path: str | Path) -> Clusters:
    """Read a cluster file, compressed or not; a first line `id<TAB>cluster` is a header.

    InputError, with the line, for a line without a tab and for an id in two clusters.
    """
    path = Path(path).expanduser()
    ids, clusters, numbers = bytearray(), bytearray(), array("q")
    for number, line in enumerate(read_lines(path), 1):
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < 2 and cells[0].strip():
            raise InputError(f"{path}, line {number}: expected an id, a tab and a cluster, found {cells[0][:60]!r}")
        if len(cells) < 2 or (number == 1 and cells[1].strip().lower() == "cluster"):
            continue
        ids += digest(cells[0].strip().encode())
        clusters += digest(cells[1].strip().encode())
        numbers.append(number)
    if not numbers:
        raise InputError(f"{path} contains no cluster")
    named, group, lines = (np.frombuffer(buffer, np.int64) for buffer in (ids, clusters, numbers))
    order = np.argsort(named, kind="stable")
    named, group, lines = named[order], group[order], lines[order]
    again = np.flatnonzero((named[1:] == named[:-1]) & (group[1:] != group[:-1]))
    if len(again):
        first, second = lines[again[0]], lines[again[0] + 1]
        raise InputError(
            f"{path}: {len(again):,} ids are in two clusters, for example on lines {first} and {second}: give each id "
            "one cluster (MMseqs2 writes the cluster before the member: swap its columns)"
        )
    return Clusters(named, group)


def check_clusters(unclustered: list[str], records: int, what: str, path: str) -> None:
    """InputError if some records are in no cluster. what: plural noun for the records, such as `proteins`."""
    if unclustered:
        raise InputError(
            f"{path}: {len(unclustered):,} of {records:,} {what} are in no cluster, for example "
            f"{', '.join(unclustered[:3])}: add them (a line is an id, a tab, a cluster) or leave data.clusters empty"
        )
