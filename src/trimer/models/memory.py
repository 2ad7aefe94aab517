"""The memory that the training of an encoder needs, and whether it needs activation checkpointing to fit.

Counted are weights, their copies in the type of the products, gradients and Adam's two moments, and the tensors that
autograd keeps in the layers. Not counted are what a kernel needs while it runs, the head, and fragmentation, for which
a tenth of the memory stays free. Compiled models keep less.
"""

from __future__ import annotations

from torch import nn

from trimer.errors import ConfigError

CHECKPOINTING = (True, False, "auto")
USABLE = 0.9  # of the memory of a device
# Bytes that autograd keeps for a token and layer: for each unit of the model's width, for each of the feed-forward
# width, and, of the first, those of the hidden state that enters the layer.
MIXED, HALF, FULL = (24, 4, 4), (20, 4, 2), (40, 8, 4)


def check_checkpointing(value: bool | str) -> None:
    """ConfigError unless this is a value of `model.checkpointing`."""
    if value not in CHECKPOINTING:
        raise ConfigError(f"model.checkpointing={value} must be true, false or auto")


def training_bytes(
    net: nn.Module, tokens: int, precision: str = "bf16-mixed", devices: int = 1, checkpointing: bool = False
) -> float:
    """Bytes that one device needs to train an encoder on batches of so many tokens.

    net: with `d_model` and `layers` that have `up`, the first feed-forward matrix. precision: of the trainer. devices:
    over how many the weights are spread (fsdp2). checkpointing: only the hidden states between the layers are kept, and
    all of one layer at a time.
    """
    by_width, by_ffn, entering = HALF if precision.endswith("16-true") else MIXED if "16" in precision else FULL
    copy = 2 if by_width == MIXED[0] else 0
    state = sum(p.numel() * (p.element_size() * (4 if p.requires_grad else 1) + copy) for p in net.parameters())
    layers = len(net.layers)
    layer = by_width * net.d_model + by_ffn * net.layers[0].up.out_features
    kept = layers * entering * net.d_model + layer if checkpointing else layers * layer
    return state / devices + kept * tokens


def needs_checkpointing(
    net: nn.Module, tokens: int, precision: str = "bf16-mixed", devices: int = 1, *, memory: float
) -> bool:
    """Whether `training_bytes` of the same arguments exceed the memory of a device, in bytes."""
    return training_bytes(net, tokens, precision, devices) > USABLE * memory
