"""Kill trainings at random points, resume them, and compare the result with the training that was not killed.

    python benchmarks/kill_and_resume.py --chains 20 --seed 0

A chain is one training, killed (SIGKILL) one to three times and resumed each time. Each task has `--chains` of them,
with accumulation (1 or 3 batches) and workers (0 or 2) drawn among them. A kill comes after a random amount of CPU time
between the start of the training and its end, so it also hits checkpoints, validations and the end of the run. If it
comes before the first checkpoint, the chain starts anew in an empty folder, which does not count as a kill.

What must be equal: weights, averaged weights, optimizer, schedule, callbacks, random state and counters of last.ckpt,
the weights of best.ckpt, the metrics in result.json, and metrics.csv row by row, without the rates that a clock
measures.

Each training is a process of its own, forked from this one, which has imported torch before.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from run_differences import differences

from trimer.simulate.simulated_molecules import simulated_molecules

SHORT = [
    "trainer.enable_progress_bar=false", "trainer.precision=32-true", "trainer.log_every_n_steps=2", "test=false",
    "trainer.max_steps=9", "trainer.limit_val_batches=2",
]  # fmt: skip
NARROW = ["model.d_model=32", "model.encoder_ffn=64", "model.decoder_ffn=64"]
LABELLED = ["data=labelled_molecules", "data.source.paths={folder}/molecules.csv", "data.tokens_per_batch=200"]
EPOCHS = [
    "trainer=epochs", "trainer.max_steps=-1", "scheduler=warmup_plateau", "scheduler.interval=epoch",
    "scheduler.patience=0", "scheduler.mode=max",
]  # fmt: skip

# With dropout, averaged weights, schedules that follow a metric, and lengths in steps and in epochs among them.
TASKS = {
    "seq2seq": [*NARROW, "data.source.molecules=60", "data.tokens_per_batch=700", "model.dropout=0.2"],
    "masked_lm": [
        "task=masked_lm", "data=simulated_proteins", "data.source.proteins=120", "data.sampling=clusters",
        "data.masking.end_ratio=0.3", "data.masking.total_steps=9", "data.tokens_per_batch=600", "model=esm2_nano",
        "data.split.fractions={{train: 0.6, val: 0.2, test: 0.2}}", "callbacks=ema", "optimizer=muon",
    ],
    "classification": [
        *LABELLED, "task=classification", "data.source.labels=class", "data.target=single", "model=roberta_nano",
        "model.dropout=0.2", "task.head.dropout=0.2", "task.class_weights=balanced", *EPOCHS, "scheduler.warmup=2",
        "trainer.max_epochs=4", "trainer.limit_train_batches=6", "scheduler.monitor=train/loss_epoch",
    ],
    "regression": [
        *LABELLED, "task=regression", "data.source.labels=length", "data.target=regression", "model=smiles_nano",
        "task.head.dropout=0.2", *EPOCHS, "scheduler.warmup=1", "trainer.max_epochs=4",
        "trainer.limit_train_batches=6", "callbacks=protocol_early_stopping",
    ],
    "fragments": [
        "task=fragments", "data=simulated_fragments", "data.source.count=120", "data.tokens_per_batch=800",
        "model=peptides_nano", "model.dropout=0.2", "trainer.max_steps=60",
    ],
}  # fmt: skip
TIMED = ("trainer.val_check_interval=5", "callbacks.last.every_n_train_steps=2")  # of those with a length in steps
ACCUMULATION, WORKERS = (1, 3), (0, 2)


@dataclass
class Whole:
    """A training that was not killed: its folder, the CPU time until it began to fit and until its end."""

    folder: Path
    began: float
    ended: float


@dataclass
class Count:
    """What came of the chains of a task."""

    chains: int = 0
    kills: Counter = field(default_factory=Counter)  # number of kills -> chains
    anew: int = 0
    unequal: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, default=20, help="of each task")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the folders of unequal runs")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    scratch = Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    os.environ["TRIMER_CACHE"] = str(scratch / "cache")
    write_molecules(scratch / "molecules.csv")
    print("| task | chains | kills | restarts before the first checkpoint | equal |\n| --- | --: | --: | --: | --: |")
    failed = False
    for task in arguments.tasks:
        count = chains(task, arguments.chains, random.Random(f"{arguments.seed} {task}"), scratch, arguments.keep)
        kills = sum(number * times for number, times in count.kills.items())
        print(f"| {task} | {count.chains} | {kills} | {count.anew} | {count.chains - len(count.unequal)} |", flush=True)
        for line in count.unequal:
            print(f"    {line}", file=sys.stderr, flush=True)
        failed |= bool(count.unequal)
    if not (arguments.keep and failed):
        shutil.rmtree(scratch)
    sys.exit(failed)


def write_molecules(path: Path) -> None:
    """A small table with a class and a number for each molecule."""
    rows = [f"{text},{'ab'[text.count('O') > 1]},{len(text)}" for text in simulated_molecules(80, seed=3)]
    path.write_text("\n".join(["smiles,class,length", *rows]) + "\n")


def chains(task: str, number: int, draw: random.Random, scratch: Path, keep: bool) -> Count:
    """Run the chains of a task, the combinations of accumulation and workers in turns."""
    count, whole = Count(), {}
    settings = list(itertools.islice(itertools.cycle(itertools.product(ACCUMULATION, WORKERS)), number))
    for chain, (accumulation, workers) in enumerate(settings):
        words = [word.format(folder=scratch) for word in [*SHORT, *TASKS[task]]]
        words += [f"trainer.accumulate_grad_batches={accumulation}", f"data.num_workers={workers}"]
        words += ["callbacks.last.every_n_train_steps=1"] if "trainer=epochs" in words else TIMED
        if (accumulation, workers) not in whole:
            place = scratch / f"{task}-{accumulation}-{workers}"
            whole[accumulation, workers] = uninterrupted(place, words, 1 if whole else 2)
        reference, folder = whole[accumulation, workers], scratch / f"{task}-chain-{chain}"
        killed = killed_run(folder, words, reference, draw.randint(1, 3), draw, count)
        count.chains += 1
        count.kills[killed] += 1
        if unequal := differences(reference.folder, folder):
            count.unequal.append(f"{folder.name}, accumulation {accumulation}, workers {workers}: {'; '.join(unequal)}")
        if not (unequal and keep):
            shutil.rmtree(folder)
    return count


def uninterrupted(folder: Path, words: list[str], times: int) -> Whole:
    """The training that the chains are compared with; the first one of a task prepares the data and imports."""
    for _ in range(times):
        shutil.rmtree(folder, ignore_errors=True)
        began = None
        process = start(folder, words)
        while (ended := cpu_seconds(process)) is not None:
            if began is None and (folder / "split.json").exists():
                began = ended
            last = ended
            time.sleep(0.002)
        finish(process, folder)
        import_again(folder)
    return Whole(folder, began, last)


def import_again(folder: Path) -> None:
    """Import here what the training has imported, so that those forked later need not."""
    for name in folder.with_suffix(".modules").read_text().split():
        try:
            importlib.import_module(name)
        except Exception:  # made at run time, under no name that can be imported
            continue


def killed_run(folder: Path, words: list[str], whole: Whole, kills: int, draw: random.Random, count: Count) -> int:
    """Train in `folder` and kill it so often; the number of kills that came before its end."""
    killed, left = 0, 1.0
    while killed < kills:
        share = draw.random()
        process = start(folder, words)
        if not kill_after(process, whole.began + share * left * (whole.ended - whole.began)):
            finish(process, folder)
            return killed
        if (folder / "checkpoints" / "last.ckpt").exists():
            killed, left = killed + 1, left * (1 - share)
        else:
            count.anew += 1
            shutil.rmtree(folder, ignore_errors=True)  # it may be killed before it has one
    finish(start(folder, words), folder)
    return killed


def start(folder: Path, words: list[str]) -> int:
    """Begin or resume a training in a forked process; its id."""
    process = os.fork()
    if process:
        return process
    log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from trimer.cli.main import main as trimer

    resume = [f"resume={folder}"] if (folder / "run.json").exists() else []
    try:
        code = trimer(["train", *(resume or words), f"hydra.run.dir={folder}"])
    except BaseException:
        code = 1
    folder.with_suffix(".modules").write_text("\n".join(sys.modules))
    os._exit(code)


def kill_after(process: int, seconds: float) -> bool:
    """Kill a process after so much CPU time; False if it has ended before."""
    while (used := cpu_seconds(process)) is not None:
        if used >= seconds:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return True
        time.sleep(0.001)
    return False


def cpu_seconds(process: int) -> float | None:
    """CPU time that a process has used; None once it has ended."""
    state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return None if state == "Z" else int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def finish(process: int, folder: Path) -> None:
    """Wait for the end of a training, which must be a good one."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code:
        raise SystemExit(f"{folder.name} ended with {code}:\n{folder.with_suffix('.log').read_text()[-3000:]}")


if __name__ == "__main__":
    main()
