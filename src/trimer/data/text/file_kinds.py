"""Kinds of files recognised by their first bytes, for messages about a file of another kind than a model reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trimer.data.text.compression import plain_name
from trimer.data.text.opening import decode, read_chunks
from trimer.errors import InputError

START = 1 << 16  # bytes that are looked at


@dataclass(frozen=True)
class FileKind:
    """A kind of file. name: with its article. records: spectra, molecules, proteins or peptides."""

    name: str
    records: str


PIR = FileKind("a PIR file of proteins", "proteins")
FASTA = FileKind("a FASTA file of sequences", "proteins")
SMILES = FileKind("a SMILES file of molecules", "molecules")
EMPTY = "is empty; write or download it again"
SMILES_SUFFIXES = (".smi", ".smiles", ".ism")
# In the order in which they are tried. A table is of no kind: its columns tell what it holds.
SIGNS: tuple[tuple[re.Pattern[bytes], FileKind], ...] = (
    (re.compile(rb"\s*>(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);"), PIR),
    (re.compile(rb"\s*>"), FASTA),
    (re.compile(rb"\s*(?:<[?!][^>]*>\s*)*<(?:indexed)?mzML\b"), FileKind("an mzML file of spectra", "spectra")),
    (re.compile(rb"\s*(?:<[?!][^>]*>\s*)*<mzXML\b"), FileKind("an mzXML file of spectra", "spectra")),
    (re.compile(rb"\s*[\[{][^\0]*?\"peaks(?:_json)?\""), FileKind("a JSON file of spectra", "spectra")),
    (re.compile(rb"\s*<mzspeclib", re.I), FileKind("an mzSpecLib library of peptides", "peptide libraries")),
    (re.compile(rb"(?:.*\n)*?BEGIN IONS\s*$", re.I | re.M), FileKind("an MGF file of spectra", "spectra")),
    (
        re.compile(rb"\s*(?:full)?name: *[A-Z][^/\n]*/\d\S*\s*\n(?:.*\n)*?num ?peaks:", re.I),
        FileKind("an MSP library of peptides", "peptide libraries"),
    ),
    (re.compile(rb"\s*\w[\w ]*: .*\n(?:.*\n)*?num ?peaks:", re.I), FileKind("an MSP file of spectra", "spectra")),
    (re.compile(rb"\s*ACCESSION: .*\n(?:.*\n)*?(?:CH|AC|PK)\$"), FileKind("a MassBank spectrum", "spectra")),
    (re.compile(rb"\s*LOCUS  "), FileKind("a GenBank file", "proteins")),
    (re.compile(rb"ID   \S[^,\t\n]*;"), FileKind("an EMBL or UniProt text file", "proteins")),
    (re.compile(rb"# STOCKHOLM"), FileKind("a Stockholm alignment of proteins", "proteins")),
    (re.compile(rb"\s*(?:<[?!][^>]*>\s*)*<uniprot\b"), FileKind("a UniProt XML file", "proteins")),
    (re.compile(rb".*\n.*\n.*\n.*V[23]000\s*$", re.M), FileKind("an SDF or MOL file of molecules", "molecules")),
)  # fmt: skip
READS = {
    "molecules": "molecules: a SMILES file (.smi), an SDF, or a table (.csv, .tsv, .parquet) with a column of SMILES",
    "proteins": "proteins: FASTA, PIR, GenBank or UniProt, or a table (.csv, .tsv, .parquet) with a column of residues",
    "peptides": "peptides: a table (.csv, .tsv, .parquet) or the result of a search engine",
}
# What to do with the records of a file: models to predict with, and data to train on.
PREDICTING = {
    "spectra": "predict molecules for spectra with ckpt=spectrums",
    "molecules": "predict for molecules with ckpt=superclass",
    "proteins": "predict for proteins with ckpt=membrane, and for peptides from a table with the column sequence",
    "peptide libraries": "write its peptides as a table with the columns sequence and charge",
}
TRAINING = {
    "spectra": "read it with data=spectral_library",
    "molecules": "read it with data=molecules, or with labels with data=labelled_molecules",
    "proteins": "read it with data=proteins, or with labels with data=labelled_fasta or data=labelled_residues",
    "peptide libraries": "read it with data=peptide_fragments",
}


def file_kind(path: Path, start: bytes) -> FileKind | None:
    """The kind of a file by its first bytes; None for tables and for what is not recognised."""
    kind = next((kind for sign, kind in SIGNS if sign.match(start)), None)
    if kind is None and Path(plain_name(path)).suffix.lower() in SMILES_SUFFIXES:
        return SMILES
    return kind


def check_kind(path: Path, records: str) -> FileKind | None:
    """The kind of a file to predict for; InputError if it is empty or of another kind than the model reads.

    records: a key of READS. None for a table, a folder, and what is not recognised.
    """
    if not path.is_file():
        return None
    start = next(read_chunks(path, START), b"")
    if not start.strip():
        raise InputError(f"{path} {EMPTY}")
    kind = file_kind(path, start)
    if kind is not None and kind.records != records:
        raise InputError(
            f"{path} looks like {kind.name} (it begins with '{first_line(start)}'), but this model reads "
            f"{READS[records]}. To use the file, {PREDICTING[kind.records]}"
        )
    return kind


def check_table(path: Path, start: bytes) -> None:
    """InputError if a file to train on is empty, or recognised as another kind than a table, by its first bytes."""
    if not start.strip():
        raise InputError(f"{path} {EMPTY}")
    if kind := file_kind(path, start):
        raise InputError(f"{path} looks like {kind.name}, not a table: {TRAINING[kind.records]}")


def check_lines(path: Path) -> None:
    """InputError if a file of SMILES to train on is empty, or recognised as a file of other records."""
    start = next(read_chunks(path, START), b"")
    if not start.strip():
        raise InputError(f"{path} {EMPTY}")
    kind = file_kind(path, start)
    if kind and kind.records != "molecules":
        raise InputError(f"{path} looks like {kind.name}, not a file of SMILES: {TRAINING[kind.records]}")


def first_line(start: bytes) -> str:
    """The first line of a text that is not blank, shortened."""
    lines: Iterator[str] = (line.strip() for line in decode(start[:400]).splitlines())
    return "".join(filter(str.isprintable, next(filter(None, lines), "")))[:40]
