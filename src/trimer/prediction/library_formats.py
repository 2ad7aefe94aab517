"""The formats of a spectral library, by suffix. Trimer can read all of them (`data=peptide_fragments`).

.tsv and .parquet: DIA-NN, one row per fragment. .csv: Spectronaut and Prosit, one row per fragment. .msp: one record
per peptide. .hdf, .hdf5, .h5: alphabase, one row per peptide and a matrix of intensities. The retention time is empty
if it was not predicted. A modification without a UNIMOD id is written as its formula; it must be defined in other
programs that read the library.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trimer.peptides.channels import Channel
from trimer.peptides.fragment_ions import LOSSES, fragment_masses
from trimer.peptides.modifications import Modification
from trimer.peptides.proforma import PROTON, Peptide

if TYPE_CHECKING:
    from trimer.prediction.spectral_library import Entry, Ion

DECIMALS = {"PrecursorMz": 5, "ProductMz": 5, "FragmentMz": 5, "LibraryIntensity": 5, "RelativeIntensity": 5} | {
    "Tr_recalibrated": 4,
    "iRT": 4,
}


class DiannTable:
    """Tab-separated text for DIA-NN; Tr_recalibrated is the retention time in the unit of the model."""

    delimiter: ClassVar[str] = "\t"
    columns: ClassVar[tuple[str, ...]] = (
        "ModifiedPeptide", "StrippedPeptide", "PrecursorCharge", "PrecursorMz", "Tr_recalibrated", "ProteinId", "Genes",
        "FragmentType", "FragmentSeriesNumber", "FragmentCharge", "FragmentLossType", "ProductMz", "LibraryIntensity",
        "decoy", "Unseen",
    )  # fmt: skip

    def __init__(self, path: Path, channels: Sequence[Channel]):
        self._stream = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._stream, delimiter=self.delimiter, lineterminator="\n")
        self._csv.writerow(self.columns)

    def values(self, entry: Entry, ion: Ion) -> list[Any]:
        """The cells of one fragment, in the order of `columns`."""
        peptide, charge = entry.peptide, entry.charge
        return [
            diann_text(peptide), peptide.letters, charge, peptide.mz(charge), entry.retention, entry.proteins,
            entry.genes, ion.series, ion.number, ion.charge, ion.loss or "noloss", ion.mz, ion.intensity, 0,
            entry.unseen,
        ]  # fmt: skip

    def write(self, entry: Entry, ions: Sequence[Ion]) -> None:
        for ion in ions:
            cells = zip(self.columns, self.values(entry, ion), strict=True)
            self._csv.writerow([_cell(name, value) for name, value in cells])

    def close(self, complete: bool = True) -> None:
        self._stream.close()


class SpectronautTable(DiannTable):
    """Comma-separated text with the columns of Prosit, for Spectronaut; iRT is the retention time."""

    delimiter = ","
    columns = (
        "ModifiedPeptide", "LabeledPeptide", "StrippedPeptide", "PrecursorCharge", "PrecursorMz", "iRT", "FragmentType",
        "FragmentNumber", "FragmentCharge", "FragmentLossType", "FragmentMz", "RelativeIntensity", "CollisionEnergy",
        "UniProtIds", "Genes", "Unseen",
    )  # fmt: skip

    def values(self, entry: Entry, ion: Ion) -> list[Any]:
        text, charge = spectronaut_text(entry.peptide), entry.charge
        return [
            text, text, entry.peptide.letters, charge, entry.peptide.mz(charge), entry.retention, ion.series,
            ion.number, ion.charge, ion.loss or "noloss", ion.mz, ion.intensity,
            None if math.isnan(entry.energy) else entry.energy, entry.proteins, entry.genes, entry.unseen,
        ]  # fmt: skip


class ParquetTable(DiannTable):
    """A Parquet file with the columns of DiannTable."""

    rows_at_once = 1 << 16

    def __init__(self, path: Path, channels: Sequence[Channel]):
        import pyarrow as pa
        import pyarrow.parquet as pq

        integers = ("PrecursorCharge", "FragmentSeriesNumber", "FragmentCharge", "decoy")
        types = {name: pa.int32() if name in integers else pa.float64() for name in (*integers, *DECIMALS)}
        self.schema = pa.schema([(name, types.get(name, pa.string())) for name in self.columns])
        self._writer = pq.ParquetWriter(path, self.schema)
        self._rows: list[list[Any]] = []

    def write(self, entry: Entry, ions: Sequence[Ion]) -> None:
        self._rows += [self.values(entry, ion) for ion in ions]
        if len(self._rows) >= self.rows_at_once:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        columns: list[Sequence[Any]] = list(zip(*self._rows, strict=True)) or [()] * len(self.columns)
        self._writer.write_table(pa.table(dict(zip(self.columns, columns, strict=True)), self.schema))
        self._rows = []

    def close(self, complete: bool = True) -> None:
        try:
            if complete:
                self._flush()
        finally:
            self._writer.close()


class MspText:
    """MSP with the comments of NIST and Prosit (modifications at positions from 0), and the exact ProForma."""

    def __init__(self, path: Path, channels: Sequence[Channel]):
        self._stream = path.open("w", encoding="utf-8", newline="\n")

    def write(self, entry: Entry, ions: Sequence[Ion]) -> None:
        peptide = entry.peptide
        mz = peptide.mz(entry.charge)
        comments = {"Parent": f"{mz:.5f}", "Mods": _nist_text(peptide), "ProForma": peptide.proforma}
        if not math.isnan(entry.energy):
            comments["Collision_energy"] = f"{entry.energy:g}"
        if entry.retention is not None:
            comments["iRT"] = f"{entry.retention:.4f}"
        quoted = {
            "Protein": entry.proteins,
            "Gene": entry.genes,
            "Instrument": entry.instrument,
            "Unseen": entry.unseen,
        }
        comments |= {name: f'"{text}"' for name, text in quoted.items() if text}
        lines = [
            f"Name: {peptide.letters}/{entry.charge}",
            f"MW: {mz * entry.charge:.5f}",
            "Comment: " + " ".join(f"{name}={text}" for name, text in comments.items()),
            f"Num peaks: {len(ions)}",
        ]
        for ion in sorted(ions, key=lambda ion: ion.mz):
            loss, charge = f"-{ion.loss}" if ion.loss else "", f"^{ion.charge}" if ion.charge > 1 else ""
            lines.append(f'{ion.mz:.5f}\t{ion.intensity:.5f}\t"{ion.series}{ion.number}{loss}{charge}/0.0ppm"')
        self._stream.write("\n".join(lines) + "\n\n")

    def close(self, complete: bool = True) -> None:
        self._stream.close()


class AlphabaseFile:
    """HDF5 of alphabase: library/precursor_df, fragment_mz_df, fragment_intensity_df; in memory until it is closed.

    Every channel of every cleavage site is kept, for any intensity; the loss of phosphoric acid is a `modloss`.
    """

    def __init__(self, path: Path, channels: Sequence[Channel]):
        from trimer.data.peptides.peptide_tables import optional

        self._h5py = optional("h5py", path)
        self.path, self.channels = path, list(channels)
        self.entries: list[Entry] = []

    def write(self, entry: Entry, ions: Sequence[Ion]) -> None:
        self.entries.append(entry)

    def close(self, complete: bool = True) -> None:
        if complete:
            self._write_file()

    def _write_file(self) -> None:
        entries = self.entries
        sites = np.array([len(entry.peptide.letters) - 1 for entry in entries], np.int64)
        stop = np.cumsum(sites)
        mods = [alphabase_text(entry.peptide) for entry in entries]
        columns: dict[str, Any] = {
            "sequence": [entry.peptide.letters for entry in entries],
            "mods": [names for names, _ in mods],
            "mod_sites": [positions for _, positions in mods],
            "charge": np.array([entry.charge for entry in entries], np.int64),
            "nAA": sites + 1,
            "precursor_mz": np.array([entry.peptide.mz(entry.charge) for entry in entries], float),
            "rt_pred": np.array([np.nan if e.retention is None else e.retention for e in entries], float),
            "nce": np.array([entry.energy for entry in entries], float),
            "instrument": [entry.instrument for entry in entries],
            "proteins": [entry.proteins for entry in entries],
            "genes": [entry.genes for entry in entries],
            "decoy": np.zeros(len(entries), np.int64),
            "unseen": [entry.unseen for entry in entries],
            "frag_start_idx": stop - sites,
            "frag_stop_idx": stop,
        }
        width = len(self.channels)
        intensity = np.concatenate([np.zeros((0, width)), *(entry.intensities for entry in entries)])
        mz = np.concatenate([np.zeros((0, width)), *(self._mz(entry.peptide) for entry in entries)])
        with self._h5py.File(self.path, "w") as file:
            text = self._h5py.string_dtype()
            for name, values in columns.items():
                options = {} if isinstance(values, np.ndarray) else {"dtype": text}
                file.create_dataset(f"library/precursor_df/{name}", data=values, **options)
            for column, channel in enumerate(self.channels):
                loss = {"": "", "H3PO4": "modloss_"}.get(channel.loss, f"{channel.loss}_")
                name = f"{channel.series}_{loss}z{channel.charge}"
                file[f"library/fragment_mz_df/{name}"] = mz[:, column].astype(np.float32)
                file[f"library/fragment_intensity_df/{name}"] = intensity[:, column].astype(np.float32)

    def _mz(self, peptide: Peptide) -> np.ndarray:
        """(L - 1, K) m/z in Th, one row per cleavage site from the N terminus."""
        b, y = fragment_masses(peptide)
        masses = {"b": b, "y": y[::-1]}
        columns = [
            (masses[channel.series] - LOSSES[channel.loss]) / channel.charge + PROTON for channel in self.channels
        ]
        return np.stack(columns, 1)


FORMATS: dict[str, type] = {
    ".tsv": DiannTable,
    ".csv": SpectronautTable,
    ".parquet": ParquetTable,
    ".msp": MspText,
    ".hdf": AlphabaseFile,
    ".hdf5": AlphabaseFile,
    ".h5": AlphabaseFile,
}


# ---------------------------------------------------------------- peptides in the notations of other programs


def diann_text(peptide: Peptide) -> str:
    """`(UniMod:1)AM(UniMod:35)K`, with a dot before a modification of the C terminus, as in OpenSWATH."""

    def text(modification: Modification, _: str) -> str:
        return f"(UniMod:{modification.id})" if modification.id is not None else f"({modification.proforma})"

    return _with_modifications(peptide, text, ".")


def spectronaut_text(peptide: Peptide) -> str:
    """`_[Acetyl (N-term)]AM[Oxidation (M)]K_`."""
    return f"_{_with_modifications(peptide, lambda modification, site: f'[{_name(modification)} ({site})]')}_"


def alphabase_text(peptide: Peptide) -> tuple[str, str]:
    """`Acetyl@Any_N-term;Oxidation@M` and `0;2`."""
    length = len(peptide.letters)
    names, positions = [], []
    for position, modification in peptide.modifications:
        site = {0: "Any_N-term", length + 1: "Any_C-term"}.get(position)
        names.append(f"{_name(modification)}@{site or peptide.letters[position - 1]}")
        positions.append("-1" if position > length else str(position))
    return ";".join(names), ";".join(positions)


def _nist_text(peptide: Peptide) -> str:
    """`2/0,A,Acetyl/1,C,Carbamidomethyl`: positions from 0; terminal modifications are on the terminal residue."""
    length, letters = len(peptide.letters), peptide.letters
    located = [(min(max(position, 1), length) - 1, modification) for position, modification in peptide.modifications]
    entries = [f"{position},{letters[position]},{_name(modification)}" for position, modification in located]
    return "/".join([str(len(entries)), *entries])


def _with_modifications(peptide: Peptide, text: Callable[[Modification, str], str], dot: str = "") -> str:
    """The residues, each followed by the texts of its modifications; text: of (modification, site)."""
    length = len(peptide.letters)
    texts: dict[int, str] = {}
    for position, modification in peptide.modifications:
        site = {0: "N-term", length + 1: "C-term"}.get(position) or peptide.letters[position - 1]
        texts[position] = texts.get(position, "") + text(modification, site)
    letters = "".join(letter + texts.get(position, "") for position, letter in enumerate(peptide.letters, 1))
    end = texts.get(length + 1, "")
    return texts.get(0, "") + letters + (f"{dot}{end}" if end else "")


def _name(modification: Modification) -> str:
    return modification.proforma if modification.id is None else modification.name


def _cell(column: str, value: Any) -> Any:
    if value is None:
        return ""
    decimals = DECIMALS.get(column)
    return f"{value:.{decimals}f}" if decimals is not None else value
