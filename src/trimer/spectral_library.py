"""A predicted spectral library as a table of tab-separated text, which DIA-NN and Spectronaut read: a row a fragment.

Columns: ModifiedPeptide (`AM(UniMod:35)K`), StrippedPeptide, PrecursorCharge, PrecursorMz (Th), Tr_recalibrated (the
retention time, in the unit of its model), ProteinId, FragmentType, FragmentSeriesNumber, FragmentCharge,
FragmentLossType, ProductMz (Th), LibraryIntensity (relative to the highest), decoy.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from trimer.errors import InputError
from trimer.peptides.channels import Channel
from trimer.peptides.fragments import fragment_mz
from trimer.peptides.proforma import Peptide, read_proforma

COLUMNS = (
    "ModifiedPeptide", "StrippedPeptide", "PrecursorCharge", "PrecursorMz", "Tr_recalibrated", "ProteinId",
    "FragmentType", "FragmentSeriesNumber", "FragmentCharge", "FragmentLossType", "ProductMz", "LibraryIntensity",
    "decoy",
)  # fmt: skip
REASONS = ("row", "id", "sequence", "reason")


class LibraryFile:
    """Writes the fragments of peptides to a .tsv file, and what has none to `<name>.reasons.csv` beside it.

    least: relative intensity below which a fragment is left out. most: the brightest so many of a peptide are kept.
    While it is being written the file is called `<output>.writing`.
    """

    def __init__(self, output: str | Path, channels: list[Channel], least: float = 0.01, most: int = 20):
        self.path = Path(output).expanduser()
        if not self.path.parent.is_dir():
            raise InputError(f"output={output}: the folder {self.path.parent} does not exist; make it first")
        self.channels, self.least, self.most = channels, least, most
        self.peptides = self.fragments = 0
        self.refused: list[tuple[int, str, str, str]] = []
        self._temporary = self.path.with_name(self.path.name + ".writing")

    def __enter__(self) -> LibraryFile:
        self._stream = self._temporary.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._stream, delimiter="\t", lineterminator="\n")
        self._csv.writerow(COLUMNS)
        return self

    def add(self, text: str, charge: int, intensities: np.ndarray, retention: float | None) -> None:
        """One peptide in ProForma: (L - 1, K) relative intensities, 0 where a fragment cannot be."""
        peptide = read_proforma(text)
        sites = len(peptide.letters) - 1
        order = np.argsort(-intensities, axis=None, kind="stable")[: self.most]
        shared = [
            diann_text(peptide), peptide.letters, charge, f"{peptide.mz(charge):.5f}",
            "" if retention is None else f"{retention:.4f}", "",
        ]  # fmt: skip
        for place in order:
            site, column = divmod(int(place), len(self.channels))
            if intensities[site, column] < self.least:
                break
            channel = self.channels[column]
            number = site + 1 if channel.series == "b" else sites - site
            mz = fragment_mz(peptide, channel.series, number, channel.charge, channel.loss)
            loss = channel.loss or "noloss"
            own = [channel.series, number, channel.charge, loss, f"{mz:.5f}", f"{intensities[site, column]:.5f}", 0]
            self._csv.writerow([*shared, *own])
            self.fragments += 1
        self.peptides += 1

    def refuse(self, row: int, name: str, text: str, reason: str) -> None:
        """A record of the input (counted from 1) without an answer, and why."""
        self.refused.append((row, name, text, reason))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stream.close()
        if kind is not None:
            self._temporary.unlink()
            return
        self._temporary.replace(self.path)
        self.reasons.unlink(missing_ok=True)
        if self.refused:
            with self.reasons.open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows([REASONS, *sorted(self.refused)])

    @property
    def reasons(self) -> Path:
        """Where the records without an answer are listed."""
        return self.path.with_name(f"{self.path.stem}.reasons.csv")

    def summary(self) -> str:
        text = f"{self.path}: {self.fragments:,} fragments of {self.peptides:,} peptides"
        return text + (f", {len(self.refused):,} without an answer ({self.reasons})" if self.refused else "")


def diann_text(peptide: Peptide) -> str:
    """A peptide as DIA-NN writes it; what has no UNIMOD id is written by its mass."""
    marks: dict[int, str] = {}
    for place, one in peptide.modifications:
        marks[place] = marks.get(place, "") + (f"({one.mass:+.4f})" if one.id is None else f"(UniMod:{one.id})")
    letters = "".join(letter + marks.get(place, "") for place, letter in enumerate(peptide.letters, 1))
    return marks.get(0, "") + letters + marks.get(len(peptide.letters) + 1, "")
