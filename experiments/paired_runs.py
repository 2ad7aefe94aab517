"""Paired differences between fine-tuned models on the same test records, from their stored predictions.

    python experiments/paired_runs.py runs/foodb/terms/<pre-trained> runs/foodb/terms/<from scratch>

Each folder is a run or an evaluation of labels. The first is the model, the others are compared with it as `trimer
evaluate` compares baselines: same records, same resamples. The tables are printed; nothing is trained or predicted.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from trimer.errors import InputError
from trimer.evaluation.compared_methods import add_methods
from trimer.reporting.differences import to_markdown
from trimer.reporting.table import ResultTable
from trimer.targets import target_of

PROBABILITY, LABEL = "probability of ", "label: "


def stored(folder: Path) -> dict[str, Any]:
    """Target, ids, classes, predictions, labels and thresholds of a run, from the folder of its test split."""
    path = folder / "test" / "predictions.parquet"
    if not path.is_file():
        raise InputError(f"{path} does not exist: name the folder of a run with an evaluated test split")
    table = pq.read_table(path)
    target = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["target"]
    names = table.column_names
    if target == "single":
        classes = [name.removeprefix(PROBABILITY) for name in names if name.startswith(PROBABILITY)]
        labels = np.array([classes.index(label) for label in table["label"].to_pylist()])
        columns = [PROBABILITY + name for name in classes]
    elif target in ("multi", "regression"):
        classes = [name.removeprefix(LABEL) for name in names if name.startswith(LABEL)]
        labels = np.stack([table[LABEL + name].to_numpy() for name in classes], 1).astype(float)
        columns = [f"{'probability' if target == 'multi' else 'predicted'}: {name}" for name in classes]
    else:
        raise InputError(f"{path} holds labels of residues, which are not compared here")
    predictions = np.stack([table[name].to_numpy() for name in columns], 1).astype(float)
    return {
        "target": target,
        "ids": table["id"].to_pylist(),
        "classes": classes,
        "predictions": predictions,
        "labels": labels,
        "thresholds": thresholds(folder / "test" / "probabilities.csv"),
    }


def thresholds(path: Path) -> np.ndarray | None:
    """The threshold of each class or label, by which the run turns probabilities into decisions; None for numbers."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as stream:
        values = np.array([row["threshold"] for row in csv.DictReader(stream)], float)
    return None if np.isnan(values).any() else values


def compare(folders: Sequence[Path]) -> ResultTable:
    """The table of the runs; InputError if they are of other test records, labels or classes than the first."""
    runs = {str(folder): stored(folder) for folder in folders}
    first, of_first = next(iter(runs.items()))
    measured, kind = {}, target_of(of_first["target"])
    for name, run in runs.items():
        same = run["ids"] == of_first["ids"] and np.array_equal(run["labels"], of_first["labels"], equal_nan=True)
        if run["target"] != of_first["target"] or run["classes"] != of_first["classes"] or not same:
            raise InputError(f"{name} and {first} have other test records or labels: they cannot be paired")
        measured[name] = kind.measure(run["predictions"], run["labels"], run["classes"], thresholds=run["thresholds"])
    table = ResultTable(metrics=kind.metrics)
    add_methods(table, first, dict(reversed(measured.items())), kind.metrics)
    return table


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders; the first is compared with each other one")
    table = compare(parser.parse_args(words).runs)
    print(table.to_markdown())
    print(to_markdown(table))


if __name__ == "__main__":
    main()
