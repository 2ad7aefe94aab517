"""Memory of a training: the estimate, what recipes state, and automatic checkpointing."""

from __future__ import annotations

import re
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from trimer.building import build
from trimer.cli.configs import compose, shipped_folder
from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models import bart, esm2
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.memory import USABLE, training_bytes
from trimer.models.roberta import Roberta
from trimer.tasks.masked_lm import MaskedLM

FOLDER = shipped_folder()
STATED = re.compile(
    r"# Memory: training on ([\d,]+) tokens a batch needs about (\d+) GB .* (\d+) GB with checkpointing\."
)
RECIPES = sorted(path for path in FOLDER.rglob("*.yaml") if STATED.search(path.read_text()))


class Kept(torch.autograd.Function):
    """Attention as the variable-length kernel keeps it: queries, keys, values and its result."""

    @staticmethod
    def forward(ctx, q, k, v):
        out = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, out)
        return out


def kept_bytes(net: Esm2 | Bart, precision: str) -> tuple[int, int]:
    """Tokens of a batch, and bytes of all that autograd keeps for it, weights not counted."""
    flat = Flat.pack([[5, 6, 7, 8] * 100] * 5)
    weights = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    mixed = torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), mixed:
        sides = (flat, flat) if isinstance(net, Bart) else (flat,)
        net.train().hidden(*sides)
    return len(sides) * len(flat.tokens), sum(size for size, _ in kept.values())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "32-true"])
@pytest.mark.parametrize("ffn", [None, 256])
def test_estimate_equals_the_memory_that_autograd_keeps(monkeypatch, precision, ffn):
    monkeypatch.setattr(esm2, "attention", lambda q, k, v, *_: Kept.apply(q, k, v))
    net = Esm2(d_model=256, layers=8, heads=4, ffn=ffn)
    net = net.bfloat16() if precision == "bf16-true" else net
    tokens, kept = kept_bytes(net, precision)
    state = 4 * sum(parameter.numel() * parameter.element_size() for parameter in net.parameters())
    assert training_bytes(net, tokens, precision) - state == pytest.approx(kept, rel=0.05)


def small_bart(precision: str, **settings) -> Bart:
    net = Bart(
        50, 256, encoder_layers=8, decoder_layers=6, encoder_heads=4, decoder_heads=4, encoder_ffn=512, **settings
    )
    return net.bfloat16() if precision == "bf16-true" else net


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "32-true"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_estimate_of_bart_equals_the_memory_that_autograd_keeps(monkeypatch, precision, dropout):
    monkeypatch.setattr(bart, "attention", lambda q, k, v, *_: Kept.apply(q, k, v))
    net = small_bart(precision, dropout=dropout)
    tokens, kept = kept_bytes(net, precision)
    state = 4 * sum(parameter.numel() * parameter.element_size() for parameter in net.parameters())
    assert training_bytes(net, tokens, precision) - state == pytest.approx(kept, rel=0.05)


def test_checkpointing_of_bart_keeps_less_and_has_the_same_gradients():
    flat = Flat.pack([[5, 6, 7, 8] * 20] * 5)
    gradients, kept = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = small_bart("32-true", checkpointing=checkpointing).train()
        tokens, size = kept_bytes(net, "32-true")
        torch.manual_seed(1)
        net(flat, flat).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
        kept.append(size)
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-5)
    estimate = training_bytes(net, tokens, "32-true", checkpointing=True) - training_bytes(net, 0, "32-true")
    assert kept[1] < estimate < kept[0] / 4


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_checkpointing_keeps_states_between_layers_and_of_one_layer(precision):
    net = Esm2(d_model=256, layers=8, heads=4, checkpointing=True)
    net = net.bfloat16() if precision == "bf16-true" else net
    tokens, kept = kept_bytes(net, precision)
    estimate = training_bytes(net, tokens, precision, checkpointing=True) - training_bytes(net, 0, precision)
    one_layer = tokens * 256 * (24 + 16 if precision == "bf16-mixed" else 20 + 16)
    assert estimate - one_layer == pytest.approx(kept, rel=0.2)


def test_optimizer_state_counts_trained_weights_and_is_divided_by_devices():
    net = Esm2(d_model=64, layers=2, heads=2)
    weights = sum(parameter.numel() for parameter in net.parameters())
    assert training_bytes(net, 0) == (16 + 2) * weights  # with copies in bf16
    assert training_bytes(net, 0, "32-true") == 16 * weights
    assert training_bytes(net, 0, "32-true", devices=4) == 4 * weights
    assert training_bytes(net.requires_grad_(False), 0, "32-true") == 4 * weights
    assert training_bytes(net.bfloat16().requires_grad_(True), 0, "bf16-true") == 8 * weights


def test_recipes_for_large_models_and_gpus_state_their_memory():
    names = {path.stem for path in RECIPES}
    assert {"bart_base", "esm2_150m", "esm2_650m", "esm2_3b", "cramming", "esm2_paper", "gpu_day"} <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_state_the_estimated_memory(path):
    tokens, plain, twice = (int(number.replace(",", "")) for number in STATED.search(path.read_text()).groups())
    if path.parent.name == "model":
        settings = compose("train", [f"model={path.stem}"]).model
    else:
        cfg = compose("train", [f"experiment={path.parent.name}/{path.stem}"])
        settings = dict(cfg.model)
        assert cfg.data.tokens_per_batch == tokens and cfg.trainer.precision == "bf16-mixed"
    vocabulary = {"vocab_size": 600} if path.stem.startswith("bart") else {}
    with torch.device("meta"):
        net = build(settings, **vocabulary)
    for stated, checkpointing in ((plain, False), (twice, True)):
        assert stated == round(training_bytes(net, tokens, checkpointing=checkpointing) / 1e9), checkpointing


def test_3b_needs_checkpointing_on_one_h200_and_not_spread_over_eight():
    with torch.device("meta"):
        net = build(compose("train", ["model=esm2_3b"]).model)
    assert net.checkpointing == "auto"
    assert training_bytes(net, 32768) > USABLE * 141e9
    assert training_bytes(net, 32768, devices=8) <= USABLE * 144e9
    assert training_bytes(net, 8192) <= USABLE * 141e9


@pytest.mark.parametrize("make", [Esm2, lambda **settings: Roberta(40, d_model=320, **settings)])
@pytest.mark.parametrize(
    ("fn", "kind", "memory", "expected"),
    [
        ("fit", "cuda", 1e6, True),
        ("fit", "cuda", 1e12, False),
        ("fit", "cpu", 0, False),
        ("validate", "cuda", 1e6, "auto"),
    ],
)
def test_auto_checkpointing_depends_on_the_memory_of_the_gpu(monkeypatch, caplog, make, fn, kind, memory, expected):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=memory))
    task = MaskedLM(make(layers=1, heads=4, checkpointing="auto"), None)
    task._trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device(kind)), state=SimpleNamespace(fn=fn), world_size=1,
        precision="bf16-mixed", datamodule=SimpleNamespace(tokens_per_batch=1000),
    )  # fmt: skip
    with caplog.at_level("INFO"):
        task.configure_model()
    assert task.net.checkpointing == expected
    messages = {True: "checkpointing is on", False: "checkpointing is off"} if (fn, kind) == ("fit", "cuda") else {}
    assert messages.get(expected, "") in caplog.text and bool(messages) == ("needs about" in caplog.text)


@pytest.mark.parametrize(("setting", "calls"), [(True, 2), ("auto", 0), (False, 0)])
def test_auto_does_not_recompute_before_a_training(monkeypatch, setting, calls):
    recomputed = []

    def counting(block: nn.Module, *inputs, **_):
        recomputed.append(block)
        return block(*inputs)

    monkeypatch.setattr(esm2, "recomputed", counting)
    Esm2(d_model=32, layers=2, heads=2, checkpointing=setting).train().hidden(Flat.pack([[0, 5, 2]]))
    assert len(recomputed) == calls


@pytest.mark.parametrize("make", [Esm2, lambda **settings: Roberta(40, **settings), lambda **s: Bart(40, **s)])
def test_unknown_values_of_checkpointing_raise_errors(make):
    with pytest.raises(ConfigError, match=r"model\.checkpointing=always must be true, false or auto"):
        make(checkpointing="always")
