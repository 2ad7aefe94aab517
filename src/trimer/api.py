"""Trained models in Python: load, predict, embed, evaluate, train.

Settings have the names and defaults of the commands: `model.predict(spectra, candidates=3, ranked=True)` corresponds to
`trimer predict candidates=3 ranked=true`. Nested settings are dictionaries (`generator={"num_samples": 100}`); a choice
of a config group is given by name (`trainer="gpu"`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.errors import ConfigError
from trimer.suggestions import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.model_card import ModelCard
    from trimer.prediction.predictor import Predictor
    from trimer.results.embeddings import Embeddings
    from trimer.results.predictions import Predictions
    from trimer.studies.study import Evaluation


class TrainedModel:
    """A trained model with its tokenizer, as `trimer.load` returns it.

    net: the network, a plain `torch.nn.Module`. tokenizer: its tokenizer. path: the checkpoint.
    """

    def __init__(self, loaded: Loaded):
        self.loaded = loaded
        self.net, self.tokenizer, self.path = loaded.net, loaded.tokenizer, loaded.path
        self._predictors: dict[str, Predictor] = {}

    def __repr__(self) -> str:
        return str(self.card)

    def _repr_html_(self) -> str:
        return self.card._repr_html_()

    @property
    def card(self) -> ModelCard:
        """The model card: what the model does, its training data, and its metrics on the test split."""
        from trimer.model_card import model_card

        return model_card(self.loaded)

    def predict(self, data: Any, **settings: Any) -> Predictions:
        """A prediction for each record, or the reason why it has none, in the order of the records.

        data: the path of a file, a list of strings, a DataFrame of pandas or polars, or objects of other libraries
        (matchms `Spectrum`, RDKit `Mol`, Biopython `SeqRecord`, psm_utils PSMs). A string that names an existing file
        is read as a file. settings: keys of `trimer predict`, except ckpt, input and output.
        """
        from trimer.results.predictions import Predictions

        predictor = self.predictor(**settings)
        file = as_file(data)
        parts = predictor.read(file) if file is not None else iter([predictor.records(data)])
        rows = [row for prediction in predictor.predict(parts) for row in prediction]
        return Predictions(rows, predictor.columns, predictor.plural)

    def predictor(self, **settings: Any) -> Predictor:
        """The predictor that `predict` uses; it is cached for the same settings."""
        key = repr(sorted(settings.items()))
        if key not in self._predictors:
            fixed = {"ckpt": str(self.path), "input": "-", "output": "-"}
            self._predictors[key] = self.loaded.study.predictor(command_config("predict", fixed, settings))
        return self._predictors[key]

    def embed(self, data: Any, **settings: Any) -> Embeddings:
        """An embedding of each sequence, or the reason why it has none.

        data: as for `predict`. settings: keys of `trimer embed`, such as pooling="residue" or layer=3.
        """
        from trimer.prediction.embedder import Embedder
        from trimer.prediction.embedding import POOLING
        from trimer.results.embeddings import Embeddings

        cfg = command_config("embed", {"ckpt": str(self.path), "input": "-", "output": "-"}, settings)
        if cfg.pooling not in POOLING:
            raise ConfigError(f"pooling={cfg.pooling} must be one of {', '.join(POOLING)}")
        embedder = Embedder(self.loaded, cfg)
        file = as_file(data)
        ids: list[str] = []
        vectors: list[np.ndarray | None] = []
        reasons: list[str | None] = []
        for chunk in embedder.embed(embedder.read(file) if file is not None else embedder.records(data)):
            ids += chunk.ids
            vectors += chunk.vectors
            reasons += chunk.reasons
        return Embeddings(ids, vectors, reasons)

    def evaluate(self, data: Sequence[str] = (), folder: str | Path | None = None, **settings: Any) -> Evaluation:
        """Evaluate a split as `trimer evaluate` does: a table of methods by metrics, with predictions and a page.

        data: overrides that choose other data than those of the training, such as ["data=labelled_molecules",
        "data.source.paths=mine.csv"]. folder: folder of the results; by default under `runs/`. settings: keys of
        `trimer evaluate`, such as split="val" or baselines=False.
        """
        from trimer.commands.evaluate import evaluate

        cfg = command_config("evaluate", {"ckpt": str(self.path)}, settings, overrides=data)
        if folder is not None:
            cfg.paths.run = str(folder)
        return evaluate(cfg)


def load(path: str | Path, atoms: bool = False) -> TrainedModel:
    """A trained model: a run folder, a checkpoint, a Hugging Face folder (ESM-2, RoBERTa) or a .pt file of fair-esm.

    atoms: a public RoBERTa splits SMILES by atoms, like the tokenizer of ChemBERTa-2.
    Raises CheckpointError if the file is missing, damaged or not of Trimer.
    """
    from trimer.checkpoint import load as load_checkpoint
    from trimer.public import is_public, load_public

    return TrainedModel(load_public(path, atoms=atoms) if is_public(path) else load_checkpoint(path))


def predict(model: str | Path | TrainedModel, data: Any, **settings: Any) -> Predictions:
    """`trimer.load(model).predict(data, ...)`."""
    return _loaded(model).predict(data, **settings)


def embed(model: str | Path | TrainedModel, data: Any, **settings: Any) -> Embeddings:
    """`trimer.load(model).embed(data, ...)`."""
    return _loaded(model).embed(data, **settings)


def evaluate(model: str | Path | TrainedModel, data: Sequence[str] = (), **settings: Any) -> Evaluation:
    """`trimer.load(model).evaluate(data, ...)`."""
    return _loaded(model).evaluate(data, **settings)


def train(cfg: DictConfig) -> TrainedModel:
    """Train a model and return it with its best weights. cfg: the config from `trimer.compose("train", [...])`."""
    from trimer.commands.train import train as run_training

    run_training(cfg)
    return load(cfg.paths.run)


def _loaded(model: str | Path | TrainedModel) -> TrainedModel:
    return model if isinstance(model, TrainedModel) else load(model)


def as_file(data: Any) -> Path | None:
    """The path of a file or glob, if the data are a `Path` or a string that looks like one; else None."""
    if isinstance(data, Path):
        return data.expanduser()
    if not isinstance(data, str) or "\n" in data or len(data) > 4096:
        return None
    path = Path(data).expanduser()
    try:
        exists = path.exists()
    except OSError:  # not a valid file name
        return None
    looks_like_file = exists or (has_magic(data) and path.suffix and path.parent.is_dir() and path.parent != Path())
    return path if looks_like_file else None


def command_config(
    command: str, fixed: Mapping[str, str], settings: Mapping[str, Any], overrides: Sequence[str] = ()
) -> DictConfig:
    """The config of a command with settings from Python; ConfigError names an unknown setting.

    fixed: settings that the caller cannot change.
    """
    from omegaconf import OmegaConf

    from trimer.cli.configs import choices, compose

    groups = choices(command)
    all_overrides = list(overrides)
    values: dict[str, Any] = dict(fixed)
    for name, value in settings.items():
        if name in groups and isinstance(value, str):
            all_overrides.append(f"{name}={value}")
        else:
            values[name] = value
    cfg = compose(command, all_overrides)
    for name, value in _leaves(values):
        parent, _, key = name.rpartition(".")
        node = OmegaConf.select(cfg, parent) if parent else cfg
        if name in fixed or name.split(".")[0] == "cleaning" or (node is not None and key in node):
            OmegaConf.update(cfg, name, value, force_add=True)
        else:
            known = [] if node is None else [str(key) for key in node]
            raise ConfigError(f"{name} is not a setting of trimer {command}{did_you_mean(key, known)}")
    return cfg


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
