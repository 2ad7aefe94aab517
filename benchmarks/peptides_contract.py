"""What both sides of `peptides.py` share: arguments, clocks, and the files they leave. Runs in any environment.

Only numpy and pyarrow are imported, so that a peer with its own pins can use it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Columns = dict[str, np.ndarray]


def side_arguments(description: str) -> argparse.Namespace:
    """The arguments that either side takes; `batch` and `lr` are its own preferred ones where not given."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("task", choices=["rt", "ms2"])
    parser.add_argument("input", type=Path, help="folder with the tables that peptides.py has written")
    parser.add_argument("output", type=Path, help="folder for predictions.parquet and times.json")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--seconds", type=float, help="CPU-seconds of training")
    budget.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def read_columns(path: Path) -> Columns:
    """A parquet file as numpy arrays; text as objects."""
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def write_columns(path: Path, columns: Columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


class Clock:
    """CPU-seconds of this process, all its threads together, and seconds on the wall, within a `with`."""

    def __enter__(self) -> Clock:
        self._started = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.read()

    def read(self) -> None:
        """Take the time so far."""
        self.cpu = time.process_time() - self._started[0]
        self.wall = time.perf_counter() - self._started[1]


def write_times(
    folder: Path,
    *,
    model: str,
    parameters: int,
    training: Clock,
    seen: int,
    prediction: Clock,
    rows: int,
    **more: object,
) -> None:
    """times.json: seen and rows are the samples of all epochs of the training, and those predicted."""
    times = {
        "model": model,
        "parameters": parameters,
        "training_samples_per_second": seen / training.cpu,
        "prediction_samples_per_second": rows / prediction.cpu,
        "training_seconds": training.cpu,
        "training_wall_seconds": training.wall,
        "prediction_seconds": prediction.cpu,
        "prediction_wall_seconds": prediction.wall,
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "times.json").write_text(json.dumps(times, indent=2) + "\n")
