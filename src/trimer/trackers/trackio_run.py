"""The Trackio run of a training: a local dashboard of Hugging Face, or a Space; it never ends a training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from trimer.errors import ConfigError, TrimerError
from trimer.run import command_line_overrides
from trimer.trackers.descriptions import facts_of, panel_name, read_record, run_name, sweep_of
from trimer.trackers.guard import Guard

NAME = "trackio_run.txt"  # in the run folder: the name by which a resumed run continues the run of Trackio


class TrackioRun(Logger):
    """The Trackio run of a run folder.

    save_dir: the run folder. project: of Trackio. space: the Hugging Face Space that gets the metrics; None keeps them
    on this machine, and `trackio show` draws them. name: what differs from the defaults and the run folder are added
    to it, because Trackio continues a run of the same name.
    """

    def __init__(self, save_dir: str, project: str, name: str, space: str | None) -> None:
        if find_spec("trackio") is None:
            raise ConfigError("logger=trackio needs a package: pip install 'trimer[trackio]'")
        super().__init__()
        self.folder = Path(save_dir)
        stored = self.folder / NAME
        begun = stored.is_file()
        self._settings: dict[str, Any] = {
            "project": project,
            "name": stored.read_text(encoding="utf-8").strip() if begun else name_of(name, save_dir),
            "group": sweep_of(save_dir) or name,
            "space_id": space,
            "resume": "allow" if begun else "never",
            "embed": False,
        }
        self._run: Any = None
        self._try = Guard("Trackio")

    @property
    def name(self) -> str:
        return str(self._settings["name"])

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Start the run with its config; TrimerError if it cannot be started, before the training."""
        import trackio

        config = {**params, "run": facts_of(read_record(self.folder))}
        try:
            self._run = trackio.init(config=config, **self._settings)
        except Exception as error:  # of Trackio, of its database or of the account
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise TrimerError(
                f"Trackio cannot be used ({reason}): log in with `hf auth login`, check logger.trackio.space, or "
                "choose logger=csv"
            ) from error
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / NAME).write_text(self.name + "\n", encoding="utf-8")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a row; metrics that are straight lines over the steps are left out."""
        named = {p: float(value) for name, value in metrics.items() if (p := panel_name(name)) is not None}
        if named and self._run is not None:
            self._try("metrics", self._run.log, named, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run."""
        if self._run is not None:
            self._try("end", self._run.finish)
            self._run = None


def name_of(name: str, folder: str) -> str:
    """A name that no other run has: what differs from the defaults, then the folder, of a job with its sweep."""
    sweep = sweep_of(folder)
    last = Path(folder).absolute().name
    inside = last if sweep is None else f"{sweep}/{last}"
    named = run_name(name, command_line_overrides(), folder)
    return f"{named.removesuffix(last).rstrip()} {inside}"
