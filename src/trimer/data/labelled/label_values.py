"""From the text of a label to what a model is trained on: a class, a yes or no, a number, a class for each residue."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from trimer.data.core.label_table import LabelTable
from trimer.data.labelled.class_names import spelling
from trimer.data.labelled.residue_labels import joined_labels, split_labels
from trimer.errors import ConfigError

TARGETS = ("single", "multi", "regression", "residue")
YES = ("1", "true", "t", "yes", "y")
NO = ("0", "false", "f", "no", "n")
DECIMALS = (".", ",")
SHOWN = 5  # refused texts that a message names
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+")
_QUALIFIED = re.compile(r"[<>~≤≥≈=].*\d|\d.*±|[+-]?\d[\d.,]*\s*[^\W\d].*")


class LabelReader:
    """Reads the texts of labels; a text that cannot be read is a missing value of that label alone, and is counted.

    missing: texts that stand for a missing value, beside the usual ones (empty, NA, nan, null). positive, negative:
    texts that mean yes and no, beside `YES` and `NO`. All of these whatever their case. decimal: what stands before the
    decimals.
    """

    def __init__(
        self,
        target: str,
        missing: Sequence[object] = (),
        positive: Sequence[object] = (),
        negative: Sequence[object] = (),
        decimal: str = ".",
    ):
        if decimal not in DECIMALS:
            raise ValueError(f"decimal={decimal!r} must be '.' or ','")
        if (positive or negative) and target != "multi":
            raise ValueError(f"positive, negative: target={target} has no yes-or-no labels; leave them empty")
        self.target = target
        self.missing = sorted({spelling(text) for text in missing})
        self.yes, self.no = (
            sorted({spelling(text) for text in texts}) for texts in ((*YES, *positive), (*NO, *negative))
        )
        if both := set(self.yes) & set(self.no):
            raise ValueError(f"positive, negative: {sorted(both)[0]!r} means both yes and no")
        self.decimal = decimal
        self._values = {**dict.fromkeys(self.yes, 1.0), **dict.fromkeys(self.no, 0.0)}
        self.refused: dict[str, Counter[str]] = {}  # label -> texts that could not be read

    def settings(self) -> dict:
        """Everything that changes what a text means, as plain values."""
        return {"missing": self.missing, "positive": self.yes, "negative": self.no, "decimal": self.decimal}

    def columns(self, table: LabelTable) -> tuple[dict[str, list | np.ndarray], dict[str, list[int]]]:
        """Columns for the store, and rule -> rows that cannot be used.

        "single" and "residue": the column `label` of n texts. "multi" and "regression": `label:<name>`, (n,) float64
        with NaN where the label is missing or cannot be read; a row without any label is dropped.
        """
        if self.target in ("single", "residue"):
            return self._texts(table)
        columns: dict[str, list | np.ndarray] = {}
        none = np.ones(len(table), bool)
        for name, texts in table.labels.items():
            refused = self.refused.setdefault(name, Counter())
            values = np.array([self._value(text, refused) for text in self._known(texts)])
            none &= np.isnan(values)
            columns[f"label:{name}"] = values
        return columns, {"no label": np.flatnonzero(none).tolist()}

    def _texts(self, table: LabelTable) -> tuple[dict[str, list | np.ndarray], dict[str, list[int]]]:
        if len(table.labels) != 1:
            raise ConfigError(
                f"data.target={self.target} has one label, the source gives {', '.join(table.labels) or 'none'}"
            )
        (texts,) = table.labels.values()
        if self.target == "residue":
            return self._residues(texts, table.texts)
        texts = self._known(texts)
        return {"label": texts}, {"no label": [row for row, text in enumerate(texts) if text is None]}

    def _residues(self, texts: Sequence[str | None], sequences: Sequence[str]) -> tuple[dict, dict[str, list[int]]]:
        """The labels of residues as texts of one form; a row whose labels are not as many as its residues is dropped.

        What stands for a missing label is decided where classes are numbered, since case counts there.
        """
        found: list[str | None] = []
        dropped: dict[str, list[int]] = {"no label": [], "not a label for each residue": []}
        for row, (text, sequence) in enumerate(zip(texts, sequences, strict=True)):
            residues = len("".join(sequence.split()).removesuffix("*"))
            labels = None if text is None else split_labels(text, residues)
            if labels is None or len(labels) != residues:
                dropped["no label" if labels is None else "not a label for each residue"].append(row)
                labels = []
            found.append(joined_labels(labels))
        return {"label": found}, dropped

    def _known(self, texts: Sequence[str | None]) -> list[str | None]:
        """The texts without white space around them; None for those that stand for a missing value."""
        stripped = [text if text is None else text.strip() for text in texts]
        return [None if text is None or spelling(text) in self.missing else text for text in stripped]

    def _value(self, text: str | None, refused: Counter[str]) -> float:
        if text is None:
            return math.nan
        value = self._values.get(spelling(text)) if self.target == "multi" else number(text, self.decimal)
        if value is None:
            refused[text] += 1
            return math.nan
        return value

    def unread(self) -> dict[str, dict]:
        """Label -> how many cells could not be read, and the most frequent of their texts, as plain values."""
        return {
            name: {"cells": sum(texts.values()), "texts": dict(texts.most_common(SHOWN))}
            for name, texts in self.refused.items()
            if texts
        }

    def explained(self, unread: Mapping[str, Mapping]) -> list[str]:
        """A sentence for each label with cells that could not be read: their texts, what can be read, what helps."""
        return [self._explained(name, found["cells"], found["texts"]) for name, found in unread.items()]

    def _explained(self, name: str, cells: int, texts: Mapping[str, int]) -> str:
        what = "neither yes nor no" if self.target == "multi" else "no number"
        most = ", ".join(f"{text!r} ({count:,})" for text, count in texts.items())
        listed = "['" + "', '".join(list(texts)[:3]) + "']"
        are = "cell is" if cells == 1 else "cells are"
        told = f"label {name!r}: {cells:,} {are} {what} and taken as missing, most often {most}. "
        numbers = all(number(text) is not None for text in texts)
        if self.target == "multi":
            told += f"Read as yes: {', '.join(self.yes)}; as no: {', '.join(self.no)}. "
            if numbers:
                return f"{told}Use data.target=regression if the column {name!r} holds numbers"
            return (
                f"{told}Name other texts in data.positive and data.negative, those that stand for a missing value in "
                f'"data.missing={listed}"; or use data.target=single if each text is a class'
            )
        told += f"Read as numbers: 5{self.decimal}2, -7, 1e-3. "
        if self.decimal == "." and all(_WITH_COMMA.fullmatch(text) for text in texts):
            return f"""{told}Use "data.decimal=','" if the comma stands before the decimals"""
        if any(_QUALIFIED.fullmatch(text) for text in texts):
            told += "Trimer reads no qualifier (>, <, ~, ±) and no unit: write the number alone, in one unit. "
        return (
            f'{told}Name texts that stand for a missing value in "data.missing={listed}"; '
            "or use data.target=single if each text is a class"
        )


def number(text: str, decimal: str = ".") -> float | None:
    """A finite number, or None. decimal: "," reads 5,2; no other separator is understood."""
    if decimal == ",":
        text = text.replace(",", ".") if "." not in text else "."
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
