"""Trained models in Python: load, predict, embed, evaluate, train.

Settings have the names and defaults of the commands: `model.predict(spectra, candidates=3, ranked=True)` corresponds to
`trimer predict candidates=3 ranked=true`. Nested settings are dictionaries (`generator={"num_samples": 100}`); a choice
of a config group is given by name (`trainer="gpu"`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from glob import has_magic
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trimer.errors import CheckpointError, ConfigError, InputError
from trimer.suggestions import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.evaluation.evaluation import Evaluation
    from trimer.model_card import ModelCard
    from trimer.prediction.predictor import Predictor
    from trimer.results.embeddings import Embeddings
    from trimer.results.predictions import Predictions

KEPT_PREDICTORS = 4  # of one model; a spectral library has a second network for retention times


class TrainedModel:
    """A trained model with its tokenizer, as `trimer.load` returns it.

    net: the network, a plain `torch.nn.Module`. tokenizer: its tokenizer. path: the checkpoint.
    """

    def __init__(self, loaded: Loaded, atoms: bool = False):
        self.loaded, self.atoms = loaded, atoms
        self.net, self.tokenizer, self.path = loaded.net, loaded.tokenizer, loaded.path
        self._predictors: dict[str, Predictor] = {}  # the last used ones, the latest at the end
        self._int8: Loaded | None = None

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
        plotter = getattr(predictor, "plotter", None)  # optional in the protocol of predictors
        return Predictions(rows, predictor.columns, predictor.plural, plotter and plotter())

    def predictor(self, **settings: Any) -> Predictor:
        """The predictor that `predict` uses; those of the last few settings are kept."""
        key = repr(sorted(settings.items()))
        predictor = self._predictors.pop(key, None)
        if predictor is None:
            fixed = {"ckpt": str(self.path), "input": "-", "output": "-"}
            cfg = command_config("predict", fixed, settings)
            predictor = self._loaded_for(cfg).study.predictor(cfg)
        self._predictors[key] = predictor
        while len(self._predictors) > KEPT_PREDICTORS:
            del self._predictors[next(iter(self._predictors))]
        return predictor

    def _loaded_for(self, cfg: DictConfig) -> Loaded:
        """The checkpoint for these settings: int8 changes the network, so it has a copy, made once."""
        if str(cfg.trainer.precision) != "int8":
            return self.loaded
        if self._int8 is None:
            self._int8 = replace(self.loaded, net=deepcopy(self.loaded.net))
        return self._int8

    def embed(self, data: Any, **settings: Any) -> Embeddings:
        """An embedding of each sequence, or the reason why it has none.

        data: as for `predict`. settings: keys of `trimer embed`, such as pooling="residue" or layer=3.
        """
        from trimer.prediction.embedder import Embedder
        from trimer.results.embeddings import Embeddings

        fixed = {"ckpt": str(self.path), "input": "-", "output": "-", "atoms": self.atoms}
        cfg = command_config("embed", fixed, settings)
        embedder = Embedder(self._loaded_for(cfg), cfg)
        file = as_file(data)
        ids: list[str] = []
        lengths: list[int] = []
        vectors: list[np.ndarray | None] = []
        reasons: list[str | None] = []
        for chunk in embedder.embed(embedder.read(file) if file is not None else embedder.records(data)):
            ids += chunk.ids
            lengths += chunk.lengths
            vectors += chunk.vectors
            reasons += chunk.reasons
        return Embeddings(ids, vectors, reasons, lengths)

    def evaluate(self, data: Any = (), folder: str | Path | None = None, **settings: Any) -> Evaluation:
        """Evaluate a split as `trimer evaluate` does: a table of methods by metrics, with predictions and a page.

        data: by default the test split of the training data. A file or a DataFrame with the columns of the training
        data is evaluated as a whole; if these were no tables (simulated peptides, FooDB), its columns are `smiles` or
        `sequence` and the labels. Overrides choose other data: ["data=labelled_molecules",
        "data.source.paths=mine.csv"]. folder: folder of the results; by default under `runs/`. settings: keys of
        `trimer evaluate`, such as split="val" or baselines=False.
        """
        from trimer.commands.evaluate import evaluate

        if folder is not None and Path(folder).is_file():
            raise ConfigError(f"folder={folder} is a file; name a folder for the results")
        with data_file(data) as file:
            overrides = [] if file else overrides_of(data)
            cfg = command_config("evaluate", {"ckpt": str(self.path)}, settings, overrides)
            if folder is not None:
                cfg.paths.run = str(folder)
            if file is not None:
                cfg.data = self.loaded.study.data_of_file(file)
            return evaluate(cfg, overrides)


def load(path: str | Path, atoms: bool = False) -> TrainedModel:
    """A trained model from the name of a shipped one, such as "superclass", or from a path.

    path: a run folder, a checkpoint, a packed folder, a Hugging Face folder (ESM-2, RoBERTa) or a .pt file of fair-esm.
    atoms: a public RoBERTa splits SMILES by atoms, like the tokenizer of ChemBERTa-2.
    Raises CheckpointError if the file is missing, damaged or not of Trimer.
    """
    from trimer.checkpoint import load as load_checkpoint
    from trimer.public import is_public, load_public
    from trimer.public_classifier import is_public_classifier, load_public_classifier

    if not isinstance(path, str | Path):
        raise CheckpointError(f"a value of type {type(path).__name__} is not the path of a checkpoint or a run folder")
    if is_public(path):
        load_folder = load_public_classifier if is_public_classifier(path) else load_public
        return TrainedModel(load_folder(path, atoms=atoms), atoms)
    if atoms:
        raise ConfigError(f"atoms=True is for a public RoBERTa of SMILES, and {path} is not one: leave it out")
    return TrainedModel(load_checkpoint(path))


def predict(model: str | Path | TrainedModel, data: Any, **settings: Any) -> Predictions:
    """`trimer.load(model).predict(data, ...)`."""
    return _loaded(model).predict(data, **settings)


def embed(model: str | Path | TrainedModel, data: Any, **settings: Any) -> Embeddings:
    """`trimer.load(model).embed(data, ...)`."""
    return _loaded(model).embed(data, **settings)


def evaluate(model: str | Path | TrainedModel, data: Any = (), **settings: Any) -> Evaluation:
    """`trimer.load(model).evaluate(data, ...)`."""
    return _loaded(model).evaluate(data, **settings)


def train(cfg: DictConfig) -> TrainedModel:
    """Train a model and return it with its best weights. cfg: the config from `trimer.compose("train", [...])`."""
    from trimer.cli.values import check_values
    from trimer.commands.train import train as run_training

    check_values(cfg, "train")
    run_training(cfg)
    return load(cfg.paths.run)


def _loaded(model: str | Path | TrainedModel) -> TrainedModel:
    return model if isinstance(model, TrainedModel) else load(model)


def as_file(data: Any) -> Path | None:
    """The path of a file or glob, if the data are a `Path` or a string that looks like one; else None.

    A string with the suffix of a data file is a path even if the file is missing: no SMILES or peptide ends like this.
    """
    if isinstance(data, Path):
        return data.expanduser()
    if not isinstance(data, str) or "\n" in data or len(data) > 4096:
        return None
    path = Path(data).expanduser()
    try:
        exists = path.exists()
    except OSError:  # not a valid file name
        return None
    is_glob = has_magic(data) and path.suffix and path.parent.is_dir() and path.parent != Path()
    return path if exists or is_glob or has_data_suffix(data) else None


def has_data_suffix(name: str) -> bool:
    """Whether a name ends like a data file that Trimer reads, in lower case (or as mzML, mzXML), compressed or not."""
    from trimer.data.labelled.sequence_files import TABLES
    from trimer.data.proteins.entry_files import SUFFIXES as ENTRIES
    from trimer.data.spectra.readers import SUFFIXES as SPECTRA
    from trimer.data.text.compression import plain_name

    suffix = Path(plain_name(Path(name))).suffix
    others = (".tab", ".txt", ".fasta", ".fa", ".faa", ".smi", ".smiles", ".hdf", ".hdf5", ".h5", ".mzML", ".mzXML")
    return suffix in {*TABLES, *ENTRIES, *SPECTRA, *others}


def overrides_of(data: Any) -> list[str]:
    """The overrides that data are: one text, or several; InputError for anything else."""
    overrides = [data] if isinstance(data, str) else data
    if not isinstance(overrides, list | tuple) or not all(isinstance(word, str) for word in overrides):
        raise InputError(
            f"a value of type {type(data).__name__} cannot be evaluated: give a file, a DataFrame, or overrides such "
            'as ["data=labelled_molecules", "data.source.paths=mine.csv"]'
        )
    return list(overrides)


@contextmanager
def data_file(data: Any) -> Iterator[Path | None]:
    """The file that data are, or a temporary file that holds a DataFrame; None for anything else."""
    from trimer.objects.frames import columns_of, package_of

    if (file := as_file(data)) is not None:
        yield file
        return
    if package_of(data) not in ("pandas", "polars", "pyarrow"):
        yield None
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{type(data).__name__}.parquet"  # messages name it
        pq.write_table(pa.table(columns_of(data)), path)
        yield path


def command_config(
    command: str, fixed: Mapping[str, Any], settings: Mapping[str, Any], overrides: Sequence[str] = ()
) -> DictConfig:
    """The config of a command with settings from Python; ConfigError names an unknown setting.

    fixed: settings that the caller cannot change.
    """
    from trimer.cli.configs import choices, compose

    groups = choices(command)
    all_overrides = list(overrides)
    if given := sorted(set(fixed) & set(settings)):
        raise ConfigError(f"{', '.join(given)}: the call of {command} in Python sets this itself; leave it out")
    values: dict[str, Any] = dict(fixed)
    for name, value in settings.items():
        if name in groups and isinstance(value, str):
            all_overrides.append(f"{name}={value}")
        else:
            values[name] = value
    return set_values(compose(command, all_overrides), command, values, fixed)


def set_values(cfg: DictConfig, command: str, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> DictConfig:
    """The config with values, which may be nested; ConfigError names a value that it does not have.

    fixed: values that the config need not have.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from trimer.cli.values import check_values
    from trimer.resuming import dotted_values

    for name, value in dotted_values(values).items():
        parent, _, key = name.rpartition(".")
        node = OmegaConf.select(cfg, parent) if parent else cfg
        if name not in fixed and name.split(".")[0] != "cleaning" and (not OmegaConf.is_dict(node) or key not in node):
            known = [str(key) for key in node] if OmegaConf.is_dict(node) else []
            raise ConfigError(f"{name} is not a setting of trimer {command}{did_you_mean(key, known)}")
        if OmegaConf.is_dict(OmegaConf.select(cfg, name)) and not isinstance(value, Mapping):
            raise ConfigError(f"{name}={value!r} must be a dictionary of settings, such as {name}={{...}}")
        try:
            OmegaConf.update(cfg, name, value.item() if hasattr(value, "item") else value, force_add=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"{name}={value!r} cannot be used: {str(error).splitlines()[0]}") from error
    check_values(cfg, command)
    return cfg
