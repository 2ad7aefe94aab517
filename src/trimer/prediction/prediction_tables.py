"""The table that `trimer predict` writes: one or more rows for every record of the input, in the same order."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from trimer.counts import counted
from trimer.errors import ConfigError, InputError
from trimer.files import write_csv, write_text, written
from trimer.prediction.structure_file import SDF, reasons_path

SUFFIXES = (".csv", ".parquet", ".json")

# Writes (path, columns, rows) in another format, with the files beside it.
Write = Callable[[Path, Sequence[str], list[dict]], None]


def output_path(output: str | Path, suffixes: Collection[str], wanted: str) -> Path:
    """The path of an output file.

    InputError if it is a folder or its folder is missing, ConfigError if its suffix is not in `suffixes`.
    wanted: the end of the message of that ConfigError.
    """
    path = Path(output).expanduser()
    if path.is_dir():
        raise InputError(f"output={output} is a folder; name a file in it, such as output={path / 'predictions.csv'}")
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"output={output}: {wanted}")
    if not path.parent.is_dir():
        raise InputError(f"output={output}: the folder {path.parent} does not exist; create it first")
    return path


class PredictionFile:
    """Writes predictions to a file when the `with` block ends without an error.

    columns: names, including `reason`. what: name of the records, such as "spectra". further: suffix -> function that
    writes it, in addition to .csv, .parquet and .json.
    """

    def __init__(
        self,
        output: str | Path,
        columns: Sequence[str],
        what: str,
        further: Mapping[str, Write] | None = None,
    ):
        self.further = dict(further or {})
        suffixes = (*SUFFIXES, *self.further)
        self.path = output_path(output, suffixes, f"the suffix must be one of {', '.join(suffixes)}")
        self.columns, self.what = list(columns), what
        self.predicted = self.without = 0
        self._rows: list[dict] = []

    def __enter__(self) -> PredictionFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._save()

    def add(self, rows: Sequence[dict]) -> None:
        """Add the rows of one record, best first."""
        self._rows += rows
        self.predicted += rows[0]["reason"] is None
        self.without += rows[0]["reason"] is not None

    def summary(self) -> str:
        text = f"{self.path}: {counted(self.predicted, self.what)} predicted"
        where = reasons_path(self.path) if self.path.suffix.lower() == SDF else "the column `reason`"
        return text + (f", {self.without:,} without a prediction (see {where})" if self.without else "")

    def _save(self) -> None:
        """Write the table atomically."""
        suffix = self.path.suffix.lower()
        if suffix in self.further:
            self.further[suffix](self.path, self.columns, self._rows)
        elif suffix == ".csv":
            write_csv(self.path, self.columns, self._rows)
        elif suffix == ".json":
            write_text(self.path, json.dumps(self._rows, indent=1) + "\n")
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            columns = {name: [row[name] for row in self._rows] for name in self.columns}
            with written(self.path) as temporary:
                pq.write_table(pa.table(columns), temporary)


class MoleculeFile(PredictionFile):
    """A table of generated molecules; the summary counts those that agree with the measured precursor."""

    def __init__(
        self,
        output: str | Path,
        columns: Sequence[str],
        tolerance_ppm: float,
        further: Mapping[str, Write] | None = None,
    ):
        super().__init__(output, columns, "spectra", further)
        self.tolerance_ppm = tolerance_ppm
        self._best: list[dict] = []  # the first row of each spectrum with a prediction

    def add(self, rows: Sequence[dict]) -> None:
        super().add(rows)
        if rows[0]["rank"] is not None:
            self._best.append(rows[0])

    def summary(self) -> str:
        """The number of predictions, and of those that agree with the measured precursor."""
        checked = [row for row in self._best if row["agrees"] is not None]
        first = sum(row["agrees"] and row["rank"] == 1 for row in checked)
        any_candidate = sum(row["agreeing"] > 0 for row in checked)
        text = super().summary()
        if checked:
            text += (
                f"\nwithin {self.tolerance_ppm:g} ppm of the precursor m/z: the first candidate for {first:,} of "
                f"{counted(len(checked), 'predicted spectra')} ({first / len(checked):.1%}), any candidate for "
                f"{any_candidate:,}"
            )
        if unchecked := len(self._best) - len(checked):
            nothing = sum(row["agrees"] is None and not row["adduct"] for row in self._best)
            counts = {
                "the adduct is not stated": nothing,
                "the adduct or the precursor m/z is unknown": unchecked - nothing,
            }
            reasons = ", or ".join(f"{reason} ({count:,})" for reason, count in counts.items() if count)
            text += (
                f"\n{counted(unchecked, 'predictions')} cannot be checked against the precursor: {reasons}. Their "
                "molecules may have another mass; state the adduct in the file, or leave them out with "
                "only_agreeing=true"
            )
        return text
