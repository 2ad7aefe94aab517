"""Conversion of parsed records to a table: harmonised fields, sorted peaks, a problem for each unusable row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trimer.data.spectra.readers.fields import harmonise
from trimer.data.spectra.spectrum_table import SpectrumTable, filled
from trimer.data.text.compression import SUFFIXES as COMPRESSED


def assemble(
    files: Sequence[Path],
    mz: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    raw: Mapping[str, Sequence | np.ndarray],
    lines: np.ndarray,
    problems: dict[int, str],
    first: int = 1,
    peak_lines: np.ndarray | None = None,
    unit: str = "line",
) -> SpectrumTable:
    """A table of n spectra with P peaks, from the columns of a file.

    files: n paths. mz, intensity: (P,) as parsed, NaN for text that is not a number. offsets: (n + 1,).
    raw: lower-case key -> n texts. lines: (n,) line, row or scan number of each record; `unit` says which.
    problems: row -> reason from the parser; it has priority over the checks here.
    first: number of the first record, for the ids of records without one. peak_lines: (P,) line of each peak.
    """
    n = len(offsets) - 1
    columns, complaints = harmonise(raw, n)
    problems = dict(problems)
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(mz) & np.isfinite(intensity) & (mz > 0) & (intensity >= 0))
    owners = np.repeat(np.arange(n), np.diff(offsets))
    for row, peak in zip(*np.unique(owners[bad], return_index=True), strict=True):
        peak = np.flatnonzero(bad)[peak]
        where = f" on line {peak_lines[peak]}" if peak_lines is not None else ""
        problems.setdefault(
            int(row), f"the peak{where} ({mz[peak]:g}, {intensity[peak]:g}) is not a positive m/z with an intensity"
        )
    if bad.any():
        mz, intensity, owners = mz[~bad], intensity[~bad], owners[~bad]
        offsets = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=n))])
    same = owners[1:] == owners[:-1]
    if np.any(same & (mz[1:] < mz[:-1])):
        order = np.lexsort((mz, owners))
        mz, intensity = mz[order], intensity[order]
    for row, clause in complaints.items():
        problems.setdefault(row, clause)
    precursor = columns["precursor_mz"]
    for row in np.flatnonzero(~(precursor > 0)):
        problems.setdefault(int(row), "no precursor m/z")
    for row in np.flatnonzero(np.diff(offsets) == 0):
        problems.setdefault(int(row), "no peaks")
    columns["precursor_mz"] = np.where(precursor > 0, precursor, np.nan)
    columns["problem"] = np.full(n, None, dtype=object)
    for row, clause in problems.items():
        columns["problem"][row] = f"{files[row]}, {unit} {lines[row]}: {clause}"
    columns["file"] = np.array([str(path) for path in files], dtype=object)
    columns["line"] = lines
    missing = np.flatnonzero(~filled(columns["id"])).tolist()
    columns["id"][missing] = [f"{stem(files[row])}:{first + row}" for row in missing]
    return SpectrumTable.build(mz, intensity, offsets, columns)


def stem(path: Path) -> str:
    """File name without format and compression suffixes: 'run1' for 'run1.mgf.gz'."""
    name = path.name[: -len(path.suffix)] if path.suffix.lower() in COMPRESSED else path.name
    return Path(name).stem


@dataclass
class Records:
    """Collects records, for formats that are read record by record."""

    unit: str = "line"
    files: list[Path] = field(default_factory=list)
    mz: list[np.ndarray] = field(default_factory=list)
    intensity: list[np.ndarray] = field(default_factory=list)
    fields: list[Mapping[str, str | None]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    def add(
        self,
        path: Path,
        mz: Sequence[float] | np.ndarray,
        intensity: Sequence[float] | np.ndarray,
        fields: Mapping[str, str | None],
        line: int,
        problem: str | None = None,
    ) -> None:
        """Add a record; problem: why it cannot be used."""
        if problem:
            self.problems[len(self.lines)] = problem
        self.files.append(path)
        self.mz.append(np.asarray(mz, dtype=np.float64))
        self.intensity.append(np.asarray(intensity, dtype=np.float64))
        self.fields.append(fields)
        self.lines.append(line)

    def __len__(self) -> int:
        return len(self.lines)

    def table(self) -> SpectrumTable:
        """The table of all records."""
        keys = dict.fromkeys(key for fields in self.fields for key in fields)
        raw = {key: [fields.get(key) for fields in self.fields] for key in keys}
        counts = [len(mz) for mz in self.mz]
        return assemble(
            self.files,
            np.concatenate([*self.mz, np.zeros(0)]),
            np.concatenate([*self.intensity, np.zeros(0)]),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            raw,
            np.array(self.lines, dtype=np.int64),
            self.problems,
            unit=self.unit,
        )
