"""A hyper-parameter search with Optuna: which settings the next job gets, and what is recorded of the jobs that ended.

The study is a file in the sweep folder, so that a search can be interrupted and continued, and `optuna-dashboard` can
show it while it runs. Each trial draws its settings with another seed, made from the number of the trial: an
interrupted search chooses the same settings as one that was not (with one job at a time; with several, it depends on
which ends first).
"""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.errors import ConfigError, TrimerError
from trimer.sweeps import pruning_files
from trimer.sweeps.job_folders import identity, read_json
from trimer.sweeps.search_space import Dimension

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)

STUDY = "study.log"  # in the sweep folder; Optuna's journal, which is safe on network file systems, unlike SQLite
SAMPLERS = ("tpe", "random", "gp", "qmc", "nsgaii", "cmaes")
PRUNERS = ("median", "halving", "hyperband", "none")
DIRECTIONS = ("minimize", "maximize")


class Search:
    """The study of one sweep folder; its methods may be called from several threads.

    objectives: metric -> minimize or maximize. space: the searched settings. fixed: the other overrides, the same for
    all jobs. n_trials: of the study, those of earlier processes included. startup_trials: random ones at the start,
    and complete ones before any is pruned. storage: URL of a database; None for the file in the folder.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        objectives: Mapping[str, str],
        space: Mapping[str, Dimension],
        fixed: Sequence[str],
        n_trials: int,
        sampler: str,
        pruner: str,
        startup_trials: int,
        seed: int,
        storage: str | None,
    ) -> None:
        check_settings(sampler, pruner, n_trials, objectives)
        self.folder, self.objectives, self.fixed, self.n_trials = folder, dict(objectives), list(fixed), n_trials
        self.sampler, self.startup_trials, self.seed = sampler, startup_trials, seed
        self.distributions = {key: dimension.to_optuna() for key, dimension in space.items()}
        self.lock = threading.RLock()
        self.running: dict[int, Trial] = {}
        self.failures: list[str] = []
        self.ended = False  # whether no further trial starts
        self.study = self._open(name, pruner, storage)
        self._check_unchanged({"space": {key: dimension.facts() for key, dimension in sorted(space.items())}})
        self._interrupted = [trial for trial in self.study.trials if trial.state.name == "RUNNING"]

    def _open(self, name: str, pruner: str, storage: str | None) -> Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        where: Any = storage
        if storage is None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            where = JournalStorage(JournalFileBackend(str(self.folder / STUDY)))
        if list(self.objectives.values()) != self._recorded_directions(where, name):
            raise ConfigError(
                f"{storage or self.folder / STUDY} holds a search with other objectives: restore them, or choose "
                "another hydra.sweep.dir"
            )
        directions: Any = list(self.objectives.values())
        return optuna.create_study(
            study_name=name,
            storage=where,
            directions=directions,
            pruner=_pruner(pruner, self.startup_trials),
            load_if_exists=True,
        )

    def _recorded_directions(self, storage: Any, name: str) -> list[str]:
        """The directions of the stored study; those of this search if there is none."""
        import optuna

        summaries = {summary.study_name: summary for summary in optuna.get_all_study_summaries(storage)}
        if name not in summaries:
            return list(self.objectives.values())
        return [direction.name.lower() for direction in summaries[name].directions]

    def _check_unchanged(self, asked: dict[str, Any]) -> None:
        """ConfigError if the stored study searched another space, or had other settings or objectives."""
        asked |= {"objectives": self.objectives, "overrides": list(identity(self.fixed))}
        stored = self.study.user_attrs.get("search")
        if stored is None:
            self.study.set_user_attr("search", asked)
            with warnings.catch_warnings():  # it is experimental
                warnings.simplefilter("ignore")
                self.study.set_metric_names(list(self.objectives))
            return
        where = f"the search in {self.folder} was started with"
        advice = "restore it, or choose another hydra.sweep.dir"
        for key in dict.fromkeys([*stored["space"], *asked["space"]]):
            before, now = stored["space"].get(key), asked["space"].get(key)
            if before != now:
                was, is_now = (_described(facts) for facts in (before, now))
                raise ConfigError(f"{where} {key}: {was}, and now it is {is_now}: {advice}")
        for kind in ("objectives", "overrides"):
            if stored[kind] != asked[kind]:
                raise ConfigError(f"{where} the {kind} {_shown(stored[kind])}, now {_shown(asked[kind])}: {advice}")

    # ---------------------------------------------------------------- trials

    def next_trial(self) -> Trial | None:
        """The next trial, first those that an earlier process has left unfinished; None if there is none."""
        import optuna

        with self.lock:
            while self._interrupted and not self.ended:
                frozen = self._interrupted.pop(0)
                if set(frozen.params) == set(self.distributions):
                    return self._started(optuna.trial.Trial(self.study, frozen._trial_id))
                self.study.tell(frozen.number, state=optuna.trial.TrialState.FAIL)  # it had no settings yet
            existing = [trial for trial in self.study.trials if trial.state.name != "WAITING"]
            if self.ended or len(existing) >= self.n_trials:
                return None
            self.study.sampler = _sampler(self.sampler, self.seed, len(existing), self.startup_trials)
            return self._started(self.study.ask(self.distributions))

    def _started(self, trial: Trial) -> Trial:
        trial.set_user_attr("folder", str(self.folder / str(trial.number)))
        self.running[trial.number] = trial
        return trial

    def overrides(self, trial: Trial) -> list[str]:
        """The overrides of the trial's job."""
        return [*self.fixed, *(f"{key}={_text(value)}" for key, value in trial.params.items())]

    def record(self, trial: Trial, error: str | None) -> None:
        """Record the end of a trial's job: the values of its objectives, pruned, or failed with the reason."""
        from optuna.trial import TrialState

        folder = self.folder / str(trial.number)
        result = read_json(folder / "result.json")
        with self.lock:
            self.running.pop(trial.number, None)
            values = self._values(result)
            finite = [value for value in values.values() if value is not None]
            if error is None:
                error = next((f"no finite {name}" for name, value in values.items() if value is None), None)
            if error is not None:
                trial.set_user_attr("failure", error)
                self.study.tell(trial, state=TrialState.FAIL)
                self.failures.append(error)
            elif result.get("stopped_early") == "pruned":
                self.study.tell(trial, state=TrialState.PRUNED)
            else:
                self.study.tell(trial, finite)

    def _values(self, result: Mapping[str, Any]) -> dict[str, float | None]:
        """The value of each objective, None where it is missing or not finite."""
        if len(self.objectives) == 1:
            measured = {name: result.get("objective") for name in self.objectives}
        else:
            numbers = {**result, **(result.get("metrics") or {})}
            measured = {name: numbers.get(name) for name in self.objectives}
        finite = {name: isinstance(value, int | float) and math.isfinite(value) for name, value in measured.items()}
        return {name: value if finite[name] else None for name, value in measured.items()}

    def decide_on_reports(self) -> None:
        """Pass the reports of all running jobs to the pruner, and write its decisions."""
        for number, trial in list(self.running.items()):
            folder = self.folder / str(number)
            with self.lock:
                known = self.study._storage.get_trial(trial._trial_id).intermediate_values
                new = [(step, value) for step, value in pruning_files.reports(folder) if step not in known]
                if not new or number not in self.running:
                    continue
                for step, value in new:
                    trial.report(value, step)
                pruning_files.decide(folder, new[-1][0], bool(trial.should_prune()))

    # ---------------------------------------------------------------- results

    def summary(self) -> dict[str, Any]:
        """The numbers of trials by their state, and the best trial, or the Pareto front of several objectives."""
        trials = self.study.trials
        states = {name: sum(trial.state.name == name for trial in trials) for name in ("COMPLETE", "PRUNED", "FAIL")}
        best = [self._facts(trial) for trial in self.study.best_trials] if states["COMPLETE"] else []
        return {
            "study": self.study.study_name,
            "objectives": self.objectives,
            "trials": {"finished": states["COMPLETE"], "pruned": states["PRUNED"], "failed": states["FAIL"]},
            "best": best,
        }

    def progress(self) -> str:
        """How many trials have ended, those of earlier processes included."""
        ended = sum(trial.state.is_finished() for trial in self.study.trials)
        return f"{ended} of {self.n_trials} trials ended"

    def _facts(self, trial: Any) -> dict[str, Any]:
        values = dict(zip(self.objectives, trial.values, strict=True))
        return {"job": trial.number, "values": values, "settings": dict(trial.params)}


class PruningThread(threading.Thread):
    """Decides on the reports of the running jobs five times a second, within a `with` block."""

    def __init__(self, search: Search) -> None:
        super().__init__(name="pruning", daemon=True)
        self.search, self.over = search, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            try:
                self.search.decide_on_reports()
            except Exception:  # a job without a decision continues, so the search does too
                log.exception("the report of a job could not be read")

    def __enter__(self) -> PruningThread:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.join()


def check_settings(sampler: str, pruner: str, n_trials: int, objectives: Mapping[str, str]) -> None:
    """ConfigError for settings of the search that are not known."""
    for key, value, known in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
        if value not in known:
            raise ConfigError(f"hydra.sweeper.{key}={value} must be one of {', '.join(known)}")
    if n_trials < 1:
        raise ConfigError(f"hydra.sweeper.n_trials={n_trials} must be 1 or more")
    for name, direction in objectives.items():
        if direction not in DIRECTIONS:
            raise ConfigError(f"the direction of {name} is {direction!r}: it must be minimize or maximize")


def _sampler(name: str, seed: int, number: int, startup_trials: int) -> Any:
    """The sampler of one trial; its seed depends on the number of the trial."""
    from optuna import samplers

    of_trial = (seed * 1_000_003 + number) % 2**32
    if name == "tpe":
        return samplers.TPESampler(seed=of_trial, n_startup_trials=startup_trials)
    if name == "gp":
        return samplers.GPSampler(seed=of_trial, n_startup_trials=startup_trials)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=of_trial, n_startup_trials=startup_trials)
    if name == "qmc":  # one sequence for all trials
        return samplers.QMCSampler(seed=seed)
    return samplers.NSGAIISampler(seed=of_trial) if name == "nsgaii" else samplers.RandomSampler(seed=of_trial)


def _pruner(name: str, startup_trials: int) -> Any:
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=startup_trials)
    if name == "halving":
        return pruners.SuccessiveHalvingPruner()
    return pruners.HyperbandPruner() if name == "hyperband" else pruners.NopPruner()


def require_optuna() -> None:
    """TrimerError if Optuna is not installed."""
    from importlib.util import find_spec

    if find_spec("optuna") is None:
        raise TrimerError("hparams_search=optuna needs Optuna: pip install 'trimer[sweep]'")


def _described(facts: Mapping[str, Any] | None) -> str:
    """`choice(a, b)`, `0.1 to 0.5`, or `not searched`."""
    if facts is None:
        return "not searched"
    if "choice" in facts:
        return f"choice({', '.join(facts['choice'])})"
    step = f" in steps of {facts['step']}" if facts["step"] is not None else ""
    return f"{facts['low']} to {facts['high']}{step}{', logarithmic' if facts['log'] else ''}"


def _shown(values: Mapping[str, str] | Sequence[str]) -> str:
    pairs = [f"{name}: {value}" for name, value in values.items()] if isinstance(values, Mapping) else values
    return " ".join(pairs) or "none"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
