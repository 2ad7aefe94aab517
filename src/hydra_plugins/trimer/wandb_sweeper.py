"""`hparams_search=wandb`: writes the file of a W&B sweep, whose agents then run `trimer train`; runs nothing itself."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="trimer_wandb",
    node={"_target_": "hydra_plugins.trimer.wandb_sweeper.WandbSweeper"},
    provider="trimer",
)

METHODS = ("bayes", "random", "grid")


class WandbSweeper(Sweeper):
    """A Hydra sweeper that writes the search space for W&B; conf/hparams_search/wandb.yaml describes its settings.

    The command of the file has the other overrides. An agent adds the settings that W&B chooses as `key=value`, and the
    id of its run, which becomes the id of ours.
    """

    def __init__(
        self,
        params: Mapping[str, str | None],
        output: str,
        name: str,
        method: str,
        objective: str | None,
        direction: str | None,
        run_cap: int | None,
    ) -> None:
        self.params = {key: text for key, text in params.items() if text is not None}
        self.output, self.name, self.method, self.run_cap = Path(output), name, method, run_cap
        self.objective, self.direction = objective, direction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config: Any = config
        self.loader = hydra_context.config_loader

    def sweep(self, arguments: list[str]) -> Path:
        """Write the file and print the two commands that use it; returns its path."""
        from trimer.sweeps.search_space import search_space

        space, fixed = search_space([*(f"{key}={text}" for key, text in self.params.items()), *arguments], self.loader)
        self.check(space)
        firsts = [f"{key}={dimension.first()}" for key, dimension in space.items()]
        tracked = [] if self.chosen_logger() else ["logger=wandb"]
        # A mistake is found here, not by every agent.
        job: Any = self.loader.load_sweep_config(self.config, [*fixed, *tracked, *firsts])
        tracker = OmegaConf.select(job, "logger.wandb") or {}
        place = {key: tracker[key] for key in ("entity", "project") if tracker.get(key)}
        content = {
            "name": self.name,
            **place,  # else W&B puts the sweep and its runs into the project "uncategorized"
            "program": "trimer",
            "command": ["${env}", "${program}", *self.command(fixed), "${args_no_hyphens}"],
            "method": self.method,
            "metric": {"name": self.objective, "goal": self.goal()},
            **({"run_cap": self.run_cap} if self.run_cap else {}),
            "parameters": {key: dimension.to_wandb() for key, dimension in space.items()},
        }
        self.output.parent.mkdir(parents=True, exist_ok=True)
        # Not through OmegaConf, to which ${program} is a reference.
        import yaml

        text = yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
        self.output.write_text(f"# Start it by: wandb sweep {self.output}\n{text}", encoding="utf-8")
        print(f"{self.output}\nnext: wandb sweep {self.output}; then, on every machine: wandb agent <the id it prints>")
        return self.output

    def check(self, space: Mapping[str, Any]) -> None:
        """ConfigError for settings that W&B would reject only after the file was sent."""
        from trimer.errors import ConfigError

        if self.method not in METHODS:
            raise ConfigError(f"hydra.sweeper.method={self.method} must be one of {', '.join(METHODS)}")
        if not self.objective:
            raise ConfigError("a search needs objective=<metric>, such as objective=val/loss")
        ranges = [key for key, dimension in space.items() if "values" not in dimension.to_wandb()]
        if self.method == "grid" and ranges:
            raise ConfigError(f"hydra.sweeper.method=grid needs values, such as {ranges[0]}=1,2,3, not an interval")
        if "wandb" not in (self.config.get("logger") or {}) and self.chosen_logger():
            raise ConfigError(f"{self.chosen_logger()}: a W&B sweep needs logger=wandb or logger=many")

    def chosen_logger(self) -> str | None:
        """The override of the command line that chooses the logger."""
        words = [str(word) for word in self.config.hydra.overrides.task]
        return next((word for word in words if word.startswith(("logger=", "~logger"))), None)

    def goal(self) -> str:
        """minimize or maximize."""
        from trimer.reporting.table import column

        by_name = "minimize" if column(self.objective or "").lower_is_better else "maximize"
        return self.direction or by_name

    def command(self, fixed: list[str]) -> list[str]:
        """The words of the command that all runs have in common."""
        from trimer.sweeps.job_folders import NOT_OF_THE_JOB

        words = [word for word in fixed if word.lstrip("+~").partition("=")[0] not in NOT_OF_THE_JOB]
        words += [] if self.chosen_logger() else ["logger=wandb"]
        for key in ("objective", "test"):  # set by the file of this search, which the runs do not read
            if not any(word.startswith(f"{key}=") for word in words):
                words.append(f"{key}={str(self.config[key]).lower() if key == 'test' else self.config[key]}")
        folders = [
            part.path.removeprefix("file://")
            for part in self.loader.get_search_path().get_path()
            if part.provider == "command-line"
        ]
        plugins = [path for path in os.environ.get("TRIMER_PLUGINS", "").split(os.pathsep) if path]
        flags = [word for folder in folders for word in ("--config-dir", folder)]
        flags += [word for path in plugins for word in ("--plugin", path)]
        return [str(self.config.hydra.job.config_name), *flags, *words]
