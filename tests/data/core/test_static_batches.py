"""Static batches: nearly full, with the loss and gradients of the flat batch in every task."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core.batches import LabelledBatch, MaskedBatch
from trimer.data.core.packing import assign_rows, pack
from trimer.data.core.sampler import BatchKey
from trimer.data.core.static_batches import StaticBatches, in_rows, masked_positions
from trimer.data.core.static_plan import Shape, StaticPlan
from trimer.errors import ConfigError, InputError
from trimer.flat import Flat, flat_bonds, flat_inner
from trimer.models.heads import POOLING, Head
from trimer.tasks.classification import Classification
from trimer.tokenizers.protein import ProteinTokenizer

SPLIT = "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"
PEPTIDES = ["data=simulated_peptides", "data.source.count=300", "model=peptides_nano", "data.tokens_per_batch=1024"]
TASKS = {
    "seq2seq": [
        "data=simulated_spectra", "data.source.molecules=120", "model=bart_nano", "task=seq2seq",
        "task.label_smoothing=0.1", "data.tokens_per_batch=2048",
        "+data.noise={_target_: trimer.data.core.noise.Corruption, masking: 0.3, deletion: 0.3, infilling: 0.4, "
        "ratio: 0.3}",
    ],
    "masked_lm": ["data=simulated_proteins", "data.source.proteins=120", SPLIT, "model=esm2_nano", "task=masked_lm"],
    "masked_lm of a RoBERTa": [
        "data=simulated_proteins", "data.source.proteins=120", SPLIT, "model=roberta_nano", "task=masked_lm",
    ],
    "classification": [*PEPTIDES, "data.source.what=charge", "data.target=single", "task=classification"],
    "several labels": [*PEPTIDES, "data.source.what=charges", "data.target=multi", "task=classification"],
    "regression": [*PEPTIDES, "task=regression"],
    "regression by attention": [*PEPTIDES, "model.body=transformer", "task=regression"],
    "fragments": [
        "data=simulated_fragments", "data.source.count=200", "model=peptides_fragments", "task=fragments",
        "data.tokens_per_batch=1024",
    ],
}  # fmt: skip


def static_trainer(row_length: int | None = None) -> SimpleNamespace:
    """The attributes of a `StaticTrainer` that data modules use; the real one needs a device."""
    device = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(
        row_length=row_length, world_size=1, global_rank=0, accumulate_grad_batches=1, limit_train_batches=1.0,
        limit_val_batches=1.0, testing=False, predicting=False, strategy=device,
    )  # fmt: skip


def made(overrides: list[str], cache) -> tuple:
    """Task and data of a config."""
    cfg = compose("train", [*overrides, f"paths.cache={cache}"])
    torch.manual_seed(0)
    data = build(cfg.data)
    net = build(cfg.model, vocab_size=len(data.tokenizer))
    task = build(cfg.task, net=net, tokenizer=data.tokenizer, optimizer=None, scheduler=None)
    task.contract = {}
    data.setup()
    task.configure_for(data)
    data.trainer = static_trainer()
    return task, data


def loss_and_gradients(task, batch) -> tuple[float, float, torch.Tensor]:
    """Mean loss, its denominator, and all gradients."""
    task.zero_grad()
    task._step_count = None
    total = task.training_step(batch, 0)
    total.backward()
    count = task._step_count
    gradients = torch.cat([p.grad.flatten() for p in task.net.parameters() if p.grad is not None])
    return float(total.detach() / count), float(count), gradients / count


@pytest.mark.parametrize("name", TASKS)
def test_loss_and_gradients_are_those_of_the_flat_batch(name, tmp_path):
    """With the noise of the data; dropout is off, since it draws other positions in another layout."""
    task, data = made(TASKS[name], tmp_path)
    task.net.eval()
    loader = data.train_dataloader()
    shapes = set()
    for key in list(loader.sampler.plan.epoch(3))[:2]:
        batch, flat = loader.dataset[key], loader.dataset.dataset[key]
        assert len(batch) == len(flat) and batch.real_tokens == flat.real_tokens
        loss, count, gradients = loss_and_gradients(task, batch)
        expected, expected_count, expected_gradients = loss_and_gradients(task, flat)
        assert count == expected_count > 0
        assert loss == pytest.approx(expected, rel=1e-5)
        scale = expected_gradients.abs().max()
        assert torch.allclose(gradients, expected_gradients, atol=float(2e-5 * scale), rtol=1e-3)
        shapes.add(str({n: v.shape for n, v in _tensors(batch).items() if n != "rows"}))
    assert len(shapes) == 1


def _tensors(batch) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, value in vars(batch).items():
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif isinstance(value, Flat):
            tensors |= {f"{name}.{inner}": tensor for inner, tensor in _tensors(value).items()}
    return tensors


@pytest.mark.parametrize("name", ["seq2seq", "regression by attention", "masked_lm of a RoBERTa"])
def test_dropout_changes_the_loss_as_in_flat_batches(name, tmp_path):
    """Its mean over many draws, and its spread."""
    dropout = "task.head.dropout=0.3" if name.startswith("regression") else "model.dropout=0.3"
    task, data = made([*TASKS[name], dropout], tmp_path)
    task.net.train()
    loader = data.train_dataloader()
    key = next(loader.sampler.plan.epoch(0))
    draws = []
    with torch.no_grad():
        for batch in (loader.dataset[key], loader.dataset.dataset[key]):
            draws.append(torch.stack([task.training_step(batch, 0) for _ in range(48)]).double())
    static, flat = draws
    assert static.std() > 0
    error = ((static.var() + flat.var()) / 48).sqrt()
    assert abs(static.mean() - flat.mean()) < 4 * error
    assert 0.5 < static.std() / flat.std() < 2


@pytest.mark.parametrize("name", ["masked_lm", "classification", "several labels", "regression", "fragments"])
def test_validation_metrics_are_those_of_flat_batches(name, tmp_path):
    task, data = made(TASKS[name], tmp_path)
    task.net.eval()
    loader = data.val_dataloader()
    keys = list(loader.sampler.plan.epoch(0))
    metrics = []
    for dataset in (loader.dataset, loader.dataset.dataset):
        with torch.no_grad():
            for key in keys:
                task.validation_step(dataset[key], 0)
        metrics.append(task.validation_metrics())
    assert metrics[0].keys() == metrics[1].keys()
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4, nan_ok=True)


def test_residue_labels_give_the_loss_of_the_flat_batch():
    random = np.random.default_rng(0)
    sizes = [12, 3, 30, 7]
    flat = Flat.pack([np.r_[0, random.integers(4, 24, size - 2), 2] for size in sizes])
    labels = random.integers(0, 3, sum(sizes) - 2 * len(sizes))
    labels[4] = -100
    batch = LabelledBatch.of(flat, labels, np.arange(4))
    key = BatchKey(0, 0, np.arange(4), 0, np.array([1, 0, 0, 1]))

    class Residues(Dataset):
        by_residue = True

        def __getitem__(self, key):
            return batch

    static = StaticBatches(Residues(), Shape(2, (40,), 9))[key]
    from trimer.models.esm2 import Esm2

    torch.manual_seed(0)
    task = Classification(Esm2(d_model=32, layers=1, heads=2), ProteinTokenizer(), head={"pooling": "residue"})
    task.contract = {}
    task.configure_for(
        SimpleNamespace(target="residue", classes=["a", "b", "c"], training_labels=lambda: torch.tensor([0, 1, 2]))
    )
    task.net.eval()
    loss, count, gradients = loss_and_gradients(task, static)
    expected, expected_count, expected_gradients = loss_and_gradients(task, batch)
    assert count == expected_count == len(labels) - 1
    assert loss == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(gradients, expected_gradients, atol=1e-6)


@pytest.mark.parametrize("pooling", [kind for kind in POOLING if kind != "residue"])
def test_pooled_states_are_those_of_the_flat_batch(pooling):
    flat = Flat.pack([np.arange(size) for size in (5, 2, 9, 3)])
    static = in_rows(flat, 2, 12, 7, np.array([0, 1, 1, 0]))
    torch.manual_seed(0)
    head = Head(8, 2, pooling).eval()
    states = torch.randn(19, 8)
    hidden = torch.randn(24, 8)
    hidden[static.order] = states
    out = head(hidden, static)
    assert torch.allclose(out[:4], head(states, flat), atol=1e-6)
    assert out.isfinite().all()


# ---------------------------------------------------------------- layout


def test_in_rows_puts_sequences_into_their_rows():
    flat = Flat.pack([[5, 6], [7, 8, 9], [10]])
    static = in_rows(flat, 2, 4, 5, np.array([1, 0, 1]))
    assert static.tokens.tolist() == [7, 8, 9, 0, 5, 6, 10, 0]
    assert static.owners().tolist() == [1, 1, 1, 4, 0, 0, 2, 4]
    assert static.positions().tolist() == [0, 1, 2, 0, 0, 1, 0, 0]
    assert static.lengths.tolist() == [2, 3, 1, 1, 1]
    assert static.starts().tolist() == [4, 0, 6, 7, 7] and static.ends().tolist() == [5, 2, 6, 7, 7]
    assert static.sizes == (2, 3, 1) and len(static) == 3 and static.slots == 5
    assert [part.tolist() for part in static.unpack()] == [[5, 6], [7, 8, 9], [10]]
    assert static.layout.segments.shape == (2, 4)
    spread, count = static.with_gaps(2)
    assert spread.tolist() == [0, 1, 2, 5, 8, 9, 12, 15] and count == 8 + 7 * 2


def test_inner_tokens_and_bonds_without_a_device():
    flat = Flat.pack([np.arange(size) for size in (7, 4, 3, 12)])
    assert flat_inner(flat.sizes).tolist() == flat.inner().tolist()
    assert flat_bonds(flat.sizes).tolist() == flat.bonds().tolist()


# ---------------------------------------------------------------- plan


def protein_lengths(count: int = 3000) -> np.ndarray:
    return np.clip(np.random.default_rng(0).lognormal(5.6, 0.6, count), 30, 1024).astype(np.int64)


def pair_lengths(count: int = 3000) -> np.ndarray:
    random = np.random.default_rng(0)
    spectra = np.clip(random.normal(48, 10, count), 10, 70)
    molecules = np.clip(random.lognormal(3.4, 0.4, count), 8, 128)
    return np.stack([spectra, molecules], 1).astype(np.int64)


@pytest.mark.parametrize(("lengths", "tokens"), [(protein_lengths(), 32768), (pair_lengths(), 8192)])
def test_batches_are_at_least_95_percent_full(lengths, tokens):
    plan = StaticPlan(lengths, tokens)
    assert plan.filled >= 0.95
    assert plan.shape.tokens > 0.8 * tokens
    assert plan.shape.tokens <= tokens
    real = [lengths[key.rows].sum() / plan.shape.tokens for key in plan.epoch(0)]
    assert np.mean(real) == pytest.approx(plan.filled)


def test_an_epoch_has_every_sequence_once_and_in_its_row():
    lengths, rows = protein_lengths(500), np.arange(1000, 1500)
    plan = StaticPlan(lengths, 8192, rows=rows, seed=1, multiple=2)
    assert len(plan) % 2 == 0
    orders = []
    for epoch in (0, 1):
        keys = list(plan.epoch(epoch))
        assert len(keys) == len(plan)
        assert sorted(np.concatenate([key.rows for key in keys]).tolist()) == rows.tolist()
        for key in keys:
            used = np.bincount(key.row_of, weights=lengths[key.rows - 1000], minlength=plan.shape.rows)
            assert len(used) == plan.shape.rows and used.max() <= plan.shape.lengths[0]
            assert len(key.rows) < plan.shape.slots
        orders.append(np.concatenate([key.rows for key in keys]).tolist())
    assert orders[0] != orders[1]


@pytest.mark.parametrize("count", [40, 500, 3000])
@pytest.mark.parametrize("chips", [2, 8])
def test_every_chip_has_the_same_number_of_rows(count, chips):
    """Each as many as it would have alone, and few of them empty."""
    lengths = protein_lengths(count)
    alone, plan = StaticPlan(lengths, 4096), StaticPlan(lengths, 4096, chips=chips, multiple=2)
    assert plan.shape.rows % chips == 0 and plan.shape.rows // chips <= 4096 // plan.shape.lengths[0]
    assert plan.shape.lengths == alone.shape.lengths
    keys = list(plan.epoch(0))
    assert len(keys) == len(plan) and len(keys) % 2 == 0
    assert sorted(np.concatenate([key.rows for key in keys]).tolist()) == list(range(count))
    assert plan.filled > (0.93 if count == 3000 else 0.2)


def test_a_plan_can_start_at_any_batch():
    plan = StaticPlan(protein_lengths(500), 8192, seed=1)
    whole = [(key.index, key.step, key.rows.tolist(), key.row_of.tolist()) for key in plan.epoch(2)]
    later = [(k.index, k.step, k.rows.tolist(), k.row_of.tolist()) for k in StaticPlan(
        protein_lengths(500), 8192, seed=1).epoch(2, first=3)]  # fmt: skip
    assert whole[3:] == later


def test_invalid_plans_raise():
    with pytest.raises(ConfigError, match=r"trainer\.row_length=100: .* set 120 or more"):
        StaticPlan(np.array([50, 120]), 1000, row_length=100)
    with pytest.raises(ConfigError, match="fewer than 8 batches"):
        StaticPlan(np.array([50, 120]), 1000, multiple=8)
    with pytest.raises(ConfigError, match="every record was dropped"):
        StaticPlan(np.zeros(0, np.int64), 1000)


def test_no_row_exceeds_its_capacity():
    sizes = np.random.default_rng(0).integers(1, 100, (300, 2))
    capacity = np.array([150, 120])
    rows = pack(sizes, capacity, 6)
    used = np.stack([np.bincount(rows, weights=side) for side in sizes.T], 1)
    assert (used <= capacity).all() and np.bincount(rows).max() <= 6
    assert set(rows.tolist()) == set(range(rows.max() + 1))


def test_a_longer_sequence_moves_to_a_row_with_room():
    sizes, planned = np.array([[6], [5], [3]]), np.array([0, 0, 1])
    assert assign_rows(sizes, np.array([10]), 2, planned).tolist() == [0, 1, 1]
    assert assign_rows(sizes, np.array([11]), 2, planned).tolist() == [0, 0, 1]
    assert assign_rows(sizes, np.array([7]), 2, planned) is None


def test_too_many_masked_tokens_raise():
    class Masked(Dataset):
        masked_share = 0.01

        def __getitem__(self, key):
            positions = np.arange(1, 60)
            return MaskedBatch.pack(np.full(64, 5), np.array([64]), positions, positions, np.array([0]))

    assert masked_positions(32768, 0.15) < 1.11 * 0.15 * 32768
    with pytest.raises(InputError, match="59 masked tokens, more than the 8 that fit"):
        StaticBatches(Masked(), Shape(1, (64,), 2))[BatchKey(0, 0, np.array([0]), 0, np.array([0]))]


def test_clusters_raise(tmp_path):
    _, data = made(TASKS["masked_lm"], tmp_path)
    from trimer.data.core.loaders import training_loader

    with pytest.raises(ConfigError, match="data with clusters"):
        training_loader(
            Dataset(), np.array([5, 6]), np.arange(2), 100, trainer=data.trainer, seed=0, num_workers=0,
            clusters=np.array([0, 1]),
        )  # fmt: skip


def test_the_recurrent_body_raises(tmp_path):
    task, data = made([*TASKS["regression"], "model.body=recurrent"], tmp_path)
    loader = data.train_dataloader()
    with pytest.raises(ConfigError, match=r"model\.body=recurrent does not run on batches of one shape"):
        task.training_step(loader.dataset[next(loader.sampler.plan.epoch(0))], 0)
