"""Exported models on the Hugging Face Hub, by `huggingface_hub`: upload of a folder, download of another's.

The token is that of `hf auth login` or `HF_TOKEN`; `HF_ENDPOINT` names another server. A download takes weights as
safetensors, JSON, vocabularies and cards only: nothing that is run or unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trimer.errors import ConfigError, InputError

NAME = re.compile(r"[\w.-]+/[\w.-]+")
TAKEN = ("*.json", "*.safetensors", "*.txt", "*.md", "*.model")
PACKED = "trimer"  # folder of the packed model in an export


def push(folder: Path, name: str, private: bool = True) -> str:
    """Upload an exported folder as one commit to the repository `user/model`; returns the address of the commit."""
    hub = hub_package()
    check_name(name, "push")
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with named_errors(f"push={name}"):
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(folder_path=folder, repo_id=name, commit_message="trimer export"))


def pull(name: str, folder: Path, revision: str | None = None) -> Path:
    """Download `user/model` into a new folder; returns the path for `ckpt=`, which is the packed model if there is one.

    revision: a branch, tag or commit; None is the newest commit of the main branch.
    """
    hub = hub_package()
    check_name(name, "pull")
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise ConfigError(f"output={folder} exists already: name another folder")
    endpoint = os.environ.get("HF_ENDPOINT")
    with named_errors(f"pull={name}"):
        hub.snapshot_download(name, revision=revision, local_dir=folder, endpoint=endpoint, allow_patterns=list(TAKEN))
    if not any(folder.rglob("*.safetensors")):
        raise InputError(f"pull={name} has no weights as safetensors: other formats are not downloaded")
    packed = folder / PACKED
    return packed if (packed / "model.json").is_file() else folder


def check_name(name: str, key: str) -> None:
    """ConfigError unless a name is `user/model`."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"{key}={name} must be user/model, as in the address of the model on the Hub")


def hub_package() -> Any:
    """The package `huggingface_hub`; ConfigError without it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigError("the Hugging Face Hub needs a package: pip install 'trimer[hub]'") from error
    return huggingface_hub


@contextmanager
def named_errors(where: str) -> Iterator[None]:
    """Errors of the Hub and of the connection as InputError; where: the setting that names the model."""
    try:
        yield
    except Exception as error:  # those of the package and of its HTTP client, which differs between versions
        first = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise InputError(
            f"{where}: {first}; check the name, the connection and the token (hf auth login, or HF_TOKEN)"
        ) from error
