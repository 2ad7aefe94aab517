"""From the text of a label to what a model is trained on: a class, a yes or no, a number, a class for each residue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from trimer.data.sources.label_table import LabelTable
from trimer.errors import ConfigError, InputError

TARGETS = ("single", "multi", "regression", "residue")
YES_OR_NO = {"1": 1.0, "0": 0.0, "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "1.0": 1.0, "0.0": 0.0}


def label_columns(table: LabelTable, target: str) -> tuple[dict[str, list | np.ndarray], dict[str, list[int]]]:
    """Columns for the store, and rule -> rows that cannot be used.

    "single" and "residue": the column `label` of n texts. "multi" and "regression": `label:<name>`, (n,) float64 with
    NaN where the label is missing; a row without any is dropped, and so is one with a text that is no such value.
    """
    if target in ("single", "residue"):
        if len(table.labels) != 1:
            raise ConfigError(
                f"data.target={target} has one label, the source gives {', '.join(table.labels) or 'none'}"
            )
        (texts,) = table.labels.values()
        dropped = {"no label": [row for row, text in enumerate(texts) if text is None]}
        if target == "residue":
            wrong = [
                row
                for row, text in enumerate(texts)
                if text is not None and len(text) != len("".join(table.texts[row].split()).removesuffix("*"))
            ]
            dropped["not a label for each residue"] = wrong
        return {"label": list(texts)}, dropped
    columns: dict[str, list | np.ndarray] = {}
    none, wrong = np.ones(len(table), bool), np.zeros(len(table), bool)
    dropped = {}
    for name, texts in table.labels.items():
        values, odd = np.full(len(texts), np.nan), []
        for row, text in enumerate(texts):
            if text is None:
                continue
            value = YES_OR_NO.get(text.strip().lower()) if target == "multi" else _number(text)
            if value is None:
                odd.append(row)
            else:
                values[row] = value
        if odd:
            what = "neither yes nor no" if target == "multi" else "no number"
            dropped[f"label {name!r} that is {what}"] = odd
            wrong[odd] = True
        none &= np.isnan(values)
        columns[f"label:{name}"] = values
    return columns, {**dropped, "no label": np.flatnonzero(none & ~wrong).tolist()}


def chosen_classes(texts: Iterable[str], wanted: int | Sequence[str] | None) -> list[str]:
    """The classes in the order of the outputs: all by name, the `wanted` most frequent ones, or those named.

    texts: the label of each record, or of each residue. ConfigError for a name that no record has, and InputError where
    there is one class alone.
    """
    counts = Counter(texts)
    if isinstance(wanted, int):
        chosen = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:wanted]
    else:
        chosen = sorted(counts) if wanted is None else list(dict.fromkeys(wanted))
    if absent := [name for name in chosen if name not in counts]:
        raise ConfigError(f"data.classes: no record has the label {absent[0]!r}; there are {', '.join(counts)}")
    if len(counts) == 1:
        raise InputError(f"data: every label is {chosen[0]!r}, which is nothing to learn: give records of others too")
    return chosen


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
