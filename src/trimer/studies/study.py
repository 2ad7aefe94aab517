"""The interface of a kind of study: everything that is done with its checkpoints, apart from training.

A task (`trimer.tasks`) trains; it names its study in the class attribute `study`, and every checkpoint carries that
name. Commands find the study through the checkpoint and ask it; none of them asks which kind it is. A study is light to
import: predicting needs no Lightning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from trimer.building import build
from trimer.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.prediction.predictor import Predictor
    from trimer.reporting.table import ResultTable


class Evaluation(Protocol):
    """The result of an evaluation: a table of methods by metrics, and the metrics of the model."""

    table: ResultTable
    metrics: dict[str, float]

    def named(self, split: str) -> dict[str, float]:
        """The metrics under the name of the split, as `test/accuracy`."""
        ...

    def save(self, out: Path) -> None:
        """Write the table and the predictions."""
        ...


@dataclass
class Measurement:
    """What is evaluated, and where the results go.

    net: on its device. data: a data module after its setup. folder: results go to `folder/split`. name: of the model in
    the table. trained: the folder of the run that trained it. cfg: settings of the command.
    """

    net: nn.Module
    data: Any
    split: str
    folder: Path
    name: str
    trained: Path
    cfg: DictConfig

    @property
    def out(self) -> Path:
        """The folder of the results."""
        return self.folder / self.split


class Study:
    """A kind of study, bound to one checkpoint. A subclass answers what it can; the rest is refused in a sentence."""

    # Settings of `trimer evaluate` that only some studies have, as dotted keys.
    own_settings: tuple[str, ...] = ()

    def __init__(self, loaded: Loaded):
        self.loaded = loaded

    @classmethod
    def network(cls, contract: Mapping[str, Any], vocab_size: int) -> nn.Module:
        """The network that a contract describes, with untrained weights."""
        return build(contract["model"], vocab_size=vocab_size)

    @property
    def description(self) -> str:
        """What the model does, in one sentence without a full stop."""
        return "a network of a task that names no study"

    def encoder(self) -> nn.Module:
        """The network with `hidden`, for embeddings; CheckpointError where the study has none."""
        raise CheckpointError(f"{self.loaded.path} has no encoder whose hidden states could be embeddings")

    @property
    def entity(self) -> str:
        """What the encoder reads: "molecules", "proteins" or "peptides"."""
        return self.loaded.contract["data"].get("entity") or getattr(self.loaded.tokenizer, "entity", "molecules")

    def predictor(self, cfg: DictConfig) -> Predictor:
        """What predicts records of a user. cfg: the config of `trimer predict`."""
        raise CheckpointError(
            f"{self.loaded.path} was trained to restore corrupted or masked sequences, not to predict: fine-tune it "
            "with trimer train data=<labelled data> ckpt=..., and predict with that run"
        )

    def check_data(self, data: Any) -> None:
        """ConfigError unless these data can be evaluated."""
        if not data.has_labels:
            raise ConfigError("the data of this checkpoint have no labels to compare with: name data=<choice>")

    def calibrate(self, data: Any, cfg: DictConfig) -> None:
        """Fit on the validation split what is fitted after training, and keep it in the checkpoint."""

    def evaluate(self, measurement: Measurement) -> Evaluation:
        """Evaluate a split; write table, predictions, figures and page."""
        raise NotImplementedError

    def log_predictions(self, trainer: Any, evaluation: Evaluation) -> None:
        """Add a sample of the predictions to the trackers of the run that has just been trained."""
