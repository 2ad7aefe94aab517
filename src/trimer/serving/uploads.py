"""Uploaded files: unpacked within a limit, named by their content, in a private folder that is removed afterwards.

The readers choose a format by the suffix of a file. The name that a client gives is only a hint where the content
fits several formats, and never part of a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from trimer.data.labelled.sequence_files import COLUMNS
from trimer.data.proteins.entry_files import SUFFIXES as ENTRIES
from trimer.data.text.column_names import is_called
from trimer.data.text.compression import DAMAGE, SUFFIXES, format_of, opened_zip, unpack
from trimer.data.text.tables import delimiter_of
from trimer.errors import InputError
from trimer.peptides.conditions import CONDITION_COLUMNS
from trimer.serving.limits import MIB, Refusal, too_large

START = 1 << 16  # bytes by which a format is recognised
FILES = {  # kind of records -> the formats, for people
    "spectra": ["MGF", "MSP", "mzML", "mzXML", "MassBank", "GNPS JSON", "MassSpecGym TSV"],
    "molecules": ["SMILES", "SDF", "CSV", "TSV", "Parquet"],
    "proteins": ["FASTA", "CSV", "TSV", "Parquet", "GenBank", "EMBL", "Swiss-Prot", "UniProt XML", "Stockholm"],
    "peptides": ["CSV, TSV or Parquet of search engines and libraries", "DeepPhospho JSON"],
}
FILES["precursors"] = FILES["peptides"]
LAYERS = 2  # a compressed file in a compressed body
PARQUET, HDF5 = b"PAR1", b"\x89HDF"
PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# Kind of records -> what occurs at the start of a line -> the suffix of the format; the first match counts.
FORMATS: dict[str, tuple[tuple[str, str], ...]] = {
    "spectra": (
        (r"BEGIN IONS", ".mgf"),
        (r"ACCESSION: ", ".txt"),
        (r"\s*[\[{]", ".json"),
        (r"(?i:name|spectrumid|precursormz|num ?peaks):", ".msp"),
    ),
    "molecules": ((r"(?:M  END|\$\$\$\$)", ".sdf"),),
    "proteins": (
        (r">", ".fasta"),
        (r"LOCUS  ", ".gb"),
        (r"ID   \S+; ", ".embl"),
        (r"ID   ", ".swiss"),
        (r"# STOCKHOLM", ".sto"),
    ),
    "peptides": ((r"\s*\{", ".json"),),
    "precursors": ((r"\s*\{", ".json"),),
}
ROOTS = {"indexedmzML": ".mzml", "mzML": ".mzml", "mzXML": ".mzxml", "uniprot": ".xml"}  # elements of XML
ROOT = re.compile(r"<([A-Za-z]\w*)")
ENCODING = re.compile(rb"<\?xml[^>]*encoding=[\"']([\w.-]+)", re.IGNORECASE)
ENCODINGS = (b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1", b"windows-1252")  # of XML; they show a document type
WEB_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
TABLES = (".csv", ".tsv", ".tab")
HINTS = (".smi", ".smiles", ".fasta", ".fa", ".faa", ".sdf", *ENTRIES)
NAMES = {"smiles", "sequence", "peptide", "peptide_sequence", "modified_sequence", "precursor_charge"}
PACKED = re.compile(f"(?:{'|'.join(map(re.escape, SUFFIXES))})$", re.IGNORECASE)  # at the end of a name
DTD = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


@contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder that only this user can read, removed at the end."""
    with TemporaryDirectory(prefix="trimer-", dir=parent) as folder:
        yield Path(folder)


def prepared(raw: Path, name: str, kind: str, limit_mib: float, limit: str = "limits.unpacked_mib") -> Path:
    """The file as `upload.<suffix>` in the folder of `raw`, which is consumed.

    name: as the client calls the file. kind: what the model reads, such as "spectra" (`Study.example`).
    """
    plain, name = unpacked(raw, name, limit_mib, limit)
    path = plain.with_name(f"upload{suffix_of(plain, name, kind)}")
    return plain.rename(path)


def unpacked(raw: Path, name: str, limit_mib: float, limit: str = "limits.unpacked_mib") -> tuple[Path, str]:
    """The decompressed file in the folder of `raw`, and its name; Refusal for a damaged or a too large one."""
    for layer in range(LAYERS + 1):
        with raw.open("rb") as file:
            kind = format_of(file.peek(6)[:6])
            if kind is None:
                return raw, name
            if layer == LAYERS:
                break
            inner = raw.with_name(f"unpacked{layer}")
            try:
                if kind == "zip":
                    name = _name_in_zip(raw)
                _copy(unpack(raw, file, kind, MIB), inner, limit_mib, limit)
            except InputError as error:
                raise Refusal(422, "unreadable_file", str(error).replace(str(raw), "the file")) from error
            except DAMAGE as error:
                if type(error).__name__ == "BombError":
                    raise too_large("the unpacked body", limit, limit_mib) from error
                raise Refusal(
                    422, "unreadable_file", f"the {kind} file is damaged ({error}): compress it again"
                ) from error
        raw.unlink()
        raw = inner
        if kind != "zip":
            name = PACKED.sub("", name)
    raise Refusal(422, "unreadable_file", f"the file is compressed more than {LAYERS} times: unpack it first")


def _name_in_zip(path: Path) -> str:
    with path.open("rb") as file, opened_zip(path, file) as (_, member):
        return member.filename


def _copy(chunks: Iterator[bytes], target: Path, limit_mib: float, limit: str) -> None:
    total = 0
    with target.open("wb") as file:
        for chunk in chunks:
            total += len(chunk)
            if total > limit_mib * MIB:
                raise too_large("the unpacked body", limit, limit_mib)
            file.write(chunk)


def suffix_of(path: Path, name: str, kind: str) -> str:
    """The suffix of a format, by the content of a file; Refusal for one that is not read from clients."""
    with path.open("rb") as file:
        start = file.read(START)
    if not start.strip():
        raise Refusal(422, "empty", "the body is empty: send records")
    if start.startswith((HDF5, *PICKLES)):
        what = "HDF5" if start.startswith(HDF5) else "pickle"
        raise Refusal(415, "unsupported_format", f"{what} files are not read from clients: send a table, such as CSV")
    if start.startswith(PARQUET):
        return ".parquet"
    text = _text(start)
    if WEB_PAGE.match(start):
        raise Refusal(415, "unsupported_format", "the file is a web page (HTML): send the file with the records itself")
    if text.lstrip().startswith("<"):
        _check_xml(path, start)
        root = ROOT.search(text)
        suffix = ROOTS.get(root[1] if root else "", ".xml")
        if suffix == ".xml" and "UniProt XML" not in FILES[kind]:
            raise unknown_format("XML of this kind is", kind)
        return suffix
    for pattern, suffix in FORMATS[kind]:
        if re.match(pattern, text) or (pattern[0] != "\\" and re.search(f"^{pattern}", text, re.MULTILINE)):
            return suffix
    return _table_or_list(text, name, kind)


def unknown_format(what: str, kind: str) -> Refusal:
    """The refusal of a file. what: its content, with a verb."""
    message = f"{what} in no known format of {kind}: send {', '.join(FILES[kind])}, also compressed"
    return Refusal(415, "unsupported_format", message)


def _table_or_list(text: str, name: str, kind: str) -> str:
    """The suffix of a table, or of a list with a record in each line."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    delimiter = delimiter_of(lines[0])
    cells = [cell.strip().strip('"') for cell in lines[0].split(delimiter)]
    table = ".tsv" if delimiter == "\t" else ".csv"
    if table == ".csv" and not any("CSV" in name for name in FILES[kind]):
        raise unknown_format("the content is", kind)
    if kind in ("spectra", "peptides", "precursors"):
        return table
    hint = Path(name).suffix.lower()
    if any(is_header(cell, kind) for cell in cells) or hint in TABLES:
        return table
    if hint in HINTS:
        return hint
    # No SMILES and no sequence has these delimiters; ids after a blank may have them, and an InChI does.
    if len(cells) > 1 and delimiter in ",;" and " " not in cells[0] and not lines[0].startswith("InChI="):
        return table
    return ".smi" if kind == "molecules" else ".fasta"


def is_header(cell: str, kind: str) -> bool:
    """Whether a cell is the name of a column, and not the start of a list of records."""
    named = any(is_called(cell, column) for column in COLUMNS[kind])
    return named or cell.lower() in NAMES | {column for columns in CONDITION_COLUMNS.values() for column in columns}


def _text(start: bytes) -> str:
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    return start.decode(encoding, "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _check_xml(path: Path, start: bytes) -> None:
    """Refusal of XML with a document type: its entities can name files of the server, or grow without limit."""
    encoding = ENCODING.match(start.removeprefix(b"\xef\xbb\xbf"))
    if b"\x00" in start[:64] or (encoding and encoding[1].lower() not in ENCODINGS):
        raise Refusal(415, "unsupported_format", "XML is read in UTF-8 only: convert the file")
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            if DTD.search(rest + chunk):
                raise Refusal(415, "unsupported_format", "XML with a document type is not read: remove <!DOCTYPE ...>")
            rest = chunk[-16:]


def has_one_line(path: Path) -> bool:
    """Whether a text has a single line, as `curl -d @file` leaves it: it removes the line ends."""
    with path.open("rb") as file:
        start = file.read(START)
    return b"\n" not in start.rstrip() and b"\r" not in start.rstrip()


def save(target: Path) -> Callable[[bytes], None]:
    """A function that appends to a new file which only this user can read."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    os.close(descriptor)

    def append(data: bytes) -> None:
        with target.open("ab") as file:
            file.write(data)

    return append
