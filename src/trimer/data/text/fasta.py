"""Fast FASTA reader: numpy finds the records in a block of bytes, without a loop over letters.

A record is a line that begins with `>` and all lines up to the next such line. Its id is the first word of the header.
The similar 3-line and PIR formats are recognised (`trimer.data.text.fasta_layouts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.text.fasta_layouts import THREE_LINES, has_three_lines, three_lines, without_titles
from trimer.data.text.file_kinds import TRAINING, file_kind
from trimer.data.text.letters import WHITE, checked
from trimer.data.text.opening import broken_end, decode, read_blocks
from trimer.errors import BrokenOff, InputError

BLOCK = 1 << 18  # bytes parsed at once, small enough for the CPU cache
NEWLINE, MARK = b"\n>"
FLAT_FILES = {b"LOCUS ": "a GenBank file", b"ID   ": "an EMBL or UniProt text file", b"HEADER ": "a PDB file"}


@dataclass
class FastaRecords:
    """n FASTA records of a file.

    headers: whole header lines without `>`. sequences: n rows of uint8 letters, without white space and one final stop
    (`*`). lines: (n,) int64 line of each header. problems: row -> why it cannot be used. labels: for a 3-line file, the
    text with a label for each residue, None where a record has no labels.
    """

    headers: list[str]
    sequences: Ragged
    lines: np.ndarray
    problems: dict[int, str] = field(default_factory=dict)
    labels: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.headers)

    @property
    def without_labels(self) -> dict[int, str]:
        """`problems` for readers that need only sequences: records with labels of residues are problems too."""
        return {row: THREE_LINES for row, text in enumerate(self.labels or ()) if text is not None} | self.problems

    @property
    def ids(self) -> list[str]:
        """The first word of each header."""
        return [(header.split(None, 1) or ("",))[0] for header in self.headers]

    def values(self, key: str) -> list[str | None]:
        """The value of `key=value` in each header, for example OX in `OS=Homo sapiens OX=9606`; None if missing."""
        pattern = re.compile(rf"(?:^|\s){re.escape(key)}=(.*?)(?=\s+\w+=|$)")
        return [match and match.group(1) for match in map(pattern.search, self.headers)]


def read_fasta(path: Path, block: int = BLOCK) -> Iterator[FastaRecords]:
    """All records of a FASTA file, compressed or not, in constant memory: about `block` bytes at a time.

    The last record of a truncated file has a problem. InputError with the line for text before the first `>`. Headers
    are UTF-8; other bytes are read as Windows-1252.
    """
    line, count = 1, 0
    parse = _parse

    def where() -> str:
        return f" after record {count:,}, line {line - 1:,}" if count else ""

    try:
        for data in read_blocks(path, b">", block, where):
            if not count:
                data, blank = _first_record(path, data)
                line += blank
                parse = _parse_three_lines if has_three_lines(data) else _parse
            if data:
                records, lines = parse(data, line)
                line += lines
                count += len(records)
                yield records
    except BrokenOff as error:
        rest = error.unfinished
        if not count:
            rest, blank = _first_record(path, rest)
            line += blank
        if not count and not rest:
            raise
        yield _broken_end(rest, line, error)
        return
    if not count:
        raise InputError(f"{path} holds no sequence: no line begins with '>'; is it a FASTA file?")


def _broken_end(data: bytes, line: int, error: BrokenOff) -> FastaRecords:
    """The last, incomplete record of a truncated file, without its letters."""
    header = data[: data.find(b"\n")] if b"\n" in data else b">"
    records = _parse(header + b"\n", line)[0]
    records.problems = {0: broken_end(error)}
    return records


def _first_record(path: Path, data: bytes) -> tuple[bytes, int]:
    """The data without the blank lines before the first record, and the number of these lines."""
    begin = len(data) - len(data.lstrip(WHITE))
    blank = data.count(b"\n", 0, begin)
    text = data[begin:]
    if text and text[:1] != b">":
        shown = decode(text[:200]).split("\n")[0].strip()[:60]
        flat = next((name for start, name in FLAT_FILES.items() if text.startswith(start)), None)
        hint = f"it seems to be {flat}: export it as FASTA" if flat else "is it a FASTA file?"
        if flat is None and (kind := file_kind(path, text)):
            hint = f"it looks like {kind.name}: {TRAINING[kind.records]}"
        raise InputError(f"{path}, line {blank + 1}: text before the first '>': '{shown}'; {hint}")
    return text, blank


def _parse(text: bytes, first_line: int) -> tuple[FastaRecords, int]:
    """The records of a block that begins with `>`, and its number of lines."""
    text = without_titles(text)
    if not text.endswith(b"\n"):
        text += b"\n"
    size = len(text)
    data = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(data == NEWLINE)
    begins = np.append(0, newlines[:-1] + 1)  # of every line
    header_line = np.flatnonzero(data[begins] == MARK)
    marks = begins[header_line]
    bodies = newlines[header_line] + 1  # where the sequence of each record begins
    stops = np.maximum(np.append(marks[1:], size) - 1, bodies)  # before its last line end
    wraps = np.maximum(np.diff(header_line, append=len(newlines)) - 2, 0)  # line ends within it
    lengths = stops - bodies - wraps

    starts, ends = bodies.tolist(), stops.tolist()
    headers = b"\n".join([text[mark + 1 : start - 1] for mark, start in zip(marks.tolist(), starts, strict=True)])
    letters = b"".join([text[start:end] for start, end in zip(starts, ends, strict=True)]).replace(b"\n", b"")
    if np.frombuffer(letters, np.uint8).min(initial=255) <= WHITE[-1]:  # \r, blanks
        letters = letters.translate(None, WHITE)
        white = np.flatnonzero(data <= WHITE[-1])
        lengths = stops - bodies - (np.searchsorted(white, stops) - np.searchsorted(white, bodies))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    sequences, problems = checked(Ragged(np.frombuffer(letters, np.uint8), offsets))
    names = decode(headers.replace(b"\r", b"")).split("\n")
    return FastaRecords(names, sequences, header_line + first_line, problems), len(newlines)


def _parse_three_lines(text: bytes, first_line: int) -> tuple[FastaRecords, int]:
    """Like `_parse`, for a 3-line file."""
    text += b"" if text.endswith(b"\n") else b"\n"
    texts = [b">" + record for record in text[1:].split(b"\n>")]
    lines = first_line + np.cumsum([0, *(record.count(b"\n") + 1 for record in texts[:-1])])
    records = [three_lines(record) for record in texts]
    letters = Ragged.pack([np.frombuffer(record.sequence, np.uint8) for record in records], np.uint8)
    sequences, problems = checked(letters)
    problems |= {row: record.problem for row, record in enumerate(records) if record.problem}
    headers = [decode(record.split(b"\n", 1)[0][1:]).rstrip("\r") for record in texts]
    labels = [None if record.labels is None else decode(record.labels) for record in records]
    return FastaRecords(headers, sequences, lines.astype(np.int64), problems, labels), text.count(b"\n")
