"""The interface of a study: all operations on the checkpoints of a kind of model, except training.

A task (`trimer.tasks`) trains. It names its study in the class attribute `study`, and every checkpoint stores that
name. Commands call the study of the checkpoint and need not know its kind. Studies import no Lightning, which
predictions do not need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from trimer.building import build
from trimer.errors import CheckpointError, ConfigError
from trimer.pretrained.registry import word_for

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.evaluation.evaluation import Evaluation
    from trimer.prediction.predictor import Predictor


@dataclass
class Measurement:
    """The arguments of an evaluation.

    net: on its device. data: a data module after setup. folder: results are written to `folder/split`. name: of the
    model in tables. trained: folder of the training run. cfg: config of the command.
    """

    net: Any
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


# Why a pre-trained model does not predict, and what it is for. {ckpt}: what a user writes for the model.
PRE_TRAINED = "was trained to restore corrupted or masked sequences, not to predict"
FINE_TUNE = "fine-tune it with trimer train data=<labelled data> ckpt={ckpt}, and predict with that run"


class Study:
    """The study of one checkpoint. Subclasses implement the operations they support; others raise an error."""

    # Dotted keys of settings of `trimer evaluate` that only some studies have.
    extra_settings: tuple[str, ...] = ()
    # Why there is no predictor, in a study that has none; it may contain {ckpt}.
    without_predictor = "does not predict: its task names no study with a predictor"

    def __init__(self, loaded: Loaded):
        self.loaded = loaded

    @classmethod
    def network(cls, contract: Mapping[str, Any], vocab_size: int) -> nn.Module:
        """The network of a contract, with untrained weights."""
        return build(contract["model"], vocab_size=vocab_size)

    @property
    def description(self) -> str:
        """The purpose of the model, one sentence without a full stop."""
        return "a network of a custom task without a study"

    def encoder(self) -> nn.Module:
        """The network with the method `hidden`, for embeddings; CheckpointError if the study has none."""
        raise CheckpointError(
            f"{self.loaded.path} has no encoder that computes embeddings: use a model of masked tokens or labels"
        )

    @property
    def entity(self) -> str:
        """The kind of input of the encoder: "molecules", "proteins" or "peptides"."""
        return self.loaded.contract["data"].get("entity") or getattr(self.loaded.tokenizer, "entity", "molecules")

    @property
    def example(self) -> str:
        """The kind of example records (`trimer.examples`) that the model reads."""
        return self.entity

    @property
    def predict_settings(self) -> Sequence[str]:
        """Kinds of settings (`trimer.studies.settings`) that the predictor uses; it rejects the others."""
        return ()

    def predictor(self, cfg: DictConfig) -> Predictor:
        """The predictor for records of a user. cfg: the config of `trimer predict`.

        Call `check_predict_settings` of `trimer.studies.settings` with `predict_settings`, to reject settings that the
        predictor does not use.
        """
        ckpt = word_for(self.loaded.path)
        raise CheckpointError(f"ckpt={ckpt} {self.without_predictor.format(ckpt=ckpt)}")

    @classmethod
    def can_predict(cls, contract: Mapping[str, Any]) -> bool:
        """Whether the model of a contract has a predictor."""
        return cls.predictor is not Study.predictor

    @classmethod
    def can_average(cls, data: Mapping[str, Any]) -> bool:
        """Whether predictions can be averages (`augment`, `boosting`). data: config of the training data."""
        return False

    def check_data(self, data: Any) -> None:
        """ConfigError unless these data can be evaluated."""
        if not data.has_labels:
            raise ConfigError(
                "the data of this checkpoint have no labels to compare with: choose labelled data with data=<choice>"
            )

    @property
    def file_source(self) -> dict[str, Any] | None:
        """The source of `data_of_file`, for data whose training source reads no files."""
        return None

    def data_of_file(self, path: Path) -> dict[str, Any]:
        """The config of the training data with a file of a user in the place of their source."""
        data = dict(self.loaded.contract["data"])
        source = data.get("source") or {}
        source = source if "paths" in source else self.file_source
        if source is None:
            raise ConfigError(
                f"{path}: the training data of {self.loaded.path} have no columns of a file; name the data with "
                '["data=<choice>", "data.source.paths=<file>", ...]'
            )
        return data | {"source": source | {"paths": str(path.resolve())}}

    @classmethod
    def training_records(cls, data: Any, contract: Mapping[str, Any]) -> dict[str, Any]:
        """Keys of a checkpoint that describe its training records, which need no network. data: after setup."""
        return {}

    def calibrate(self, data: Any, cfg: DictConfig, folder: Path) -> dict[str, float]:
        """Fit calibration parameters on the validation split and store them in the checkpoint.

        folder: of the run, for a report. Returns metrics of the reliability.
        """
        return {}

    @classmethod
    def baseline_names(cls, data: Any) -> Sequence[str]:
        """Names of the baselines for these data, from which the setting `baselines` chooses."""
        return ()

    @classmethod
    def check_baselines(cls, setting: Any, data: Any) -> None:
        """ConfigError for a value of the setting `baselines` that chooses none of the baselines for these data."""
        from trimer.evaluation.baseline_choice import chosen_baselines

        if not isinstance(setting, bool):
            chosen_baselines(setting, cls.baseline_names(data))

    @classmethod
    def can_evaluate(cls) -> bool:
        """Whether the study defines `evaluate`."""
        return cls.evaluate is not Study.evaluate

    def evaluate(self, measurement: Measurement) -> Evaluation:
        """Evaluate a split and write table, predictions, figures and page."""
        raise CheckpointError(
            f"{self.loaded.path}: its task names no study that evaluates; let the class attribute `study` of the task "
            "name one, such as trimer.studies.label_study.LabelStudy"
        )

    def log_predictions(self, trainer: Any, evaluation: Evaluation) -> None:
        """Log a sample of the predictions to the trackers of the training run."""
