"""The checkpoint contract: tensors and plain values that rebuild network and tokenizer from the file alone.

A checkpoint is Lightning's file with two more keys. `trimer` (the contract) holds format, kind of task, study, the
configs of model, task, data and tokenizer, the vocabulary, and the plug-ins of the user that these name.
`training_keys` holds keys of the training data (`trimer.data.core.training_keys`); older checkpoints lack it. After a
training, `training_molecules`, `training_spectra`, `training_embeddings` (modules of these names in `trimer`),
`calibration` (`trimer.evaluation.candidate_calibration`) and `averaging` (`trimer.prediction.averaging`) are added,
each where the kind of model has it. Files are read with `weights_only=True`, and only classes on the allow-list of
`trimer.building` are built, so a checkpoint from another source cannot run code.

A packed checkpoint (`trimer.pretrained.packed`) is a folder with the same content, such as a model that Trimer ships.
`checkpoint_path` is where the name of a shipped model becomes its folder.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trimer.building import build, check, check_allowed, located
from trimer.checkpoint_shards import PLAIN, is_sharded, read_sharded
from trimer.checkpoint_size import build_bounded
from trimer.errors import CheckpointError
from trimer.models.convert.folders import check_finite
from trimer.models.labelled_model import Labelled
from trimer.models.lora import merged_state
from trimer.plugins import check_plugins, plugins_of
from trimer.pretrained import registry
from trimer.pretrained.packed import is_packed, read_packed
from trimer.renames import current_contract

if TYPE_CHECKING:
    from trimer.studies.study import Study

log = logging.getLogger(__name__)

FORMAT = 1
KEYS = ("format", "kind", "model", "task", "data", "tokenizer", "vocabulary")
# Keys about training data and reliability, which predictions use.
RECORDS = (
    "training_keys", "training_molecules", "training_spectra", "training_embeddings", "fingerprint_regression",
    "calibration", "averaging",
)  # fmt: skip
HYPERPARAMETERS = ("heads", "pad", "eps")  # of a model; they cannot be inferred from weight shapes


@dataclass
class Loaded:
    """A network in evaluation mode with its tokenizer, and the keys of its checkpoint; a missing key is None."""

    net: nn.Module
    tokenizer: Any
    contract: dict
    path: Path
    training_keys: list[dict] | None = None
    training_molecules: dict | None = None
    training_spectra: dict | None = None
    training_embeddings: dict | None = None
    fingerprint_regression: dict | None = None
    calibration: dict | None = None
    averaging: dict | None = None

    @property
    def run(self) -> Path:
        """The folder of the training run, unless the checkpoint was moved; a packed checkpoint holds its results."""
        return self.path if is_packed(self.path) else self.path.parent.parent

    @property
    def study(self) -> Study:
        """The study of this checkpoint: what it can predict and how it is evaluated."""
        return study_class(self.contract)(self)


def contract(config: dict, tokenizer) -> dict:
    """The contract that a checkpoint holds besides its tensors. config: the resolved run config, plain values."""
    configs = {
        "model": config["model"],
        "task": config["task"],
        "data": config["data"],
        "tokenizer": tokenizer.to_config(),
    }
    plugins = plugins_of(configs)
    return {
        "format": FORMAT,
        "kind": config["task"]["_target_"],
        "study": study_name(located(config["task"]["_target_"], "task")),
        **configs,
        "vocabulary": list(tokenizer.vocabulary.tokens),
        **({"plugins": plugins} if plugins else {}),
    }


def study_name(task: type) -> str:
    """The study that a task names; the base class, which neither evaluates nor predicts, if it names none."""
    return getattr(task, "study", "trimer.studies.study.Study")


def checkpoint_path(path: str | Path) -> Path:
    """The checkpoint at a path: the file itself, the best (else the last) one of a run folder, or a packed folder.

    The name of a shipped model is the path of its folder, unless there is a file or folder of that name.
    """
    path = registry.resolved(path)
    if path.is_file() or is_sharded(path) or is_packed(path):
        return path
    for name in ("best.ckpt", "last.ckpt"):
        for folder in (path / "checkpoints", path):
            if (folder / name).is_file() or is_sharded(folder / name):
                return folder / name
    if (path / "config.json").is_file():
        raise CheckpointError(
            f"ckpt={path} is a folder of public weights, which were not trained on labels or molecules: fine-tune them "
            "with trimer train data=<labelled data> ckpt=..., or use trimer embed or trimer evaluate"
        )
    if path.is_dir():
        raise CheckpointError(f"ckpt={path}: no checkpoints/best.ckpt or last.ckpt in this folder; is it a run folder?")
    raise CheckpointError(f"ckpt={path}: no such file or run folder{registry.suggestion(path) or '; check the path'}")


def read(path: str | Path) -> dict:
    """The checkpoint as a dict, with a complete contract in present names."""
    path = checkpoint_path(path)
    try:
        if is_packed(path):
            checkpoint = read_packed(path)
        elif path.is_dir():
            checkpoint = read_sharded(path)
        else:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch.load raises errors of many types for a damaged file
        raise CheckpointError(f"{path} {reason_unreadable(path, error)}") from error
    stored = checkpoint.get("trimer") if isinstance(checkpoint, dict) else None
    if not isinstance(stored, dict):
        raise CheckpointError(
            f"{path} is a checkpoint, but not of Trimer: it lacks the key 'trimer'; give a checkpoint of trimer train"
        )
    missing = [key for key in KEYS if key not in stored] + ["state_dict"] * ("state_dict" not in checkpoint)
    if missing:
        raise CheckpointError(
            f"{path} is an incomplete checkpoint of Trimer: it lacks {', '.join(missing)}; use another checkpoint"
        )
    if stored["format"] > FORMAT:
        raise CheckpointError(f"{path} has format {stored['format']}, this version reads up to {FORMAT}: update Trimer")
    checkpoint["trimer"] = current_contract(stored)
    return checkpoint


def reason_unreadable(path: Path, error: Exception) -> str:
    """The reason why a file cannot be read, without PyTorch's advice to load it unsafely."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    if path.is_dir() and isinstance(error, pickle.UnpicklingError):
        return f"is rejected: its {PLAIN} holds more than tensors and plain values, and reading it could run code"
    if path.is_dir():
        return f"is damaged ({error}); copy it again, or use another checkpoint"
    with path.open("rb") as stream:
        start = stream.read(2)
    if start[:1] == b"\x80" or (start == b"PK" and isinstance(error, pickle.UnpicklingError)):
        return "is rejected: it holds more than tensors and plain values, and reading it could run code"
    return "is damaged; copy it again, or use another checkpoint" if start == b"PK" else "is not a checkpoint"


def load(path: str | Path) -> Loaded:
    """The network and tokenizer of a checkpoint."""
    path = checkpoint_path(path)
    checkpoint = read(path)
    stored = checkpoint["trimer"]
    built = [stored["model"], stored["tokenizer"], {"_target_": stored["kind"]}, {"_target_": stored["study"]}]
    check_plugins(stored.get("plugins", ()), built, path)
    check(stored["tokenizer"], "data.tokenizer")
    check(stored["model"], "model", {"vocab_size": None})
    tokenizer = build(stored["tokenizer"])
    if list(tokenizer.vocabulary.tokens) != stored["vocabulary"]:
        raise CheckpointError(
            f"{path} was trained with another vocabulary ({len(stored['vocabulary'])} tokens) than this version of "
            f"Trimer builds from the same settings ({len(tokenizer.vocabulary.tokens)}): use the earlier version"
        )
    state = network_state(checkpoint)
    if lora := stored["task"].get("lora"):
        state = merged_state(state, lora)
    net: Any = build_bounded(lambda: study_class(stored).network(stored, len(tokenizer)), state, path)
    copy_weights(net, state, path)
    if (
        "temperature" in state
        and "weight" not in state
        and (stored["task"].get("class_weights") or stored["task"].get("focal"))
    ):
        log.warning(
            "%s was trained with class weights or a focal loss by an older version, which did not correct the "
            "probabilities: those of rare classes are too high; train it again, or use only the ranking",
            path,
        )
    return Loaded(net.eval(), tokenizer, stored, path, **{name: checkpoint.get(name) for name in RECORDS})


def study_class(contract: Mapping[str, Any]) -> type[Study]:
    """The class of the study that a contract names; ConfigError if it is not on the allow-list."""
    check_allowed(contract["study"], "study")
    return located(contract["study"], "study")


def check_labels(contract: dict, labels: dict | None, path: str | Path) -> None:
    """CheckpointError unless labels have the target, the names and the order that the network was trained on.

    labels: `target` and `classes` of the data; None if they have none.
    """
    trained = contract.get("labels")
    if trained == labels or trained is None:
        return
    if labels is None or trained["target"] != labels["target"]:
        target = "none" if labels is None else labels["target"]
        raise CheckpointError(
            f"{path} was trained on labels with data.target={trained['target']}, these data have {target}: choose data "
            f"with data.target={trained['target']}"
        )
    differing = next(
        (i for i, (a, b) in enumerate(zip(trained["classes"], labels["classes"], strict=False)) if a != b),
        min(len(trained["classes"]), len(labels["classes"])),
    )
    names = [", ".join(names[differing : differing + 1]) or "none" for names in (trained["classes"], labels["classes"])]
    raise CheckpointError(
        f"{path} was trained on {len(trained['classes'])} labels, these data have {len(labels['classes'])}: number "
        f"{differing + 1} is {names[0]!r} in the checkpoint and {names[1]!r} in the data; give the same labels in the "
        "same order (data.classes, data.source.labels)"
    )


def warm_start(net: nn.Module, tokenizer, path: str | Path) -> Loaded | None:
    """Copy the weights of a checkpoint, or public weights, into a network of the same shape.

    The vocabulary may have more tokens than that of the checkpoint: their rows keep their initial values. A network
    that was trained on labels is returned instead, with merged adapters: the task copies what it can use.
    """
    from trimer.public import is_public, public_weights

    if is_public(path):
        copy_weights(net, public_weights(net, tokenizer, path), path)
        return None
    checkpoint = read(path)
    trained, tokens = checkpoint["trimer"]["vocabulary"], list(tokenizer.vocabulary.tokens)
    is_labelled = "labels" in checkpoint["trimer"]
    if trained != tokens and (is_labelled or not set(trained) < set(tokens)):
        raise CheckpointError(
            f"ckpt={path} was trained with another vocabulary: set data.tokenizer as in that run "
            f"({checkpoint['trimer']['tokenizer']})"
        )
    check_hyperparameters(net, checkpoint["trimer"]["model"], path)
    if is_labelled:
        return load(path)
    state = network_state(checkpoint)
    copy_weights(net, state if trained == tokens else with_more_tokens(state, net, trained, tokens), path)
    return None


def with_more_tokens(
    state: Mapping[str, torch.Tensor], net: nn.Module, trained: Sequence[str], tokens: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Weights for a vocabulary that also has other tokens: rows move with their token, new ones are those of `net`."""
    index = {token: row for row, token in enumerate(tokens)}
    rows = torch.tensor([index[token] for token in trained])
    grown = dict(state)
    for name, weight in net.state_dict().items():
        if name in state and len(state[name].shape) and (len(state[name]), len(weight)) == (len(trained), len(tokens)):
            grown[name] = weight.clone().index_copy_(0, rows, state[name].to(weight.dtype))
    log.info("%s tokens are new: their embeddings keep their initial values", f"{len(tokens) - len(trained):,}")
    return grown


def check_hyperparameters(net: nn.Module, trained: Mapping[str, Any], path: str | Path) -> None:
    """CheckpointError if hyper-parameters that no weight shape shows differ from those of the training."""
    for name in HYPERPARAMETERS:
        if name in trained and getattr(net, name, trained[name]) != trained[name]:
            raise CheckpointError(
                f"ckpt={path} was trained with model.{name}={trained[name]}, but this model has "
                f"{getattr(net, name)}: set model.{name}={trained[name]}"
            )


def copy_weights(net: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Copy weights into a network; CheckpointError names those that do not fit."""
    weights = net.state_dict()
    if isinstance(net, Labelled):
        state = dict(state)
        net.complete(state)
    differences = [f"{k} is missing" for k in weights if k not in state]
    differences += [f"{k} is not in this model" for k in state if k not in weights]
    differences += [
        f"{k} is {tuple(state[k].shape)}, this model has {tuple(weights[k].shape)}"
        for k in weights
        if k in state and state[k].shape != weights[k].shape
    ]
    if differences:
        shown = "; ".join(differences[:5]) + (f"; and {len(differences) - 5} more" if len(differences) > 5 else "")
        raise CheckpointError(f"ckpt={path} does not fit model={type(net).__name__}: {shown}")
    check_finite(state, f"ckpt={path}")
    net.load_state_dict(state)


def changed(settings: dict, changes: Mapping | None) -> dict:
    """The settings of a checkpoint, updated with all changes that are not null."""
    return {**settings, **{key: value for key, value in (changes or {}).items() if value is not None}}


def network_state(checkpoint: dict) -> dict[str, torch.Tensor]:
    """The tensors of the network, under the names of its state_dict."""
    return {k.removeprefix("net."): v for k, v in checkpoint["state_dict"].items() if k.startswith("net.")}
