"""FP8 products in training: nearly the same gradients, or one sentence about what is missing."""

from __future__ import annotations

import sys

import pytest
import torch

from trimer.callbacks.float8 import RECIPES, Float8, check_fp8, use_float8
from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models.esm2 import Esm2
from trimer.models.linear import Linear
from trimer.optim import parameter_groups

PROTEINS = Flat.pack([[0, *range(4, 24), 2], [0, 5, 6, 7, 2]])


def net() -> Esm2:
    torch.manual_seed(0)
    return Esm2(d_model=32, layers=2, heads=2, ffn=64)


def gradients(one: Esm2) -> dict[str, torch.Tensor]:
    torch.nn.functional.cross_entropy(one(PROTEINS), PROTEINS.tokens).backward()
    return {name: parameter.grad for name, parameter in one.named_parameters()}


def test_fp8_products_keep_parameter_names_and_approximate_gradients():
    pytest.importorskip("torchao")
    exact, rounded = net(), net()
    use_float8(rounded, "tensorwise", emulate=True)
    assert type(rounded.layers[0].up) is not Linear
    assert type(rounded.head.dense) is Linear
    assert rounded.state_dict().keys() == exact.state_dict().keys()
    expected, fp8_gradients = gradients(exact), gradients(rounded)
    assert not torch.equal(fp8_gradients["layers.0.up.weight"], expected["layers.0.up.weight"])
    for name in ("layers.0.up.weight", "layers.1.query_key_value.weight", "tokens.weight"):
        assert torch.nn.functional.cosine_similarity(fp8_gradients[name].flatten(), expected[name].flatten(), 0) > 0.97
    groups = {group["name"]: group for group in parameter_groups(rounded, 0.1)}
    assert groups["matrices"]["parts"].count(3) == 2


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_product_sums_over_a_multiple_of_16_values(recipe, monkeypatch):
    """FP8 kernels of GPUs demand it, and the gradient of a weight is a sum over any number of tokens."""
    ops = pytest.importorskip("torchao.float8.float8_ops")
    summed = []

    def product(a, a_scale, b, b_scale, output_dtype, **_):
        summed.append(a.shape[1])
        return (a.float() / a_scale @ (b.float() / b_scale)).to(output_dtype)

    monkeypatch.setattr(ops, "addmm_float8_unwrapped", product)
    rounded = net()
    use_float8(rounded, recipe, emulate=False)
    expected, fp8_gradients = gradients(net()), gradients(rounded)
    assert sum(PROTEINS.sizes) == 27
    assert set(summed) == {32, 64, 96}  # 27 tokens are filled up to 32
    weight = "layers.0.up.weight"
    assert torch.nn.functional.cosine_similarity(fp8_gradients[weight].flatten(), expected[weight].flatten(), 0) > 0.97


def test_a_device_without_fp8_is_rejected_by_name():
    with pytest.raises(ConfigError, match="the device cpu has none"):
        check_fp8(torch.device("cpu"))


def test_missing_torchao_gives_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    with pytest.raises(ConfigError, match="pip install torchao"):
        use_float8(net(), "tensorwise", emulate=True)


def test_an_unknown_recipe_is_rejected():
    with pytest.raises(ConfigError, match=r"callbacks\.float8\.recipe=columnwise"):
        Float8("columnwise", emulate=False)
