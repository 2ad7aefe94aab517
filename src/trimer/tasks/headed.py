"""Tasks that add a head to an encoder, and may start from a network that has one already."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from torch import nn

from trimer.checkpoint import Loaded, copy_weights
from trimer.errors import ConfigError
from trimer.protocols import encoder_of
from trimer.tasks.ignored_inputs import warn_of_ignored_inputs
from trimer.tasks.task import Task

log = logging.getLogger(__name__)


class HeadedTask(Task):
    """An encoder that gets its head when the data are known.

    outputs: what the head predicts, in words.
    """

    outputs: ClassVar[str] = "labels"

    def __init__(self, net: nn.Module, tokenizer, optimizer=None, scheduler=None, compile: bool = False, metrics=None):
        super().__init__(encoder_of(net), tokenizer, optimizer, scheduler, compile, metrics)
        self.learnt: Loaded | None = None

    def start_from(self, learnt: Loaded) -> None:
        """Take the encoder of a fine-tuned network, and its head if it has the same labels and layers."""
        encoder: Any = learnt.net.encoder
        copy_weights(self.net, encoder.state_dict(), learnt.path)
        self.learnt = learnt

    def check_parts(self, data) -> None:
        """Also: no sequence is longer than the network reads."""
        super().check_parts(data)
        longest = getattr(self.net, "longest", None)
        if longest is not None and data.max_length > longest:
            raise ConfigError(
                f"data.max_length={data.max_length}: this model reads at most {longest} tokens, set data.max_length"
            )

    def check_without_data(self) -> None:
        if "labels" not in (self.contract or {}):
            raise ConfigError(
                f"task={type(self).__name__} makes its head when it knows the data: give the trainer a datamodule, or "
                "call task.configure_for(data) before"
            )

    def attach_head(self, headed: nn.Module, data) -> None:
        """Replace the network by one with a head, and write its labels into the contract."""
        warn_of_ignored_inputs(self.net, data)
        self.net = headed
        self.contract = self.contract or {}
        self.contract["labels"] = {"target": data.target, "classes": list(data.classes)}
        if self.learnt is not None:
            self._take_head(self.learnt)
            self.learnt = None

    def _take_head(self, learnt: Loaded) -> None:
        path = learnt.path
        head: Any = learnt.net.head
        layers = [[name for name, _ in one.named_parameters()] for one in (head, self.net.head)]
        if learnt.contract["labels"] != self.contract["labels"]:
            log.info("starting from the encoder of %s with a new head: it was trained on other %s", path, self.outputs)
        elif learnt.net.head_kind != self.net.head_kind or layers[0] != layers[1]:
            log.info("starting from the encoder of %s with a new head: task.head differs", path)
        else:
            self.net.head.load_state_dict(head.state_dict())
            log.info("starting from the encoder of %s with its head: the %s are the same", path, self.outputs)
