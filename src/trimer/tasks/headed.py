"""Base of tasks that add a head to an encoder, or continue from a network with a head."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from trimer.checkpoint import Loaded, copy_weights
from trimer.errors import ConfigError
from trimer.protocols import encoder_of
from trimer.tasks.ignored_inputs import warn_of_ignored_inputs
from trimer.tasks.task import Task

log = logging.getLogger(__name__)


class HeadedTask(Task):
    """An encoder whose head is added when the data are known.

    outputs: name of the predicted values, for log lines.
    """

    outputs: ClassVar[str] = "labels"

    def __init__(self, net: nn.Module, tokenizer, optimizer=None, scheduler=None, compile: bool = False, metrics=None):
        super().__init__(encoder_of(net), tokenizer, optimizer, scheduler, compile, metrics)
        self.initial: Loaded | None = None

    def start_from(self, initial: Loaded) -> None:
        """Start from the encoder of a fine-tuned network, and from its head if labels and layers are the same."""
        encoder: Any = initial.net.encoder
        copy_weights(self.net, encoder.state_dict(), initial.path)
        self.initial = initial

    def check_parts(self, data) -> None:
        """Also check that no sequence is too long for the network."""
        super().check_parts(data)
        longest = getattr(self.net, "longest", None)
        if longest is not None and data.max_length > longest:
            raise ConfigError(
                f"data.max_length={data.max_length}: this model reads at most {longest} tokens; reduce data.max_length"
            )

    def check_without_data(self) -> None:
        if "labels" not in (self.contract or {}):
            raise ConfigError(
                f"task={type(self).__name__} has no head yet, since it depends on the data: pass a datamodule to the "
                "trainer, or call task.configure_for(data) first"
            )

    def attach_head(self, headed: nn.Module, data) -> None:
        """Replace the network by one with a head, and add its labels to the contract."""
        warn_of_ignored_inputs(self.net, data)
        self.net = headed
        self.contract = self.contract or {}
        labels = {"target": data.target, "classes": list(data.classes)}
        self.contract["labels"] = labels
        if self.initial is not None:
            self._copy_head(self.initial, labels)
            self.initial = None

    def _copy_head(self, initial: Loaded, labels: dict[str, Any]) -> None:
        """Copy the head of the initial network, if it predicts the same labels with the same layers."""
        path = initial.path
        head: Any = initial.net.head
        layers = [[name for name, _ in module.named_parameters()] for module in (head, self.net.head)]
        if initial.contract["labels"] != labels:
            log.info("starting from the encoder of %s with a new head: it was trained on other %s", path, self.outputs)
        elif features_of(initial.contract) != features_of(self.contract or {}):
            log.info("starting from the encoder of %s with a new head: data.features differ", path)
        elif initial.net.head_kind != self.net.head_kind or layers[0] != layers[1]:
            log.info("starting from the encoder of %s with a new head: task.head differs", path)
        else:
            self.net.head.load_state_dict(head.state_dict())
            log.info("starting from the encoder of %s with its head: the %s are the same", path, self.outputs)


def features_of(contract: Mapping[str, Any]) -> list[str]:
    """The names of the features that a head reads besides the sequence."""
    return list((contract.get("data") or {}).get("features") or ())
