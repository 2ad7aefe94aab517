"""Residue labels: from the text of a cell to a class for each residue, and back to text.

A cell holds one letter for each residue (`HHEE..`), a list (`["helix", null, "coil"]`, `[0, 1, 1]`), or names
separated by blanks or commas. `.`, `-` and `?` are classes unless `data.missing` names them; `null` never is one.
"""

from __future__ import annotations

import ast
import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.core.store import Store
from trimer.data.labelled.class_names import chosen_classes
from trimer.targets import UNLABELLED

log = logging.getLogger(__name__)

SHOWN = 5  # texts that a message lists


def split_labels(text: str, residues: int) -> list[str | None]:
    """The label of each residue, None for null in a list; not as many as `residues` if the text does not fit."""
    values = _list_of(text) if text[:1] == "[" and text[-1:] == "]" else None
    if values is not None:
        return [None if value is None else _named(value) for value in values]
    if len(text) == residues:
        return list(text)
    names: list[str | None] = list(filter(None, re.split(r"[\s,;]+", text)))
    return names if len(names) == residues else list(text)


def _list_of(text: str) -> list | None:
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list) else None
    names = list(filter(None, re.split(r"[\s,;]+", text[1:-1])))  # how NumPy prints an array
    return names if len(names) > 1 else None


def _named(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def numbered_residues(
    store: Store, wanted: int | Sequence[str] | None, from_model: bool, missing: Sequence[str] = ()
) -> tuple[list[str], Ragged, np.ndarray]:
    """Classes, class number of each residue (-100 for none), and (n,) bool: rows with any label.

    wanted: see `data.classes`. from_model: whether they are the classes of a trained model. missing: texts that are not
    classes.
    """
    lengths = (store.ragged("tokens").lengths - 2).tolist()
    rows = [split_labels(text or "", count) for text, count in zip(store.strings("label"), lengths, strict=True)]
    absent = {None, *missing}
    counts = Counter(label for row in rows for label in row)
    known = {label: count for label, count in counts.items() if label is not None and label not in absent}
    classes = list(wanted) if from_model and isinstance(wanted, Sequence) else chosen_classes(known, wanted)
    number: dict[str | None, int] = {name: i for i, name in enumerate(classes)}
    numbers = [np.array([number.get(label, UNLABELLED) for label in row], np.int64) for row in rows]
    labels = Ragged.pack(numbers, np.int64)
    _report_missing({label: count for label, count in counts.items() if label not in number}, sum(counts.values()))
    has = np.array([(labels.values[a:b] >= 0).any() for a, b in pairwise(labels.offsets.tolist())], bool)
    return classes, labels, has


def _report_missing(counts: dict[str | None, int], residues: int) -> None:
    total = sum(counts.values())
    texts = sorted(counts.items(), key=lambda item: -item[1])[:SHOWN]
    shown = ", ".join(f"{'null' if label is None else repr(label)} {count:,}" for label, count in texts)
    level = logging.WARNING if 2 * total > residues else logging.INFO
    log.log(level, "%s of %s residues have no label%s", f"{total:,}", f"{residues:,}", f" ({shown})" if total else "")
