"""The tables and figures of a study's page, made from its runs; the text between them is written by hand.

    tables:
      superclass:                              # stands between `<!-- table: superclass -->` and `<!-- end -->`
        corner: Method                         # heading of the first column
        best: column                           # bold: the best value of each column, or row, or null
        cell: {run: "superclass-{split}-{start}"}              # what all cells have in common
        columns: [{heading: Accuracy (%), split: molecule, metric: accuracy}]
        rows: [{label: pre-trained, start: pretrained}]

A cell has the keys of `cell`, of its column and of its row, the last of which wins; `{name}` in them is another key.

    run       the run that is measured          seeds    of these seeds only
    metric    as in `table.csv` of a run; `val/loss`, `seconds` and others of `result.json`
    method    a baseline as in `table.csv`; default: the model
    minus     a baseline as in `table.csv`, or @run: the paired difference of the model to it, of one seed
    table     another table of the folder than `table`, such as by_adduct
    protocol  "all" or "test": the split of `protocol.csv` of a fine-tuning, before or after it
    of        mean over the seeds, or lowest    text     a fixed text instead of a measurement
    decimals  after the point                   spread   false: without ±
    p         true: a difference with its p-value

The value is the mean ± standard deviation over several seeds, or that of one seed ± its standard error. A row with
`each_method: baseline` stands for all baselines of its run, `method` for its methods. A table is replaced only if all
its runs are finished.
"""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paired_runs import compare
from study_plan import Step, Study, check_keys, filled
from study_runs import read

from trimer.errors import ConfigError, InputError
from trimer.files import write_text
from trimer.reporting.differences import difference
from trimer.reporting.runs import COSTS
from trimer.reporting.table import BOUND, ERROR, ResultTable, column

TABLE_KEYS = {"corner", "best", "cell", "columns", "rows"}
END = "<!-- end -->"


@dataclass(frozen=True)
class Value:
    """A measured value, its spread over seeds or standard error, and its metric; or a fixed text."""

    metric: str = ""
    value: float = math.nan
    error: float | None = None
    text: str | None = None
    decimals: int | None = None

    def show(self) -> str:
        if self.text is not None:
            return self.text
        shown = column(self.metric)
        if self.decimals is not None:
            shown = replace(shown, decimals=self.decimals)
        return shown.show(self.value, self.error)

    @property
    def rank(self) -> float:
        """Larger is better; NaN for texts and undefined values."""
        if self.text is not None or not math.isfinite(self.value):
            return math.nan
        return -self.value if column(self.metric).lower_is_better else self.value


def write_page(study: Study, source: Path, target: Path, unfinished: Mapping[Path, str]) -> list[str]:
    """Write `target`: the text of `source` with the tables of the finished runs. Figures go to `figures/` beside it.

    Returns a sentence for each table and figure that stays as it is, because a run is missing.
    """
    text = source.read_text(encoding="utf-8")
    kept = []
    for name, spec in study.tables.items():
        if missing := [step for step in steps_of_table(study, spec, name) if step.folder in unfinished]:
            names = list(dict.fromkeys(map(str, missing)))
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            kept.append(f"table {name} is unchanged: no result of {', '.join(names[:3])}{more}")
            continue
        try:
            text = replaced(text, name, markdown(study, spec, name), source)
        except InputError as error:
            kept.append(f"table {name} is unchanged: {error}")
    target.parent.mkdir(parents=True, exist_ok=True)
    for name, figure in study.figures.items():
        check_keys(figure, {"run", "seed", "file"}, f"figure {name}")
        steps = study.of_run(figure["run"])
        step = next((step for step in steps if step.seed == figure.get("seed")), steps[0])
        path = step.folder / figure["file"]
        if step.folder in unfinished or not path.is_file():
            kept.append(f"figure {name} is unchanged: there is no {path}")
            continue
        (target.parent / "figures").mkdir(exist_ok=True)
        shutil.copyfile(path, target.parent / "figures" / name)
    write_text(target, text)
    return kept


def replaced(text: str, name: str, table: str, page: Path) -> str:
    """The text of a page with another table between the markers of `name`; InputError if there are none."""
    start = f"<!-- table: {name} -->"
    pattern = re.compile(f"{re.escape(start)}\n.*?{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise InputError(f"{page}: write {start} and {END} once, around the place of the table")
    return pattern.sub(lambda _: f"{start}\n\n{table}\n{END}", text)


def markdown(study: Study, spec: Mapping[str, Any], name: str) -> str:
    """The table as Markdown, with the best values in bold."""
    rows = [row for given in spec["rows"] for row in rows_of(study, spec, given, name)]
    values = [[value_of(study, cell_of(spec, row, head, name)) for head in spec["columns"]] for row in rows]
    oracles = {at for at, row in enumerate(rows) if str(row["label"]).startswith(BOUND)}
    bold = best_values([[] if at in oracles else line for at, line in enumerate(values)], spec.get("best", "column"))
    heads = [spec.get("corner", "Method"), *(head["heading"] for head in spec["columns"])]
    lines = [f"| {' | '.join(heads)} |", "| :-- |" + " --: |" * len(spec["columns"])]
    for number, (row, line) in enumerate(zip(rows, values, strict=True)):
        cells = [f"**{value.show()}**" if (number, at) in bold else value.show() for at, value in enumerate(line)]
        label = f"_{row['label']}_" if number in oracles else row["label"]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def rows_of(study: Study, spec: Mapping, row: Mapping, name: str) -> list[Mapping]:
    """The row, or a row for each method of its table."""
    kind = row.get("each_method")
    if kind is None:
        return [row]
    cell = cell_of(spec, row, spec["columns"][0], name)
    methods = [entry["method"] for entry in table_rows(steps_of_cell(study, cell)[0], cell) if entry["kind"] == kind]
    return [{**row, "label": method, "method": method} for method in methods]


def cell_of(spec: Mapping, row: Mapping, head: Mapping, name: str) -> dict[str, Any]:
    """The keys of a cell, with the `{names}` in them filled in; ConfigError if it names neither run nor text."""
    merged = {**spec.get("cell", {}), **head, **row}
    cell = {key: filled(value, merged) if isinstance(value, str) else value for key, value in merged.items()}
    if "text" not in cell and not {"run", "metric"} <= set(cell):
        raise ConfigError(f"table {name}, row {row.get('label')}: a cell needs a run and a metric, or a text")
    return cell


def best_values(values: Sequence[Sequence[Value]], per: str | None) -> set[tuple[int, int]]:
    """Row and column of the best value of each column or row, those with the same text included.

    values: by row; a row that takes no part is empty.
    """
    if per is None:
        return set()
    if per not in ("row", "column"):
        raise ConfigError(f"best: {per} must be row, column or null")
    lines: list[list[tuple[int, int]]] = [[(y, x) for x in range(len(row))] for y, row in enumerate(values)]
    if per == "column":
        lines = [list(line) for line in zip(*filter(None, lines), strict=True)]
    chosen: set[tuple[int, int]] = set()
    for line in lines:
        ranked = [(y, x) for y, x in line if math.isfinite(values[y][x].rank)]
        if len({values[y][x].rank for y, x in ranked}) > 1:
            y, x = max(ranked, key=lambda cell: values[cell[0]][cell[1]].rank)
            chosen |= {(b, a) for b, a in ranked if values[b][a].show() == values[y][x].show()}
    return chosen


# ---------------------------------------------------------------- values


def steps_of_table(study: Study, spec: Mapping[str, Any], name: str) -> list[Step]:
    """All steps whose results a table shows."""
    check_keys(spec, TABLE_KEYS, f"table {name}")
    cells = [cell_of(spec, row, head, name) for row in spec["rows"] for head in spec["columns"]]
    cells = [cell for cell in cells if "text" not in cell]
    others = [{**cell, "run": cell["minus"][1:]} for cell in cells if str(cell.get("minus", "")).startswith("@")]
    return [step for cell in [*cells, *others] for step in steps_of_cell(study, cell)]


def steps_of_cell(study: Study, cell: Mapping[str, Any]) -> list[Step]:
    """The steps of a cell: those of its run, or of some of its seeds."""
    steps = study.of_run(cell["run"])
    wanted = cell.get("seeds")
    chosen = [step for step in steps if wanted is None or step.seed in wanted]
    return chosen or steps[:1]


def value_of(study: Study, cell: Mapping[str, Any]) -> Value:
    """The value of a cell."""
    if "text" in cell:
        return Value(text=str(cell["text"]))
    metric, decimals = str(cell["metric"]), cell.get("decimals")
    if "minus" in cell:
        return Value(text=difference_in_words(study, metric, cell))
    measured = [measure(step, metric, cell, study.small) for step in steps_of_cell(study, cell)]
    numbers = [value for value, _ in measured if math.isfinite(value)]
    if not numbers:
        return Value(metric)
    if cell.get("of") == "lowest":
        return Value(metric, min(numbers), decimals=decimals)
    spread = statistics.stdev(numbers) if len(numbers) > 1 else measured[0][1]
    return Value(metric, statistics.fmean(numbers), spread if cell.get("spread", True) else None, decimals=decimals)


def difference_in_words(study: Study, metric: str, cell: Mapping[str, Any]) -> str:
    """`▲ +3.5 ± 0.9 (< 0.001)`: verdict, difference to `minus`, its standard error and, if `p` is true, its p-value."""
    step = steps_of_cell(study, cell)[0]
    other = str(cell["minus"])
    if other.startswith("@"):
        folder = steps_of_cell(study, {**cell, "run": other[1:], "seeds": [step.seed]})[0].folder
        table, other = compare([step.folder, folder]), str(folder)
    else:
        table = ResultTable(rows=table_rows(step, cell))
    row = next((row for row in table.rows if row["method"] == other), None)
    if row is None and not study.small:
        raise InputError(f"{step.folder}: the table has no method {other}")
    values = {name: number(value) for name, value in row["values"].items()} if row else {}
    amount = difference({**row, "values": values}, metric, table) if row else None
    if amount is None:
        return "–"
    value, error = amount.texts(column(metric))
    words = [amount.verdict.sign, value, error]
    if cell.get("p") and amount.p is not None:
        words.append("(< 0.001)" if amount.p < 0.001 else f"({amount.p:.3f})")
    return " ".join(filter(None, words))


def measure(step: Step, metric: str, cell: Mapping[str, Any], small: bool = False) -> tuple[float, float | None]:
    """A metric of one run and its standard error, if it has one; InputError if the run did not measure it.

    A small version leaves slow baselines out: their values are undefined.
    """
    if "protocol" in cell:
        path = step.folder / "protocol.csv"
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row["split"] == cell["protocol"] and row["metric"] == metric:
                    return float(row["value"]), None
        raise InputError(f"{path} has no {metric} of the split {cell['protocol']}")
    if "/" in metric or metric in COSTS:
        result = read(step.folder / "result.json")
        values = result if metric in COSTS else result.get("metrics", {})
        if metric not in values:
            raise InputError(f"{step.folder}/result.json has no {metric}; it has {', '.join(sorted(values))}")
        return number(values[metric]), values.get(metric + ERROR)
    rows = table_rows(step, cell)
    wanted = cell.get("method")
    row = next((row for row in rows if row["method"] == wanted or (wanted is None and row["kind"] == "method")), None)
    if row is None and small and wanted is not None:
        return math.nan, None
    if row is None:
        methods = ", ".join(row["method"] for row in rows)
        raise InputError(f"{step.folder}: the table has no method {wanted}; it has {methods}")
    return number(row["values"].get(metric)), row["values"].get(metric + ERROR)


def table_rows(step: Step, cell: Mapping[str, Any]) -> list[dict]:
    """The rows of a result table of a run."""
    path = step.folder / "test" / f"{cell.get('table', 'table')}.json"
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["rows"])
    except OSError as error:
        raise InputError(f"{path}: there is no such table ({error.strerror})") from error


def number(value: float | None) -> float:
    """NaN for a metric that is undefined."""
    return math.nan if value is None else float(value)
