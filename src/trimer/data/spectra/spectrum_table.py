"""Tandem mass spectra in columns: peaks laid end to end, one value per spectrum for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TEXT = (
    "id", "adduct", "ion_mode", "name", "formula", "smiles", "inchi", "inchikey", "instrument",
    "instrument_type", "collision_energy", "splash", "fold", "file", "problem",
)  # fmt: skip
NUMBERS = {
    "precursor_mz": (np.float64, np.nan),
    "charge": (np.int16, 0),
    "ms_level": (np.int16, 0),
    "retention_time": (np.float64, np.nan),
    "line": (np.int64, 0),
}


@dataclass
class SpectrumTable:
    """n spectra with P peaks in all.

    mz: (P,) float64, Th, ascending within each spectrum. intensity: (P,) float32, as in the file until cleaned.
    offsets: (n + 1,) int64, spectrum i owns peaks offsets[i]:offsets[i + 1].
    columns: one array of n per field. Always there: the TEXT fields (objects, None where missing) and the NUMBERS
    (NaN or 0 where missing; ms_level 0 = not stated; retention_time in seconds; line or scan number in `file`).
    Any other key of the file is kept as a text column under its lower-case name.
    `problem` is None for a usable record, else one sentence that says why it cannot be used.
    """

    mz: np.ndarray
    intensity: np.ndarray
    offsets: np.ndarray
    columns: dict[str, np.ndarray]

    @classmethod
    def build(
        cls,
        mz: np.ndarray,
        intensity: np.ndarray,
        offsets: np.ndarray,
        columns: dict[str, Sequence],
    ) -> SpectrumTable:
        """Check the shapes, convert the types, and fill the fields that were not given."""
        n = len(offsets) - 1
        full: dict[str, np.ndarray] = {}
        for key in TEXT:
            full[key] = _text(columns.get(key), n)
        for key, (dtype, missing) in NUMBERS.items():
            given = columns.get(key)
            full[key] = np.full(n, missing, dtype) if given is None else np.asarray(given, dtype=dtype)
        for key, given in columns.items():
            if key not in full:
                full[key] = _text(given, n)
        for key, column in full.items():
            if len(column) != n:
                raise ValueError(f"column '{key}' has {len(column)} values for {n} spectra")
        return cls(np.asarray(mz, np.float64), np.asarray(intensity, np.float32), np.asarray(offsets, np.int64), full)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, field: str) -> np.ndarray:
        return self.columns[field]

    @property
    def peak_counts(self) -> np.ndarray:
        """(n,) number of peaks."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """(P,) row of the spectrum that each peak belongs to."""
        return np.repeat(np.arange(len(self)), self.peak_counts)

    def peaks(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """m/z and intensity of one spectrum, as views."""
        window = slice(self.offsets[row], self.offsets[row + 1])
        return self.mz[window], self.intensity[window]

    def take(self, rows: np.ndarray) -> SpectrumTable:
        """The given rows (indices or a mask), in that order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        counts = self.peak_counts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        columns = {key: column[rows] for key, column in self.columns.items()}
        return SpectrumTable(self.mz[index], self.intensity[index], offsets, columns)

    def keep_peaks(self, mask: np.ndarray) -> SpectrumTable:
        """The same spectra with only the peaks under the (P,) mask."""
        counts = np.bincount(self.owners[mask], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return SpectrumTable(self.mz[mask], self.intensity[mask], offsets, self.columns)

    def with_columns(self, **columns: np.ndarray) -> SpectrumTable:
        """The same peaks, some columns replaced or added."""
        return SpectrumTable(self.mz, self.intensity, self.offsets, {**self.columns, **columns})

    @staticmethod
    def concatenate(tables: Sequence[SpectrumTable]) -> SpectrumTable:
        """All spectra of several tables; a column that a table lacks is None there."""
        if len(tables) == 1:
            return tables[0]
        keys = list(dict.fromkeys(key for table in tables for key in table.columns))
        columns = {
            key: np.concatenate([t.columns[key] if key in t.columns else _text(None, len(t)) for t in tables])
            for key in keys
        }
        counts = np.concatenate([t.peak_counts for t in tables]) if tables else np.zeros(0, np.int64)
        return SpectrumTable.build(
            np.concatenate([t.mz for t in tables]) if tables else np.zeros(0),
            np.concatenate([t.intensity for t in tables]) if tables else np.zeros(0, np.float32),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            columns,
        )


def _text(values: Sequence | None, n: int) -> np.ndarray:
    column = np.full(n, None, dtype=object)
    if values is not None:
        if len(values) != n:
            raise ValueError(f"{len(values)} values for {n} spectra")
        column[:] = values
    return column
