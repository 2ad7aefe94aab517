"""All tasks train with low precision: weights sharded over two processes, and bf16 weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from two_processes import Pair

from trimer.accelerators.precision import sharded_policy
from trimer.cli.main import main
from trimer.simulate.simulated_molecules import simulated_molecules

pytestmark = pytest.mark.usefixtures("rough_figures")
SMALL = [
    "trainer.max_steps=3", "trainer.val_check_interval=3", "trainer.accelerator=cpu", "baselines=false",
    "trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false",
]  # fmt: skip
FRACTIONS = "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"
LABELLED = [
    "data=labelled_molecules", "data.source.paths=my.csv", FRACTIONS, "data.tokens_per_batch=200", "model=roberta_nano",
]  # fmt: skip
TASKS = {
    "seq2seq": [
        "model=bart_nano", "data.source.molecules=60", "data.tokens_per_batch=600", "task.generator.num_samples=2",
        "task.generator.max_length=8",
    ],
    "masked_lm": [
        "data=simulated_proteins", "data.source.proteins=120", FRACTIONS, "model=esm2_nano", "task=masked_lm",
        "data.tokens_per_batch=900",
    ],
    "classification": [
        *LABELLED, "data.source.labels=kind", "data.target=single", "task=classification",
        "task.class_weights=balanced",
    ],
    "regression": [*LABELLED, "data.source.labels=length", "data.target=regression", "task=regression"],
    "fragments": [
        "data=simulated_fragments", "data.source.count=60", "model=peptides_fragments", "task=fragments",
        "data.tokens_per_batch=300", "model.d_model=32", "model.layers=2",
    ],
}  # fmt: skip


def words_of(task: str, folder: Path) -> list[str]:
    """A short training of a task in a folder."""
    rows = [f"{text},{'ab'[text.count('O') > 1]},{len(text)}" for text in simulated_molecules(80, seed=3)]
    (folder / "my.csv").write_text("\n".join(["smiles,kind,length", *rows]) + "\n")
    words = [word.replace("=my.csv", f"={folder}/my.csv") for word in TASKS[task]]
    return ["train", *words, *SMALL, f"hydra.run.dir={folder}/run", f"paths.cache={folder}/cache"]


def check_result(folder: Path) -> None:
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["status"] == "ok" and result["steps"] == 3
    losses = {name: value for name, value in result["metrics"].items() if "loss" in name}
    assert "val/loss" in losses and all(math.isfinite(value) for value in losses.values())


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_shards_are_gathered_and_multiplied_in_bf16_and_reduced_in_fp32():
    policy = sharded_policy("bf16-mixed")
    assert (policy.param_dtype, policy.reduce_dtype, policy.output_dtype) == (torch.bfloat16, torch.float32, None)
    assert policy.cast_forward_inputs is False  # m/z and labels keep their precision
    for precision in ("32-true", "bf16-true"):
        plain = sharded_policy(precision)
        assert plain.param_dtype is plain.reduce_dtype is None


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two processes, rank 0 and rank 1 of the trainings of all tasks."""
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.close()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_on_two_processes_with_sharded_fp32_weights(tmp_path, pair, task):
    words = [*words_of(task, tmp_path), "trainer=fsdp2", "trainer.devices=2", "trainer.precision=bf16-mixed"]
    assert pair(*words) == [0, 0], pair.text()
    check_result(tmp_path)
    assert {tensor.dtype for tensor in weights_of(tmp_path).values() if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_with_bf16_weights(tmp_path, task):
    assert main([*words_of(task, tmp_path), "trainer=cpu", "trainer.precision=bf16-true"]) == 0
    check_result(tmp_path)
    assert torch.bfloat16 in {tensor.dtype for tensor in weights_of(tmp_path).values()}
