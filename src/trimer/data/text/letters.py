"""Letters of protein sequences in text, and checks that a text is a protein.

White space and a final stop are removed. Letters, `-` and `.` (gaps of an alignment) are allowed; digits, other
characters and DNA are not. A letter that no vocabulary has (J) is allowed here and counted by
`trimer.data.text.spelling`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.core.ragged import Ragged

WHITE = bytes(range(33))  # ignored in sequences: line ends, blanks and other control characters
STOP = ord("*")
INNER_STOP = "stop (*) inside the sequence"
DIGITS = "digits inside the sequence (numbered lines?)"
DNA = "DNA or RNA, not a protein (only A, C, G, T, U, N)"
SIGN = "{!r} inside the sequence, which is not a residue"

BASES = frozenset(b"ACGTUN")
SHORT = 10  # letters; shorter peptides may consist of A, C, G and T
_ODD = np.ones(256, bool)  # bytes that are not allowed in sequences
_ODD[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.*")] = False
_BASE = np.zeros(256, bool)
_BASE[[*BASES, *bytes(BASES).lower()]] = True


def letters_of(texts: Sequence[str | None]) -> Ragged:
    """The letters of n texts as UTF-8 bytes, without white space."""
    rows = [(text or "").encode("utf-8", "replace").translate(None, WHITE) for text in texts]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return Ragged(np.frombuffer(b"".join(rows), np.uint8), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def checked(sequences: Ragged) -> tuple[Ragged, dict[int, str]]:
    """The sequences without a final stop (`*`), and row -> why it is not a protein."""
    sequences, problems = _without_stops(sequences)
    return sequences, _dna(sequences) | _odd_signs(sequences) | problems


def _odd_signs(sequences: Ragged) -> dict[int, str]:
    positions = np.flatnonzero(_ODD[sequences.values])
    owners = np.searchsorted(sequences.offsets, positions, side="right") - 1
    rows, first = np.unique(owners, return_index=True)
    problems = {}
    for row, position in zip(rows.tolist(), positions[first].tolist(), strict=True):
        text = sequences.values[position : int(sequences.offsets[row + 1])].tobytes().decode("utf-8", "replace")
        problems[row] = DIGITS if text[0] in "0123456789" else SIGN.format(text[0])
    return problems


def _dna(sequences: Ragged) -> dict[int, str]:
    """Rows of at least SHORT letters that are all A, C, G, T, U or N, and include A, C, G and T or U."""
    long = np.flatnonzero(sequences.lengths >= SHORT)
    begins = sequences.values[sequences.offsets[long][:, None] + np.arange(SHORT)] if len(long) else long[:, None]
    problems = {}
    for row in long[_BASE[begins].all(1)].tolist():
        letters = set(sequences[row].tobytes().upper())
        if letters <= BASES and set(b"ACG") <= letters and letters & set(b"TU"):
            problems[row] = DNA
    return problems


def _without_stops(sequences: Ragged) -> tuple[Ragged, dict[int, str]]:
    values, offsets = sequences.values, sequences.offsets
    problems: dict[int, str] = {}
    # Letters have larger codes, so the minimum is a fast test.
    if values.min(initial=255) <= STOP and (values == STOP).any():
        last = offsets[1:][sequences.lengths > 0] - 1
        keep = np.ones(len(values), bool)
        keep[last] = values[last] != STOP
        sequences = Ragged(values[keep], np.concatenate([[0], np.cumsum(keep)])[offsets])
        stops = np.flatnonzero(sequences.values == STOP)
        rows = np.searchsorted(sequences.offsets, stops, side="right") - 1
        problems = dict.fromkeys(np.unique(rows).tolist(), INNER_STOP)
    return sequences, problems | dict.fromkeys(np.flatnonzero(sequences.lengths == 0).tolist(), NO_SEQUENCE)
