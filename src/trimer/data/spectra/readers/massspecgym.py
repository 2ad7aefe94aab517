"""MassSpecGym tables (Bushuiev et al., NeurIPS 2024): a spectrum in each row, peaks as comma-separated lists."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np

from trimer.data.spectra.readers.record_table import assemble
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.numbers import to_float
from trimer.data.text.tables import TableFile
from trimer.errors import InputError

_NEEDED = ("mzs", "intensities", "precursor_mz")


def read_massspecgym(path: Path) -> SpectrumTable:
    """All rows of the table (.tsv, compressed or not); `line` is the line of the file, `fold` the benchmark's split."""
    file = TableFile(path)
    missing = [name for name in _NEEDED if name not in file]
    if missing:
        raise InputError(
            f"{path}, line 1: the columns {', '.join(missing)} are missing; a MassSpecGym table has tab-separated "
            f"columns {', '.join(_NEEDED)} and others"
        )
    rows = list(file.rows_at(range(len(file.header))))
    if not rows:
        raise InputError(f"{path} holds no spectrum: it has only a header")
    problems = {row: problem for row, (_, _, problem) in enumerate(rows) if problem}
    lines = [line for _, line, _ in rows]
    names = [name.lower() for name in file.header]
    columns = dict(zip(names, zip(*([cell or "" for cell in cells] for cells, _, _ in rows), strict=True), strict=True))
    mz, mz_counts = _lists(columns.pop("mzs"))
    intensity, intensity_counts = _lists(columns.pop("intensities"))
    unequal = np.flatnonzero(mz_counts != intensity_counts)
    for row in unequal:
        problems.setdefault(int(row), f"{mz_counts[row]} values in mzs, but {intensity_counts[row]} in intensities")
    mz_keep = np.repeat(mz_counts == intensity_counts, mz_counts)
    intensity_keep = np.repeat(mz_counts == intensity_counts, intensity_counts)
    counts = np.where(mz_counts == intensity_counts, mz_counts, 0)
    return assemble(
        [path] * len(rows),
        mz[mz_keep],
        intensity[intensity_keep],
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        columns,
        np.array(lines, dtype=np.int64),
        problems,
    )


def _lists(cells: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of a column of comma-separated lists, NaN for other text, and their count in each cell."""
    words = [cell.strip("[] ").split(",") if cell.strip("[] ") else [] for cell in cells]
    counts = np.array([len(w) for w in words], dtype=np.int64)
    flat = [word.strip().encode() for word in chain.from_iterable(words)]
    values, _ = to_float(b"".join(flat), np.array([len(word) for word in flat], dtype=np.int64))
    return values, counts
