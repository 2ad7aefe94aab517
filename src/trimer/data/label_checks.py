"""What is wrong with a split or its labels, before anything is learnt from them.

Shapes: n rows, K labels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trimer.data.sequence_kinds import SequenceKind
from trimer.data.splits import Split
from trimer.errors import InputError

log = logging.getLogger(__name__)


def check_classes(labels: np.ndarray, split: Split, classes: Sequence[str], id_of: Callable[[int], str]) -> None:
    """InputError for a class that another part has and train has not. labels: (n,) numbers of classes."""
    known = set(labels[split.rows("train")].tolist())
    for part in split.names[1:]:
        alien = next((row for row in split.rows(part) if labels[row] not in known), None)
        if alien is not None:
            raise InputError(
                f"the label {classes[labels[alien]]!r} of {id_of(alien)} is in {part}, and nowhere in train: leave "
                "rare classes out (data.classes=<number>) or split in another way"
            )


def check_columns(train: np.ndarray, names: Sequence[str], numbers: bool) -> None:
    """Warn of a yes or no that train does not show both of; InputError for numbers of which it has none.

    train: (n, K) of the train part, NaN where a label is missing.
    """
    for name, values in zip(names, train.T, strict=True):
        found = np.unique(values[~np.isnan(values)])
        if len(found) > 1 or (len(found) and numbers):
            continue
        if numbers:
            raise InputError(f"the label {name!r} has no number in train: leave it out (data.source.labels)")
        seen = f"always {'yes' if found[0] else 'no'}" if len(found) else "never given"
        log.warning("the label %r is %s in train: nothing can be learnt about it", name, seen)


def contradictions(keys: np.ndarray, labels: np.ndarray) -> int:
    """How many keys are there more than once, with labels that differ; a missing label differs from none.

    keys: (n,). labels: (n,) or (n, K).
    """
    labels = labels.reshape(len(keys), -1).astype(float)
    numbers = np.unique(keys, return_inverse=True)[1]
    least = np.full((numbers.max() + 1, labels.shape[1]), np.nan)
    most = least.copy()
    np.fmin.at(least, numbers, labels)
    np.fmax.at(most, numbers, labels)
    return int((most > least).any(1).sum())


def warn_of_leaks(overlap: Sequence[Mapping], related: Sequence[Mapping], sequences: SequenceKind) -> None:
    """Warn of rows in train and in another part: the same ones, and relatives.

    overlap: of `Split.overlap`. related: of `Relatives.to_train`. sequences: what the rows are.
    """
    key, told = sequences.keys[0], {}
    same = "%.0f %% of the %s rows are of %s that are in train too: the result says how well they are remembered; "
    for row in overlap:
        if row["key"] == key and row["shared_rows"]:
            told[row["part"]] = row["shared_rows"]
            share = 100 * row["shared_rows"] / row["rows"]
            log.warning(same + "split by data.split.keys=[%s]", share, row["part"], sequences.plural, key)
    near = "%.0f %% of the %s proteins share %s with one in train: the result says how well relatives are recognised; "
    for row in related:
        if row["shared_rows"] > told.get(row["part"], 0):
            share = 100 * row["shared_rows"] / row["rows"]
            log.warning(near + "split by data.split.keys=[sequence,kmers]", share, row["part"], row["key"])
