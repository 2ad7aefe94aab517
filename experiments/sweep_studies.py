"""A sweep of each study at a size for one CPU core, with its report: `python experiments/sweep_studies.py [study ...]`.

Each sweep varies one or two settings, with two seeds, logs to W&B offline and ends with a report of all runs:
runs/sweeps/<study>/report.html. The same command continues what was stopped. The data are read from TRIMER_DATA.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

TRIMER = [sys.executable, "-m", "trimer"]
SWEEPS = {  # study -> overrides of `trimer train -m`
    "spectrums": [
        "experiment=spectrums/denoise", "model=bart_nano", "+data.molecules.limit=5000", "optimizer.lr=5e-4,4e-3",
        "data.tokens_per_batch=1024", "data.validation=0.03", "trainer.max_steps=48", "trainer.val_check_interval=12",
    ],
    "foodb": [
        "experiment=foodb/superclass", "ckpt=smiles,null", "model.d_model=128", "model.heads=4", "model.ffn=512",
        "callbacks=default", "data.split.seed=0", "data.split.train_limit=1000", "trainer.max_steps=48",
        "trainer.val_check_interval=12",
    ],
    "cramming": [
        "experiment=cramming/sample", "model=esm2_nano", "optimizer=muon,adamw", "data.source.limit=2000",
        "data.tokens_per_batch=1024", "trainer.max_steps=48", "trainer.val_check_interval=12",
    ],
    "alphadia": [
        "experiment=alphadia/rt", "model=peptides_nano", "optimizer.lr=1e-3,3e-3,9e-3",
        "task.head.pooling=mean,attention", "trainer.max_epochs=4", "scheduler.warmup=1", "data.split.seed=0",
    ],
    "deeploc": [
        "experiment=deeploc/membrane", "ckpt=esm2-sample", "optimizer.lr=1e-4,2e-3", "data.max_length=66",
        "data.tokens_per_batch=1024", "trainer.max_steps=40", "trainer.val_check_interval=10",
    ],
}  # fmt: skip


def main() -> int:
    """Exit code 0 if all jobs of all sweeps succeeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", default=list(SWEEPS), help=f"of {', '.join(SWEEPS)}; all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs/sweeps"), help="folder of the sweeps")
    parser.add_argument("--seeds", default="0,1")
    arguments = parser.parse_args()
    if unknown := set(arguments.studies) - set(SWEEPS):
        parser.error(f"{', '.join(sorted(unknown))}: must be of {', '.join(SWEEPS)}")
    codes = [sweep(study, arguments.runs.absolute() / study, arguments.seeds) for study in arguments.studies]
    return max(codes)


def sweep(study: str, folder: Path, seeds: str) -> int:
    """Run one sweep and its report; returns the larger exit code."""
    common = [f"seed={seeds}", "logger=wandb_offline", "trainer.enable_progress_bar=false"]
    train = [*TRIMER, "train", "-m", *SWEEPS[study], *common, f"hydra.sweep.dir={folder}"]
    report = [*TRIMER, "report", str(folder), f"output={folder / 'report.html'}"]
    return max(subprocess.run(command, check=False).returncode for command in (train, report))


if __name__ == "__main__":
    sys.exit(main())
