"""Merge the rows of a peptide into one record: its median retention time, or all its observed charges.

Retention times of different raw files come from different gradients. Runs that share enough peptides, and differ by a
straight line, are aligned to the run with the most peptides; the other runs keep separate records.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trimer.counts import counted

log = logging.getLogger(__name__)

SHARED = 20  # peptides that two runs must share before they are aligned
SPREAD = 0.05  # largest median distance from the line, as a fraction of the reference's range


class Record(NamedTuple):
    """One row of a table: its peptide and the text of its label.

    columns: further requested cells. location: file and line, for messages. run: the raw file whose gradient the
    retention time belongs to; None if it does not depend on the run.
    """

    id: str
    text: str
    value: str | None
    columns: tuple[str | None, ...]
    location: str
    problem: str | None
    run: str | None = None


def merged(records: Iterable[Record], charges: bool) -> Iterator[Record]:
    """One record for all rows of a peptide with the same columns (and run), in order of first occurrence.

    charges: whether the values are charges, which are listed, or retention times, whose median is used.
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
    join = _observed if charges else _median
    records_of = {
        key: record._replace(value=join(values[key])) if key in values else record for key, record in first.items()
    }
    if not charges:
        records_of = _over_runs(records_of)
    peptides = sum(not record.problem for record in records_of.values())
    if rows > peptides:
        what = "all charges" if charges else "the median retention time"
        log.info("merged %s into %s with %s", counted(rows, "rows"), counted(peptides, "peptides"), what)
    yield from records_of.values()


def _over_runs(records_of: Mapping[object, Record]) -> dict[object, Record]:
    """Merge the records of a peptide over the runs that can be aligned; the others stay unchanged."""
    runs: dict[str, dict[str, float]] = {}
    for record in records_of.values():
        if record.run is not None and record.value is not None and not record.problem:
            runs.setdefault(record.run, {})[record.text] = float(record.value)
    if len(runs) < 2:
        return dict(records_of)
    reference = max(runs, key=lambda name: len(runs[name]))
    lines = {name: alignment(times, runs[reference]) for name, times in runs.items() if name != reference}
    if unaligned := sorted(name for name, line in lines.items() if line is None):
        log.warning(
            "%s of %s runs (%s) could not be aligned to %s, so their peptides are separate records and retention "
            "times are not averaged over these runs: read one run, or a column of indexed retention times",
            len(unaligned), len(runs), ", ".join(unaligned[:3]) + (", ..." if len(unaligned) > 3 else ""), reference,
        )  # fmt: skip
    if aligned := sum(line is not None for line in lines.values()):
        log.info("aligned %s to %s by linear fits of shared peptides", counted(aligned, "runs"), reference)
    out: dict[object, Record] = {}
    texts: dict[object, list[str]] = {}
    for key, record in records_of.items():
        line = lines.get(record.run or "")
        aligned_here = not record.problem and (line is not None or record.run == reference)
        merged_key = (record.text, record.columns, reference) if aligned_here else key
        out.setdefault(merged_key, record)
        if record.value is not None:
            aligned_time = record.value if line is None else f"{line[0] * float(record.value) + line[1]:.8g}"
            texts.setdefault(merged_key, []).append(aligned_time)
    return {key: record._replace(value=_median(texts[key])) if key in texts else record for key, record in out.items()}


def alignment(times: Mapping[str, float], reference: Mapping[str, float]) -> tuple[float, float] | None:
    """Slope and intercept of the line from the times of a run to the reference run; None if the fit is poor.

    The second of two fits excludes the 10 % of the peptides with the largest errors in the first.
    """
    shared = [(times[key], reference[key]) for key in times.keys() & reference.keys()]
    if len(shared) < SHARED:
        return None
    here, there = np.array(sorted(shared)).T
    if not np.ptp(here) or not np.ptp(there):
        return None
    slope, intercept = np.polyfit(here, there, 1)
    distance = np.abs(slope * here + intercept - there)
    kept = distance <= np.quantile(distance, 0.9)
    slope, intercept = np.polyfit(here[kept], there[kept], 1)
    distance = np.abs(slope * here + intercept - there)
    good = slope > 0 and np.median(distance) <= SPREAD * np.ptp(there)
    return (float(slope), float(intercept)) if good else None


def _median(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else str(statistics.median(map(float, values)))


def _observed(values: Sequence[str]) -> str:
    return ",".join(sorted({charge for value in values for charge in value.split(",")}))
