"""Sweeps: one process for each job, results in result.json, interrupted sweeps resume."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml


def jobs(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_job_has_its_process_and_folder(shell, empty_folder, n_jobs):
    done = shell("toy", "train", "-m", "seed=1,2", "name=sweep", f"n_jobs={n_jobs}", "objective=val/loss")
    assert done.returncode == 0, done.stderr
    (sweep,) = empty_folder.glob("runs/sweep/multirun-*")
    assert {name: job["objective"] for name, job in jobs(sweep).items()} == {"0": 2.0, "1": 4.0}
    records = [json.loads((sweep / name / "run.json").read_text()) for name in ("0", "1")]
    assert [record["id"] for record in records] == [f"sweep-{sweep.name}-0", f"sweep-{sweep.name}-1"]
    assert "job 1 seed=2" in done.stderr
    assert f"next: trimer report runs/sweep/{sweep.name} output=report.html" in done.stderr
    assert "val/loss 4" in done.stderr
    assert (sweep / "0" / "output.log").exists() is (n_jobs == 2)


def test_a_failing_job_names_its_folder_and_the_others_run(shell, empty_folder):
    words = ["toy", "train", "-m", "seed=13,2", "hydra.sweep.dir=sweep"]
    done = shell(*words)
    assert done.returncode == 1
    assert done.stderr.count("job 0 seed=13 in sweep/0 failed") == 2  # when it fails, and at the end
    assert "job 0 seed=13 in sweep/0 failed with exit code 1: spectra.mgf line 3" in done.stderr
    assert "Traceback" not in done.stderr
    assert {name: job["status"] for name, job in jobs(empty_folder / "sweep").items()} == {"0": "failed", "1": "ok"}
    # Again: the successful job is not repeated, the other one starts from the beginning since it has no checkpoint.
    toy = empty_folder / "toy.py"
    toy.write_text(toy.read_text().replace("cfg.seed == 13", "False"))
    done = shell(*words)
    assert done.returncode == 0, done.stderr
    assert "sweep/0: started" in done.stderr
    assert "sweep/1: finished earlier" in done.stderr and done.stderr.count("sweep/1:") == 1
    # Jobs are recognised by their overrides, so a sweep can be extended.
    done = shell("toy", "train", "-m", "seed=4,2,13", "hydra.sweep.dir=sweep", "n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert "job 2 seed=4 in sweep/2: started" in done.stderr
    assert done.stderr.count("finished earlier") == 2


def test_a_misspelt_key_is_reported_before_any_job_runs(shell, empty_folder):
    done = shell("toy", "train", "-m", "seed=1,2", "optimizer.lrr=1,2")
    assert done.returncode == 2
    assert "did you mean optimizer.lr?" in done.stderr
    assert not list(empty_folder.glob("runs/*/*/*/run.json"))


def test_a_grid_search_needs_no_multirun_flag(shell):
    done = shell("toy", "train", "--cfg", "hydra", "hparams_search=grid")
    assert "mode: MULTIRUN" in done.stdout
    assert "optimizer.lr: 3e-4,1e-3,3e-3" in done.stdout


def test_the_users_config_folder_reaches_the_jobs(shell, empty_folder):
    (empty_folder / "mine" / "experiment").mkdir(parents=True)
    (empty_folder / "mine" / "experiment" / "own.yaml").write_text("# @package _global_\nname: own\n")
    done = shell("toy", "train", "-m", "--config-dir", "mine", "experiment=own", "seed=1,2", "n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert len(list(empty_folder.glob("runs/own/multirun-*/*/result.json"))) == 2


# Trains two steps of DDP; each rank records the settings that it trained with.
DISTRIBUTED = """
import json, sys, types

def main(cfg):
    import lightning, torch
    from trimer.building import build
    from trimer.run import RunFolder

    class Task(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(2, 2)

        def training_step(self, batch, number):
            return self.net(batch).square().mean()

        def configure_optimizers(self):
            return build(cfg.optimizer)(self.net.parameters())

    run = RunFolder(cfg.paths.run).start(cfg)
    trainer = build(cfg.trainer, logger=False, enable_checkpointing=False)
    trainer.fit(Task(), torch.utils.data.DataLoader(torch.ones(4, 2)))
    record = {"lr": cfg.optimizer.lr, "decay": cfg.optimizer.weight_decay, "ranks": trainer.world_size}
    (run.path / f"rank{trainer.global_rank}.json").write_text(json.dumps(record))
    run.finish({"objective": cfg.optimizer.lr})

sys.modules["trimer.commands.train"] = types.SimpleNamespace(main=main)

if __name__ == "__main__":
    from trimer.cli.main import main as trimer
    sys.exit(trimer())
"""


TWO_RANKS = [
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_steps=2",
    "trainer.val_check_interval=null",
    "trainer.enable_progress_bar=false",
    "hydra.sweep.dir=sweep",
]


def recorded(folder: Path) -> dict:
    """What both ranks of a job recorded, which must be the same."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("rank?.json"))]
    assert len(records) == 2 and records[0] == records[1] and records[0].pop("ranks") == 2
    return records[0]


@pytest.mark.slow
def test_all_ranks_of_a_job_use_the_values_of_the_job(shell, empty_folder):
    """With Hydra's launchers each rank repeats the sweep and might train with the values of another job."""
    (empty_folder / "distributed.py").write_text(DISTRIBUTED)
    done = shell("distributed", "train", "-m", "optimizer.lr=0.1,0.2", "optimizer.weight_decay=0.5", *TWO_RANKS)
    assert done.returncode == 0, done.stderr
    assert [recorded(empty_folder / "sweep" / str(job)) for job in (0, 1)] == [
        {"lr": 0.1, "decay": 0.5},
        {"lr": 0.2, "decay": 0.5},
    ]
    assert not (empty_folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("optuna") is None, reason="needs trimer[sweep]")
def test_all_ranks_of_a_trial_use_the_values_of_the_trial(shell, empty_folder):
    """With the plugin of Hydra for Optuna each rank has a study of its own, which draws other values."""
    (empty_folder / "distributed.py").write_text(DISTRIBUTED)
    done = shell("distributed", "train", "hparams_search=optuna", "hydra.sweeper.n_trials=1", *TWO_RANKS)
    assert done.returncode == 0, done.stderr
    (best,) = yaml.safe_load((empty_folder / "sweep" / "optimization_results.yaml").read_text())["best"]
    settings = recorded(empty_folder / "sweep" / "0")
    assert settings == {
        "lr": pytest.approx(best["settings"]["optimizer.lr"]),
        "decay": float(best["settings"]["optimizer.weight_decay"]),
    }
