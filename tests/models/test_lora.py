"""LoRA: adapted layers, gradients, and unchanged predictions after merging."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimer.errors import CheckpointError, ConfigError
from trimer.flat import Flat
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled
from trimer.models.lora import add_lora, merged_state
from trimer.models.roberta import Roberta

ALL = ["query_key_value", "output", "up", "down"]
SEQUENCES = [np.r_[0, range(5, 5 + n), 2] for n in (3, 17, 1)]


def network(kind: str = "esm2", **settings) -> Labelled:
    torch.manual_seed(0)
    if kind == "esm2":
        encoder = Esm2(33, d_model=32, layers=3, heads=2, **settings)
    else:
        encoder = Roberta(33, d_model=32, layers=3, heads=2, dropout=0.0, **settings)
    return Labelled(encoder, 2, "single", {"dropout": 0.0})


def stepped(net: Labelled, steps: int = 3) -> None:
    """Some training steps, so that the adapters are no longer nothing."""
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(Flat.pack(SEQUENCES)), torch.tensor([0, 1, 0])).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["esm2", "roberta"])
@pytest.mark.parametrize("targets", [["query_key_value"], ["up", "down"], ALL, "query_key_value"])
def test_only_adapters_and_head_are_trained(kind, targets):
    net = network(kind)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        outputs = net(Flat.pack(SEQUENCES))
    names = [targets] if isinstance(targets, str) else targets
    assert add_lora(net.encoder, rank=2, alpha=8, targets=targets) == 3 * len(names)
    with torch.no_grad():  # layers that learn may use another kernel
        assert torch.equal(net(Flat.pack(SEQUENCES)), outputs)  # the second matrix begins at zero
    stepped(net)
    for name, weight in net.named_parameters():
        ours = ".lora_" in name or name.startswith("head.")
        assert weight.requires_grad == ours == (weight.grad is not None), name
        if ours:
            assert weight.grad.abs().max() > 0, name
    for name, value in net.state_dict().items():
        plain = name.replace(".base_layer", "")
        assert ".lora_" in name or name.startswith("head.") or torch.equal(value, before[plain]), name


@pytest.mark.parametrize("kind", ["esm2", "roberta"])
def test_merged_adapters_give_the_same_predictions(kind):
    net, plain = network(kind), network(kind)
    add_lora(net.encoder, rank=4, alpha=16, targets=ALL)
    stepped(net)
    with torch.no_grad():
        outputs = net.eval()(Flat.pack(SEQUENCES))
        untouched = plain.eval()(Flat.pack(SEQUENCES))
        state = merged_state(net.state_dict(), {"rank": 4, "alpha": 16})
        assert list(state) == list(plain.state_dict())
        plain.load_state_dict(state)
        merged = plain(Flat.pack(SEQUENCES))
    assert (merged - outputs).abs().max() < 1e-5
    assert (outputs - untouched).abs().max() > 1e-2
    incomplete = {name: value for name, value in net.state_dict().items() if ".lora_B" not in name}
    with pytest.raises(CheckpointError, match="is not complete"):
        merged_state(incomplete, {"rank": 4})


@pytest.mark.parametrize("kind", ["esm2", "roberta"])
def test_checkpointing_gives_the_same_gradients(kind):
    gradients = []
    for checkpointing in (False, True):
        net = network(kind, checkpointing=checkpointing).train()
        torch.manual_seed(1)
        add_lora(net.encoder, rank=2, targets=ALL)
        for name, weight in net.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        net(Flat.pack(SEQUENCES)).square().sum().backward()
        gradients.append({name: weight.grad for name, weight in net.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and any("lora_A" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ["query"]}, "no linear layer called query; it has down, output, query_key_value, up"),
        ({"targets": "value"}, "no linear layer called value"),
        ({"targets": []}, "targets is empty"),
        ({"rank": 0}, "rank=0 must be 1 or more"),
        ({"dropout": 1.5}, "dropout=1.5"),
    ],
)
def test_invalid_lora_arguments_raise_errors(settings, message):
    net = network()
    with pytest.raises(ConfigError, match=message):
        add_lora(net.encoder, **settings)
    assert all(weight.requires_grad for weight in net.parameters())  # nothing was begun
