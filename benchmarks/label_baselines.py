"""The baselines of labelled data on the splits of the studies, without a language model.

    python benchmarks/label_baselines.py bace esol --seeds 0 1 2 --data ~/data --output baselines.csv

Each row of OUTPUT is a method on the test split of one data set and seed: all metrics, their standard errors over
resampled rows, and the CPU-seconds to compute features, fit and predict (features are
computed by the first method that needs them). Rows that OUTPUT already has are not computed again. At the end the
main metric of each method is printed: mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import time
from collections import defaultdict
from pathlib import Path

from trimer.accelerators.cpu_speed import threads
from trimer.building import build
from trimer.cli.configs import compose
from trimer.evaluation.label_comparison import baselines_of
from trimer.reporting.table import column
from trimer.targets import TARGETS, target_of

NUMBERS = ("esol", "lipophilicity")
DATA: dict[str, list[str]] = {  # name -> overrides of `trimer train`
    "superclass": ["experiment=foodb/superclass"],
    "superclass_scaffold": ["experiment=foodb/superclass", "data.split.ordered_by=scaffold"],
    **{f"superclass_{n}": ["experiment=foodb/superclass", f"data.split.train_limit={n}"] for n in (100, 300, 1000)},
    **{
        name: ["experiment=foodb/moleculenet", f"data={name}", *(["task=regression"] if name in NUMBERS else [])]
        for name in ("bace", "clintox", "tox21", *NUMBERS)
    },
    "membrane": ["experiment=deeploc/membrane"],
    "location": ["experiment=deeploc/location"],
}


def main() -> None:
    """Compute the rows that are missing and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=DATA, metavar="NAME", help=f"data sets: {', '.join(DATA)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=[], help="parts of the names of methods; all by default")
    parser.add_argument("--data", required=True, help="folder of the data, as paths.data")
    parser.add_argument("--cache", default="runs/cache", help="folder of the prepared data, as paths.cache")
    parser.add_argument("--output", type=Path, default=Path("label_baselines.csv"))
    arguments = parser.parse_args()
    known = rows_of(arguments.output)
    present = {(row["data"], row["seed"], row["method"]) for row in known}
    for seed in arguments.seeds:
        for name in arguments.names:
            for row in computed(name, seed, arguments, present):
                known.append(row)
                write(arguments.output, known)
                print(row["data"], row["seed"], row["method"], row[row["main"]], f"{row['seconds']} s", flush=True)
    print(means([row for row in known if row["data"] in arguments.names]))


def computed(name: str, seed: int, arguments: argparse.Namespace, present: set[tuple[str, str, str]]):
    """Rows of the methods that are not present yet."""
    overrides = [*DATA[name], f"seed={seed}", f"paths.data={arguments.data}", f"paths.cache={arguments.cache}"]
    data = build(compose("train", overrides).data)
    data.setup()
    chosen = {
        method: make
        for method, make in baselines_of(data).items()
        if not arguments.methods or any(part in method for part in arguments.methods)
    }
    train, test = data.texts(data.split.rows("train")), data.split.rows("test")
    kind = target_of(data.target)
    for method, make in chosen.items():
        if (name, str(seed), method) in present:
            continue
        started = time.process_time()
        baseline = make(data.target, seed, threads()).fit(train, data.training_labels().numpy(), len(data.classes))
        predicted = baseline.predict(data.texts(test))
        seconds = time.process_time() - started
        values = kind.measure(predicted, data.labels[test], data.classes).values
        shown = {metric: f"{value:.6g}" for metric, value in values.items() if "/" not in metric}
        yield {
            "data": name, "seed": str(seed), "method": method, "train": str(len(train)), "test": str(len(test)),
            "main": kind.metrics[0], "note": baseline.note, "seconds": f"{seconds:.0f}", **shown,
        }  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of an earlier run."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write all rows with the union of their columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def means(rows: list[dict[str, str]]) -> str:
    """A Markdown table: data set and method, each metric of the result table, mean ± standard deviation over seeds."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row["data"], row["method"]].append(row)
    lines = ["| Data | Method | Seeds | Metrics |", "| :-- | :-- | --: | :-- |"]
    for (data, method), of_method in groups.items():
        target = next(kind.metrics for kind in TARGETS.values() if kind.metrics[0] == of_method[0]["main"])
        cells = []
        for metric in target:
            values = [float(row[metric]) for row in of_method if row.get(metric)]
            if not values or not all(map(math.isfinite, values)):
                continue
            spread = statistics.stdev(values) if len(values) > 1 else None
            cells.append(f"{column(metric).label} {column(metric).show(statistics.mean(values), spread)}")
        lines.append(f"| {data} | {method} | {len(of_method)} | {', '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
