"""The labels of a store as numbers: classes, yes or no, measurements, and classes of residues.

Shapes: n rows, K labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.core.store import Store
from trimer.data.labelled.class_names import chosen_classes, class_of_text, warn_of_merged
from trimer.data.labelled.label_checks import check_numbers, warn_of_lists
from trimer.data.labelled.label_duplicates import Duplicates, resolved
from trimer.data.labelled.residue_labels import numbered_residues
from trimer.targets import target_of

Numbered = tuple[list[str], np.ndarray | Ragged, np.ndarray]


def numbered_labels(
    store: Store, target: str, wanted: int | Sequence[str] | None, from_model: bool, missing: Sequence[str] = ()
) -> Numbered:
    """Names of the classes or labels, the labels as numbers, and (n,) bool: rows with a label.

    Labels are (n,) int64 with -1 for an excluded class ("single"), (n, K) float32 with NaN for missing ("multi",
    "regression"), or int64 for each residue with -100 for none ("residue"). wanted: see `data.classes`. from_model:
    whether `wanted` are the classes of a trained model, some of which the store may lack. missing: texts of residue
    labels that are not classes.
    """
    kind = target_of(target)
    if not kind.has_classes:
        return _columns(store, wanted if from_model and isinstance(wanted, Sequence) else None)
    if kind.by_residue:
        return numbered_residues(store, wanted, from_model, missing)
    texts = [text for text in store.strings("label") if text is not None]  # rows without a label were dropped
    counts = Counter(texts)
    if not from_model:
        check_numbers(counts)
        warn_of_lists(counts)
    listed = wanted if isinstance(wanted, Sequence) else None
    names = class_of_text(texts, listed)
    warn_of_merged(names, counts)
    classes = list(listed) if from_model and listed else chosen_classes(Counter(names[text] for text in texts), wanted)
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number.get(names[text], -1) for text in texts], np.int64)
    return classes, labels, labels >= 0


def _columns(store: Store, trained: Sequence[str] | None) -> Numbered:
    names = list(store.manifest["labels"])
    columns = [store.array(f"label:{name}") for name in names]
    if trained is not None and store.manifest["lists"]:  # names that no list contains are "no"
        all_no = np.where(np.isnan(columns[0]), np.nan, 0.0)
        columns = [columns[names.index(name)] if name in names else all_no for name in trained]
        names = list(trained)
    labels = np.stack(columns, 1).astype(np.float32)
    return names, labels, np.logical_not(np.isnan(labels).all(1))


def without_duplicates(
    store: Store, numbered: Numbered, target: str, way: str, by_column: bool
) -> tuple[np.ndarray | Ragged, np.ndarray, Duplicates]:
    """Labels and used rows after duplicates are resolved, and counts of the duplicates.

    way: see `data.duplicates`. by_column: whether a column names the splits; then duplicates are resolved within each.
    """
    classes, labels, used = numbered
    if isinstance(labels, Ragged):  # residue labels
        return labels, used, Duplicates()
    keys = store.strings("text")
    if by_column:
        keys = [f"{split}\n{text}" for split, text in zip(store.strings("split"), keys, strict=True)]
    return resolved(np.array(keys, dtype=object), labels, used, way, classes if target_of(target).numbers else [])
