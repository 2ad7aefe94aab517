"""The files of a run with two classes of which tests read the stored predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_predictions(folder: Path, labels: list[str], probabilities: list[float]) -> Path:
    """Write the predictions and labels of a run. probabilities: of the second class."""
    (folder / "test").mkdir(parents=True, exist_ok=True)
    columns = {"id": [str(n) for n in range(len(labels))], "label": labels}
    columns |= {"probability of no": [1 - p for p in probabilities], "probability of yes": probabilities}
    pq.write_table(pa.table(columns), folder / "test" / "predictions.parquet")
    (folder / "labels.json").write_text(json.dumps({"target": "single"}))
    with (folder / "test" / "probabilities.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["class", "threshold"], ["no", 0.5], ["yes", 0.5]])
    return folder
