"""The logger of metrics.csv, which a resumed run continues, and a context that always closes all loggers."""

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

from trimer.cli.failures import reason_of
from trimer.files import written


@contextmanager
def open_loggers(loggers: Sequence[Logger], config: dict[str, Any]) -> Iterator[list[Logger]]:
    """Log the config of the run; at the end close the loggers, as failed if there was an error.

    Without closing, all jobs of one process would be written to the W&B run of the first job.
    """
    logging.getLogger("lightning").handlers.clear()  # the root handlers print its messages already
    status = "failed"
    try:
        for logger in loggers:
            logger.log_hyperparams(config)
        yield list(loggers)
        status = "success"
    except BaseException as error:
        for logger in loggers:
            if hasattr(logger, "record_failure"):
                logger.record_failure(reason_of(error))
        raise
    finally:
        for logger in loggers:
            logger.finalize(status)
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=0 if status == "success" else 1)


class CSV(Logger):
    """Writes `metrics.csv` to the run folder. Lightning's own CSV logger deletes the file when a run is resumed.

    folder: the run folder. flush_every: number of rows that are buffered before they are written.
    A resumed run deletes the rows that were logged after its checkpoint, so it writes the same file as a run without
    interruption. Only measured speeds (tokens_per_second, mfu) differ.
    """

    def __init__(self, folder: str | Path, flush_every: int = 20) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.flush_every = flush_every
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []  # not written yet
        self._written_rows: int | None = None  # rows in the file; None before it has been read

    @property
    def path(self) -> Path:
        """Path of metrics.csv."""
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
        """Do nothing: config.yaml of the run folder holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row; it is written after `flush_every` rows, or by `save`."""
        row = {"step": step or 0, **{name: float(value) for name, value in metrics.items()}}
        if "epoch" in metrics:
            row["epoch"] = int(metrics["epoch"])
        self._open()
        self._rows.append(row)
        if len(self._rows) >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the buffered rows; the whole file is rewritten only if there are new columns."""
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
        self._written_rows = self._open() + len(self._rows)
        self._rows = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the buffered rows, also after a failure."""
        self.save()

    @property
    def rows(self) -> int:
        """Number of rows logged by this and earlier processes."""
        return self._open() + len(self._rows)

    @rank_zero_only
    def drop_rows_after(self, rows: int | None, step: int) -> None:
        """Keep the first `rows` only; if None (checkpoint of an earlier version), the rows before `step`."""
        self._open()
        self.save()
        kept = self._written()
        kept = [row for row in kept if int(row["step"] or 0) < step] if rows is None else kept[:rows]
        if self._columns:
            self._columns = [name for name in self._columns if any(row[name] != "" for row in kept)]
            self._write(kept)
        self._written_rows = len(kept)

    def _open(self) -> int:
        """Number of rows in the file; the first call reads it."""
        if self._written_rows is None:
            rows = self._written()
            self._written_rows, self._columns = len(rows), list(rows[0]) if rows else []
        return self._written_rows

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
