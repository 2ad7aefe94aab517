"""FASTA, read in bulk: numpy finds the records of a block of bytes, and the letters are never looked at one by one.

A record is a line that begins with `>` and all lines up to the next such line. Its id is the first word of the header.
3-line files and PIR, which look like it, are read as what they are (`trimer.data.text.fasta_layouts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.text.fasta_layouts import THREE_LINES, has_three_lines, three_lines, without_titles
from trimer.data.text.letters import WHITE, checked
from trimer.data.text.opening import broken_end, decode, read_blocks
from trimer.errors import BrokenOff, InputError

BLOCK = 1 << 18  # bytes parsed at once: few enough to stay in the cache of the processor
NEWLINE, MARK = b"\n>"
FLAT_FILES = {b"LOCUS ": "a GenBank file", b"ID   ": "an EMBL or UniProt text file", b"HEADER ": "a PDB file"}


@dataclass
class FastaRecords:
    """n records of a file.

    headers: whole header lines without `>`. sequences: n rows of uint8 letters as they stand, white space and one stop
    at the end (`*`) taken away. lines: (n,) int64 line of each header. problems: row -> why it cannot be used. labels:
    of a 3-line file the text with a label for each residue, None where a record has none.
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
        """`problems` for readers of sequences alone: a record with labels of residues is one."""
        return {row: THREE_LINES for row, text in enumerate(self.labels or ()) if text is not None} | self.problems

    @property
    def ids(self) -> list[str]:
        """The first word of each header."""
        return [(header.split(None, 1) or ("",))[0] for header in self.headers]

    def values(self, key: str) -> list[str | None]:
        """What each header says as `key=value`, as UniProt writes `OS=Homo sapiens OX=9606`; None where it does not."""
        pattern = re.compile(rf"(?:^|\s){re.escape(key)}=(.*?)(?=\s+\w+=|$)")
        return [found and found.group(1) for found in map(pattern.search, self.headers)]


def read_fasta(path: Path, block: int = BLOCK) -> Iterator[FastaRecords]:
    """All records of a FASTA file, compressed or not, in flat memory: about `block` bytes of them at a time.

    Where a file breaks off, the last record says so in its problem. InputError naming the line for text before the
    first `>`. Headers are UTF-8, or Windows-1252 where they are not.
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
    """The record in which a file breaks off, without the letters that are left of it."""
    header = data[: data.find(b"\n")] if b"\n" in data else b">"
    records = _parse(header + b"\n", line)[0]
    records.problems = {0: broken_end(error)}
    return records


def _first_record(path: Path, data: bytes) -> tuple[bytes, int]:
    """The data without the blank lines before the first record, and how many these are."""
    begin = len(data) - len(data.lstrip(WHITE))
    blank = data.count(b"\n", 0, begin)
    text = data[begin:]
    if text and text[:1] != b">":
        found = decode(text[:200]).split("\n")[0].strip()[:60]
        kind = next((name for start, name in FLAT_FILES.items() if text.startswith(start)), None)
        hint = f"it seems to be {kind}: export it as FASTA" if kind else "is it a FASTA file?"
        raise InputError(f"{path}, line {blank + 1}: '{found}' stands before the first '>'; {hint}")
    return text, blank


def _parse(text: bytes, first_line: int) -> tuple[FastaRecords, int]:
    """Whole records, which begin with `>`, and how many lines they take."""
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
    """The same for a 3-line file."""
    text += b"" if text.endswith(b"\n") else b"\n"
    whole = [b">" + record for record in text[1:].split(b"\n>")]
    lines = first_line + np.cumsum([0, *(record.count(b"\n") + 1 for record in whole[:-1])])
    found = [three_lines(record) for record in whole]
    sequences, problems = checked(Ragged.pack([np.frombuffer(record.sequence, np.uint8) for record in found], np.uint8))
    problems |= {row: record.problem for row, record in enumerate(found) if record.problem}
    headers = [decode(record.split(b"\n", 1)[0][1:]).rstrip("\r") for record in whole]
    labels = [None if record.labels is None else decode(record.labels) for record in found]
    return FastaRecords(headers, sequences, lines.astype(np.int64), problems, labels), text.count(b"\n")
