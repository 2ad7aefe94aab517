"""Training by torch-xla, compiled for the CPU: `make test-xla`. Skipped where torch-xla is not installed.

Each model trains, validates and saves, nothing is compiled after the second step and its validation, and a resumed run
ends with the weights of the run that was not interrupted.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import math

import pytest
import torch
from torch import nn

from trimer.cli.main import main
from trimer.models.recomputing import recomputed
from trimer.tasks.task import Task

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None, reason="needs torch-xla: make test-xla"),
    pytest.mark.slow,
]

FRACTIONS = "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"
COMMON = [
    "trainer=xla_cpu", "trainer.enable_progress_bar=false", "trainer.val_check_interval=2", "test=false",
    "scheduler.total_steps=7", "callbacks.last.every_n_train_steps=1", "data.tokens_per_batch=512",
    "trainer.log_every_n_steps=2",
]  # fmt: skip
STUDIES = {
    "ESM2": [
        "data=simulated_proteins", "data.source.proteins=200", "data.crop=62", FRACTIONS, "model=esm2_nano",
        "model.layers=1", "task=masked_lm",
    ],
    "BART": [
        "data=simulated_spectra", "data.source.molecules=100", "model=bart_nano", "model.encoder_layers=1",
        "model.decoder_layers=1", "model.dropout=0.2", "+data.noise={_target_: trimer.data.core.noise.Corruption}",
    ],
    "classifier": [
        "data=simulated_peptides", "data.source.count=200", "data.source.what=charge", "data.target=single",
        "model=esm2_nano", "model.layers=1", "task=classification", "task.head.dropout=0.3",
    ],
    "peptide encoder": [
        "data=simulated_fragments", "data.source.count=200", "model=peptides_fragments", "model.layers=1",
        "task=fragments", "task.head.dropout=0.2",
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path_factory.getbasetemp() / "xla-cache"))


@pytest.fixture
def compilations(monkeypatch) -> list[int]:
    """The number of programs compiled so far, at the start of each training step."""
    counts: list[int] = []
    started = Task.on_train_batch_start

    def counted(self, batch, batch_idx):
        from torch_xla.debug import metrics

        counts.append((metrics.metric_data("CompileTime") or (0,))[0])
        started(self, batch, batch_idx)

    monkeypatch.setattr(Task, "on_train_batch_start", counted)
    return counts


def train(folder, *overrides: str) -> None:
    assert main(["train", f"hydra.run.dir={folder}", *overrides]) == 0


def state(folder) -> dict:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize("name", STUDIES)
def test_training_compiles_twice_and_resumes_exactly(name, tmp_path, compilations):
    study = [*COMMON, *STUDIES[name]]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, *study, "trainer.max_steps=7")
    assert len(compilations) == 7
    # Step 3 begins after the validation of step 2.
    assert compilations[0] < compilations[1] < compilations[2], "the first steps are compiled"
    assert compilations[2:] == [compilations[2]] * 5, "a later step was compiled again"
    metrics = json.loads((whole / "result.json").read_text())["metrics"]
    assert metrics and all(math.isfinite(value) for key, value in metrics.items() if key.endswith("loss"))
    assert (whole / "checkpoints/best.ckpt").is_file()

    train(parts, *study, "trainer.max_steps=3")
    stopped = state(parts)
    assert stopped["global_step"] == 3
    train(parts, f"resume={parts}", "trainer.max_steps=7")
    expected, resumed = state(whole), state(parts)
    assert resumed["global_step"] == expected["global_step"] == 7
    assert resumed["work"] == expected["work"]
    for weight, tensor in expected["state_dict"].items():
        assert tensor.device.type == "cpu"
        assert torch.equal(resumed["state_dict"][weight], tensor), weight
    learnt = [
        name for name, tensor in expected["state_dict"].items() if not torch.equal(stopped["state_dict"][name], tensor)
    ]
    assert len(learnt) > 10


@pytest.mark.parametrize("settings", [["trainer.precision=bf16-mixed"], ["trainer.accumulate_grad_batches=2"]])
def test_mixed_precision_and_accumulation_recompile_no_later_step(settings, tmp_path, compilations):
    """Weights stay fp32, and no step is recompiled after the first optimizer step."""
    study = [*COMMON, *STUDIES["ESM2"], "trainer.max_steps=5", *settings]
    train(tmp_path / "xla", *study)
    assert len(set(compilations[-3:])) == 1, "a later step was compiled again"
    metrics = json.loads((tmp_path / "xla/result.json").read_text())["metrics"]
    assert 2.5 < metrics["val/loss"] < 3.6  # 33 tokens: an untrained model has ln 33 = 3.5
    assert {t.dtype for t in state(tmp_path / "xla")["state_dict"].values() if t.is_floating_point()} == {torch.float32}


def test_a_recipe_for_gpus_trains_and_resumes_exactly(tmp_path, compilations):
    """Muon, recomputed activations, dropout, and torch.compile, for which there is nothing to do."""
    study = [*COMMON, *STUDIES["BART"], "optimizer=muon", "model.checkpointing=true", "task.compile=true"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, *study, "trainer.max_steps=5")
    assert len(set(compilations[2:])) == 1, "a later step was compiled again"
    train(parts, *study, "trainer.max_steps=3")
    train(parts, f"resume={parts}", "trainer.max_steps=5")
    weights, resumed = state(whole)["state_dict"], state(parts)["state_dict"]
    assert all(torch.equal(resumed[name], tensor) for name, tensor in weights.items())


@pytest.mark.parametrize("trained_input", [True, False])  # False: behind frozen embeddings
def test_recomputed_activations_have_the_same_dropout(monkeypatch, trained_input):
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    import torch_xla.core.xla_model as xm

    layers = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)) for _ in range(2)]).to("xla")
    x = torch.randn(4, 8).to("xla").requires_grad_(trained_input)
    gradients = []
    for call in (recomputed, lambda layer, hidden: layer(hidden)):
        xm.set_rng_state(5)
        layers.zero_grad()
        hidden = x
        for layer in layers:
            hidden = call(layer, hidden)
        (hidden**2).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in layers.parameters()]).cpu())
    assert torch.equal(*gradients) and gradients[0].abs().max() > 0


def test_molecules_are_generated_during_a_training(tmp_path, compilations):
    ranking = ["callbacks=ranking", "callbacks.ranking.sample=4"]
    generator = ["task.generator.num_samples=2", "task.generator.max_length=8"]
    train(tmp_path / "run", *COMMON, *STUDIES["BART"], *ranking, *generator, "trainer.max_steps=5")
    assert len(set(compilations[2:])) == 1, "a later step was compiled again"
    metrics = json.loads((tmp_path / "run/result.json").read_text())["metrics"]
    assert 0 <= metrics["val/validity"] <= 1
    assert math.isfinite(metrics["val/loss"])  # of the validation in which they were generated


def test_a_protocol_and_embeddings_are_written(tmp_path, compilations):
    embeddings = "{_target_: trimer.callbacks.embeddings.EmbeddingsBefore, folder: ${paths.run}}"
    callbacks = ["callbacks=protocol", f"+callbacks.embeddings={embeddings}"]
    train(tmp_path / "run", *COMMON, *STUDIES["classifier"], *callbacks, "trainer.max_steps=5")
    assert len(set(compilations[2:])) == 1, "a later step was compiled again"
    with (tmp_path / "run/protocol.csv").open(newline="") as file:
        rows = {(row["split"], row["epoch"], row["metric"]) for row in csv.DictReader(file)}
    assert {("all", "-1", "loss"), ("validation", "0", "loss"), ("train", "0", "loss")} <= rows
    assert (tmp_path / "run/embeddings_before.npz").is_file()


def test_the_test_split_is_evaluated_on_the_cpu(tmp_path):
    study = [*COMMON, *STUDIES["ESM2"], "trainer.max_steps=2", "test=true", "baselines=false"]
    train(tmp_path / "run", *study)
    metrics = json.loads((tmp_path / "run/result.json").read_text())["metrics"]
    assert math.isfinite(metrics["test/loss"])
    assert main(["evaluate", f"ckpt={tmp_path / 'run'}", "trainer=xla_cpu", f"hydra.run.dir={tmp_path / 'e'}"]) == 1
