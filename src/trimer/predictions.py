"""The table that `trimer predict` writes: a row for every spectrum of the input, with its id, an answer or a reason.

Rows reach the file in parts as they are computed, so that nothing is lost when a long prediction is stopped.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from trimer.data.spectra import SpectrumTable
from trimer.errors import ConfigError, InputError

SUFFIXES = (".csv", ".parquet", ".json")
COLUMNS = ("row", "id", "precursor_mz", "adduct", "rank", "smiles", "count", "log_likelihood", "score", "reason")


class PredictionFile:
    """Writes predictions in the order of the input.

    output: a .csv, .parquet or .json file. ranked: one row per candidate, best first, at most `candidates` a spectrum;
    else the best candidate only.
    While it is being written the file is called `<output>.partial`, in CSV.
    """

    def __init__(self, output: str | Path, ranked: bool = False, candidates: int = 10):
        self.path = Path(output).expanduser()
        self.kept = candidates if ranked else 1
        if candidates < 1:
            raise ConfigError(f"candidates={candidates} must be at least 1")
        if self.path.is_dir():
            raise InputError(
                f"output={output} is a folder; name a file in it, as output={self.path / 'predictions.csv'}"
            )
        if self.path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"output={output}: the suffix must be one of {', '.join(SUFFIXES)}")
        if not self.path.parent.is_dir():
            raise InputError(f"output={output}: the folder {self.path.parent} does not exist; make it first")
        self.answered = self.unanswered = 0

    @contextmanager
    def writing(self, table: SpectrumTable, reasons: np.ndarray) -> Iterator[PredictionFile]:
        """Open the partial file; on success it becomes the output."""
        self._table = table
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._rows: dict[int, list[dict]] = {}
        with self._partial.open("w", newline="", encoding="utf-8") as self._stream:
            self._csv = csv.DictWriter(self._stream, COLUMNS)
            self._csv.writeheader()
            try:
                yield self
            except BaseException:
                print(f"trimer: what was computed so far is kept in {self._partial}", file=sys.stderr)
                raise
            for row in range(len(table)):
                if row not in self._rows:
                    self._rows[row] = [self._reason(row, reasons[row])]
        self._save([record for row in range(len(table)) for record in self._rows[row]])
        self._partial.unlink()

    def add(self, written: Mapping[int, object]) -> None:
        """Answers by row of the input; they are on disk when this returns."""
        for row, result in written.items():
            kept = result.candidates[: self.kept]
            if kept:
                self._rows[row] = [self._answer(row, rank, c) for rank, c in enumerate(kept, 1)]
            else:
                self._rows[row] = [self._reason(row, f"none of the {result.written} texts written is a molecule")]
            self._csv.writerows(self._rows[row])
        self._stream.flush()

    def summary(self) -> str:
        text = f"{self.path}: {self.answered:,} spectra answered"
        return text + (f", {self.unanswered:,} without an answer (column `reason`)" if self.unanswered else "")

    def _head(self, row: int) -> dict:
        mz = float(self._table["precursor_mz"][row])
        return {
            "row": row + 1,
            "id": self._table["id"][row],
            "precursor_mz": mz if np.isfinite(mz) else None,
            "adduct": self._table["adduct"][row],
        }

    def _answer(self, row: int, rank: int, candidate) -> dict:
        self.answered += rank == 1
        return {
            **self._head(row),
            "rank": rank,
            "smiles": candidate.smiles,
            "count": candidate.count,
            "log_likelihood": candidate.log_likelihood,
            "score": candidate.score,
            "reason": None,
        }

    def _reason(self, row: int, reason: str) -> dict:
        self.unanswered += 1
        return {**dict.fromkeys(COLUMNS), **self._head(row), "reason": reason}

    def _save(self, records: list[dict]) -> None:
        """Write the whole table under a temporary name, then give it its own."""
        temporary = self.path.with_name(self.path.name + ".writing")
        suffix = self.path.suffix.lower()
        if suffix == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows(records)
        elif suffix == ".json":
            temporary.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({name: [r[name] for r in records] for name in COLUMNS}), temporary)
        temporary.replace(self.path)
