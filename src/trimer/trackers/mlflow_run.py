"""The MLflow run of a training, in a server or in a database file; it never ends a training.

MLflow itself no longer writes to plain files, so a local run is kept in SQLite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from trimer.errors import ConfigError
from trimer.run import command_line_overrides
from trimer.trackers.descriptions import command_of, notes_of, panel_name, read_record, run_name, sweep_of
from trimer.trackers.guard import Guard

RUN_ID = "mlflow_run_id.txt"  # in the run folder; a resumed run continues the run of MLflow


class MlflowRun(MLFlowLogger):
    """The MLflow run of a run folder.

    save_dir: the run folder. tracking_uri: a server, or a database such as `sqlite:///runs/mlflow.db`. experiment: the
    experiment of MLflow. name: what differs from the defaults is added to it.
    """

    def __init__(
        self,
        save_dir: str,
        tracking_uri: str,
        experiment: str,
        name: str,
        tags: Sequence[str],
    ) -> None:
        if find_spec("mlflow") is None:
            raise ConfigError("logger=mlflow needs a package: pip install 'trimer[mlflow]'")
        self.folder = Path(save_dir)
        stored = self.folder / RUN_ID
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(
            experiment_name=experiment,
            run_name=run_name(name, command_line_overrides(), save_dir),
            tracking_uri=tracking_uri,
            tags={"group": sweep_of(save_dir) or name} | {tag: "true" for tag in tags},
            artifact_location=str((self.folder.parent / "mlflow").absolute()),
            run_id=stored.read_text().strip() if stored.is_file() else None,
        )
        self._resumed = stored.is_file()
        self._try = Guard("MLflow")

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Start the run; a resumed run keeps its parameters, which MLflow does not let change."""
        client, run_id = self.experiment, str(self.run_id)  # a server that does not respond is reported before training
        if self._resumed:
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
    def record_failure(self, reason: str) -> None:
        """Add the reason why the run failed as a tag."""
        if self._initialized:
            self._try("failure", lambda: self.experiment.set_tag(str(self.run_id), "failure", reason[:5000]))

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Set the status of the run: FINISHED or FAILED."""
        self._try("status", super().finalize, status)
