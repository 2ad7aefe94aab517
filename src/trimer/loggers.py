"""metrics.csv, kept and continued when a run is resumed; and the end of all loggers, whatever happens."""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from trimer.files import written


@contextmanager
def finished(loggers: Sequence[Logger], config: dict[str, Any]) -> Iterator[list[Logger]]:
    """Give the loggers the config of the run; write and close them at the end, as failed if there was an error.

    Without the closing, the jobs of one process would all be written into the first job's W&B run.
    """
    logging.getLogger("lightning").handlers.clear()  # our terminal and trimer.log show its messages already
    status = "failed"
    try:
        for logger in loggers:
            logger.log_hyperparams(config)
        yield list(loggers)
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=0 if status == "success" else 1)


class CSV(Logger):
    """Writes `metrics.csv` into the run folder. Lightning's own logger deletes the file when a run goes on in it.

    folder: of the run. flush_every: rows held back before they are written.
    A resumed run takes back the rows that were logged after its checkpoint, and so writes the file that it would have
    written without the interruption. Only rates (tokens_per_second, mfu) differ, which are what a clock measures.
    """

    def __init__(self, folder: str | Path, flush_every: int = 20) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.flush_every = flush_every
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []  # not written yet
        self._earlier: int | None = None  # rows in the file; None before it has been looked at

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "metrics.csv"

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    def log_dir(self) -> str:
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml of the run folder holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take a row; it is on disk after `flush_every` rows, or `save`."""
        row = {"step": step or 0, **{name: float(value) for name, value in metrics.items()}}
        if "epoch" in metrics:
            row["epoch"] = int(metrics["epoch"])
        self._open()
        self._rows.append(row)
        if len(self._rows) >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write what was held back; the whole file again only when there are new columns."""
        if not self._rows:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        new = sorted({name for row in self._rows for name in row}.difference(self._columns, ("epoch", "step")))
        if new or not self._columns:
            rows = [*self._written(), *self._rows]
            self._columns = [*(self._columns or ("epoch", "step")), *new]
            self._write(rows)
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerows(self._rows)
        self._earlier += len(self._rows)
        self._rows = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the last rows, also of a run that failed."""
        self.save()

    @property
    def rows(self) -> int:
        """Rows that have been logged, by this process and before it."""
        self._open()
        return self._earlier + len(self._rows)

    @rank_zero_only
    def take_back(self, rows: int | None, step: int) -> None:
        """Drop all but the first `rows`; those from `step` where an earlier version's checkpoint does not know them."""
        self._open()
        self.save()
        kept = self._written()
        kept = [row for row in kept if int(row["step"] or 0) < step] if rows is None else kept[:rows]
        if self._columns:
            self._columns = [name for name in self._columns if any(row[name] != "" for row in kept)]
            self._write(kept)
        self._earlier = len(kept)

    def _open(self) -> None:
        if self._earlier is None:
            earlier = self._written()
            self._earlier, self._columns = len(earlier), list(earlier[0]) if earlier else []

    def _written(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with written(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
