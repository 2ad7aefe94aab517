"""The result table, methods by metrics: the model and its baselines, as Markdown, CSV, JSON or on the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.files import write_text

if TYPE_CHECKING:
    from rich.table import Table

ERROR = "_std_error"
LOW, HIGH = "_ci95_low", "_ci95_high"  # the 2.5th and 97.5th percentile of resamples
DIFFERENCE = "_difference"  # the metric of the model minus that of the row's method, on the same rows
P_VALUE = DIFFERENCE + "_p"  # two-sided, of the paired resamples
BOUND = "oracle"  # a baseline whose name begins so is an upper bound, not a method
KINDS = ("baseline", "bound", "method")  # in the order of the table


@dataclass(frozen=True)
class Column:
    """How a metric is shown: `scale` 100 for fractions in percent; `decimals` after the point."""

    label: str
    scale: float = 1.0
    decimals: int = 3
    lower_is_better: bool = False
    signed: bool = False

    @property
    def markdown(self) -> str:
        """The label for Markdown: `<mask>` is code, since a bare one is read as HTML and not shown."""
        return re.sub(r"<\w+>", r"`\g<0>`", self.label)

    def show(self, value: float | None, error: float | None = None) -> str:
        """The value and its standard error as text; a dash if it is undefined."""
        if value is None or not math.isfinite(value):
            return "–"
        text = f"{value * self.scale:{'+' if self.signed else ''},.{self.decimals}f}"
        if error is None or not math.isfinite(error) or error <= 0:
            return text
        return f"{text} ± {error * self.scale:.{self.decimals}f}"


_FRACTIONS = {  # name up to its rank -> label
    "accuracy": "Top-{} accuracy (%)",
    "same_smiles": "Top-{} same SMILES (%)",
    "same_fingerprint": "Top-{} Tanimoto 1 (%)",
    "formula_match": "Formula@{} (%)",
    "validity": "Valid (%)",
    "uniqueness": "Unique (%)",
    "token_accuracy": "Token accuracy (%)",
}

_OF_LABELS = {  # what `trimer.metrics.label_metrics` measures
    "accuracy": Column("Accuracy (%)", 100, 1),
    "balanced_accuracy": Column("Balanced accuracy (%)", 100, 1),
    "macro_f1": Column("Macro F1"),
    "macro_precision": Column("Macro precision"),
    "macro_recall": Column("Macro recall"),
    "micro_precision": Column("Micro precision"),
    "micro_recall": Column("Micro recall"),
    "exact_match": Column("All labels correct (%)", 100, 1),
    "mcc": Column("MCC"),
    "auroc": Column("AUROC"),
    "average_precision": Column("AP"),
    "cross_entropy": Column("Cross-entropy", lower_is_better=True),
    "ece": Column("ECE", lower_is_better=True),
    "rmse": Column("RMSE", lower_is_better=True),
    "mae": Column("MAE", lower_is_better=True),
    "r2": Column("R²"),
    "spearman": Column("Spearman"),
    "p95_error": Column("95 % of errors below", lower_is_better=True),
    "pearson": Column("Pearson"),
    "r_squared": Column("r²"),
    "slope": Column("Slope"),
    "intercept": Column("Intercept"),
    "coverage": Column("In 90 % interval (%)", 100, 1),
    "interval_width": Column("Interval width", lower_is_better=True),
    "labels_seen": Column("Labels", decimals=0),
}

_OF_FRAGMENTS = {  # what `trimer.metrics.fragment_metrics` measures of each spectrum
    "pcc": "Pearson",
    "cos": "Cosine",
    "sa": "Spectral angle",
    "spc": "Spearman",
    "l1": "L1",
}
_OF_SPECTRA = {
    f"{name}_{statistic}": Column(f"{label}, {statistic}", lower_is_better=name == "l1")
    for name, label in _OF_FRAGMENTS.items()
    for statistic in ("median", "mean")
}

_COSTS = {  # of a training
    "seconds": Column("Time (s)", 1, 0, True),
    "memory_mb": Column("Memory (MB)", 1, 0, True),
}


def column(metric: str, headings: Mapping[str, Column] | None = None) -> Column:
    """Label, unit and direction of a metric by its name; prefixes such as `test/` stay in the label.

    headings: of the metrics that only one kind of study has, which the result table of a run holds.
    """
    if metric.endswith(DIFFERENCE):
        shown = column(metric.removesuffix(DIFFERENCE), headings)
        return Column("Model minus this (p)", shown.scale, shown.decimals, signed=True)
    prefix, _, name = metric.rpartition("/") if "=" not in metric else ("", "", metric)
    name, known, _ = name.partition("_formula_known")
    stem, _, rank = name.partition("@")
    if name.startswith("top"):
        rank, _, stem = name.removeprefix("top").partition("_")
    if headings and name in headings:
        shown = headings[name]
    elif stem in _OF_LABELS | _OF_SPECTRA | _COSTS and not rank:
        shown = (_OF_LABELS | _OF_SPECTRA | _COSTS)[stem]
    elif stem in _FRACTIONS:
        shown = Column(_FRACTIONS[stem].format(rank), 100, 2 if stem == "accuracy" else 1)
    elif stem == "tanimoto":
        shown = Column(f"Tanimoto@{rank}")
    elif stem.startswith("precursor_within_"):
        shown = Column(f"Within {stem.removeprefix('precursor_within_').removesuffix('ppm')} ppm@{rank} (%)", 100, 1)
    elif stem == "precursor_ppm":
        shown = Column(f"Precursor error@{rank} (ppm)", 1, 1, True)
    elif stem == "mces":
        shown = Column(f"MCES@{rank}", 1, 2, True)
    elif stem in ("loss", "perplexity", "hidden_perplexity", "hidden_loss"):
        shown = Column(stem.removeprefix("hidden_").capitalize() + " at <mask>" * stem.startswith("hidden"), 1, 3, True)
    elif stem in ("spectra", "masked_tokens"):
        shown = Column(stem.replace("_", " ").capitalize(), 1, 0)
    else:
        shown = Column(name)
    label = shown.label + (", formula known" if known else "")
    return Column(f"{prefix} {label}".strip(), shown.scale, shown.decimals, shown.lower_is_better)


@dataclass
class ResultTable:
    """Rows are methods, columns are metrics.

    k: the ranks of the columns that are shown by default. metrics: the columns to show instead, in order. headings: how
    metrics are shown that only this kind of study has, in the order of the columns where `metrics` is empty.
    CSV and JSON hold every value that was added, shown or not.
    """

    k: Sequence[int] = (1, 5, 10)
    metrics: Sequence[str] = ()
    rows: list[dict] = field(default_factory=list)
    headings: Mapping[str, Column] = field(default_factory=dict)

    def add(self, method: str, values: Mapping[str, float], baseline: bool = False) -> None:
        """Add the metrics of a method; `<name>_std_error` is shown as the standard error of `<name>`.

        A baseline whose name begins with "oracle" is shown apart, as the upper bound of what a look-up can reach.
        """
        kind = ("bound" if method.lower().startswith(BOUND) else "baseline") if baseline else "method"
        self.rows = [row for row in self.rows if row["method"] != method]
        self.rows.append({"method": method, "kind": kind, "values": {k: float(v) for k, v in values.items()}})

    def column(self, name: str) -> Column:
        """Label, unit and direction of a metric of this table."""
        return column(name, self.headings)

    def ordered(self) -> list[dict]:
        """The rows: baselines, the oracle, then methods, each kind in the order in which it was added."""
        return sorted(self.rows, key=lambda row: KINDS.index(row["kind"]))

    @property
    def columns(self) -> list[str]:
        """Names of the metrics that are shown: by default those of the standard set that any row has."""
        ends = sorted({min(self.k), max(self.k)})
        ranked = [f"top{k}_accuracy" for k in self.k] + [f"tanimoto@{k}" for k in ends]
        standard = [
            *ranked,
            *(f"formula_match@{k}" for k in ends),
            "precursor_within_10ppm@1",
            "validity",
            "uniqueness",
        ]
        asked_for = [f"mces@{k}" for k in ends] + [f"{name}_formula_known" for name in ranked]
        chosen = list(self.metrics) or list(self.headings) or standard + asked_for
        return [name for name in chosen if any(name in row["values"] for row in self.rows)]

    def best(self, metric: str) -> float | None:
        """The best value of a metric without the oracle; None if fewer than two methods have it or all are equal."""
        known = [row["values"].get(metric, math.nan) for row in self.rows if row["kind"] != "bound"]
        known = [value for value in known if math.isfinite(value)]
        if len(known) < 2 or min(known) == max(known):
            return None
        return min(known) if self.column(metric).lower_is_better else max(known)

    def cells(self, row: Mapping, errors: bool = True) -> list[tuple[str, bool]]:
        """The text of each shown column, with or without its standard error, and whether it is the best value."""
        values = row["values"]
        return [
            (
                self.column(name).show(values.get(name), values.get(name + ERROR) if errors else None)
                + _p_value(values, name),
                not name.endswith(DIFFERENCE)
                and row["kind"] != "bound"
                and name in values
                and values[name] == self.best(name),
            )
            for name in self.columns
        ]

    def to_markdown(self) -> str:
        """A Markdown table with the best values in bold and the oracle in italics."""
        lines = ["| Method | " + " | ".join(self.column(name).markdown for name in self.columns) + " |"]
        lines.append("| :-- |" + " --: |" * len(self.columns))
        for row in self.ordered():
            name = f"_{row['method']}_" if row["kind"] == "bound" else row["method"]
            cells = [f"**{text}**" if best else text for text, best in self.cells(row)]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"

    def records(self) -> list[dict[str, Any]]:
        """The rows as flat dictionaries with the same keys: `method`, `kind` and every metric, None where undefined."""
        names = list(dict.fromkeys(name for row in self.rows for name in row["values"]))
        return [
            {"method": row["method"], "kind": row["kind"]} | {name: _plain(row["values"].get(name)) for name in names}
            for row in self.ordered()
        ]

    def to_csv(self) -> str:
        """All values as they are (fractions from 0 to 1), one line per method."""
        records = self.records()
        out = io.StringIO()
        writer = csv.DictWriter(out, list(records[0]) if records else ["method", "kind"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return out.getvalue()

    def to_rich(self, title: str | None = None, errors: bool = True) -> Table:
        """The table for the terminal, with or without standard errors; best values in bold, methods below a line."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=title, title_justify="left", header_style="bold")
        table.add_column("Method", no_wrap=True)
        for name in self.columns:
            table.add_column(self.column(name).label, justify="right")
        rows = self.ordered()
        for row, after in zip(rows, [*rows[1:], None], strict=True):
            style = {"bound": "italic dim", "baseline": "dim"}.get(row["kind"], "")
            cells = [f"[bold not dim]{text}[/]" if best else text for text, best in self.cells(row, errors)]
            last = after is not None and (after["kind"] == "method") != (row["kind"] == "method")
            table.add_row(escape(row["method"]), *cells, style=style, end_section=last)
        return table

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        headings = {"columns": {name: asdict(shown) for name, shown in self.headings.items()}} if self.headings else {}
        return {"k": list(self.k), "metrics": list(self.metrics), **headings, "rows": self.ordered()}

    def to_json(self) -> str:
        """The rows and the differences to the baselines; null where a value is undefined."""
        from trimer.reporting.differences import compared  # which imports this module

        data = self.to_dict()
        data["rows"] = [{**row, "values": {k: _plain(v) for k, v in row["values"].items()}} for row in data["rows"]]
        if by_baseline := compared(self, all_metrics=True):
            data["differences"] = [d.record() for of_row in by_baseline.values() for d in of_row.values()]
        return json.dumps(data, indent=1) + "\n"

    @classmethod
    def from_dict(cls, data: Mapping) -> ResultTable:
        headings = {name: Column(**shown) for name, shown in data.get("columns", {}).items()}
        table = cls(list(data["k"]), list(data["metrics"]), headings=headings)
        for row in data["rows"]:
            values = {k: math.nan if v is None else float(v) for k, v in row["values"].items()}
            table.rows.append({"method": row["method"], "kind": row["kind"], "values": values})
        return table

    def save(self, folder: str | Path, name: str = "table") -> list[Path]:
        """Write `<name>.md`, `<name>.csv` and `<name>.json` into the folder, which is created.

        Markdown and JSON also have the differences to the baselines, if the methods were compared.
        """
        from trimer.reporting.differences import to_markdown  # which imports this module

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        second = to_markdown(self)
        markdown = self.to_markdown() + (f"\n{second}" if second else "")
        texts = {".md": markdown, ".csv": self.to_csv(), ".json": self.to_json()}
        for suffix, text in texts.items():
            write_text(folder / f"{name}{suffix}", text)
        return [folder / f"{name}{suffix}" for suffix in texts]


def _p_value(values: Mapping[str, float], name: str) -> str:
    """The p-value of a difference in parentheses, with three decimals; empty for other metrics."""
    value = values.get(name.removesuffix(DIFFERENCE) + P_VALUE) if name.endswith(DIFFERENCE) else None
    return "" if value is None else f" ({value:.3f})"


def _plain(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
