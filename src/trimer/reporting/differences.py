"""The second table of a result: the model minus each baseline on the same records, with an error and a verdict.

A result table holds the paired differences beside the values of each baseline (`trimer.evaluation.compared_methods`).
The oracle is an upper bound, and not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trimer.reporting.table import DIFFERENCE, ERROR, HIGH, LOW, P_VALUE, Column, ResultTable
from trimer.reporting.verdicts import CERTAIN, LEVEL, NO_LOOKUP, NO_RIVAL, SIGNS, Verdict, is_exact, judge

if TYPE_CHECKING:
    from rich.table import Table

TITLE = "Differences to the baselines"
WORDS = {"better": "better", "worse": "worse", "within": "within error", "unknown": "no error"}
LEGEND = (
    f"Model minus baseline on the same records, ± the standard error of the difference. "
    f"{SIGNS['better']} better and {SIGNS['worse']} worse by more than {CERTAIN} standard errors with p < {LEVEL:g}, "
    f"{SIGNS['within']} within error."
)


@dataclass(frozen=True)
class Difference:
    """The metric of the model minus that of a baseline, as measured; low, high: its 95 % interval.

    error: its standard error; it and the interval are None where there are too few records. p: two-sided p-value.
    verdict: of the model.
    """

    method: str
    metric: str
    value: float
    verdict: Verdict
    error: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def texts(self, shown: Column) -> tuple[str, str]:
        """`+0.020` and `± 0.009`; the second is empty without an error."""
        value, _, error = replace(shown, signed=True).show(self.value, self.error).partition(" ± ")
        return value, f"± {error}" if error else ""

    def record(self) -> dict[str, Any]:
        """Plain values: `method`, `metric`, `difference`, `std_error`, `ci95_low`, `ci95_high`, `p`, `verdict`."""
        return {
            "method": self.method,
            "metric": self.metric,
            "difference": self.value,
            "std_error": self.error,
            "ci95_low": self.low,
            "ci95_high": self.high,
            "p": self.p,
            "verdict": WORDS[self.verdict.kind],
        }


def difference(row: Mapping[str, Any], metric: str, table: ResultTable) -> Difference | None:
    """The difference of the model to the method of a row; None if they are not compared in this metric."""
    values, name = row["values"], metric + DIFFERENCE
    amount = values.get(name, math.nan)
    if row["kind"] != "baseline" or not math.isfinite(amount):
        return None
    error, low, high, p = (
        _finite(values.get(key)) for key in (name + ERROR, name + LOW, name + HIGH, metric + P_VALUE)
    )
    shown = table.column(metric)
    judged = judge(shown, -amount if shown.lower_is_better else amount, error, row["method"], p)
    return Difference(row["method"], metric, amount, judged, error, low, high, p)


def compared(table: ResultTable, all_metrics: bool = False) -> dict[str, dict[str, Difference]]:
    """Baseline -> metric -> difference, for the columns of the table, or for all metrics."""
    names = list(dict.fromkeys(name for row in table.rows for name in row["values"])) if all_metrics else table.columns
    by_baseline: dict[str, dict[str, Difference]] = {}
    for row in table.ordered():
        of_row = {name: difference(row, name, table) for name in names if not name.endswith(DIFFERENCE)}
        if known := {name: value for name, value in of_row.items() if value is not None}:
            by_baseline[row["method"]] = known
    return by_baseline


def for_result(table: ResultTable) -> dict[str, dict[str, dict[str, Any]]]:
    """`{"differences": {baseline: {metric: values}}}` of the columns of the table for result.json; {} without any."""
    records: dict[str, dict[str, Any]] = {}
    for method, of_row in compared(table).items():
        for name, amount in of_row.items():
            record = amount.record()
            del record["method"], record["metric"]
            records.setdefault(method, {})[name] = record
    return {"differences": records} if records else {}


def metrics_of(differences: Mapping[str, Mapping[str, Difference]], table: ResultTable) -> list[str]:
    """The columns of the table in which any baseline is compared."""
    return [name for name in table.columns if any(name in of_row for of_row in differences.values())]


def not_compared(table: ResultTable, shown: Sequence[str]) -> str:
    """Why columns of exact hits are missing, as a sentence; empty if none is."""
    left = [name for name in table.columns if is_exact(name) and name not in (*shown, *NO_RIVAL)]
    labels = ", ".join(table.column(name).label for name in left)
    return f"Not compared: {labels}; {NO_LOOKUP}." if left else ""


def notes(table: ResultTable, shown: Sequence[str]) -> list[str]:
    """The sentences below the table of differences."""
    return [sentence for sentence in (LEGEND, not_compared(table, shown)) if sentence]


def to_markdown(table: ResultTable) -> str:
    """The differences as a Markdown table with its title and legend; empty if nothing is compared."""
    differences = compared(table)
    names = metrics_of(differences, table)
    if not names:
        return ""
    headings = " | ".join(table.column(name).markdown for name in names)
    lines = [f"## {TITLE}", "", f"| Baseline | {headings} |"]
    lines.append("| :-- |" + " --: |" * len(names))
    for method, of_row in differences.items():
        cells = [_cell(of_row.get(name), table.column(name)) for name in names]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes(table, names)]) + "\n"


def to_rich(table: ResultTable) -> Table | None:
    """The differences for the terminal, each in two lines, so that they fit; None if nothing is compared."""
    from rich.markup import escape
    from rich.table import Table

    differences = compared(table)
    names = metrics_of(differences, table)
    if not names:
        return None
    shown = Table(title=TITLE, title_justify="left", header_style="bold")
    shown.add_column("Baseline")
    for name in names:
        shown.add_column(table.column(name).label, justify="right")
    styles = {"better": "green", "worse": "red"}
    for method, of_row in differences.items():
        cells = []
        for name in names:
            text = _cell(of_row.get(name), table.column(name), "\n")
            style = styles.get(of_row[name].verdict.kind) if name in of_row else None
            cells.append(f"[{style}]{text}[/]" if style else text)
        shown.add_row(escape(method), *cells)
    return shown


def _cell(shown_difference: Difference | None, shown: Column, between: str = " ") -> str:
    """`▲ +0.020 ± 0.009`, or a dash if there is no comparison."""
    if shown_difference is None:
        return "–"
    value, error = shown_difference.texts(shown)
    return f"{shown_difference.verdict.sign} {value}" + (between + error if error else "")


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
