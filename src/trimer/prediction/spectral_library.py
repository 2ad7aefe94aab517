"""A predicted spectral library: its peptides with their fragments, in the format that the suffix names.

.tsv for DIA-NN, .csv for Spectronaut, .parquet with the columns of the .tsv, .msp, or .hdf of alphabase: see
`library_formats`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimer.files import written
from trimer.peptides.channels import Channel
from trimer.peptides.fragment_ions import fragment_mz
from trimer.peptides.proforma import Peptide, read_proforma
from trimer.prediction.library_formats import FORMATS
from trimer.prediction.prediction_tables import output_path

REASONS = ("row", "id", "sequence", "reason")
IN_TRAINING = ("id", "peptide", "charge", "in_training")


@dataclass(frozen=True)
class Ion:
    """A fragment of a library: its m/z in Th, its intensity relative to the brightest."""

    series: str
    number: int
    charge: int
    loss: str
    mz: float
    intensity: float


@dataclass(frozen=True)
class Entry:
    """A precursor of a library.

    intensities: (L - 1, K), 0 where a fragment cannot be. retention: in the unit of its model, None where none was
    predicted. energy: normalised collision energy, NaN where unknown. unseen: what the model has not learnt from.
    """

    peptide: Peptide
    charge: int
    intensities: np.ndarray
    retention: float | None = None
    proteins: str = ""
    genes: str = ""
    energy: float = float("nan")
    instrument: str = ""
    unseen: str = ""


class LibraryFile:
    """Writes the fragments of peptides to a file.

    Beside it stand `<name>.reasons.csv` with the records that have no prediction, where there are any, and
    `<name>.in_training.csv`: whether each peptide was in the training data of the model.
    least: relative intensity below which a fragment is left out. most: the brightest so many of a peptide are kept.
    While it is being written the file is called `<output>.writing`.
    """

    def __init__(self, output: str | Path, channels: list[Channel], least: float = 0.01, most: int = 20):
        self.path = library_path(output)
        self.channels, self.least, self.most = channels, least, most
        self.peptides = self.fragments = self.unseen = 0
        self.refused: list[tuple[int, str, str, str]] = []
        self._in_training: list[tuple[str, str, int, str]] = []
        self._file = written(self.path, self.path.name + ".writing")

    def __enter__(self) -> LibraryFile:
        self._format = FORMATS[self.path.suffix.lower()](self._file.__enter__(), self.channels)
        return self

    def add(self, rows: Sequence[dict]) -> None:
        """The row of one record, as `FragmentPredictor` predicts it."""
        (row,) = rows
        if row["reason"] is not None:
            self.refused.append((row["row"], row["id"], row["sequence"], row["reason"]))
            return
        self._in_training.append((row["id"], row["peptide"], row["charge"], row["in_training"]))
        beside = {name: row[name] or "" for name in ("proteins", "genes", "instrument", "unseen")}
        intensities = np.array(row["intensities"], np.float32)
        peptide = read_proforma(row["peptide"])
        self.add_entry(Entry(peptide, row["charge"], intensities, row["retention"], energy=row["energy"], **beside))

    def add_entry(self, entry: Entry) -> None:
        """One precursor."""
        ions = self._ions(entry)
        self._format.write(entry, ions)
        self.fragments += len(ions)
        self.peptides += 1
        self.unseen += bool(entry.unseen)

    def _ions(self, entry: Entry) -> list[Ion]:
        """The fragments that are kept, the brightest first."""
        sites = len(entry.peptide.letters) - 1
        found = []
        for place in np.argsort(-entry.intensities, axis=None, kind="stable")[: self.most]:
            site, column = divmod(int(place), len(self.channels))
            intensity = float(entry.intensities[site, column])
            if intensity < self.least:
                break
            kind = self.channels[column]
            number = site + 1 if kind.series == "b" else sites - site
            mz = fragment_mz(entry.peptide, kind.series, number, kind.charge, kind.loss)
            found.append(Ion(kind.series, number, kind.charge, kind.loss, mz, intensity))
        return found

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._format.close()
        self._file.__exit__(kind, error, trace)
        if kind is not None:
            return
        self.reasons.unlink(missing_ok=True)
        if self.refused:
            with self.reasons.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows([REASONS, *sorted(self.refused)])
        if self._in_training:
            with self.in_training.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows([IN_TRAINING, *self._in_training])

    @property
    def in_training(self) -> Path:
        """Where it is listed whether each peptide was in the training data."""
        return self.path.with_name(f"{self.path.stem}.in_training.csv")

    @property
    def reasons(self) -> Path:
        """Where the records without a prediction are listed."""
        return self.path.with_name(f"{self.path.stem}.reasons.csv")

    def summary(self) -> str:
        text = f"{self.path}: {self.fragments:,} fragments of {self.peptides:,} peptides"
        text += f", {self.unseen:,} of them with residues or modifications the model never saw" if self.unseen else ""
        return text + (f", {len(self.refused):,} without a prediction ({self.reasons})" if self.refused else "")


def library_path(output: str | Path) -> Path:
    """Where a library goes; errors as in `output_path`, the suffixes are FORMATS."""
    return output_path(output, FORMATS, f"a spectral library has the suffix {', '.join(FORMATS)}")
