"""`hparams_search=optuna`: a search with the current Optuna, whose trials are jobs of Trimer's launchers.

The plugin `hydra-optuna-sweeper` is not used: its last release (1.3) needs Optuna 2, whose database needs SQLAlchemy 1;
it keeps the study in memory; a failed job or a NaN ends the search; a resumed study overwrites the folders of its first
jobs; and it waits for the slowest job of each batch.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from trimer.verbosity import note

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="trimer_optuna",
    node={"_target_": "hydra_plugins.trimer.optuna_sweeper.OptunaSweeper"},
    provider="trimer",
)


class OptunaSweeper(Sweeper):
    """A Hydra sweeper that chooses the settings of jobs with Optuna; conf/hparams_search/optuna.yaml has its settings.

    max_failures: failed trials after which the search ends. params: search space by key, changed by the command line;
    null removes a key. The other arguments are those of `trimer.sweeps.search.Search`.
    """

    def __init__(
        self,
        params: Mapping[str, str | None],
        objective: str | None,
        direction: str | None,
        objectives: Mapping[str, str] | None,
        max_failures: int,
        **settings: Any,
    ) -> None:
        self.params = {key: text for key, text in params.items() if text is not None}
        self.objective, self.direction, self.objectives = objective, direction, objectives
        self.max_failures, self.settings = max_failures, settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config: Any = config
        self.loader = hydra_context.config_loader
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> dict[str, Any]:
        """Run the search, or continue that of the sweep folder; returns its summary."""
        from trimer.errors import ConfigError, TrimerError
        from trimer.sweeps.search import PruningThread, Search, require_optuna
        from trimer.sweeps.search_space import search_space

        require_optuna()
        if not hasattr(self.launcher, "stoppable"):
            raise ConfigError("hparams_search=optuna needs a launcher of Trimer: launcher=process, slurm or ray")
        space, fixed = search_space([*(f"{key}={text}" for key, text in self.params.items()), *arguments], self.loader)
        self.prunes = OmegaConf.select(self.config, "callbacks.pruning") is not None
        objectives = self.directions()
        self.launcher.lock()
        folder = Path(str(self.config.hydra.sweep.dir))
        search = Search(folder, objectives=objectives, space=space, fixed=fixed, **self.settings)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        stoppable = self.launcher.stoppable(search.progress)
        with stoppable, PruningThread(search), ThreadPoolExecutor(self.launcher.n_jobs) as pool:
            for worker in [pool.submit(self.work, search) for _ in range(self.launcher.n_jobs)]:
                worker.result()
        summary = search.summary()
        OmegaConf.save(OmegaConf.create(summary), folder / "optimization_results.yaml")
        self.describe(summary, search.failures)
        if len(search.failures) >= self.max_failures:
            raise TrimerError(
                f"the search ended after {len(search.failures)} failed trials (hydra.sweeper.max_failures), the last "
                f"one: {search.failures[-1]}"
            )
        if not summary["best"]:
            raise TrimerError(f"no trial of the search in {folder} has finished")
        return summary

    def directions(self) -> dict[str, str]:
        """metric -> minimize or maximize; ConfigError if there is no objective."""
        from trimer.errors import ConfigError
        from trimer.reporting.table import column

        if self.objectives:
            if self.prunes and len(self.objectives) > 1:
                raise ConfigError("callbacks=pruning needs a single objective: choose other callbacks")
            return {str(name): str(direction) for name, direction in self.objectives.items()}
        if not self.objective:
            raise ConfigError("a search needs objective=<metric>, such as objective=val/loss")
        by_name = "minimize" if column(self.objective).lower_is_better else "maximize"
        return {self.objective: self.direction or by_name}

    def work(self, search: Any) -> None:
        """Run one trial after the other until there is none left; one of `n_jobs` workers."""
        from trimer.sweeps.pruning_files import expect_reports

        try:
            while self.launcher.stop_signal is None and (trial := search.next_trial()) is not None:
                with search.lock:  # composing a config is not thread-safe
                    job = self.launcher.prepare(trial.number, search.overrides(trial), set(search.fixed))
                if self.prunes:
                    expect_reports(job.folder)
                self.launcher.run(job)
                failed = job.status is JobStatus.FAILED
                if failed and self.launcher.stop_signal is not None:
                    return  # the trial stays unfinished, and is the first one when the search continues
                search.record(trial, str(job._return_value) if failed else None)
                search.ended = search.ended or len(search.failures) >= self.max_failures
        except BaseException:
            search.ended = True
            raise

    def describe(self, summary: Mapping[str, Any], failures: list[str]) -> None:
        """Print the numbers of trials and the best ones."""
        note(", ".join(f"{count} {state}" for state, count in summary["trials"].items() if count) + " trials")
        for sentence in failures:
            note(f"  {sentence}")
        for best in summary["best"]:
            values = ", ".join(f"{name} {value:.6g}" for name, value in best["values"].items())
            settings = " ".join(f"{key}={value}" for key, value in best["settings"].items())
            print(f"best: job {best['job']}, {values}: {settings}")
