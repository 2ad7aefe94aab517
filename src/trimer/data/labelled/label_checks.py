"""What is wrong with a split or its labels, before anything is learnt from them.

Shapes: n rows, K labels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trimer.data.core.splits import Split
from trimer.data.labelled.label_lists import holds_lists
from trimer.data.labelled.label_values import number
from trimer.data.labelled.sequence_kinds import SequenceKind
from trimer.errors import InputError

log = logging.getLogger(__name__)

MOST_NUMBERED = 20  # classes that may be called by numbers, whatever these are


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


def check_numbers(counts: Mapping[str, int]) -> None:
    """InputError for "classes" that are measurements: numbers of which most occur once. counts: text -> records."""
    once = sum(count == 1 for count in counts.values())
    numbers = all(number(text) is not None for text in counts)
    if numbers and len(counts) > MOST_NUMBERED and 2 * once > len(counts):
        shown = ", ".join(list(counts)[:3])
        raise InputError(
            f"data.target=single: the labels are {len(counts):,} different numbers ({shown}, ...), most of them of one "
            "record: use data.target=regression task=regression"
        )


def warn_of_lists(counts: Mapping[str, int]) -> None:
    """Warn where most classes are lists, of which each order would be a class of its own. counts: text -> records."""
    lists = [text for text in counts if holds_lists([text])]
    if 2 * sum(counts[text] for text in lists) > sum(counts.values()):
        log.warning(
            "data.target=single: most labels are lists, as %r, and each order of the same names is a class of its own: "
            "use data.target=multi, which makes a label of each name",
            lists[0],
        )


def warn_of_one_class(labels: np.ndarray, split: Split, classes: Sequence[str]) -> None:
    """Warn of validation or test rows that are all of one class, on which nothing can be chosen or measured.

    labels: (n,) numbers of classes, or (n, K) with NaN where a label is missing.
    """
    train = _kinds(labels[split.rows("train")]) if "train" in split.names else []
    for part in split.names:
        rows = split.rows(part)
        if part == "train" or not len(rows):
            continue
        kinds = _kinds(labels[rows])
        if labels.ndim == 1:
            names = [str(classes[kinds[0][0]])] if len(kinds[0]) == 1 else []
        else:
            several = [len(own) > 1 for own in train] or [True] * len(
                kinds
            )  # of one value in train, train is warned of
            each = zip(classes, kinds, several, strict=True)
            names = [f"{name}: {'yes' if own[0] else 'no'}" for name, own, told in each if len(own) == 1 and told]
        if names:
            log.warning(
                "the %s rows of %s have only the label %s: nothing that tells classes apart can be measured there; "
                "give it more rows (data.split.fractions) or split in another way (data.split.seed)",
                f"{len(rows):,}",
                part,
                ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else ""),
            )


def _kinds(labels: np.ndarray) -> list[np.ndarray]:
    """The distinct values of each label, missing ones left out."""
    columns = labels.reshape(len(labels), -1).astype(float)
    return [np.unique(column[~np.isnan(column)]).astype(int) for column in columns.T]


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
