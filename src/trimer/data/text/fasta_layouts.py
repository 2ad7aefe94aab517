"""Files that look like FASTA and have other lines below the header: labels of residues, or a title.

3-line files (SignalP, TMbed, DeepTMHMM) have the sequence on one line and a label for each residue on the next. PIR
files have a title below a header such as `>P1;CRAB_ANAPL`, and end each sequence with `*`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

SAMPLE = 200  # records that tell the layout of a file
SHARE = 0.8  # of them must have two lines of one length
FEW = 12  # letters of a set of labels
THREE_LINES = (
    "labels of residues below the sequence (a 3-line file): train on them with data=labelled_residues, or take the "
    "lines of labels out"
)
_PIR = re.compile(rb"^>(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);", re.MULTILINE)
_PIR_RECORD = re.compile(rb"\A>(?:P1|F1|DL|DC|RL|RC|N1|N3|XX);([^\n]*)\n([^\n]*)\n")


@dataclass
class ThreeLines:
    """A record of a 3-line file: the sequence, its labels (None where there are none), and what is wrong with it."""

    sequence: bytes
    labels: bytes | None = None
    problem: str | None = None


def body_of(record: bytes) -> list[bytes]:
    """The lines below a header that hold something, without white space around them."""
    return [line for line in (line.strip() for line in record.split(b"\n")[1:]) if line]


def has_three_lines(data: bytes) -> bool:
    """Whether records, which begin with `>`, have a sequence and its labels on two lines.

    Of a wrapped FASTA file hardly any record has two lines of the same length. Where all lines have one length, as
    those of an alignment may, the lower ones must look like labels: digits, or few letters in long runs.
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
    """The record of a 3-line file."""
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
    """The same number of lines, the titles of PIR records moved into their headers, as `>CRAB_ANAPL ALPHA CRYSTALLIN`.

    A header of that kind whose sequence does not end with `*` is an ordinary one.
    """
    if _PIR.search(data) is None:
        return data
    records = re.split(rb"(?m)^(?=>)", data)
    return b"".join(_without_title(record) for record in records)


def _without_title(record: bytes) -> bytes:
    found = _PIR_RECORD.match(record)
    if found is None or not record.rstrip().endswith(b"*"):
        return record
    header = b" ".join(part.strip() for part in found.groups())
    return b">" + header + b"\n\n" + record[found.end() :]
