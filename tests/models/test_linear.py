"""The linear layer of the models: the values and gradients of torch's, in bf16 with the bias inside of the product."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trimer.models.int8 import Int8Linear, use_int8_weights
from trimer.models.linear import FEW_ROWS, Linear, _adds_bias

needs_bf16 = pytest.mark.skipif(
    not _adds_bias(torch.ones(1, 1), torch.bfloat16), reason="oneDNN has no products in bf16 on this CPU"
)


def layers(bias: bool = True) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, theirs = Linear(48, 80, bias=bias), nn.Linear(48, 80, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def gradients(layer: nn.Module, x: torch.Tensor, autocast: bool) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = layer(x)
    (y.float() ** 2).sum().backward()
    return [y, x.grad, *(weight.grad for weight in layer.parameters())]


@needs_bf16
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("autocast", [True, False])
def test_values_and_gradients_in_bf16_are_those_of_torch(autocast, bias):
    pair = layers(bias)
    x = torch.randn(33, 48)
    if not autocast:
        x, pair = x.bfloat16(), tuple(layer.bfloat16() for layer in pair)
    for ours, theirs in zip(*(gradients(layer, x, autocast) for layer in pair), strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)


@needs_bf16
def test_the_bias_is_added_within_the_product(monkeypatch):
    layer = Linear(48, 80)
    monkeypatch.setattr(F, "linear", lambda *_: pytest.fail("torch's own product"))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(5, 48)).shape == (5, 80)
        with torch.no_grad():
            assert layer(torch.randn(FEW_ROWS, 48)).shape == (FEW_ROWS, 80)
    assert layer.bfloat16()(torch.randn(5, 48).bfloat16()).shape == (5, 80)


@needs_bf16
def test_few_rows_without_gradients_leave_the_weights_to_autocast(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda *_: pytest.fail("converts its weights"))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert Linear(48, 80)(torch.randn(FEW_ROWS - 1, 48)).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(7, 48), (2, 7, 48), (0, 48)])
def test_other_inputs_are_left_to_torch(shape):
    ours, theirs = layers()
    x = torch.randn(shape)
    assert ours(x).equal(theirs(x))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(ours(x), theirs(x), rtol=2e-2, atol=2e-2)


def test_a_compiled_layer_keeps_to_torch():
    layer = Linear(48, 80).bfloat16()
    x = torch.randn(5, 48).bfloat16()
    graph = torch.export.export(layer, (x,)).graph_module.code
    assert "linear" in graph and "mkldnn" not in graph


def test_int8_weights_replace_it():
    module = nn.Sequential(Linear(48, 80))
    use_int8_weights(module)
    assert isinstance(module[0], Int8Linear)
