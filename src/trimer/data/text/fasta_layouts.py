"""Formats similar to FASTA with other lines below the header: labels of residues, or a title.

3-line files (SignalP, TMbed, DeepTMHMM) have the sequence on one line and a label for each residue on the next. PIR
files have a title below a header such as `>P1;CRAB_ANAPL`, and end each sequence with `*`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

SAMPLE = 200  # records by which the layout of a file is recognised
SHARE = 0.8  # fraction of them that must have two lines of equal length
FEW = 12  # distinct letters in a line of labels, at most
THREE_LINES = (
    "labels of residues below the sequence (a 3-line file): train on them with data=labelled_residues, or remove "
    "the lines of labels"
)
_PIR = re.compile(rb"^>(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);", re.MULTILINE)
_PIR_RECORD = re.compile(rb"\A>(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);([^\n]*)\n([^\n]*)\n")


@dataclass
class ThreeLines:
    """A record of a 3-line file: its sequence, its labels (None if missing), and why it cannot be used."""

    sequence: bytes
    labels: bytes | None = None
    problem: str | None = None


def body_of(record: bytes) -> list[bytes]:
    """The lines below a header that are not blank, stripped."""
    return [line for line in (line.strip() for line in record.split(b"\n")[1:]) if line]


def has_three_lines(data: bytes) -> bool:
    """Whether the records (each begins with `>`) have a sequence and its labels on two lines.

    In a wrapped FASTA file hardly any record has two lines of equal length. If all lines have the same length, as in an
    alignment, the second lines must look like labels: digits, or few letters in long runs.
    """
    bodies = [body_of(record) for record in data.split(b"\n>", SAMPLE)[:SAMPLE]]
    pairs = [body for body in bodies if len(body) == 2 and len(body[0]) == len(body[1])]
    if not pairs or len(pairs) < SHARE * len(bodies):
        return False
    return len({len(sequence) for sequence, _ in pairs}) > 1 or all(_like_labels(labels) for _, labels in pairs)


def _like_labels(line: bytes) -> bool:
    changes = sum(first != second for first, second in pairwise(line))
    return any(48 <= letter < 58 for letter in line) or (len(set(line)) <= FEW and 2 * changes <= len(line))


def three_lines(record: bytes) -> ThreeLines:
    """Parse a record of a 3-line file."""
    body = body_of(record)
    if len(body) < 2:
        return ThreeLines(body[0] if body else b"")
    sequence, labels = body[0], body[1]
    if len(body) > 2:
        return ThreeLines(sequence, problem=f"{len(body)} lines below the header of a 3-line file")
    if len(sequence) != len(labels):
        problem = f"{len(sequence):,} residues and {len(labels):,} labels in a 3-line file"
        return ThreeLines(sequence, problem=problem)
    if sequence.endswith(b"*"):
        sequence, labels = sequence[:-1], labels[:-1]
    return ThreeLines(sequence, labels)


def without_titles(data: bytes) -> bytes:
    """Move the titles of PIR records into their headers (`>CRAB_ANAPL ALPHA CRYSTALLIN`), keeping the number of lines.

    A record with a PIR header whose sequence does not end with `*` stays unchanged.
    """
    if _PIR.search(data) is None:
        return data
    records = re.split(rb"(?m)^(?=>)", data)
    return b"".join(_without_title(record) for record in records)


def _without_title(record: bytes) -> bytes:
    match = _PIR_RECORD.match(record)
    if match is None or not record.rstrip().endswith(b"*"):
        return record
    header = b" ".join(part.strip() for part in match.groups())
    return b">" + header + b"\n\n" + record[match.end() :]
