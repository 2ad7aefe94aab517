"""Average the weights of runs that were fine-tuned from the same checkpoint, such as those of a sweep over seeds.

Run from the root of the checkout:

    trimer train -m experiment=spectrums/finetune ckpt=<run of spectrums/simulate> seed=0,1,2,3 test=false
    python experiments/spectrums/average_runs.py <sweep>/* --output runs/averaged
    trimer evaluate ckpt=runs/averaged calibrate=true

Runs that begin with the same weights stay in one valley of the loss, so the mean of their weights is a model too, and
often a better one than each of them (Wortsman et al. 2022, https://arxiv.org/abs/2203.05482). The output is a run
folder like the first of the runs, with the mean weights; `calibrate=true` adds what `trimer predict` reads besides.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from torch import Tensor

from trimer import checkpoint
from trimer.errors import CheckpointError, ConfigError
from trimer.files import write_text, written

KEPT = ("run.json", "split.json", "split.npz", "split_overlap.json", "drops.json", "packages.txt")
# What belongs to the weights of one run: the state of its training, and what `calibrate=true` computes again.
LEFT_OUT = {"optimizer_states", "lr_schedulers", "loops", "callbacks", *checkpoint.RECORDS} - {"training_keys"}


def mean_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each floating-point tensor, added in float64; CheckpointError if other tensors or shapes differ."""
    first, *others = states
    averaged = {}
    for name, tensor in first.items():
        parts = [tensor, *(state.get(name, torch.empty(0)) for state in others)]
        same_shape = all(part.shape == tensor.shape for part in parts)
        if not same_shape or any(state.keys() != first.keys() for state in others):
            raise CheckpointError(f"the runs have different networks ({name}): average runs of one model")
        if tensor.is_floating_point():
            averaged[name] = torch.stack([part.double() for part in parts]).mean(0).to(tensor.dtype)
        elif all(torch.equal(part, tensor) for part in parts):
            averaged[name] = tensor
        else:
            raise CheckpointError(f"the runs differ in {name}, which has no mean: average runs with the same data")
    return averaged


def average(runs: Sequence[Path], output: Path) -> Path:
    """Write the run folder with the mean weights of the runs; returns its checkpoint."""
    if len(runs) < 2:
        raise ConfigError("name two or more runs to average")
    if output.exists():
        raise ConfigError(f"--output {output} exists: name a new folder")
    configs = [yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")) for run in runs]
    for run, config in zip(runs, configs, strict=True):
        if config["ckpt"] is None or config["ckpt"] != configs[0]["ckpt"]:
            raise ConfigError(
                f"{run} did not begin with the checkpoint of {runs[0]}: only such weights can be averaged"
            )
    read = [checkpoint.read(run) for run in runs]
    mean = {name: value for name, value in read[0].items() if name not in LEFT_OUT}
    mean["state_dict"] = mean_weights([saved["state_dict"] for saved in read])
    (output / "checkpoints").mkdir(parents=True)
    path = output / "checkpoints" / "last.ckpt"
    with written(path) as temporary:
        torch.save(mean, temporary)
    for name in KEPT:
        if (runs[0] / name).is_file():
            shutil.copyfile(runs[0] / name, output / name)
    name = f"{configs[0]['name']}, mean of {len(runs)} runs"
    config = configs[0] | {"name": name, "ckpt": [str(run.resolve()) for run in runs]}
    write_text(output / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--output", type=Path, required=True, help="the new run folder")
    options = parser.parse_args()
    print(average(options.runs, options.output))


if __name__ == "__main__":
    main()
