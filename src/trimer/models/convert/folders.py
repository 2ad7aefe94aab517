"""Folders in the form that `transformers` reads and writes: `config.json` with `model.safetensors`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimer.errors import CheckpointError

# TensorFlow's names in the layer norms of BERT; transformers 5 writes them again for a model that it made itself.
OLD_NAMES = {"gamma": "weight", "beta": "bias"}


def read_folder(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and configuration of a folder with `model.safetensors`, whole or in shards, or `pytorch_model.bin`."""
    folder = Path(folder).expanduser()
    state, config = _read(folder)
    return {re.sub(r"(?<=LayerNorm\.)(gamma|beta)$", lambda m: OLD_NAMES[m[0]], k): v for k, v in state.items()}, config


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors.torch import load_file

    config, safe, pickled = folder / "config.json", folder / "model.safetensors", folder / "pytorch_model.bin"
    if not config.is_file():
        raise CheckpointError(f"{folder} has no config.json: give the folder of a Hugging Face model")
    settings = json.loads(config.read_text(encoding="utf-8"))
    index = folder / "model.safetensors.index.json"
    try:
        if safe.is_file():
            return load_file(safe), settings
        if index.is_file():
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return {key: value for name in names for key, value in load_file(folder / name).items()}, settings
        if pickled.is_file():
            return torch.load(pickled, map_location="cpu", weights_only=True), settings
    except Exception as error:
        raise CheckpointError(f"the weights in {folder} cannot be read ({error}): copy the folder again") from error
    raise CheckpointError(f"{folder} has neither model.safetensors nor pytorch_model.bin")


def write_folder(folder: str | Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Path:
    """Write both files; state: tensors that share no memory. Returns the folder."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole = {key: value.contiguous() for key, value in state.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return folder
