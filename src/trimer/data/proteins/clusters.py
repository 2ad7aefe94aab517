"""Which proteins are related: a text file with an id, a tab and the name of its cluster on each line.

Names are kept as 64-bit digests, so that the clusters of a hundred million proteins fit in memory.
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
    """ids: (m,) int64 digests of names, ascending. clusters: (m,) int64 digests, equal for the same cluster."""

    ids: np.ndarray
    clusters: np.ndarray

    def of(self, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """(n,) int64 cluster of each name, and (n,) bool whether it has one; 0 where it has none."""
        wanted = digests(name.encode() for name in names)
        places = np.searchsorted(self.ids, wanted).clip(max=len(self.ids) - 1)
        known = self.ids[places] == wanted
        return np.where(known, self.clusters[places], 0), known

    def names_of(self, names: list[str], path: str) -> list[str]:
        """The cluster of each name as text; InputError for names that have none. path: of the file, for the message."""
        numbers, known = self.of(names)
        homeless = [name for name, has_cluster in zip(names, known, strict=True) if not has_cluster]
        check_clusters(homeless, len(names), "proteins", path)
        return [f"{number:x}" for number in numbers.tolist()]


def read_clusters(path: str | Path) -> Clusters:
    """Read such a file, compressed or not; a first line `id<TAB>cluster` is a header.

    InputError naming the line for one without a tab, and for an id that is put into two clusters.
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
        raise InputError(f"{path}: there is no cluster in it")
    named, group, lines = (np.frombuffer(buffer, np.int64) for buffer in (ids, clusters, numbers))
    order = np.argsort(named, kind="stable")
    named, group, lines = named[order], group[order], lines[order]
    again = np.flatnonzero((named[1:] == named[:-1]) & (group[1:] != group[:-1]))
    if len(again):
        first, second = lines[again[0]], lines[again[0] + 1]
        raise InputError(
            f"{path}: {len(again):,} ids are in two clusters, such as that of lines {first} and {second}: give each id "
            "one cluster (MMseqs2 writes the cluster before the member: swap its columns)"
        )
    return Clusters(named, group)


def check_clusters(homeless: list[str], records: int, what: str, path: str) -> None:
    """InputError where some of the records are in no cluster of a file. what: the records, as `proteins`."""
    if homeless:
        raise InputError(
            f"{path}: {len(homeless):,} of {records:,} {what} are in no cluster, such as "
            f"{', '.join(homeless[:3])}: add them, or leave data.clusters empty (a line is an id, a tab, a cluster)"
        )
