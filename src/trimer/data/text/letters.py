"""The letters of sequences of residues, taken from text: white space and the stop at the end are no part of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimer.data.store import Ragged

WHITE = bytes(range(33))  # no part of a sequence: line ends, blanks and other control characters
STOP = ord("*")
EMPTY = "no sequence"
INNER_STOP = "stop (*) inside the sequence"


def letters_of(texts: Sequence[str | None]) -> Ragged:
    """The letters of n texts end to end, without white space; what is no Latin-1 becomes `?`."""
    rows = [(text or "").encode("latin-1", "replace").translate(None, WHITE) for text in texts]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return Ragged(np.frombuffer(b"".join(rows), np.uint8), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def without_stops(sequences: Ragged) -> tuple[Ragged, dict[int, str]]:
    """The sequences without the one stop (`*`) that may end them; the rows that hold another one, or nothing."""
    values, offsets = sequences.values, sequences.offsets
    problems: dict[int, str] = {}
    if values.min(initial=255) <= STOP and (values == STOP).any():  # letters lie above: one look tells
        last = offsets[1:][sequences.lengths > 0] - 1
        keep = np.ones(len(values), bool)
        keep[last] = values[last] != STOP
        sequences = Ragged(values[keep], np.concatenate([[0], np.cumsum(keep)])[offsets])
        stops = np.flatnonzero(sequences.values == STOP)
        rows = np.searchsorted(sequences.offsets, stops, side="right") - 1
        problems = dict.fromkeys(np.unique(rows).tolist(), INNER_STOP)
    return sequences, problems | dict.fromkeys(np.flatnonzero(sequences.lengths == 0).tolist(), EMPTY)
