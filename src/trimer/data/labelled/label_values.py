"""Reads the texts of labels: classes, yes or no, numbers, classes of residues."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from trimer.data.core.label_table import LabelTable
from trimer.data.labelled.class_names import spelling
from trimer.data.labelled.residue_labels import split_labels
from trimer.errors import ConfigError
from trimer.targets import joined_labels, target_of

YES = ("1", "true", "t", "yes", "y")
NO = ("0", "false", "f", "no", "n")
DECIMALS = (".", ",")
SHOWN = 5  # unreadable texts that a message lists
UNQUALIFIED = "qualifiers (>, <, ~, ±) and units are not read: write the number alone, in one unit"
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+")
_QUALIFIED = re.compile(r"[<>~≤≥≈=].*\d|\d.*±|[+-]?\d[\d.,]*\s*[^\W\d].*")


class LabelReader:
    """Reads the texts of labels; a text that cannot be read is counted, and is a missing value of that label only.

    missing: texts for a missing value, besides the usual ones (empty, NA, nan, null). positive, negative: texts for yes
    and no, besides `YES` and `NO`. Case is ignored in all of these. decimal: the decimal separator.
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
        self.target, self.kind = target, target_of(target)
        if (positive or negative) and not self.kind.yes_or_no:
            raise ValueError(f"positive, negative: target={target} has no yes-or-no labels; remove these settings")
        self.missing = sorted({spelling(text) for text in missing})
        self.yes, self.no = (
            sorted({spelling(text) for text in texts}) for texts in ((*YES, *positive), (*NO, *negative))
        )
        if both := set(self.yes) & set(self.no):
            raise ValueError(f"positive, negative: {sorted(both)[0]!r} is both positive and negative")
        self.decimal = decimal
        self._values = {**dict.fromkeys(self.yes, 1.0), **dict.fromkeys(self.no, 0.0)}
        self.unreadable: dict[str, Counter[str]] = {}  # label -> texts that could not be read

    def settings(self) -> dict:
        """All settings that change the meaning of a text, as plain values."""
        return {"missing": self.missing, "positive": self.yes, "negative": self.no, "decimal": self.decimal}

    def columns(self, table: LabelTable) -> tuple[dict[str, list | np.ndarray], dict[str, list[int]]]:
        """Columns for the store, and rule -> rows to drop.

        "single" and "residue": column `label`, n texts. "multi" and "regression": columns `label:<name>`, (n,) float64
        with NaN for missing and unreadable labels; rows without any label are dropped.
        """
        if self.kind.has_classes:
            return self._texts(table)
        columns: dict[str, list | np.ndarray] = {}
        none = np.ones(len(table), bool)
        for name, texts in table.labels.items():
            unreadable = self.unreadable.setdefault(name, Counter())
            values = np.array([self._value(text, unreadable) for text in self._known(texts)])
            none &= np.isnan(values)
            columns[f"label:{name}"] = values
        return columns, {"no label": np.flatnonzero(none).tolist()}

    def _texts(self, table: LabelTable) -> tuple[dict[str, list | np.ndarray], dict[str, list[int]]]:
        if len(table.labels) != 1:
            raise ConfigError(
                f"data.target={self.target} needs one label, but data.source.labels gives "
                f"{', '.join(table.labels) or 'none'}: name one"
            )
        (texts,) = table.labels.values()
        if self.kind.by_residue:
            return self._residues(texts, table.texts)
        texts = self._known(texts)
        return {"label": texts}, {"no label": [row for row, text in enumerate(texts) if text is None]}

    def _residues(self, texts: Sequence[str | None], sequences: Sequence[str]) -> tuple[dict, dict[str, list[int]]]:
        """Residue labels as texts in one format; rows with another number of labels than residues are dropped.

        Missing labels are recognised later, when classes are numbered, since case matters there.
        """
        joined: list[str | None] = []
        dropped: dict[str, list[int]] = {"no label": [], "number of labels differs from number of residues": []}
        for row, (text, sequence) in enumerate(zip(texts, sequences, strict=True)):
            residues = len("".join(sequence.split()).removesuffix("*"))
            labels = None if text is None else split_labels(text, residues)
            if labels is None or len(labels) != residues:
                dropped["no label" if labels is None else "number of labels differs from number of residues"].append(
                    row
                )
                labels = []
            joined.append(joined_labels(labels))
        return {"label": joined}, dropped

    def _known(self, texts: Sequence[str | None]) -> list[str | None]:
        """The texts without surrounding white space; None for missing values."""
        stripped = [text if text is None else text.strip() for text in texts]
        return [None if text is None or spelling(text) in self.missing else text for text in stripped]

    def _value(self, text: str | None, unreadable: Counter[str]) -> float:
        if text is None:
            return math.nan
        value = self._values.get(spelling(text)) if self.kind.yes_or_no else number(text, self.decimal)
        if value is None:
            unreadable[text] += 1
            return math.nan
        return value

    def unread(self) -> dict[str, dict]:
        """Label -> number of cells that could not be read and their most frequent texts, as plain values."""
        return {
            name: {"cells": sum(texts.values()), "texts": dict(texts.most_common(SHOWN))}
            for name, texts in self.unreadable.items()
            if texts
        }

    def explained(self, unread: Mapping[str, Mapping]) -> list[str]:
        """A message for each label with unreadable cells: their texts, readable texts, and what to do."""
        return [self._explained(name, counts["cells"], counts["texts"]) for name, counts in unread.items()]

    def _explained(self, name: str, cells: int, texts: Mapping[str, int]) -> str:
        problem = "neither yes nor no" if self.kind.yes_or_no else "not a number"
        most = ", ".join(f"{text!r} ({count:,})" for text, count in texts.items())
        listed = "['" + "', '".join(list(texts)[:3]) + "']"
        are = "cell is" if cells == 1 else "cells are"
        message = f"label {name!r}: {cells:,} {are} {problem} and treated as missing, most often {most}. "
        comma = self.decimal == "." and mostly(texts, _WITH_COMMA)
        qualified = any(_QUALIFIED.fullmatch(text) for text in texts)
        if self.kind.yes_or_no:
            message += f"Read as yes: {', '.join(self.yes)}; as no: {', '.join(self.no)}. "
            if comma:
                return f"""{message}For numbers with a decimal comma use data.target=regression "data.decimal=','\""""
            if qualified or all(number(text) is not None for text in texts):
                alone = f"; {UNQUALIFIED}" if qualified else ""
                return f"{message}Use data.target=regression if the column {name!r} holds numbers{alone}"
            return (
                f"{message}Name other texts in data.positive and data.negative, and those for a missing value in "
                f'"data.missing={listed}"; or use data.target=single if each text is a class'
            )
        message += f"Read as numbers: 5{self.decimal}2, -7, 1e-3. "
        if comma:
            return f"""{message}Use "data.decimal=','" if the comma is the decimal separator"""
        if qualified:
            message += f"{UNQUALIFIED[0].upper()}{UNQUALIFIED[1:]}. "
        return (
            f'{message}Name texts for a missing value in "data.missing={listed}"; '
            "or use data.target=single if each text is a class"
        )


def mostly(texts: Mapping[str, int], pattern: re.Pattern[str]) -> bool:
    """Whether more than half of the cells match a pattern. texts: text -> number of cells."""
    return 2 * sum(count for text, count in texts.items() if pattern.fullmatch(text)) > sum(texts.values())


def number(text: str, decimal: str = ".") -> float | None:
    """A finite number, or None. decimal: "," reads 5,2; thousands separators are not supported."""
    if decimal == ",":
        text = text.replace(",", ".") if "." not in text else "."
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
