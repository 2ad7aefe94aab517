"""`hparams_search=optuna`: trials are jobs of the launcher; failures are recorded, and the same command continues."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import pytest
import yaml
from tiny_trainings import TINY

from trimer.cli.main import main

pytestmark = pytest.mark.skipif(find_spec("optuna") is None, reason="needs trimer[sweep]")

SEARCH = ["toy", "train", "hparams_search=optuna", "hydra.sweep.dir=sweep", "hydra.sweeper.startup_trials=20"]


def test_a_search_continues_after_failures_and_when_its_command_is_repeated(shell, empty_folder):
    words = [*SEARCH, "seed=choice(13,1,2)", "hydra.sweeper.seed=4"]  # the toy fails with seed 13
    done = shell(*words, "hydra.sweeper.n_trials=3", "n_jobs=2")
    assert done.returncode == 0, done.stderr
    results = {path.parent.name: json.loads(path.read_text()) for path in empty_folder.glob("sweep/*/result.json")}
    assert set(results) == {"0", "1", "2"}
    summary = yaml.safe_load((empty_folder / "sweep" / "optimization_results.yaml").read_text())
    failed = sum(result["status"] == "failed" for result in results.values())
    assert summary["trials"] == {"finished": 3 - failed, "pruned": 0, "failed": failed}
    assert 0 < failed < 3, "choose a seed that draws 13, and another value"
    assert summary["best"][0]["values"]["val/loss"] == min(result.get("objective", 9) for result in results.values())
    assert "best: job" in done.stdout
    assert "failed with exit code 1: spectra.mgf line 3" in done.stderr
    rates = {(empty_folder / "sweep" / name / "overrides.yaml").read_text() for name in results}
    assert len(rates) == 3
    again = shell(*words, "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failures=1")
    assert again.stderr.count("started") == 1 and (empty_folder / "sweep" / "3").is_dir()
    changed = shell(*words, "optimizer.lr=interval(0.1,0.2)")
    assert changed.returncode == 1
    assert "was started with optimizer.lr: 0.0001 to 0.01, logarithmic, and now it is 0.1 to 0.2" in changed.stderr


def test_a_search_without_an_objective_is_rejected(shell, empty_folder):
    done = shell(*SEARCH, "objective=null")
    assert done.returncode == 1
    assert "a search needs objective=<metric>" in done.stderr and "Traceback" not in done.stderr
    assert not (empty_folder / "sweep" / "0").exists()


@pytest.mark.slow
def test_a_hopeless_training_is_pruned_and_the_search_continues(empty_folder, monkeypatch, capfd):
    """Each trial is a training of the demo; seed 6 draws the learning rates 1e-2, 1e-9, 1e-2."""
    import forked_jobs

    forked_jobs.fork_jobs(monkeypatch)
    words = ["callbacks=pruning", "optimizer.lr=choice(1e-2,1e-9)", "optimizer.weight_decay=0", "objective=val/loss"]
    search = ["hydra.sweeper.sampler=random", "hydra.sweeper.seed=6", "hydra.sweeper.n_trials=3"]
    steps = ["trainer.max_steps=6", "trainer.val_check_interval=2", "trainer.limit_val_batches=1"]
    folder = ["hparams_search=optuna", "hydra.sweep.dir=sweep", "hydra.sweeper.startup_trials=1"]
    monkeypatch.setattr(sys, "argv", ["trimer", "train", "experiment=demo", *TINY, *words, *search, *steps, *folder])
    code, said = main(), capfd.readouterr().err
    assert code == 0, said
    summary = yaml.safe_load((empty_folder / "sweep" / "optimization_results.yaml").read_text())
    assert summary["trials"] == {"finished": 2, "pruned": 1, "failed": 0}
    assert float(summary["best"][0]["settings"]["optimizer.lr"]) == 1e-2
    results = [json.loads((empty_folder / f"sweep/{job}/result.json").read_text()) for job in range(3)]
    ends = [(result["steps"], result.get("stopped_early")) for result in results]
    assert ends == [(6, None), (2, "pruned"), (6, None)]
    reports = [(empty_folder / f"sweep/{job}/pruning.jsonl").read_text().count("\n") for job in range(3)]
    assert reports == [3, 1, 3]
    assert "2 finished, 1 pruned trials" in said
