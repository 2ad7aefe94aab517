"""Fine-tuning on every kind of label: learning, missing labels, losses, and steps independent of batches."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from trimer.data.core.batches import LabelledBatch
from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.metrics.label_metrics import regression
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.roberta import Roberta
from trimer.optim import Muon, adamw, warmup_linear
from trimer.tasks.classification import Classification, balanced_weights
from trimer.tasks.regression import Regression
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

OUTPUTS = {"single": 3, "multi": 2, "residue": 3, "regression": 2}
TARGETS = list(OUTPUTS)


def rows(target: str, count: int = 8, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sequences of very different lengths that begin with what their labels are."""
    rng = np.random.default_rng(seed)
    examples = []
    for number in range(count):
        length = int(rng.integers(2, 40))
        tokens = np.r_[0, rng.integers(4, 24, length), 2]
        tokens[1] = 4 + number % 3
        label = {
            "single": np.array([number % 3]),
            "multi": np.array([[number % 2, number % 3 == 0]], np.float32),
            "regression": np.array([[100 + 5 * (number % 3), -number % 3]], np.float32),
            "residue": (tokens[1:-1] - 4) % 3,
        }[target]
        examples.append((tokens, label))
    return examples


def packed(examples: list, first: int = 0) -> LabelledBatch:
    labels = np.concatenate([label for _, label in examples])
    return LabelledBatch.of(
        Flat.pack([tokens for tokens, _ in examples]), labels, np.arange(first, first + len(examples))
    )


def data_of(target: str, examples: list) -> SimpleNamespace:
    labels = torch.from_numpy(np.concatenate([label for _, label in examples]))
    names = [f"class {number}" for number in range(OUTPUTS[target])]
    return SimpleNamespace(
        target=target, classes=names, training_labels=lambda: labels, batch=LabelledBatch, max_length=100,
        tokenizer=ProteinTokenizer(),
    )  # fmt: skip


def make(target: str, examples: list, lr: float = 3e-3, optimizer=None, net=None, **settings):
    torch.manual_seed(0)
    kind = Regression if target == "regression" else Classification
    net = net or Esm2(d_model=32, layers=2, heads=2)
    head = {"pooling": "residue" if target == "residue" else "mean", "dropout": 0.0, **settings.pop("head", {})}
    optimizer = optimizer or partial(adamw, lr=lr, weight_decay=0.0, fused=False)
    task = kind(net, ProteinTokenizer(), optimizer, head=head, **settings)
    task.contract = {}
    data = data_of(target, examples)
    task.check_parts(data)
    task.configure_for(data)
    return task


def fit(module, batches: list, steps: int, **settings) -> L.Trainer:
    quiet = {name: False for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger")}
    trainer = L.Trainer(
        accelerator="cpu", devices=1, max_steps=steps, log_every_n_steps=1, use_distributed_sampler=False,
        **quiet, **settings,
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return trainer


def gradients(task, batches: list[LabelledBatch]) -> torch.Tensor:
    """Those of one step, cut into batches, as they are when the optimizer takes them."""
    task._step_count = None
    task.zero_grad()
    task.trainer = SimpleNamespace(world_size=1, accumulate_grad_batches=len(batches))
    for number, batch in enumerate(batches):
        (task.training_step(batch, number) / len(batches)).backward()  # as Lightning does
    task.on_before_optimizer_step(None)
    return torch.cat([p.grad.flatten() for p in task.net.parameters() if p.grad is not None])


def batches_of(examples: list, sizes: list[int]) -> list[LabelledBatch]:
    ends = np.cumsum(sizes).tolist()
    return [packed(examples[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize(
    ("target", "head"),
    [(target, {}) for target in TARGETS] + [("single", {"pooling": "attention"}), ("multi", {"pooling": "cls"})],
)
def test_overfits_a_small_batch(target, head):
    examples = rows(target)
    task = make(target, examples, head=head)
    fit(task, [packed(examples)] * 120, 120)
    batch = packed(examples)
    predictions = task.net.eval().predictions(task.net(batch.sequence)).detach()
    if target == "regression":
        assert (predictions - batch.labels).abs().max() < 0.5  # of 100 to 110, in the units of the data
    elif target == "multi":
        assert torch.equal(predictions > 0.5, batch.labels > 0.5)
    else:
        assert (predictions.argmax(-1) == batch.labels).all()
        assert torch.allclose(predictions.sum(-1), torch.ones(len(predictions)))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("sizes", [[3, 5], [1, 4, 1, 2], [7, 1]])
def test_a_step_does_not_depend_on_its_division_into_batches(target, sizes):
    examples = rows(target)
    settings = {} if target == "regression" else {"class_weights": "balanced", "focal": 1.5, "label_smoothing": 0.1}
    task = make(target, examples, **settings)
    undivided = gradients(task, batches_of(examples, [8]))
    divided = gradients(task, batches_of(examples, sizes))
    assert (undivided - divided).abs().max() < 1e-6 * max(1.0, float(undivided.abs().max()))
    assert undivided.abs().max() > 1e-3


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_step_in_lightning_does_not_depend_on_its_division_into_batches(size):
    examples = rows("single", 16)
    undivided, divided = (make("single", examples, 1e-3, class_weights="balanced") for _ in range(2))
    fit(undivided, batches_of(examples, [8, 8]), 2)
    fit(divided, batches_of(examples, [size] * (16 // size)), 2, accumulate_grad_batches=8 // size)
    weights = [torch.cat([p.detach().flatten() for p in task.net.parameters()]) for task in (undivided, divided)]
    assert (weights[0] - weights[1]).abs().max() < 5e-6


def test_weights_that_sum_to_less_than_one_give_a_mean():
    """A frequent class weighs less than 1: a step of one row of it is as long as one of many."""
    examples = [(tokens, np.array([0])) for tokens, _ in rows("single", 9)] + [(np.r_[0, 9, 2], np.array([1]))]
    task, plain = make("single", examples, class_weights="balanced"), make("single", examples)
    assert float(task.weights[0]) < 1
    assert torch.allclose(
        gradients(task, batches_of(examples, [1])), gradients(plain, batches_of(examples, [1])), atol=1e-6
    )


# ---------------------------------------------------------------- missing labels


@pytest.mark.parametrize("settings", [{}, {"class_weights": "balanced", "focal": 0.5, "label_smoothing": 0.1}])
@pytest.mark.parametrize("target", TARGETS)
def test_missing_labels_do_not_enter_the_loss(target, settings):
    settings = {} if target == "regression" else settings
    examples = rows(target)
    task = make(target, examples, **settings)
    raw = torch.randn(len(packed(examples).labels), OUTPUTS[target])
    labels = packed(examples).labels.clone()
    labelled = torch.ones(labels.shape, dtype=torch.bool)
    labelled[2] = False
    if labels.ndim == 2:
        labelled[3, 1] = False
    labels[~labelled] = float("nan") if labels.is_floating_point() else -100
    outputs = raw.clone().requires_grad_()
    loss, count = task.loss(outputs, labels)
    loss.backward()
    other = torch.where(labelled if labels.ndim == 2 else labelled[:, None], raw, 1e4 * torch.randn_like(raw))
    same_loss, same_count = task.loss(other, labels)
    assert loss.isfinite() and torch.allclose(loss, same_loss) and torch.equal(count, same_count)
    assert outputs.grad.isfinite().all()
    missing = ~labelled if labels.ndim == 2 else ~labelled[:, None].expand_as(raw)
    assert (outputs.grad[missing] == 0).all() and (outputs.grad[~missing] != 0).all()


@pytest.mark.parametrize("target", TARGETS)
def test_a_batch_without_labels_has_a_loss_of_zero(target):
    examples = rows(target)
    task = make(target, examples)
    unlabelled = packed(examples)
    unlabelled.labels[:] = float("nan") if unlabelled.labels.is_floating_point() else -100
    assert (gradients(task, [unlabelled]) == 0).all()
    with_unlabelled = gradients(task, [unlabelled, packed(examples)])
    assert torch.allclose(with_unlabelled, gradients(task, [packed(examples)]), atol=1e-6)


# ---------------------------------------------------------------- the loss


def test_balanced_weights_equal_values_computed_by_hand():
    labels = torch.tensor([0, 0, 0, 2, -100, 2])  # class 1 is in no row
    assert balanced_weights(labels, 3).tolist() == pytest.approx([5 / 6, 1, 5 / 4])
    yes = torch.tensor([[1.0, 0, 1], [0, 0, 1], [0, np.nan, 1], [np.nan, 0, np.nan]])
    assert balanced_weights(yes, 3).tolist() == [2.0, 1.0, 1.0]  # of the others, all are alike
    assert balanced_weights(torch.full((2,), -100), 2).tolist() == [1.0, 1.0]


def test_class_weights_come_from_the_training_split():
    examples = rows("single", 7)
    task = make("single", examples, class_weights="balanced")
    assert task.weights.tolist() == pytest.approx([7 / 9, 7 / 6, 7 / 6])
    assert make("single", examples).weights is None
    raw, labels = torch.randn(3, 3), torch.tensor([0, 1, 2])
    loss, count = task.loss(raw, labels)
    assert float(loss / count) == pytest.approx(float(F.cross_entropy(raw, labels, task.weights)))
    examples = rows("multi", 6)
    task = make("multi", examples, class_weights="balanced")
    raw, labels = torch.randn(6, 2), packed(examples).labels
    loss, count = task.loss(raw, labels)
    every = F.binary_cross_entropy_with_logits(raw, labels, reduction="sum", pos_weight=task.weights)
    assert float(loss) == pytest.approx(float(every), rel=1e-6)
    assert float(count) == pytest.approx(float(torch.where(labels > 0, task.weights, 1.0).sum()))


@pytest.mark.parametrize("target", ["single", "multi", "residue"])
def test_focal_loss_reduces_the_loss_of_confident_predictions(target):
    examples = rows(target)
    labels = packed(examples).labels
    raw = torch.randn(len(labels), OUTPUTS[target])
    plain, none, focus = (make(target, examples, **words) for words in ({}, {"focal": 0.0}, {"focal": 2.0}))
    assert torch.equal(plain.loss(raw, labels)[0], none.loss(raw, labels)[0])
    if target == "multi":
        p = torch.sigmoid(torch.where(labels > 0, raw, -raw))
    else:
        p = torch.softmax(raw, -1).gather(1, labels[:, None]).squeeze(1)
    assert torch.allclose(focus.loss(raw, labels)[0], ((1 - p) ** 2 * -p.log()).sum(), rtol=1e-5)


@pytest.mark.parametrize("focal", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("target", ["single", "multi"])
def test_confident_predictions_have_finite_gradients(target, focal):
    examples = rows(target)
    raw = torch.tensor([[200.0, -200.0, -200.0]] if target == "single" else [[200.0, -200.0]], requires_grad=True)
    labels = torch.tensor([0]) if target == "single" else torch.tensor([[1.0, 0.0]])
    make(target, examples, focal=focal).loss(raw, labels)[0].backward()
    assert raw.grad.isfinite().all()


def test_label_smoothing():
    examples = rows("single")
    raw, labels = torch.randn(8, 3), packed(examples).labels
    loss, count = make("single", examples, label_smoothing=0.3).loss(raw, labels)
    smoothed = F.one_hot(labels, 3) * 0.7 + 0.1
    assert float(loss / count) == pytest.approx(float(-(smoothed * raw.log_softmax(-1)).sum(-1).mean()), rel=1e-5)
    examples = rows("multi")
    raw, labels = torch.randn(8, 2), packed(examples).labels
    loss, count = make("multi", examples, label_smoothing=0.3).loss(raw, labels)
    smoothed = labels * 0.7 + 0.15
    assert float(loss / count) == pytest.approx(float(F.binary_cross_entropy_with_logits(raw, smoothed)), rel=1e-5)


@pytest.mark.parametrize(("error", "expected"), [("squared", 4.25), ("absolute", 2.5), ("huber", 1.5 + 0.125)])
def test_errors_are_standardised_by_the_training_split(error, expected):
    examples = [(np.r_[0, 5, 2], np.array([[value]], np.float32)) for value in (8.0, 12.0, np.nan)]
    torch.manual_seed(0)
    task = Regression(Esm2(d_model=32, layers=1, heads=2), None, error=error, head={})
    task.contract = {}
    data = data_of("regression", examples)
    data.classes = ["y"]
    task.configure_for(data)
    assert (task.net.mean.tolist(), task.net.deviation.tolist()) == ([10.0], [2.0])
    raw = torch.tensor([[3.0], [-0.5], [7.0]])
    loss, count = task.loss(raw, torch.tensor([[12.0], [10.0], [np.nan]]))  # 1 and 0 of the raw predictions
    assert (float(loss), int(count)) == (pytest.approx(expected), 2)
    assert task.net.predictions(raw).flatten().tolist() == [16.0, 9.0, 24.0]


def test_constant_and_missing_numbers_have_a_deviation_of_one():
    examples = [(np.r_[0, 5, 2], np.array([[7.0, np.nan]], np.float32)) for _ in range(3)]
    task = make("regression", examples)
    assert (task.net.mean.tolist(), task.net.deviation.tolist()) == ([7.0, 0.0], [1.0, 1.0])


def test_validation_metrics_cover_the_whole_split_in_units_of_the_data():
    examples = rows("regression", 12)
    task, results = make("regression", examples), []
    for sizes in ([12], [1, 4, 7]):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = L.Trainer(accelerator="cpu", devices=1, use_distributed_sampler=False, **quiet)
        results.append(
            trainer.validate(task, DataLoader(batches_of(examples, sizes), batch_size=None), verbose=False)[0]
        )
    batch = packed(examples)
    raw = task.net(batch.sequence).detach()
    expected = regression(task.net.predictions(raw).numpy(), batch.labels.numpy(), bootstrap=0).defined
    for result in results:
        assert result["val/rmse"] == pytest.approx(expected["rmse"], rel=1e-5)
        smoothed = (batch.labels - task.net.mean) / task.net.deviation
        assert result["val/loss"] == pytest.approx(float(F.mse_loss(raw, smoothed)))


# ---------------------------------------------------------------- what moves, and how fast


def trainable(task) -> set[str]:
    return {name for name, weight in task.net.named_parameters() if weight.requires_grad}


def test_frozen_blocks_do_not_change():
    examples = rows("single")
    assert trainable(make("single", examples, freeze=-1)) == {"head.output.weight", "head.output.bias"}
    trained_names = trainable(make("single", examples, freeze=1))
    assert {name.split(".")[2] for name in trained_names if name.startswith("encoder.layers")} == {"1"}
    assert {
        "encoder.norm.weight",
        "head.output.weight",
    } <= trained_names and "encoder.tokens.weight" not in trained_names
    everything = make("single", examples)
    assert trainable(everything) == {name for name, _ in everything.net.named_parameters()}
    task = make("single", examples, freeze=-1)
    before = {name: value.clone() for name, value in task.net.state_dict().items()}
    fit(task, [packed(examples)] * 3, 3)
    changed = {name for name, value in task.net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.output.weight", "head.output.bias"}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_learning_rates_decrease_with_depth_and_follow_the_schedule(name):
    """Half of the rate for each block further from the head; of Muon, the parts that AdamW moves have AdamW's rate."""
    examples = rows("single")
    optimizer = {
        "adamw": partial(adamw, lr=0.8, fused=False),
        "muon": partial(Muon, lr=0.8, adamw_lr=0.08),
    }[name]
    task = make("single", examples, optimizer=optimizer, layer_decay=0.5)
    task.scheduler_factory = partial(warmup_linear, total_steps=10, warmup=4)
    configured = task.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    names = {id(weight): name for name, weight in task.net.named_parameters()}
    rates = {names[id(p)]: group["initial_lr"] for group in optimizer.param_groups for p in group["params"]}
    assert set(rates) == set(names.values())
    rest = 0.1 if name == "muon" else 1.0  # what is no matrix
    by_hand = {
        "head.output.weight": 0.8,
        "head.output.bias": 0.8 * rest,
        "encoder.norm.weight": 0.4 * rest,
        "encoder.layers.1.up.weight": 0.4,
        "encoder.layers.0.up.weight": 0.2,
        "encoder.layers.0.up.bias": 0.2 * rest,
        "encoder.tokens.weight": 0.1 * rest,
    }
    assert {key: rates[key] for key in by_hand} == pytest.approx(by_hand)
    if name == "adamw":
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.8 / 5)  # the head's, which is the one that is logged
    for _ in range(4):
        optimizer.step()
        schedule.step()
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(group["initial_lr"])


def test_layer_decay_works_for_roberta():
    examples = rows("single")
    net = Roberta(33, d_model=32, layers=2, heads=2, dropout=0.0)
    task = make("single", examples, net=net, layer_decay=0.5, freeze=1)
    names = {id(weight): name for name, weight in task.net.named_parameters()}
    groups = task.configure_optimizers().param_groups
    assert {names[id(p)].rpartition(".")[0] for group in groups for p in group["params"]} == {
        "head.output",
        *(f"encoder.layers.1.{part}" for part in
          ("query_key_value", "output", "attention_norm", "up", "down", "feed_forward_norm")),
    }  # fmt: skip
    assert {group["scale"] for group in groups} == {1.0, 0.5}


def test_the_encoder_of_a_bart_can_be_fine_tuned():
    examples = rows("single")
    net = Bart(33, d_model=32, encoder_layers=2, decoder_layers=2, encoder_heads=2, decoder_heads=2, dropout=0.0)
    task = make("single", examples, net=net, head={"pooling": "attention"})
    fit(task, [packed(examples)] * 120, 120)
    assert not any("decoder" in name for name in task.net.state_dict())
    batch = packed(examples)
    assert (task.net.eval()(batch.sequence).argmax(-1) == batch.labels).all()


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        ("single", {"head": {"pooling": "residue"}}, "head.pooling=residue and data.target=residue"),
        ("residue", {"head": {"pooling": "cls"}}, "head.pooling=residue and data.target=residue"),
        ("single", {"head": {"pooling": "sum"}}, "head.pooling=sum must be one of"),
        ("single", {"head": {"dropout": -1}}, "head.dropout=-1"),
        ("single", {"freeze": 3}, "freeze=3 must be -1"),
        ("single", {"freeze": -2}, "freeze=-2 must be -1"),
        ("single", {"layer_decay": 0}, "layer_decay=0 must be above 0"),
        ("single", {"class_weights": "even"}, "class_weights=even must be balanced"),
        ("single", {"label_smoothing": 1}, "label_smoothing=1"),
        ("single", {"focal": -1}, "focal=-1"),
        ("single", {"lora": {"rank": 2}, "freeze": 1}, "set task.freeze=0"),
        ("regression", {"error": "cubic"}, "error=cubic must be one of"),
    ],
)
def test_invalid_arguments_raise_errors(target, settings, message):
    with pytest.raises(ConfigError, match=message):
        make(target, rows(target), **settings)


def test_mismatched_task_data_and_model_raise_errors():
    examples = rows("single")
    with pytest.raises(ConfigError, match=r"learns regression labels, but data.target=single"):
        Regression(Esm2(d_model=32, layers=1, heads=2), None).check_parts(data_of("single", examples))
    with pytest.raises(ConfigError, match="cannot train model=Linear, which has no d_model and no hidden"):
        Classification(torch.nn.Linear(2, 2), None).check_parts(data_of("single", examples))
    with pytest.raises(ConfigError, match="max_length=100: this model reads at most 48 tokens"):
        net = Roberta(33, d_model=32, layers=1, heads=2, max_positions=50)
        Classification(net, None, head={}).check_parts(data_of("single", examples))
    data = data_of("single", examples)
    data.tokenizer = SmilesTokenizer()
    with pytest.raises(ConfigError, match=r"token_dropout=true needs 32 as id of the mask token.*token_dropout=false"):
        Classification(Esm2(d_model=32, layers=1, heads=2), None).check_parts(data)
    Classification(Esm2(d_model=32, layers=1, heads=2, token_dropout=False), None, head={}).check_parts(data)


def test_the_contract_holds_the_labels():
    task = make("multi", rows("multi"))
    assert task.contract["labels"] == {"target": "multi", "classes": ["class 0", "class 1"]}
    assert task.net(Flat.pack([np.r_[0, 5, 2]])).shape == (1, 2)
