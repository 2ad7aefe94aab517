"""A training step never waits for the device: no value of a tensor is read, and batches move without waiting.

On the `meta` device tensors have no values, so whatever would read one fails, as it would make a GPU wait.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.trainer.connectors.logger_connector import result
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from trimer.callbacks.throughput import Throughput
from trimer.data.core.batches import FragmentBatch, LabelledBatch, MaskedBatch, PairBatch
from trimer.data.core.static_batches import static
from trimer.data.core.static_plan import Shape
from trimer.data.labelled.sequence_kinds import Peptides, flat, model_inputs
from trimer.flat import Flat
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.heads import POOLING
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.optim import adamw
from trimer.peptides.conditions import condition_vectors
from trimer.tasks.classification import Classification
from trimer.tasks.fragments import FragmentIntensities
from trimer.tasks.masked_lm import MaskedLM
from trimer.tasks.regression import Regression
from trimer.tasks.seq2seq import Seq2Seq
from trimer.tasks.task import Task
from trimer.tokenizers.protein import ProteinTokenizer

LENGTHS = np.array([12, 3, 30, 7])
OPTIMIZER = partial(adamw, lr=1e-3, fused=True)


def tokens(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, 24, LENGTHS.sum())


def masked(seed: int = 0, shape: int = 32):
    positions = np.sort(np.random.default_rng(seed).choice(LENGTHS.sum(), 9, replace=False))
    batch = MaskedBatch.pack(tokens(seed), LENGTHS, positions, tokens(seed)[positions], np.arange(4))
    return MaskedLM(Esm2(d_model=shape, layers=2, heads=2), None, OPTIMIZER), batch


def pairs():
    texts = [np.r_[0, np.arange(5, 5 + length), 2] for length in LENGTHS]
    shape = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn": 64, "decoder_ffn": 64}
    net = Bart(64, encoder_heads=2, decoder_heads=2, dropout=0.1, **shape)
    return Seq2Seq(net, None, OPTIMIZER, label_smoothing=0.1), PairBatch.pack(texts, texts[::-1], np.arange(4))


def labelled(target: str, pooling: str, **settings):
    labels = {
        "single": np.array([0, 1, 2, -100]),
        "multi": np.array([[0, 1], [1, np.nan], [1, 1], [0, 0]], np.float32),
        "residue": np.arange(LENGTHS.sum() - 8) % 3,
        "regression": np.array([[1.0], [np.nan], [3.0], [4.0]], np.float32),
    }[target]
    batch = LabelledBatch.of(Flat.from_concatenated(tokens(), LENGTHS), labels, np.arange(4))
    kind = Regression if target == "regression" else Classification
    head = {"pooling": pooling, "dropout": 0.1, "dense": True}
    task = kind(Esm2(d_model=32, layers=2, heads=2), ProteinTokenizer(), OPTIMIZER, head=head, **settings)
    names = ["a", "b", "c"][: {"multi": 2, "regression": 1}.get(target, 3)]
    task.contract = {}
    task.configure_for(SimpleNamespace(target=target, classes=names, training_labels=lambda: torch.from_numpy(labels)))
    return task, batch


def fragments(body: str):
    kind = Peptides(ProteinTokenizer())
    peptide_table = kind.read(["PEPTIDEK", "AC[UNIMOD:4]DEM[UNIMOD:35]K", "GGK"])
    conditions = condition_vectors(np.full(3, 2), np.full(3, 28.0), ["QE"] * 3)
    peptides = flat([*model_inputs(kind, peptide_table, dict(enumerate(peptide_table.tokens))).values()], conditions)
    batch = FragmentBatch.of(peptides, np.random.default_rng(0).random((14, 3), np.float32), np.arange(3))
    net = PeptideEncoder(d_model=16, layers=2, body=body, conditions=True)
    task = FragmentIntensities(net, ProteinTokenizer(), OPTIMIZER)
    task.contract = {}
    task.configure_for(SimpleNamespace(target="fragments", classes=["b1", "y1", "y2"]))
    return task, batch


def in_one_shape(way):
    """The same with a batch of one shape."""
    task, batch = way()
    sides = 1 if isinstance(batch, MaskedBatch) else 2
    to = SimpleNamespace(shape=Shape(2, (40,) * sides, 9), masked=16)
    return task, static(batch, to, np.array([1, 0, 0, 1]))


WAYS = {
    "masked": masked,
    "pairs": pairs,
    "masked, one shape": partial(in_one_shape, masked),
    "pairs, one shape": partial(in_one_shape, pairs),
    **{f"single, {pooling}": partial(labelled, "single", pooling) for pooling in POOLING if pooling != "residue"},
    "single, weighted": partial(labelled, "single", "mean", class_weights="balanced", focal=2.0),
    "multi": partial(labelled, "multi", "mean", class_weights="balanced"),
    "residue": partial(labelled, "residue", "residue"),
    "regression": partial(labelled, "regression", "mean"),
    "fragments, convolution": partial(fragments, "convolution"),
    "fragments, transformer": partial(fragments, "transformer"),
}


class Waits(TorchDispatchMode):
    """What would make the host wait: values that are read, and copies from the CPU to the device that block."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        settings = kwargs or {}
        reads = function.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero)
        target = settings.get("device")
        moves = function.overloadpacket is torch.ops.aten._to_copy and target is not None
        blocks = moves and args[0].device.type == "cpu" != target.type and not settings.get("non_blocking")
        if reads or blocks:
            self.seen.append(str(function))
        return function(*args, **settings)


@pytest.fixture
def on_meta(monkeypatch):
    """Makes a task and its batch on the device without values; the tables that attention keeps are made already."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)  # both do not know the device
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    return made_on_meta


def made_on_meta(way: str):
    task, batch = WAYS[way]()
    task, device = task.to("meta"), torch.device("meta")
    task.training_step(task.transfer_batch_to_device(batch, device, 0), 0)
    return task, batch, device


@pytest.mark.parametrize("way", WAYS)
def test_a_training_step_reads_no_value_and_makes_no_blocking_copy(on_meta, way):
    task, batch, device = on_meta(way)
    with Waits() as waits:
        loss = task.training_step(task.transfer_batch_to_device(batch, device, 0), 0)
        loss.backward()
    assert loss.device == device and not waits.seen


@pytest.mark.parametrize("way", ["masked", "pairs", "regression", "fragments, convolution"])
def test_all_tensors_of_a_batch_are_copied_without_waiting(on_meta, way):
    task, batch, device = on_meta(way)
    with Waits() as waits:
        moved = task.transfer_batch_to_device(batch, device, 0)
    assert not waits.seen
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert tensors and all(tensor.device == device for tensor in tensors)
    with Waits() as waits:
        batch.to(device)
    assert len(waits.seen) > len(tensors)  # the sequence has tensors of its own: this is how Lightning would move it


def test_copies_to_the_cpu_wait():
    """A copy to the CPU that is not waited for may be read before it is there."""
    asked = {}
    task, _ = masked()
    batch = SimpleNamespace(to=lambda device, non_blocking: asked.update({device.type: non_blocking}))
    for name in ("cpu", "mps", "cuda"):
        task.transfer_batch_to_device(batch, torch.device(name), 0)
    assert asked == {"cpu": False, "mps": False, "cuda": True}


def test_the_trainer_reads_no_value_from_the_device(monkeypatch):
    """Lightning reads what a progress bar shows at every step: numbers lie in host memory."""
    logged: dict[str, type] = {}
    log = Task.log

    def note(self, name, value, **settings):
        logged[name] = type(value)
        log(self, name, value, **settings)

    monkeypatch.setattr(Task, "log", note)
    monkeypatch.setattr(result, "convert_tensors_to_scalars", lambda values: values)
    task, _ = masked()
    waits, before = Waits(), []
    begin = LambdaCallback(on_train_batch_start=lambda *_: before.append(len(waits.seen)))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"), False)
    trainer = L.Trainer(
        accelerator="cpu", max_steps=12, log_every_n_steps=4, gradient_clip_val=1.0, callbacks=[begin, Throughput(1.0)],
        **quiet,
    )  # fmt: skip
    with waits:
        trainer.fit(task, DataLoader([masked(seed)[1] for seed in range(20)], batch_size=None))
    assert len(before) == 12 and len(set(before)) == 1
    assert {"train/loss", "lr", "tokens_per_second", "mfu"} <= set(logged)
    assert all(issubclass(kind, float) for kind in logged.values()), logged


def test_numbers_are_logged_from_host_memory_and_tensors_from_their_device(monkeypatch):
    logged = {}
    monkeypatch.setattr(L.LightningModule, "log", lambda self, name, value, **_: logged.update({name: value}))
    task, _ = masked()
    task.to("meta").log_dict({"number": 0.5, "count": 2, "tensor": torch.ones((), device="meta")})
    devices = {name: value.device.type for name, value in logged.items()}
    assert devices == {"number": "cpu", "count": "cpu", "tensor": "meta"}
    assert logged["number"].dtype == logged["count"].dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("way", WAYS)
def test_a_step_on_a_gpu_never_synchronises(way):
    task, batch = WAYS[way]()
    task, device, batch = task.cuda(), torch.device("cuda"), batch.pin_memory()
    optimizer = task.configure_optimizers()

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = task.training_step(task.transfer_batch_to_device(batch, device, 0), 0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # makes the tables that are kept
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
