"""Low-rank adapters (LoRA, Hu et al. 2021) in the linear layers of an encoder: trained with `peft`, read without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, cast

from torch import Tensor, nn

from trimer.errors import CheckpointError, ConfigError

RANK, ALPHA = 8, 16.0


def add_lora(
    encoder: nn.Module,
    rank: int = RANK,
    alpha: float = ALPHA,
    dropout: float = 0.0,
    targets: Sequence[str] = ("query_key_value",),
) -> int:
    """Freeze an encoder and add adapters of rank `rank` to its linear layers with the names `targets`.

    Returns the number of layers with an adapter. The update of a weight is alpha / rank times the product of two small
    matrices, the second of which is initialised with zero. ConfigError for a name that no layer has.
    """
    check_installed()
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    targets = [targets] if isinstance(targets, str) else list(targets)
    if rank < 1:
        raise ConfigError(f"task.lora.rank={rank} must be 1 or more")
    if not 0 <= dropout < 1:
        raise ConfigError(f"task.lora.dropout={dropout} must be at least 0 and below 1")
    if not targets:
        raise ConfigError("task.lora.targets is empty: name the linear layers that get an adapter")
    linear = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    for target in targets:
        if not any(name.rsplit(".", 1)[-1] == target for name in linear):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in linear}))
            raise ConfigError(f"task.lora.targets: this encoder has no linear layer called {target}; it has {known}")
    for parameter in encoder.parameters():
        parameter.requires_grad = False
    # peft declares an integer and only divides it by the rank: a fraction works too.
    settings = LoraConfig(r=rank, lora_alpha=cast(int, alpha), lora_dropout=dropout, target_modules=targets)
    inject_adapter_in_model(settings, encoder)
    return sum(isinstance(module, LoraLayer) for module in encoder.modules())


def check_installed() -> None:
    """ConfigError if `peft` is not installed."""
    if find_spec("peft") is None:
        raise ConfigError("task.lora needs a package: pip install 'trimer[lora]'")


def merged_state(state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state of a network in which adapters are added to the weights of their layers; predictions stay the same.

    settings: arguments of `add_lora`. CheckpointError if an adapter has only one of its two matrices.
    """
    scale = settings.get("alpha", ALPHA) / settings.get("rank", RANK)
    merged = {}
    for name, value in state.items():
        layer, _, last = name.rpartition(".base_layer.")
        if layer:
            if last == "weight":
                first, second = (state.get(f"{layer}.lora_{part}.default.weight") for part in "AB")
                if first is None or second is None or (second.shape[0], first.shape[-1]) != tuple(value.shape):
                    raise CheckpointError(f"the adapter of {layer} is not complete: use another checkpoint")
                if second.shape[1] != first.shape[0]:
                    raise CheckpointError(f"the adapter of {layer} has two ranks: use another checkpoint")
                value = value + scale * (second @ first)
            merged[f"{layer}.{last}"] = value
        elif ".lora_" not in name:
            merged[name] = value
    return merged
