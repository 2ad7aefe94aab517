"""The report of a split that every study shares: training curves, the page, and the table on the terminal."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.data.core.splits import WHOLE
from trimer.reporting.attempts import attempt

if TYPE_CHECKING:
    from trimer.evaluation.evaluation import Evaluation
    from trimer.reporting.table import ResultTable
    from trimer.studies.study import Measurement

log = logging.getLogger(__name__)

FILES = 3  # of the data that are named in a heading


def rows_of(split: str) -> str:
    """The rows of a split, in words."""
    return "these data, all of them" if split == WHOLE else f"the {split} split"


def save_results(measurement: Measurement, evaluation: Evaluation) -> None:
    """Write table and predictions first; then the training curves, where they were recorded."""
    from trimer.reporting.curves import read_curves
    from trimer.reporting.figures import training_curves

    evaluation.save(measurement.out)
    metrics = measurement.trained / "metrics.csv"
    if metrics.is_file():
        path, headings = measurement.out / "curves.png", evaluation.table.headings
        attempt(path.name, lambda: training_curves(read_curves(metrics), path, headings))


def publish(
    measurement: Measurement,
    evaluation: Evaluation,
    metrics: Sequence[str] = (),
    count: str | None = None,
    predictions: Sequence[Any] = (),
    **shown: Any,
) -> None:
    """Write the page of a split and print its table.

    metrics: the columns on the terminal, by default those of the page. count: how many records were evaluated, in
    words. predictions, shown: as in `write_run_page`.
    """
    from trimer.reporting.run_page import write_run_page

    shown["metrics"] = measurement.trained / "metrics.csv"
    shown |= {"name": measurement.name, "data": source_in_words(measurement.data)}
    arguments = (measurement.folder, measurement.split, evaluation.table, predictions)
    page = attempt("page.html", write_run_page, *arguments, **shown)
    title = f"{measurement.split} split" + (f", {count}" if count else "")
    print_results(evaluation.table, metrics, title, measurement.out / "table.md")
    if page is not None:
        log.info("page: %s", page)


def source_in_words(data: Any) -> str:
    """The data of a data module: names of files, or what its source is; "" where it has none."""
    source = getattr(data, "source", None)
    paths = getattr(source, "paths", None)
    if paths:
        names = [Path(str(path)).name for path in ([paths] if isinstance(paths, str | Path) else paths)]
        return ", ".join(names[:FILES]) + (f" and {len(names) - FILES} more files" if len(names) > FILES else "")
    return "" if source is None else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", type(source).__name__).lower()


def print_results(table: ResultTable, metrics: Sequence[str], title: str, file: Path) -> None:
    """Print the table and the differences to the baselines with the columns that fit the terminal.

    file: where the whole tables are.
    """
    from trimer.terminal_tables import print_table

    print_table(replace(table, metrics=metrics or table.metrics).to_rich(title, errors=False), file)
    print_differences(table, file)


def print_differences(table: ResultTable, file: Path) -> None:
    """Print the differences to the baselines, if there are any."""
    from trimer.reporting.differences import compared, metrics_of, notes, to_rich
    from trimer.terminal_tables import print_lines, print_table

    differences = to_rich(table)
    if differences is not None:
        print_table(differences, file)
        print_lines(notes(table, metrics_of(compared(table), table)))
