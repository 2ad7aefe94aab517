"""The checkpoint contract: tensors and plain values, enough to rebuild net and tokenizer from the file alone.

A checkpoint is Lightning's own file with two more keys. `trimer`: format, kind of task, its study, the configs of
model, task, data and tokenizer, the vocabulary, and which plug-ins of the user these name. `training_keys`: what it was
trained on (`trimer.data.core.training_keys`), which older ones lack. It is read with `weights_only=True` and rebuilt
behind the allow-list of `trimer.building`, so that a file from elsewhere cannot run code.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trimer.building import build, check_allowed, located
from trimer.checkpoint_shards import is_sharded, read_sharded
from trimer.errors import CheckpointError
from trimer.models.convert.folders import check_finite
from trimer.models.labelled_model import Labelled
from trimer.models.lora import merge_lora
from trimer.plugins import check_plugins, plugins_of
from trimer.renames import current_contract

if TYPE_CHECKING:
    from trimer.studies.study import Study

log = logging.getLogger(__name__)

FORMAT = 1
KEYS = ("format", "kind", "model", "task", "data", "tokenizer", "vocabulary")
UNSEEN = ("heads", "pad", "eps")  # settings of a model that no weight has a shape to show


@dataclass
class Loaded:
    """A network in evaluation mode with its tokenizer, the contract it came with, and the stages of its training."""

    net: nn.Module
    tokenizer: Any
    contract: dict
    path: Path
    training_keys: list[dict] | None = None

    @property
    def study(self) -> Study:
        """What can be done with this checkpoint."""
        return study_class(self.contract)(self)


def contract(config: dict, tokenizer) -> dict:
    """What a checkpoint carries beside its tensors. config: the resolved run config, plain values."""
    parts = {
        "model": config["model"],
        "task": config["task"],
        "data": config["data"],
        "tokenizer": tokenizer.to_config(),
    }
    plugins = plugins_of(parts)
    return {
        "format": FORMAT,
        "kind": config["task"]["_target_"],
        "study": located(config["task"]["_target_"], "task").study,
        **parts,
        "vocabulary": list(tokenizer.vocabulary.tokens),
        **({"plugins": plugins} if plugins else {}),
    }


def checkpoint_path(path: str | Path) -> Path:
    """The checkpoint file that a path means: the file itself, or the best (else the last) one of a run folder."""
    path = Path(path).expanduser()
    if path.is_file() or is_sharded(path):
        return path
    for name in ("best.ckpt", "last.ckpt"):
        for folder in (path / "checkpoints", path):
            if (folder / name).is_file() or is_sharded(folder / name):
                return folder / name
    if (path / "config.json").is_file():
        raise CheckpointError(
            f"ckpt={path} is a folder of public weights, which have learnt no labels and no molecules of Trimer's: "
            "fine-tune them with trimer train data=<labelled data> ckpt=..., or use trimer embed or trimer evaluate"
        )
    if path.is_dir():
        raise CheckpointError(f"ckpt={path}: no checkpoints/best.ckpt or last.ckpt in this folder; is it a run folder?")
    raise CheckpointError(f"ckpt={path}: no such file or run folder")


def read(path: str | Path) -> dict:
    """The raw checkpoint of Trimer, with its contract checked."""
    path = checkpoint_path(path)
    try:
        if path.is_dir():
            checkpoint = read_sharded(path)
        else:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise CheckpointError(f"{path} {unreadable(path, error)}") from error
    found = checkpoint.get("trimer") if isinstance(checkpoint, dict) else None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is a checkpoint, but not of Trimer: it lacks the key 'trimer'")
    missing = [key for key in KEYS if key not in found] + ["state_dict"] * ("state_dict" not in checkpoint)
    if missing:
        raise CheckpointError(f"{path} is no whole checkpoint of Trimer: it lacks {', '.join(missing)}")
    if found["format"] > FORMAT:
        raise CheckpointError(f"{path} has format {found['format']}, this version reads up to {FORMAT}: update Trimer")
    checkpoint["trimer"] = current_contract(found)
    return checkpoint


def unreadable(path: Path, error: Exception) -> str:
    """Why a file cannot be read, without PyTorch's advice to load it unsafely."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    if path.is_dir():
        return f"is damaged ({error}); copy it again, or use another checkpoint"
    with path.open("rb") as stream:
        start = stream.read(2)
    if start[:1] == b"\x80" or (start == b"PK" and isinstance(error, pickle.UnpicklingError)):
        return "holds more than tensors and plain values, which could run code when it is read, and is rejected"
    return "is damaged; copy it again, or use another checkpoint" if start == b"PK" else "is no checkpoint"


def load(path: str | Path, kind: str | None = None) -> Loaded:
    """Rebuild net and tokenizer. kind: the task that the command needs, as `trimer.tasks.seq2seq.Seq2Seq`."""
    path = checkpoint_path(path)
    checkpoint = read(path)
    found = checkpoint["trimer"]
    if kind is not None and found["kind"] != kind:
        raise CheckpointError(
            f"{path} holds a model of {_name(found['kind'])}, this command needs one of {_name(kind)}"
        )
    rebuilt = [found["model"], found["tokenizer"], {"_target_": found["kind"]}, {"_target_": found["study"]}]
    check_plugins(found.get("plugins", ()), rebuilt, path)
    tokenizer = build(found["tokenizer"])
    if list(tokenizer.vocabulary.tokens) != found["vocabulary"]:
        raise CheckpointError(
            f"{path} was trained with another vocabulary ({len(found['vocabulary'])} tokens) than this version of "
            f"Trimer builds from the same settings ({len(tokenizer.vocabulary.tokens)}): use the one that trained it"
        )
    net = study_class(found).network(found, len(tokenizer))
    state = network_state(checkpoint)
    copy_weights(net, state, path)
    if (
        "temperature" in state
        and "weight" not in state
        and (found["task"].get("class_weights") or found["task"].get("focal"))
    ):
        log.warning(
            "%s was trained with class weights or a focal loss by an older version, which did not undo them: its "
            "probabilities of rare classes are too high; train it again, or go by their order only",
            path,
        )
    if found["task"].get("lora"):
        merge_lora(net.encoder)
    return Loaded(net.eval(), tokenizer, found, path, checkpoint.get("training_keys"))


def study_class(contract: Mapping[str, Any]) -> type[Study]:
    """The class of the study that a contract names, behind the allow-list."""
    check_allowed(contract["study"], "study")
    return located(contract["study"], "study")


def check_labels(contract: dict, found: dict | None, path: str | Path) -> None:
    """CheckpointError unless labels are of the kind, of the names and in the order that a network has learnt.

    found: `target` and `classes` of the data; None where they have none.
    """
    learnt = contract.get("labels")
    if learnt == found or learnt is None:
        return
    if found is None or learnt["target"] != found["target"]:
        told = "none" if found is None else found["target"]
        raise CheckpointError(f"{path} has learnt labels with data.target={learnt['target']}, these data have {told}")
    place = next(
        (i for i, (a, b) in enumerate(zip(learnt["classes"], found["classes"], strict=False)) if a != b),
        min(len(learnt["classes"]), len(found["classes"])),
    )
    names = [", ".join(names[place : place + 1]) or "none" for names in (learnt["classes"], found["classes"])]
    raise CheckpointError(
        f"{path} has learnt {len(learnt['classes'])} labels, these data have {len(found['classes'])} or others: "
        f"number {place + 1} is {names[0]!r} there and {names[1]!r} here; name the same in the same order "
        "(data.classes, data.source.labels)"
    )


def warm_start(net: nn.Module, tokenizer, path: str | Path) -> Loaded | None:
    """Copy the weights of a checkpoint, or public ones, into a network of the same shape and vocabulary.

    A network that was fine-tuned on labels is returned instead, its adapters merged: the task takes what it can use.
    """
    from trimer.public import is_public, public_weights

    if is_public(path):
        copy_weights(net, public_weights(net, tokenizer, path), path)
        return None
    checkpoint = read(path)
    if checkpoint["trimer"]["vocabulary"] != list(tokenizer.vocabulary.tokens):
        raise CheckpointError(
            f"ckpt={path} was trained with another vocabulary: give data.tokenizer the settings of that run "
            f"({checkpoint['trimer']['tokenizer']})"
        )
    check_unseen(net, checkpoint["trimer"]["model"], path)
    if "labels" in checkpoint["trimer"]:
        return load(path)
    copy_weights(net, network_state(checkpoint), path)
    return None


def check_unseen(net: nn.Module, theirs: Mapping[str, Any], path: str | Path) -> None:
    """CheckpointError where weights were trained with other settings that would let them load, and mean nothing."""
    for name in UNSEEN:
        if name in theirs and getattr(net, name, theirs[name]) != theirs[name]:
            raise CheckpointError(f"ckpt={path} was trained with model.{name}={theirs[name]}, this model has another")


def copy_weights(net: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Copy weights; CheckpointError naming those that do not fit."""
    own = net.state_dict()
    if isinstance(net, Labelled):
        state = dict(state)
        net.complete(state)
    differences = [f"{k} is missing" for k in own if k not in state]
    differences += [f"{k} is not in this model" for k in state if k not in own]
    differences += [
        f"{k} is {tuple(state[k].shape)}, this model has {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    if differences:
        shown = "; ".join(differences[:5]) + (f"; and {len(differences) - 5} more" if len(differences) > 5 else "")
        raise CheckpointError(f"ckpt={path} does not fit model={type(net).__name__}: {shown}")
    check_finite(state, f"ckpt={path}")
    net.load_state_dict(state)


def changed(settings: dict, changes: Mapping | None) -> dict:
    """Settings of a checkpoint with the changes that are not null."""
    return {**settings, **{key: value for key, value in (changes or {}).items() if value is not None}}


def network_state(checkpoint: dict) -> dict[str, torch.Tensor]:
    """The tensors of the network, under the names that the plain module gives them."""
    return {k.removeprefix("net."): v for k, v in checkpoint["state_dict"].items() if k.startswith("net.")}


def _name(target: str) -> str:
    return target.rsplit(".", 1)[-1]
