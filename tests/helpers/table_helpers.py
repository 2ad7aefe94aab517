"""Tables in tests: CSV files that tests write, and label tables that they read whole."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from trimer.data.core.label_table import LabelTable


def whole(source: Any, columns: Sequence[str] = ()) -> LabelTable:
    """All chunks of a source of labelled sequences as one table."""
    return LabelTable.concatenate(list(source.chunks(columns)))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> Path:
    """Write a CSV file and the folders above it; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path
