"""Writes a predicted spectral library: peptides with their fragments, in the format of the suffix.

.tsv for DIA-NN, .csv for Spectronaut, .parquet with the columns of the .tsv, .msp, or .hdf of alphabase; see
`library_formats`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from trimer.counts import counted
from trimer.files import write_csv, written
from trimer.peptides.channels import Channel
from trimer.peptides.fragment_ions import fragment_mz
from trimer.peptides.proforma import Peptide, read_proforma
from trimer.prediction.library_formats import FORMATS
from trimer.prediction.prediction_tables import output_path
from trimer.training_facts import UNKNOWN

REASONS = ("row", "id", "sequence", "reason")
IN_TRAINING = ("id", "peptide", "charge", "in_training")


@dataclass(frozen=True)
class Ion:
    """A fragment ion: m/z in Th, intensity relative to the most intense fragment."""

    series: str
    number: int
    charge: int
    loss: str
    mz: float
    intensity: float


@dataclass(frozen=True)
class Entry:
    """A precursor of a library.

    intensities: (L - 1, K), 0 for impossible fragments. retention: in the unit of the model, None if it was not
    predicted. energy: normalised collision energy in percent, NaN if unknown. unseen: residues and modifications that
    are not in the training data, or "unknown".
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

    In the same folder it writes `<name>.reasons.csv`, the records without a prediction (if there are any), and
    `<name>.in_training.csv`, whether each peptide is in the training data of the model.
    min_intensity: smaller relative intensities are omitted. max_fragments: largest number of fragments of a peptide.
    An error leaves no incomplete file.
    """

    def __init__(
        self, output: str | Path, channels: list[Channel], min_intensity: float = 0.01, max_fragments: int = 20
    ):
        wanted = f"a spectral library needs one of the suffixes {', '.join(FORMATS)}"
        self.path = output_path(output, FORMATS, wanted)
        self.channels, self.min_intensity, self.max_fragments = channels, min_intensity, max_fragments
        self.peptides = self.fragments = self.unseen = 0
        self.without: list[tuple[int, str, str, str]] = []
        self._in_training: list[tuple[str, str, int, str]] = []

    def __enter__(self) -> LibraryFile:
        with ExitStack() as stack:
            temporary = stack.enter_context(written(self.path, one_writer=True))
            self._format = FORMATS[self.path.suffix.lower()](temporary, self.channels)
            stack.push(self._close)
            self._file = stack.pop_all()
        return self

    def _close(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._format.close(complete=kind is None)

    def add(self, rows: Sequence[dict]) -> None:
        """Add the row of one record, as predicted by `FragmentPredictor`."""
        (row,) = rows
        if row["reason"] is not None:
            self.without.append((row["row"], row["id"], row["sequence"], row["reason"]))
            return
        self._in_training.append((row["id"], row["peptide"], row["charge"], row["in_training"]))
        texts = {name: row[name] or "" for name in ("proteins", "genes", "instrument", "unseen")}
        intensities = np.array(row["intensities"], np.float32)
        peptide = read_proforma(row["peptide"])
        self.add_entry(Entry(peptide, row["charge"], intensities, row["retention"], energy=row["energy"], **texts))

    def add_entry(self, entry: Entry) -> None:
        """Add a precursor."""
        ions = self._ions(entry)
        self._format.write(entry, ions)
        self.fragments += len(ions)
        self.peptides += 1
        self.unseen += entry.unseen not in ("", UNKNOWN)

    def _ions(self, entry: Entry) -> list[Ion]:
        """The fragments to write, the most intense first."""
        sites = len(entry.peptide.letters) - 1
        ions = []
        for index in np.argsort(-entry.intensities, axis=None, kind="stable")[: self.max_fragments]:
            site, column = divmod(int(index), len(self.channels))
            intensity = float(entry.intensities[site, column])
            if intensity < self.min_intensity:
                break
            channel = self.channels[column]
            number = channel.number(site, sites)
            mz = fragment_mz(entry.peptide, channel.series, number, channel.charge, channel.loss)
            ions.append(Ion(channel.series, number, channel.charge, channel.loss, mz, intensity))
        return ions

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)
        if kind is not None:
            return
        tables = ((self.reasons, REASONS, sorted(self.without)), (self.in_training, IN_TRAINING, self._in_training))
        for path, columns, rows in tables:
            if rows:
                write_csv(path, columns, rows)
            else:
                path.unlink(missing_ok=True)  # of an earlier library with this name

    @property
    def in_training(self) -> Path:
        """The path of the table of training overlap."""
        return self.path.with_name(f"{self.path.stem}.in_training.csv")

    @property
    def reasons(self) -> Path:
        """The path of the table of records without a prediction."""
        return self.path.with_name(f"{self.path.stem}.reasons.csv")

    def summary(self) -> str:
        text = f"{self.path}: {counted(self.fragments, 'fragments')} of {counted(self.peptides, 'peptides')}"
        text += (
            f", {self.unseen:,} of them with residues or modifications that are not in the training data"
            if self.unseen
            else ""
        )
        return text + (f", {len(self.without):,} without a prediction (see {self.reasons})" if self.without else "")
