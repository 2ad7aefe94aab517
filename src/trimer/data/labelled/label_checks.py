"""Checks of a split and its labels before training: errors, and warnings about leaks and useless labels.

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

MOST_NUMBERED = 20  # up to this number of classes, names may be any numbers


def check_classes(labels: np.ndarray, split: Split, classes: Sequence[str], id_of: Callable[[int], str]) -> None:
    """InputError if a split has a class that train lacks. labels: (n,) class numbers."""
    known = set(labels[split.rows("train")].tolist())
    for name in split.names[1:]:
        unseen = next((row for row in split.rows(name) if labels[row] not in known), None)
        if unseen is not None:
            raise InputError(
                f"the label {classes[labels[unseen]]!r} of {id_of(unseen)} is in {name} but not in train: exclude "
                "rare classes (data.classes=<number>) or use another split"
            )


def check_numbers(counts: Mapping[str, int]) -> None:
    """InputError if the classes look like measurements: mostly unique numbers. counts: text -> records."""
    once = sum(count == 1 for count in counts.values())
    commas = all(number(text) is not None or number(text, ",") is not None for text in counts)
    decimal = "" if all(number(text) is not None for text in counts) else """ "data.decimal=','\""""
    if commas and len(counts) > MOST_NUMBERED and 2 * once > len(counts):
        shown = ", ".join(list(counts)[:3])
        raise InputError(
            f"data.target=single: the labels are {len(counts):,} different numbers ({shown}, ...), most of which occur "
            f"once: use data.target=regression task=regression{decimal}"
        )


def warn_of_lists(counts: Mapping[str, int]) -> None:
    """Warn if most labels are lists, since each order would be a separate class. counts: text -> records."""
    lists = [text for text in counts if holds_lists([text])]
    if 2 * sum(counts[text] for text in lists) > sum(counts.values()):
        log.warning(
            "data.target=single: most labels are lists such as %r, each order of the same names being another class: "
            "use data.target=multi, where each name is a label",
            lists[0],
        )


def warn_of_one_class(labels: np.ndarray, split: Split, classes: Sequence[str]) -> None:
    """Warn if all rows of validation or test have the same class, so that it cannot be evaluated.

    labels: (n,) class numbers, or (n, K) with NaN for missing labels.
    """
    train = _distinct_values(labels[split.rows("train")]) if "train" in split.names else []
    for split_name in split.names:
        rows = split.rows(split_name)
        if split_name == "train" or not len(rows):
            continue
        distinct = _distinct_values(labels[rows])
        if labels.ndim == 1:
            names = [str(classes[distinct[0][0]])] if len(distinct[0]) == 1 else []
        else:
            # `check_columns` warns about labels that have one value in train.
            varies_in_train = [len(values) > 1 for values in train] or [True] * len(distinct)
            names = [
                f"{name}: {'yes' if values[0] else 'no'}"
                for name, values, varies in zip(classes, distinct, varies_in_train, strict=True)
                if len(values) == 1 and varies
            ]
        if names:
            log.warning(
                "the %s rows of %s have only the label %s, so classification cannot be evaluated there; give it more "
                "rows (data.split.fractions) or change data.split.seed",
                f"{len(rows):,}",
                split_name,
                ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else ""),
            )


def _distinct_values(labels: np.ndarray) -> list[np.ndarray]:
    """The distinct values of each label, without missing ones."""
    columns = labels.reshape(len(labels), -1).astype(float)
    return [np.unique(column[~np.isnan(column)]).astype(int) for column in columns.T]


def check_columns(train: np.ndarray, names: Sequence[str], numbers: bool) -> None:
    """Warn about yes-or-no labels with one value in train; InputError for regression labels without a number there.

    train: (n, K) labels of train, NaN for missing ones. numbers: whether they are regression labels.
    """
    for name, values in zip(names, train.T, strict=True):
        distinct = np.unique(values[~np.isnan(values)])
        if len(distinct) > 1 or (len(distinct) and numbers):
            continue
        if numbers:
            raise InputError(f"the label {name!r} has no number in train: remove it from data.source.labels")
        value = f"always {'yes' if distinct[0] else 'no'}" if len(distinct) else "always missing"
        log.warning("the label %r is %s in train: it cannot be learned", name, value)


def contradictions(keys: np.ndarray, labels: np.ndarray) -> int:
    """Number of keys that occur more than once with different labels; missing labels are ignored.

    keys: (n,). labels: (n,) or (n, K).
    """
    labels = labels.reshape(len(keys), -1).astype(float)
    numbers = np.unique(keys, return_inverse=True)[1]
    lowest = np.full((numbers.max() + 1, labels.shape[1]), np.nan)
    highest = lowest.copy()
    np.fmin.at(lowest, numbers, labels)
    np.fmax.at(highest, numbers, labels)
    return int((highest > lowest).any(1).sum())


def warn_of_leaks(overlap: Sequence[Mapping], related: Sequence[Mapping], sequences: SequenceKind) -> None:
    """Warn about sequences of other splits that are also in train, or have relatives there.

    overlap: see `Split.overlap`. related: see `Relatives.to_train`. sequences: the kind of the rows.
    """
    key = sequences.keys[0]
    reported: dict[str, int] = {}  # split -> rows
    same = "%.0f %% of the %s rows are %s that are also in train, so results measure memorisation; "
    for row in overlap:
        if row["key"] == key and row["shared_rows"]:
            reported[row["part"]] = row["shared_rows"]
            share = 100 * row["shared_rows"] / row["rows"]
            log.warning(same + "split by data.split.keys=[%s]", share, row["part"], sequences.plural, key)
    near = "%.0f %% of the %s proteins share %s with one in train, so results measure recognition of relatives; "
    for row in related:
        if row["shared_rows"] > reported.get(row["part"], 0):
            share = 100 * row["shared_rows"] / row["rows"]
            log.warning(near + "split by data.split.keys=[sequence,kmers]", share, row["part"], row["key"])
