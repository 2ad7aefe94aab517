"""Proteins from annotated sequence files, read by Biopython: GenBank, EMBL, Swiss-Prot text, UniProt XML, Stockholm.

A file is split into entries, and Biopython parses each separately: a damaged entry does not affect the others, and
memory does not grow with the file. These entries become proteins:

- GenBank and EMBL entries of proteins (`aa`, `AA`), Swiss-Prot and UniProt XML: the sequence of the entry.
- GenBank and EMBL entries of nucleotides: one protein for each CDS with a `/translation`. Other CDS are problems,
  except pseudogenes, which are skipped. The id is `/protein_id`, else `/locus_tag`, else the location.
- Stockholm: each row of an alignment, without gaps, in upper case.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.data.text.compression import plain_name
from trimer.data.text.opening import broken_end, decode, open_bytes, read_blocks
from trimer.errors import BrokenOff, InputError

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord

log = logging.getLogger(__name__)

BLOCK = 1 << 20  # bytes parsed at once
COLUMNS = ("accession", "name", "description", "OS", "OX", "GN", "family")
NO_END = "the entry has no end line (//): the file is truncated here, download it again"


@dataclass(frozen=True)
class EntryFormat:
    """A format whose entries begin with a line `mark` and end with `//`.

    biopython: its name in Bio.SeqIO. length: pattern of the stated length. keep: line types to parse; the others, most
    of the text, do not concern the sequence. Empty: all.
    """

    name: str
    biopython: str
    mark: bytes
    length: re.Pattern[str]
    keep: tuple[str, ...] = ()


GENBANK = EntryFormat("GenBank", "genbank", b"LOCUS ", re.compile(r"\ALOCUS +.*? (\d+) (aa|bp)\b"))
EMBL = EntryFormat("EMBL", "embl", b"ID   ", re.compile(r"\AID   .*; (\d+) (AA|BP)\."))
SWISS_PROT = EntryFormat(
    "Swiss-Prot",
    "swiss",
    b"ID   ",
    re.compile(r"\AID   .*; +(\d+) (AA)\."),
    ("ID", "AC", "DE", "GN", "OS", "OX", "SQ", "  ", "//"),
)
STOCKHOLM = EntryFormat("Stockholm", "stockholm", b"# STOCKHOLM", re.compile(r"\A(?!)"))
UNIPROT_XML = "UniProt XML"
SUFFIXES: dict[str, str] = {
    ".gb": "GenBank", ".gbk": "GenBank", ".gbff": "GenBank", ".genbank": "GenBank", ".gp": "GenBank",
    ".gpff": "GenBank", ".embl": "EMBL", ".emb": "EMBL", ".swiss": "Swiss-Prot", ".sprot": "Swiss-Prot",
    ".sto": "Stockholm", ".stk": "Stockholm", ".stockholm": "Stockholm",
}  # fmt: skip
TABLES = (".csv", ".tsv", ".tab")  # whatever their first line is
_SWISS_ID = re.compile(rb"ID   \S+ +(?:Reviewed|Unreviewed|STANDARD|PRELIMINARY);[^\n]*\bAA\.")
_LOCUS = re.compile(rb"^LOCUS  ", re.MULTILINE)
XML_PARTS = (
    "accession",
    "name",
    "protein",
    "gene",
    "organism",
    "sequence",
)  # elements of an entry that its protein needs
TAXONOMY = "NCBI Taxonomy:"
_GAPS = str.maketrans("", "", "-.~ ")


@dataclass
class Entry:
    """A protein of a file. line: first line of its entry. values: those of COLUMNS that the entry states."""

    id: str | None
    sequence: str
    line: int
    values: dict[str, str | None] = field(default_factory=dict)
    problem: str | None = None


def entry_format(start: bytes, path: Path) -> EntryFormat | str | None:
    """The format of a file by its first bytes, or None for FASTA, tables and anything else.

    InputError if the content does not have the format that the suffix names.
    """
    suffix = Path(plain_name(path)).suffix.lower()
    text = start.lstrip()
    if suffix in TABLES:
        return None
    if text.startswith(b"LOCUS  "):
        return GENBANK
    if text.startswith(b"ID   "):
        return SWISS_PROT if _SWISS_ID.match(text) else EMBL
    if text.startswith(b"# STOCKHOLM"):
        return STOCKHOLM
    if text.startswith(b"<") and b"<uniprot" in text:
        return UNIPROT_XML
    suffix_format = SUFFIXES.get(suffix)
    if suffix_format == "GenBank" and _LOCUS.search(start):  # after the title of a release
        return GENBANK
    if suffix_format and not text.startswith((b">", b"PAR1")):
        first = decode(text[:200]).split("\n")[0].strip()[:60]
        raise InputError(
            f"{path} is not a {suffix_format} file: it begins with '{first}'; rename it with the suffix of its format"
        )
    if text.startswith((b"<?xml", b"<!DOCTYPE")):
        raise InputError(f"{path} is XML, but not UniProt XML (no <uniprot> element): export it as FASTA")
    return None


def read_entries(path: Path, kind: EntryFormat | str) -> Iterator[Entry]:
    """All proteins of a file, compressed or not, in file order.

    An entry that cannot be parsed has a problem, as does the last entry of a truncated file. InputError if no entry is
    usable.
    """
    entries = _xml_entries(path) if isinstance(kind, str) else _text_entries(path, kind)
    name = kind if isinstance(kind, str) else kind.name
    usable, problem = False, None
    for entry in entries:
        if entry.problem and not usable:
            problem = problem or f"{path}, line {entry.line}: {entry.problem}"
        usable = usable or entry.problem is None
        yield entry
    if not usable:
        raise InputError(problem or f"{path} contains no {name} entry; is it the right file?")


# ---------------------------------------------------------------- entries of text


def _text_entries(path: Path, kind: EntryFormat) -> Iterator[Entry]:
    line = 1
    try:
        for block in read_blocks(path, kind.mark, BLOCK):
            for text in _cut(block, kind):
                yield from _parsed(path, text, kind, line)
                line += text.count("\n")
    except BrokenOff as error:
        for text in _cut(error.unfinished, kind):
            if _is_whole(text):
                yield from _parsed(path, text, kind, line)
                line += text.count("\n")
        yield Entry(None, "", line, problem=broken_end(error))


def _cut(block: bytes, kind: EntryFormat) -> list[str]:
    """Whole entries; text before the first one, such as the title of a release, is returned as one more."""
    text = decode(block.replace(b"\r\n", b"\n"))
    return [entry for entry in re.split(rf"(?m)^(?={re.escape(kind.mark.decode())})", text) if entry]


def _is_whole(text: str) -> bool:
    return re.search(r"(?m)^//\s*$", text) is not None


def _parsed(path: Path, text: str, kind: EntryFormat, line: int) -> Iterator[Entry]:
    if not text.startswith(kind.mark.decode()):
        return  # the title of a release
    if not _is_whole(text):
        yield Entry(None, "", line, problem=NO_END)
        return
    wanted = text
    if kind.keep:
        wanted = "".join(row for row in text.splitlines(keepends=True) if row[:2] in kind.keep)
    try:
        with _biopython_warnings(path, line):
            from Bio import SeqIO

            records = list(SeqIO.parse(io.StringIO(wanted), kind.biopython))
            if not records:
                raise ValueError("it has no sequence")
            entries = [entry for record in records for entry in _entries_of(record, kind, text, line)]
    except Exception as error:  # Biopython's parsers raise many types of error on a damaged entry
        name = text.split("\n", 1)[0].split()[1:2] if kind is not STOCKHOLM else []
        problem = f"the {kind.name} entry cannot be parsed: {_words(error)}"
        entries = [Entry(name[0].strip(";") if name else None, "", line, problem=problem)]
    yield from entries


@contextmanager
def _biopython_warnings(path: Path, line: int) -> Iterator[None]:
    """Send Biopython's warnings to the log, with the line of the entry."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        log.debug("%s, entry on line %d: %s", path, line, " ".join(str(warning.message).split()))


def _entries_of(record: SeqRecord, kind: EntryFormat, text: str, line: int) -> Iterator[Entry]:
    if kind is STOCKHOLM:
        family = re.search(r"(?m)^#=GF (?:AC|ID) +(\S+)", text)
        accession = record.annotations.get("accession")
        values = {"accession": str(accession) if accession else None, "family": family and family[1]}
        yield Entry(record.id, str(record.seq).translate(_GAPS).upper(), line, _values(record) | values)
        return
    stated = kind.length.match(text)
    if "protein" in str(record.annotations.get("molecule_type")) or (stated and stated[2].lower() == "aa"):
        entry = _entry(record, line)
        _check_length(entry, stated and stated[1])
        yield entry
    else:
        yield from _coding_sequences(record, line)


def _entry(record: SeqRecord, line: int) -> Entry:
    if record.seq is None or not record.seq.defined:  # its length may be known without its letters
        return Entry(record.id, "", line, _values(record), "the entry has no sequence")
    return Entry(record.id, str(record.seq), line, _values(record))


def _coding_sequences(record: SeqRecord, line: int) -> Iterator[Entry]:
    """The proteins that a nucleotide entry encodes."""
    coding = [feature for feature in record.features if feature.type == "CDS"]
    if not coding:
        problem = "a nucleotide entry without a CDS encodes no protein"
        yield Entry(record.id, "", line, _values(record), problem)
    for feature in coding:
        texts = {name: values[0] for name, values in feature.qualifiers.items() if values}
        sequence = texts.get("translation", "").replace(" ", "")
        if not sequence and feature.qualifiers.keys() & {"pseudo", "pseudogene"}:
            continue
        name = texts.get("protein_id") or texts.get("locus_tag") or f"{record.id}:{feature.location}"
        values = _values(record) | {"GN": texts.get("gene"), "description": texts.get("product")}
        yield Entry(name, sequence, line, values, None if sequence else "a CDS without a /translation")


def _values(record: SeqRecord) -> dict[str, str | None]:
    """The values of COLUMNS that an entry states, with the keys of UniProt's FASTA headers."""
    notes: dict[str, Any] = record.annotations
    source = next((feature for feature in record.features if feature.type == "source"), None)
    references = " ".join(source.qualifiers.get("db_xref", ())) if source is not None else ""
    references += "".join(
        f" taxon:{text.removeprefix(TAXONOMY)}" for text in record.dbxrefs if text.startswith(TAXONOMY)
    )
    taxon = re.search(r"taxon:(\d+)", references)
    genes = notes.get("gene_name")  # Swiss-Prot: one dictionary per gene
    gene = genes[0].get("Name") if isinstance(genes, list) and genes else notes.get("gene_name_primary")
    return {
        "accession": next(iter(notes.get("accessions", ())), None),
        "name": record.name or None,
        "description": record.description.rstrip(";.") or None,
        "OS": (notes.get("organism") or "").removesuffix(".") or None,
        "OX": next(iter(notes.get("ncbi_taxid", ())), None) or (taxon[1] if taxon else None),
        "GN": re.sub(r"\s*\{.*", "", gene) if gene else None,
    }


# ---------------------------------------------------------------- UniProt XML


def _xml_entries(path: Path) -> Iterator[Entry]:
    from lxml import etree

    parser = etree.XMLPullParser(("end",), tag="{*}entry", resolve_entities=False, no_network=True)
    number = 0
    try:
        with open_bytes(path) as file:
            while chunk := file.read1(BLOCK):  # keeps what precedes a break, which `read` would lose
                for element in _fed(parser, chunk):
                    number += 1
                    yield _xml_entry(element, number)
        parser.close()
    except (etree.XMLSyntaxError, BrokenOff) as error:
        where = f"after entry {number:,}" if number else "before the first whole entry"
        yield Entry(None, "", number + 1, problem=f"the XML is damaged {where} ({error}); download it again")


def _fed(parser: Any, chunk: bytes) -> Iterator[Any]:
    """The entries that a chunk completes; a syntax error is raised after the entries that precede it."""
    broken: SyntaxError | None = None
    try:
        parser.feed(chunk)
    except SyntaxError as error:
        broken = error
    for _, element in parser.read_events():
        yield element
        element.clear(keep_tail=False)
        while element.getprevious() is not None:  # frees the entries that have been read
            del element.getparent()[0]
    if broken is not None:
        raise broken


def _xml_entry(element: Any, number: int) -> Entry:
    """The protein of one `<entry>`; only XML_PARTS are parsed, in a separate document."""
    from Bio import SeqIO
    from Bio.SeqIO.UniprotIO import NS
    from lxml import etree

    small = etree.Element(f"{NS}uniprot", nsmap={None: NS[1:-1]})
    entry = etree.SubElement(small, f"{NS}entry", element.attrib)
    parts = [child for child in element.iterchildren(etree.Element) if etree.QName(child).localname in XML_PARTS]
    entry.extend(parts)
    for node in entry.iter(etree.Element):
        node.tag = NS + etree.QName(node).localname  # for any version of the namespace
    etree.cleanup_namespaces(small)
    try:
        protein = _entry(SeqIO.read(io.BytesIO(etree.tostring(small)), "uniprot-xml"), number)
    except Exception as error:  # Biopython's parser raises many types of error on a damaged entry
        problem = f"the UniProt entry cannot be parsed: {_words(error)}"
        return Entry(entry.findtext(f"{NS}accession"), "", number, problem=problem)
    sequence = entry.find(f"{NS}sequence")
    _check_length(protein, None if sequence is None else sequence.get("length"))
    return protein


def _check_length(entry: Entry, stated: str | None) -> None:
    if stated and int(stated) != len(entry.sequence) and entry.problem is None:
        entry.problem = (
            f"{len(entry.sequence):,} residues instead of the {int(stated):,} that the entry states: it is damaged"
        )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
