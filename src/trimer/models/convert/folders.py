"""Model folders of `transformers`: `config.json` with the weights in one file or in shards."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimer.errors import CheckpointError

# TensorFlow names in the layer norms of BERT; transformers 5 writes them for a model that it has created.
OLD_NAMES = {"gamma": "weight", "beta": "bias"}
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # each is one file, or `<name>.index.json` with the shards


def read_folder(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and configuration from a folder with `model.safetensors` or `pytorch_model.bin`, also in shards.

    CheckpointError for an incomplete model, and for weights that are not finite.
    """
    folder = Path(folder).expanduser()
    config = read_config(folder)
    state = _read_state(folder)
    check_finite(state, folder)
    return {re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda m: OLD_NAMES[m[0]], k): v for k, v in state.items()}, config


def read_config(folder: Path) -> dict[str, Any]:
    """The settings in `config.json`."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json: pass the folder of a Hugging Face model")
    return read_object(path)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. CheckpointError if it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}): copy the folder again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} contains a JSON {type(content).__name__}, not an object: copy the folder again")
    return content


def _read_state(folder: Path) -> dict[str, Tensor]:
    for name in WEIGHTS:
        whole, index = folder / name, folder / f"{name}.index.json"
        if whole.is_file():
            return _read_weights(whole)
        if index.is_file():
            return _read_shards(folder, index)
    raise CheckpointError(f"{folder} has neither model.safetensors nor pytorch_model.bin, nor an index of shards")


def _read_shards(folder: Path, index: Path) -> dict[str, Tensor]:
    file_of = read_object(index).get("weight_map")
    if not isinstance(file_of, dict) or not all(isinstance(name, str) for name in file_of.values()):
        raise CheckpointError(f"{index} has no weight_map from tensors to files: copy the folder again")
    names = sorted(set(file_of.values()))
    if missing_files := [name for name in names if not (folder / name).is_file()]:
        raise CheckpointError(
            f"{folder} lacks {len(missing_files)} of {len(names)} weight files, such as {missing_files[0]}: "
            "copy the folder again"
        )
    state = {key: value for name in names for key, value in _read_weights(folder / name).items()}
    if missing := sorted(set(file_of) - set(state)):
        raise CheckpointError(f"{folder}: {file_of[missing[0]]} lacks the tensor {missing[0]}: copy the folder again")
    return state


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise errors of many types, some without a text
        raise CheckpointError(
            f"the weights in {path} cannot be read ({reason_of(error)}): copy the folder again"
        ) from error


def reason_of(error: Exception) -> str:
    """Why a file of weights cannot be read, without PyTorch's advice to load it unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is damaged or holds more than tensors, and reading it could run code"
    return next(iter(str(error).splitlines()), type(error).__name__)


def check_finite(state: Mapping[str, Tensor], where: str | Path) -> None:
    """CheckpointError with the first tensor that contains NaN or infinity, since every prediction would be NaN."""
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            count = int((~torch.isfinite(value)).sum())
            raise CheckpointError(
                f"{where}: {count:,} of {value.numel():,} weights in {name} are NaN or infinite; use another copy"
            )


def write_folder(folder: str | Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Path:
    """Write `config.json` and `model.safetensors`. state: tensors that share no memory. Returns the folder."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {key: value.contiguous() for key, value in state.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder
