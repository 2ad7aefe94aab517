"""One record of all rows of a peptide: its median retention time, or all charges that it was seen with.

Retention times of several raw files are on several gradients. Where the runs share enough peptides and a straight line
explains the difference, they are aligned to the run with the most peptides; else each run keeps records of its own.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

log = logging.getLogger(__name__)

SHARED = 20  # peptides that two runs must share before they are aligned
SPREAD = 0.05  # of the reference's range: the highest median distance from the line


class Record(NamedTuple):
    """One row of a table: its peptide, the text of its label (of `charges`, all that it says), and where it stands.

    run: the raw file whose gradient the retention time belongs to; None where that does not matter.
    """

    id: str
    text: str
    value: str | None
    columns: tuple[str | None, ...]
    place: str
    problem: str | None
    run: str | None = None


def merged(records: Iterable[Record], charges: bool) -> Iterator[Record]:
    """One record of all rows of a peptide with the same columns (and run), at the place of the first.

    charges: the values are charges, to be listed; else retention times, of which the median is taken.
    """
    first: dict[object, Record] = {}
    values: dict[object, list[str]] = {}
    rows = 0
    for number, record in enumerate(records):
        key: object = number if record.problem else (record.text, record.columns, record.run)
        rows += not record.problem
        first.setdefault(key, record)
        if record.value is not None:
            values.setdefault(key, []).append(record.value)
    join = _seen if charges else _median
    found = {
        key: record._replace(value=join(values[key])) if key in values else record for key, record in first.items()
    }
    if not charges:
        found = _over_runs(found)
    peptides = sum(not record.problem for record in found.values())
    if rows > peptides:
        what = "the charges seen" if charges else "the median"
        log.info("%s rows are %s peptides: each has %s of its rows", f"{rows:,}", f"{peptides:,}", what)
    yield from found.values()


def _over_runs(found: Mapping[object, Record]) -> dict[object, Record]:
    """The records of several runs as one a peptide where the runs could be aligned, else as they were."""
    runs: dict[str, dict[str, float]] = {}
    for record in found.values():
        if record.run is not None and record.value is not None and not record.problem:
            runs.setdefault(record.run, {})[record.text] = float(record.value)
    if len(runs) < 2:
        return dict(found)
    reference = max(runs, key=lambda name: len(runs[name]))
    lines = {name: alignment(times, runs[reference]) for name, times in runs.items() if name != reference}
    if apart := sorted(name for name, line in lines.items() if line is None):
        log.warning(
            "%s of %s runs (%s) could not be aligned to %s: retention times are never averaged over such runs, and "
            "their peptides are records of their own; read one run, or a column of indexed retention times",
            len(apart), len(runs), ", ".join(apart[:3]) + (", ..." if len(apart) > 3 else ""), reference,
        )  # fmt: skip
    if aligned := sum(line is not None for line in lines.values()):
        log.info("%s runs are aligned to %s by straight lines through shared peptides", aligned, reference)
    out: dict[object, Record] = {}
    texts: dict[object, list[str]] = {}
    for key, record in found.items():
        line = lines.get(record.run or "")
        aligned_here = not record.problem and (line is not None or record.run == reference)
        one = (record.text, record.columns, reference) if aligned_here else key
        out.setdefault(one, record)
        if record.value is not None:
            moved = record.value if line is None else f"{line[0] * float(record.value) + line[1]:.8g}"
            texts.setdefault(one, []).append(moved)
    return {key: record._replace(value=_median(texts[key])) if key in texts else record for key, record in out.items()}


def alignment(times: Mapping[object, float], reference: Mapping[object, float]) -> tuple[float, float] | None:
    """Slope and start of the line from the times of a run to those of another; None where none can be trusted.

    The line is fitted twice, the second time without the tenth of the peptides that lies farthest from it.
    """
    shared = [(times[key], reference[key]) for key in times.keys() & reference.keys()]
    if len(shared) < SHARED:
        return None
    here, there = np.array(sorted(shared)).T
    if not np.ptp(here) or not np.ptp(there):
        return None
    slope, start = np.polyfit(here, there, 1)
    distance = np.abs(slope * here + start - there)
    kept = distance <= np.quantile(distance, 0.9)
    slope, start = np.polyfit(here[kept], there[kept], 1)
    distance = np.abs(slope * here + start - there)
    good = slope > 0 and np.median(distance) <= SPREAD * np.ptp(there)
    return (float(slope), float(start)) if good else None


def _median(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else str(statistics.median(map(float, values)))


def _seen(values: Sequence[str]) -> str:
    return ",".join(sorted({one for value in values for one in value.split(",")}))
