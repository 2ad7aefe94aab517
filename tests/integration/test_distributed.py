"""Two processes that share every step give the result of one process that accumulates two batches."""

from __future__ import annotations

import csv
import pickle
import subprocess
import sys

import pytest
import torch
from two_processes import Pair

from tests.test_checkpoint_index import Evil
from trimer.checkpoint import checkpoint_path, read
from trimer.checkpoint_shards import is_sharded
from trimer.cli.main import main
from trimer.simulate.simulated_molecules import simulated_molecules

SMALL = [
    "data.tokens_per_batch=600",
    "trainer.max_steps=4",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "baselines=false",
]
MOLECULES = [
    "model=bart_nano",
    "model.dropout=0.0",
    "data.source.molecules=60",
    "task.generator.num_samples=2",
    "task.generator.max_length=8",
]
PROTEINS = [
    "data=simulated_proteins",
    "data.source.proteins=120",
    "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}",
    "model=esm2_nano",
    "task=masked_lm",
    "data.tokens_per_batch=900",
]
ONE = ["trainer=cpu", "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=8"]
TWO = ["trainer.devices=2", "trainer.val_check_interval=4"]
SHARDED = "trimer.accelerators.sharded_checkpoints.ShardedModelStrategy"
FSDP2 = f"trainer.strategy={{_target_: {SHARDED}, data_parallel_size: null}}"
# Both processes run the graphs that torch.compile captures, without a C++ compiler.
CAPTURED = "import functools, torch; torch.compile = functools.partial(torch.compile, backend='aot_eager')"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two processes, rank 0 and rank 1 of all trainings of this module."""
    pair = Pair(tmp_path_factory.mktemp("pair"), CAPTURED)
    yield pair
    pair.close()


def train(run, folder, *overrides: str) -> dict[str, float]:
    """The final metrics of a training in `folder`, by `pair` or by `one`."""
    last = {name: value for row in rows_of(run, folder, *overrides) for name, value in row.items() if value}
    return {name: float(value) for name, value in last.items()}


def rows_of(run, folder, *overrides: str) -> list[dict[str, str]]:
    """The rows of metrics.csv of a training in `folder`."""
    codes = run("train", *SMALL, f"hydra.run.dir={folder}/run", f"paths.cache={folder}/cache", *overrides)
    assert set(codes) == {0}, run.text() if isinstance(run, Pair) else ""
    with open(folder / "run" / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def one(*words: str) -> list[int]:
    """A command in this process."""
    return [main(words)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The result of one process for each optimizer."""
    folder = tmp_path_factory.mktemp("alone")
    return {o: train(one, folder / o, *MOLECULES, f"optimizer={o}", *ONE) for o in ("adamw", "muon")}


# Muon orthogonalizes updates by matrix products that shards sum in another order, which amplifies rounding errors.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "optimizer", "tolerance"), [("ddp", "muon", 2e-4), ("fsdp2", "adamw", 2e-5), ("fsdp2", "muon", 2e-4)]
)
def test_two_processes_train_the_same_weights_as_one(tmp_path, alone, pair, strategy, optimizer, tolerance):
    two = train(pair, tmp_path / "two", *MOLECULES, f"optimizer={optimizer}", f"trainer={strategy}", *TWO)
    assert two["val/loss"] == pytest.approx(alone[optimizer]["val/loss"], abs=tolerance)
    assert two["test/validity"] == alone[optimizer]["test/validity"]


@pytest.mark.slow
def test_two_processes_train_masked_modelling_like_one(tmp_path, pair):
    """Losses are summed over the masked positions of all processes and divided by their total number."""
    alone = train(one, tmp_path / "alone", *PROTEINS, *ONE)
    for strategy in ("ddp", "fsdp2"):
        two = train(pair, tmp_path / strategy, *PROTEINS, f"trainer={strategy}", *TWO)
        for name in ("train/loss_epoch", "val/loss", "test/loss", "test/hidden_perplexity"):
            assert two[name] == pytest.approx(alone[name], abs=1e-4), (strategy, name)


@pytest.mark.slow
@pytest.mark.parametrize("fp8", [False, True])
def test_two_processes_with_compiled_blocks_train_like_one(tmp_path, pair, fp8):
    """Whole blocks for batches of one shape, with copied and with sharded weights."""
    static = [*PROTEINS, "trainer=gpu_static", "task.compile=true", "test=false"]
    if fp8:
        pytest.importorskip("torchao")
        static += ["callbacks=float8", "callbacks.float8.emulate=true"]
    alone = train(one, tmp_path / "alone", *static, *ONE[1:])
    for name, strategy in (("ddp", "trainer.strategy=auto"), ("fsdp2", FSDP2)):
        two = train(pair, tmp_path / name, *static, *TWO, strategy)
        for metric in ("train/loss_epoch", "val/loss"):
            assert two[metric] == pytest.approx(alone[metric], abs=1e-4), (name, metric)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("callbacks=ema", "callbacks=ema averages whole weights, which trainer=fsdp2 divides among the devices: use"),
        (
            "trainer.strategy.data_parallel_size=3",
            "data_parallel_size=3 times tensor_parallel_size=1 must be 2, the number of",
        ),
    ],
)
def test_what_sharded_weights_do_not_allow_is_one_sentence(tmp_path, pair, settings, message):
    words = [*SMALL, *PROTEINS, *TWO, "trainer=fsdp2", settings]
    assert pair("train", *words, f"hydra.run.dir={tmp_path}/run", f"paths.cache={tmp_path}/cache") == [1, 1]
    assert message in pair.text()


@pytest.mark.slow
def test_two_processes_train_a_classification_like_one(tmp_path, pair):
    """Class weights and validation predictions are combined over all processes."""
    rows = [f"{smiles},{'ab'[smiles.count('O') > 1]}" for smiles in simulated_molecules(80, seed=3)]
    (tmp_path / "my.csv").write_text("\n".join(["smiles,y", *rows]) + "\n")
    words = [
        "data=labelled_molecules", f"data.source.paths={tmp_path / 'my.csv'}", "data.source.labels=y",
        "data.target=single", "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}", "data.tokens_per_batch=200",
        "model=smiles_nano", "task=classification", "task.class_weights=balanced", "task.head.pooling=attention",
        "task.head.dropout=0",
    ]  # fmt: skip
    alone = train(one, tmp_path / "alone", *words, *ONE)
    for strategy in ("ddp", "fsdp2"):
        two = train(pair, tmp_path / strategy, *words, f"trainer={strategy}", *TWO)
        for name in ("val/loss", "val/auroc", "test/cross_entropy"):
            assert two[name] == pytest.approx(alone[name], abs=1e-4), (strategy, name)


@pytest.mark.slow
def test_two_processes_write_the_same_protocol_as_one(tmp_path, pair):
    """Training in epochs gives the same rates, training losses, validations, and metrics before and after."""
    rows = [f"{smiles},{len(smiles)}" for smiles in simulated_molecules(80, seed=3)]
    (tmp_path / "my.csv").write_text("\n".join(["smiles,length", *rows]) + "\n")
    words = [
        "data=labelled_molecules", f"data.source.paths={tmp_path / 'my.csv'}", "data.source.labels=length",
        "data.target=regression", "data.tokens_per_batch=300", "model=smiles_nano", "model.d_model=32",
        "task=regression", "task.head.dropout=0", "scheduler=warmup_plateau", "scheduler.interval=epoch",
        "scheduler.warmup=2", "callbacks=protocol_early_stopping", "optimizer.lr=0.01", "trainer.max_epochs=3",
        "trainer.max_steps=-1", "trainer.val_check_interval=null", "trainer.check_val_every_n_epoch=1",
    ]  # fmt: skip
    train(one, tmp_path / "one", *words, "trainer=cpu", "trainer.accumulate_grad_batches=2")
    train(pair, tmp_path / "two", *words, "trainer=ddp", "trainer.devices=2")
    tables = []
    for name in ("one", "two"):
        with open(tmp_path / name / "run" / "protocol.csv", newline="") as file:
            tables.append({tuple(row.values())[:4]: float(row["value"]) for row in csv.DictReader(file)})
    assert len(tables[0]) == 11 + 3 * (11 + 2) + 11
    assert tables[1] == pytest.approx(tables[0], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 2], ids=["without accumulation", "with accumulation"])
def test_two_processes_log_the_same_losses_and_tokens_as_one(tmp_path, pair, batches):
    """The losses agree at every step, with a checkpoint written within the epoch."""
    words = [*PROTEINS, "trainer.log_every_n_steps=1", "trainer.max_steps=5", "callbacks.last.every_n_train_steps=1"]
    words += ["test=false", "trainer.limit_val_batches=0"]
    of_one = [*words, "trainer=cpu", f"trainer.accumulate_grad_batches={2 * batches}"]
    of_two = [*words, "trainer=ddp", "trainer.devices=2", f"trainer.accumulate_grad_batches={batches}"]
    tables = []
    for run, name, some in ((one, "one", of_one), (pair, "two", of_two)):
        rows = rows_of(run, tmp_path / name, *some)
        tables.append(
            {
                (row["epoch"], metric, number): float(row[metric])
                for number, row in enumerate(rows)
                for metric in ("train/loss", "train/loss_epoch", "real_tokens")
                if row.get(metric)
            }
        )
    names = {name for _, name, _ in tables[0]}
    assert names == {"train/loss", "train/loss_epoch", "real_tokens"}
    assert len([key for key in tables[0] if key[1] == "train/loss"]) == 5
    assert tables[1] == pytest.approx(tables[0], rel=1e-5)


@pytest.mark.slow
def test_sharded_checkpoints_are_written_in_the_background_and_resumed_exactly(tmp_path, pair):
    settings = (*MOLECULES, "optimizer=muon", "trainer=fsdp2_async", "test=false", *TWO)
    whole = train(pair, tmp_path / "whole", *settings, "callbacks.last.every_n_train_steps=1")
    stopped = tmp_path / "stopped"
    train(pair, stopped, *settings, "trainer.max_steps=2", "scheduler.total_steps=4")
    last = stopped / "run" / "checkpoints" / "last.ckpt"
    assert is_sharded(last)
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.ckpt"]
    done = subprocess.run(  # Lightning starts the second process
        [sys.executable, "-m", "trimer", "train", f"resume={stopped / 'run'}", "trainer.max_steps=4"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = (
        checkpoint_path(tmp_path / name / "run" / "checkpoints" / "last.ckpt") for name in ("whole", "stopped")
    )
    weights, others = (read(path)["state_dict"] for path in (first, second))
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    best = torch.load(tmp_path / "whole" / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(weights[name], best[name]) for name in weights)
    assert whole["val/loss"] > 0
    (second / ".metadata").write_bytes(pickle.dumps(Evil(tmp_path / "created")))
    assert pair("train", f"resume={stopped / 'run'}", "trainer.max_steps=5") == [1, 1]
    assert "last.ckpt/.metadata is rejected" in pair.text()
    assert not (tmp_path / "created").exists()
