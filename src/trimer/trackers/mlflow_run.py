"""The MLflow run of a training, in a server or in a database file; it never ends a training.

MLflow itself no longer writes to plain files, so a local run is kept in SQLite.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from trimer.cli.failures import causes
from trimer.errors import ConfigError, TrimerError
from trimer.run import command_line_overrides
from trimer.trackers.descriptions import command_of, notes_of, panel_name, read_record, run_name, sweep_of
from trimer.trackers.guard import Guard

RUN_ID = "mlflow_run_id.txt"  # in the run folder; a resumed run continues the run of MLflow
# MLflow repeats a request for many minutes, in which a training would wait; these hold where the user has no others.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


class MlflowRun(MLFlowLogger):
    """The MLflow run of a run folder.

    save_dir: the run folder. tracking_uri: a server, or a database such as `sqlite:///runs/mlflow.db`. experiment: the
    experiment of MLflow. name: what differs from the defaults is added to it. artifacts: also store split, dropped
    records, config, and the tables, figures and pages of results.
    """

    def __init__(
        self,
        save_dir: str,
        tracking_uri: str,
        experiment: str,
        name: str,
        tags: Sequence[str],
        artifacts: bool,
    ) -> None:
        if find_spec("mlflow") is None:
            raise ConfigError("logger=mlflow needs a package: pip install 'trimer[mlflow]'")
        check_uri(tracking_uri)
        for key, value in PATIENCE.items():
            os.environ.setdefault(key, value)
        self.folder, self.artifacts = Path(save_dir), artifacts
        stored = self.folder / RUN_ID
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        served = tracking_uri.startswith(("http://", "https://"))  # the server chooses where it keeps artifacts
        super().__init__(
            experiment_name=experiment,
            run_name=run_name(name, command_line_overrides(), save_dir),
            tracking_uri=tracking_uri,
            tags={"group": sweep_of(save_dir) or name} | {tag: "true" for tag in tags},
            artifact_location=None if served else str((self.folder.parent / "mlflow").absolute()),
            run_id=stored.read_text().strip() if stored.is_file() else None,
        )
        self._resumed = stored.is_file()
        self._try = Guard("MLflow")

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Start the run; a resumed run keeps its parameters, which MLflow does not let change."""
        client, run_id = self._started()
        if self._resumed:
            self._try("status", client.update_run, run_id, "RUNNING")
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / RUN_ID).write_text(run_id + "\n")
        record = read_record(self.folder)
        commit = (record.get("git") or {}).get("sha")
        notes = {"mlflow.note.content": notes_of(record), "mlflow.source.git.commit": commit}
        for key, value in {**notes, "command": command_of(record)}.items():
            if value:
                self._try("tags", client.set_tag, run_id, key, value)
        self._try("parameters", super().log_hyperparams, params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a row; `@` is not allowed in names of MLflow, straight lines over the steps are left out."""
        named = {p.replace("@", "_at_"): v for name, v in metrics.items() if (p := panel_name(name)) is not None}
        if named:
            self._try("metrics", super().log_metrics, named, step)

    @rank_zero_only
    def log_files(self, inside: str | None, files: Iterable[Path]) -> None:
        """Store files as artifacts, in a folder of the run's artifacts or at their top; missing files are left out."""
        for path in files if self.artifacts else ():
            if path.is_file():
                self._try(f"artifact {path.name}", self.experiment.log_artifact, str(self.run_id), str(path), inside)

    @rank_zero_only
    def record_failure(self, reason: str) -> None:
        """Add the reason why the run failed as a tag."""
        if self._initialized:
            self._try("failure", lambda: self.experiment.set_tag(str(self.run_id), "failure", reason[:5000]))

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Set the status of the run: FINISHED or FAILED."""
        self._try("status", super().finalize, status)

    def _started(self) -> tuple[Any, str]:
        """Client and id of the run; TrimerError if the server does not respond, before the training."""
        try:
            return self.experiment, str(self.run_id)
        except Exception as error:  # of MLflow, of its database or of the network
            *_, first = causes(error)  # of the network, below several of libraries
            reason = " ".join(str(first).split())[:300] or type(first).__name__
            raise TrimerError(
                f"MLflow at {self._tracking_uri} cannot be used ({reason}): check logger.mlflow.tracking_uri and that "
                "the server runs, or choose logger=csv"
            ) from error


def check_uri(uri: str) -> None:
    """ConfigError if the address names a folder, to which MLflow no longer writes."""
    if ("://" in uri and not uri.startswith("file:")) or uri.startswith("databricks"):
        return
    raise ConfigError(
        f"logger.mlflow.tracking_uri={uri} is a folder, and MLflow no longer stores runs in folders: use a database "
        "such as sqlite:///runs/mlflow.db, or the address of a server such as http://localhost:5000"
    )


def mlflow_runs(trainer: Any) -> list[MlflowRun]:
    """The MLflow runs of a trainer in its first process."""
    return [logger for logger in trainer.loggers if isinstance(logger, MlflowRun)] if trainer.is_global_zero else []
