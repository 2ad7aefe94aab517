"""The Weights & Biases run of a training: named, grouped and described by its run folder; it never ends a training.

Metrics are logged at the optimizer step, under names whose part before the slash is a section of panels. The summary
holds the best value of each metric. Offline the same is stored in the run folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from trimer.reporting.table import ERROR, HIGH, LOW, column
from trimer.run import command_line_overrides
from trimer.trackers.descriptions import (
    DIFF,
    facts_of,
    is_count,
    notes_of,
    panel_name,
    read_record,
    run_name,
    sweep_of,
    tags_of,
)
from trimer.trackers.guard import Guard

DATA_DIR = "WANDB_DATA_DIR"  # environment variable of W&B
SPREAD = (ERROR, LOW, HIGH)  # ends of names that are no curves
NO_BEST = ("slope", "intercept", "coverage")  # neither the largest nor the smallest value is the best


class WandbRun(WandbLogger):
    """The W&B run of a run folder.

    save_dir: the run folder. name: what differs from the defaults is added to it. group: by default the sweep, else
    `name`. job_type: kind of the job. artifacts: also store split, dropped records, predictions and tables as
    artifacts. log_model: also upload best.ckpt.
    """

    def __init__(
        self,
        save_dir: str,
        name: str,
        project: str,
        entity: str | None,
        group: str | None,
        job_type: str,
        id: str | None,
        resume: str,
        tags: Sequence[str],
        offline: bool,
        artifacts: bool,
        log_model: bool,
    ) -> None:
        self.folder, self.artifacts, self.upload_checkpoint = Path(save_dir), artifacts, log_model
        overrides = command_line_overrides()
        super().__init__(
            name=run_name(name, overrides, save_dir), project=project, save_dir=save_dir, id=id, offline=offline,
            entity=entity, group=group or sweep_of(save_dir) or name, job_type=job_type, resume=resume,
            tags=tags_of(tags, chosen_groups()),
        )  # fmt: skip
        self._wandb_init.pop("anonymous", None)  # an option of Lightning that W&B no longer knows
        self._defined: set[str] = set()
        self._last = 0  # the step of the last row
        self._from = 0  # rows of earlier steps are in the run that is resumed
        self._guard = Guard("W&B")

    @property
    def experiment(self) -> Any:
        """The run, started by the first call; its horizontal axis is the step of W&B, which is the optimizer step."""
        import wandb

        if getattr(rank_zero_only, "rank", 0):
            return _Nothing()
        if self._experiment is None:
            if self._offline:
                self._wandb_init["mode"] = "offline"
            with self._staging():
                self._experiment = wandb.init(**self._wandb_init)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Start the run: its config with the facts of run.json, its notes, and the local changes of the code."""
        record = read_record(self.folder)
        self._wandb_init["notes"] = notes_of(record) or None
        run = self.experiment  # an account that does not work is reported before the training
        self._from = int(run.step) if getattr(run, "resumed", False) else 0
        self._try("config", lambda: super(WandbRun, self).log_hyperparams({**params, "run": facts_of(record)}))
        self._try("git.diff", self._save_diff)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a row; metrics that are straight lines are left out, errors and counts are in the summary only."""
        no_curves = {name: float(v) for name, v in metrics.items() if name.endswith(SPREAD) or is_count(name)}
        if no_curves:
            self.summarise(no_curves)
        kept = {name: value for name, value in metrics.items() if name not in no_curves}
        named = {panel: float(value) for name, value in kept.items() if (panel := panel_name(name)) is not None}
        if named and (step is None or step >= self._from):
            self._last = self._last if step is None else max(step, self._last)
            self._try("metrics", self._log, named)

    @rank_zero_only
    def log_objects(self, values: Mapping[str, Any]) -> None:
        """Log tables, figures and pages in the row of the last metrics."""
        if values:
            self._try(", ".join(values), lambda: self.experiment.log(dict(values), step=max(self._last, self._from)))

    @rank_zero_only
    def log_facts(self, record: Mapping[str, Any]) -> None:
        """Set the facts of run.json in the config."""
        facts = {"run": facts_of(dict(record))}
        self._try("config", lambda: self.experiment.config.update(facts, allow_val_change=True))

    @rank_zero_only
    def summarise(self, values: Mapping[str, Any]) -> None:
        """Set values of the summary."""
        self._try("summary", lambda: self.experiment.summary.update(dict(values)))

    @rank_zero_only
    def record_failure(self, reason: str) -> None:
        """Add the reason why the run failed to summary and notes; nothing if it never started."""
        if self._experiment is not None:
            self.summarise({"failure": reason})
            self._try("notes", self._add_note, f"failed: {reason}")

    @rank_zero_only
    def log_files(self, name: str, kind: str, files: Mapping[str, Path], metadata: Mapping[str, Any]) -> None:
        """Store files as an artifact; kind: `dataset`, `model` or `predictions`. Missing files are left out."""
        existing = {inside: path for inside, path in files.items() if path.is_file()}
        if self.artifacts and existing:
            self._try(f"artifact {name}", self._log_files, name, kind, existing, metadata)

    def _log(self, values: dict[str, float]) -> None:
        run = self.experiment
        for name in values.keys() - self._defined:
            run.define_metric(name, summary=summary_of(name))
        self._defined |= values.keys()
        run.log(values, step=self._last)

    def _log_files(self, name: str, kind: str, files: Mapping[str, Path], metadata: Mapping[str, Any]) -> None:
        import wandb

        artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata))
        for inside, path in files.items():
            artifact.add_file(str(path), name=inside, policy="immutable")  # it is not copied
        run = self.experiment
        if kind == "dataset" and not run.offline:
            run.use_artifact(artifact)  # an input of the run: W&B draws the lineage from it
        else:
            run.log_artifact(artifact)

    def _save_diff(self) -> None:
        path = self.folder / "git.diff"
        if path.is_file() and path.stat().st_size <= DIFF:
            self.experiment.save(str(path), base_path=str(self.folder), policy="now")

    def _add_note(self, text: str) -> None:
        run = self.experiment
        run.notes = "\n".join(part for part in (run.notes, text) if part)

    def _try(self, what: str, call: Any, *arguments: Any) -> None:
        """Call the library; after several failures nothing more is sent, and the training continues."""
        with self._staging():
            self._guard(what, call, *arguments)

    @contextmanager
    def _staging(self) -> Iterator[None]:
        """Offline, what waits for an upload is kept in the run folder and not in the home of the user."""
        if not self._offline or DATA_DIR in os.environ:
            yield
            return
        os.environ[DATA_DIR] = str((self.folder / "wandb" / "data").absolute())
        try:
            yield
        finally:
            del os.environ[DATA_DIR]


class _Nothing:
    """The run in further processes: every call does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def summary_of(name: str) -> str:
    """What the summary holds of a metric: the best and the last value; the last one alone if neither end is best."""
    if name.partition("/")[0] not in ("train", "val", "test") or name.rpartition("/")[2] in NO_BEST:
        return "last"
    return ("min" if "loss" in name or column(name).lower_is_better else "max") + ",last"


def chosen_groups() -> dict[str, Any]:
    """Config group -> choice of the current command line; empty for calls from Python."""
    from hydra.core.hydra_config import HydraConfig

    return dict(HydraConfig.get().runtime.choices) if HydraConfig.initialized() else {}


def wandb_runs(trainer: Any) -> list[WandbRun]:
    """The W&B runs of a trainer in its first process."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbRun)] if trainer.is_global_zero else []
