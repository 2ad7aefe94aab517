"""Several labels in one cell, such as `['sweet', 'woody']` or `sweet;woody`: a yes-or-no label for each name."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from trimer.data.core.label_table import LabelSource, LabelTable
from trimer.data.labelled.class_names import class_of_text, spelling
from trimer.errors import InputError

SEPARATORS = (";", "|")


class ListedLabels:
    """A source with one column of lists, as a source with a yes-or-no label for each name in the lists.

    The names are collected in a first pass and sorted. In each record the names of its list are "1" and all others "0";
    without a list all its labels are missing. Sources without lists are unchanged (`lists` is then False). separator:
    between names; null: `;`, `|` or a list in brackets, as the cells have it. missing: normalised texts for a missing
    value.
    """

    def __init__(self, source: LabelSource, separator: str | None = None, missing: Collection[str] = ()):
        self.source, self.separator, self.missing = source, separator, missing
        self.lists = False

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        first = next(iter(self.source.chunks(columns)))
        self.lists = len(first.labels) == 1 and holds_lists(next(iter(first.labels.values())), self.separator)
        if not self.lists:
            yield from self.source.chunks(columns)
            return
        cells = (cell for table in self.source.chunks(columns) for cell in self._cells(table) if cell is not None)
        names = class_of_text(name for cell in cells for name in cell)
        labels = sorted(set(names.values()))
        if not labels:
            raise InputError(
                f"label {next(iter(first.labels))!r}: all its lists are empty, so there is nothing to learn"
            )
        for table in self.source.chunks(columns):
            yield self._spread(table, names, labels)

    def _cells(self, table: LabelTable) -> list[list[str] | None]:
        (texts,) = table.labels.values()
        known = [None if text is None or spelling(text) in self.missing else text for text in texts]
        return [None if text is None else listed(text, self.separator) for text in known]

    def _spread(self, table: LabelTable, names: dict[str, str], labels: Sequence[str]) -> LabelTable:
        cells = [None if cell is None else {names[text] for text in cell} for cell in self._cells(table)]
        spread = {
            label: [None if cell is None else "1" if label in cell else "0" for cell in cells] for label in labels
        }
        return replace(table, labels=spread)


def holds_lists(texts: Iterable[str | None], separator: str | None = None) -> bool:
    """Whether a column holds lists: cells in brackets, or some with a separator."""
    known = [text for text in texts if text is not None]
    return any(_bracketed(text) or any(mark in text for mark in _marks(separator)) for text in known)


def listed(text: str, separator: str | None = None) -> list[str]:
    """The distinct names in one cell, without surrounding white space."""
    if _bracketed(text):
        try:
            names = [str(name) for name in ast.literal_eval(text.strip())]
        except (ValueError, SyntaxError, TypeError):
            names = text.strip()[1:-1].split(",")  # [sweet, woody], without quotes
    else:
        mark = next((mark for mark in _marks(separator) if mark in text), None)
        names = text.split(mark) if mark else [text]
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def _bracketed(text: str) -> bool:
    text = text.strip()
    return text[:1] + text[-1:] in ("[]", "()", "{}")


def _marks(separator: str | None) -> tuple[str, ...]:
    return SEPARATORS if separator is None else (separator,)
