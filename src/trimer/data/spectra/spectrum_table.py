"""Table of tandem mass spectra: concatenated peaks, and columns with one value for each spectrum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from trimer.counts import counted
from trimer.data.spectra.spectrum_record import Spectrum

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from matchms import Spectrum as MatchmsSpectrum

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


@dataclass(repr=False)
class SpectrumTable:
    """n spectra with P peaks in total.

    mz: (P,) float64, Th, ascending within each spectrum. intensity: (P,) float32, as in the file until cleaned.
    offsets: (n + 1,) int64, spectrum i has the peaks offsets[i]:offsets[i + 1].
    columns: an array of n values for each field. Always present: the TEXT fields (objects, None where missing) and the
    NUMBERS (NaN or 0 where missing; ms_level 0 = not stated; retention_time in seconds; line: line or scan number).
    Other keys of the file are text columns under their lower-case names.
    `problem` is None for a usable record, else the reason why it cannot be used.
    """

    mz: np.ndarray
    intensity: np.ndarray
    offsets: np.ndarray
    columns: dict[str, np.ndarray]

    @classmethod
    def build(
        cls,
        mz: Sequence[float] | np.ndarray,
        intensity: Sequence[float] | np.ndarray,
        offsets: Sequence[int] | np.ndarray,
        columns: Mapping[str, Sequence | np.ndarray],
    ) -> SpectrumTable:
        """Create a table: checks the shapes, converts the types, and fills missing fields."""
        n = len(offsets) - 1
        full = {key: _text(columns.get(key), n) for key in TEXT}
        for key, (dtype, missing) in NUMBERS.items():
            values = columns.get(key)
            full[key] = np.full(n, missing, dtype) if values is None else np.asarray(values, dtype=dtype)
        for key, values in columns.items():
            if key not in full:
                full[key] = _text(values, n)
        for key, column in full.items():
            if len(column) != n:
                raise ValueError(f"column '{key}' has {len(column)} values for {n} spectra")
        return cls(np.asarray(mz, np.float64), np.asarray(intensity, np.float32), np.asarray(offsets, np.int64), full)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...

    @overload
    def __getitem__(self, key: int | np.integer) -> Spectrum: ...

    @overload
    def __getitem__(self, key: slice | list | np.ndarray) -> SpectrumTable: ...

    def __getitem__(self, key: Any) -> Any:
        """A column by its name, a spectrum by its row, or a table of several rows (slice, indices or mask)."""
        if isinstance(key, str):
            return self.columns[key]
        if isinstance(key, int | np.integer):
            row = range(len(self))[key]
            return Spectrum(*self.peaks(row), self.fields(row))
        return self.take(np.arange(len(self))[key])

    def __iter__(self) -> Iterator[Spectrum]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        text = f"SpectrumTable of {counted(len(self), 'spectra')} with {counted(len(self.mz), 'peaks')}"
        precursors = self.columns["precursor_mz"]
        if np.isfinite(precursors).any():
            text += f", precursor m/z {np.nanmin(precursors):.4f} to {np.nanmax(precursors):.4f}"
        if unusable := sum(problem is not None for problem in self.columns["problem"]):
            text += f", {unusable:,} unusable (column 'problem')"
        return f"{text}; columns: {', '.join(self._filled_columns())}"

    def _repr_html_(self) -> str:
        from trimer.results.html_tables import html_table

        names = self._filled_columns()
        rows = [self.fields(row) | {"peaks": int(self.peak_counts[row])} for row in range(min(len(self), 10))]
        return html_table(rows, ["peaks", *names], len(self), "spectra", drawn=())

    def _filled_columns(self) -> list[str]:
        """Names of the columns with a value in any row."""
        return [name for name, values in self.columns.items() if not all(_is_missing(name, value) for value in values)]

    def fields(self, row: int) -> dict[str, Any]:
        """The non-missing fields of one spectrum, as plain Python values."""
        values = {name: column[row] for name, column in self.columns.items()}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        return {name: value for name, value in plain.items() if not _is_missing(name, value)}

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame with a row for each spectrum: its fields, and `mz` and `intensity` as arrays."""
        import pandas

        peaks = [self.peaks(row) for row in range(len(self))]
        frame = pandas.DataFrame({name: self.columns[name] for name in self.columns})
        frame["mz"] = [mz for mz, _ in peaks]
        frame["intensity"] = [intensity for _, intensity in peaks]
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow Table with the columns of `to_pandas`; None for a missing text, number, or peaks."""
        import pyarrow

        fields = {
            name: pyarrow.array(
                [None if _is_missing(name, value) else value for value in values.tolist()],
                pyarrow.from_numpy_dtype(NUMBERS[name][0]) if name in NUMBERS else pyarrow.string(),
            )
            for name, values in self.columns.items()
        }
        offsets = pyarrow.array(self.offsets, pyarrow.int64())
        peaks = {
            name: pyarrow.LargeListArray.from_arrays(offsets, pyarrow.array(values))
            for name, values in (("mz", self.mz), ("intensity", self.intensity))
        }
        return pyarrow.table({**fields, **peaks})

    def plot(self, ax: Any = None) -> Any:
        """Plot the first spectra, with their precursors; returns the axes of matplotlib. ax: axes, for one spectrum."""
        from trimer.results.plots import plot_spectra

        return plot_spectra(self, ax)

    def to_matchms(self) -> list[MatchmsSpectrum]:
        """A matchms `Spectrum` for each row (see `trimer.data.spectra.matchms_spectra`)."""
        from trimer.data.spectra.matchms_spectra import to_matchms

        return to_matchms(self)

    @property
    def peak_counts(self) -> np.ndarray:
        """(n,) number of peaks of each spectrum."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """(P,) row of the spectrum of each peak."""
        return np.repeat(np.arange(len(self)), self.peak_counts)

    def peaks(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """m/z and intensity of one spectrum, as views."""
        window = slice(self.offsets[row], self.offsets[row + 1])
        return self.mz[window], self.intensity[window]

    def take(self, rows: np.ndarray) -> SpectrumTable:
        """The table of these rows (indices or a mask), in this order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        counts = self.peak_counts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        columns = {key: column[rows] for key, column in self.columns.items()}
        return SpectrumTable(self.mz[index], self.intensity[index], offsets, columns)

    def keep_peaks(self, mask: np.ndarray) -> SpectrumTable:
        """The same spectra with only the peaks in the (P,) mask."""
        counts = np.bincount(self.owners[mask], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return SpectrumTable(self.mz[mask], self.intensity[mask], offsets, self.columns)

    def with_columns(self, **columns: np.ndarray) -> SpectrumTable:
        """The table with some columns replaced or added."""
        return SpectrumTable(self.mz, self.intensity, self.offsets, {**self.columns, **columns})

    @staticmethod
    def concatenate(tables: Sequence[SpectrumTable]) -> SpectrumTable:
        """All spectra of several tables; None where a table lacks a column."""
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


def filled(column: np.ndarray) -> np.ndarray:
    """(n,) bool: whether each value of a column of objects is not None."""
    return np.not_equal(column, np.array(None, dtype=object))


def _is_missing(name: str, value: Any) -> bool:
    """Whether a value is None, NaN, or the number that marks a missing value."""
    return value is None or value != value or (name in NUMBERS and value == NUMBERS[name][1])


def _text(values: Sequence | np.ndarray | None, n: int) -> np.ndarray:
    column = np.full(n, None, dtype=object)
    if values is not None:
        if len(values) != n:
            raise ValueError(f"{len(values)} values for {n} spectra")
        column[:] = values
    return column
