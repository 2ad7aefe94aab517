"""The packed form of a checkpoint: a folder of tensors and JSON, without the state of the training.

    model.json            contract, training stages and facts of the card: plain values
    weights.safetensors   weights of the network, in one of the formats of `trimer.pretrained.weights`; those that
                          another packed model in the same folder has are not stored again (LoRA leaves most of them)
    training.safetensors  other tensors: keys of the training records, fingerprints of the training molecules; and long
                          texts (boosted trees), compressed
    result.json           metrics of the test split, as in a run folder
    split.json            how the data were split, as in a run folder
    table.json            methods and baselines on the test split
    card.md               the model card

It holds what predictions, embeddings, evaluations, fine-tuning and the card need, and is read without pickle. Paths
below the folders of data and cache are stored as `${paths.data}` and `${paths.cache}`, and become those of the reader.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimer.data.core.training_keys import compacted
from trimer.errors import CheckpointError
from trimer.files import write_text
from trimer.pretrained.registry import MODEL
from trimer.pretrained.weights import restored, stored

log = logging.getLogger(__name__)

FORMAT = 2  # 1: without int8 and compressed texts
WEIGHTS, TRAINING = "weights.safetensors", "training.safetensors"
# Keys of a checkpoint that are kept, and all of TRAINING_KEYS.
KEPT = ("trimer", "fingerprint_regression", "calibration", "averaging", "epoch", "global_step")
TRAINING_KEYS = "training_"  # start of the keys about training records, such as training_molecules
KEYS = 20_000  # keys of a set that are stored exactly: 160 kB; larger sets become a filter of 1.8 bytes a key
LONG_TEXT = 100_000  # characters from which a text is compressed
LARGEST_TEXT = 256 * 2**20  # bytes that a compressed text may have: more is not a text of ours
PLACES = ("data", "cache")  # keys of `paths` that contracts refer to


def is_packed(path: Path) -> bool:
    """Whether a path is the folder of a packed checkpoint."""
    return (path / MODEL).is_file() and (path / WEIGHTS).is_file()


def write_packed(
    folder: Path,
    checkpoint: Mapping[str, Any],
    paths: Mapping[str, str],
    number_format: str,
    facts: Mapping[str, Any],
    base: str | None = None,
) -> None:
    """Write model.json and the tensors of a checkpoint. paths: folders of data and cache that the contract refers to.

    number_format: one of `trimer.pretrained.weights.FORMATS`. base: name of a packed model beside this one; weights
    equal to one of its weights are read from there.
    """
    weights = {name: value for name, value in checkpoint["state_dict"].items() if name.startswith("net.")}
    kept = {name: value for name, value in checkpoint.items() if name in KEPT or name.startswith(TRAINING_KEYS)}
    if stages := kept.get("training_keys"):
        kept["training_keys"] = [{**stage, "keys": compacted(stage["keys"], KEYS)} for stage in stages]
    tensors: dict[str, Tensor] = {}
    plain = without_tensors(kept, tensors)
    plain["trimer"] = with_places(plain["trimer"], {f"${{paths.{name}}}": str(paths[name]) for name in PLACES})
    if local := sorted(set(local_paths(plain["trimer"]["data"]))):
        log.warning("%s names paths of this computer: %s", folder / MODEL, ", ".join(local[:3]))
    folder.mkdir(parents=True, exist_ok=True)
    tensors_of_weights = stored(weights, number_format)
    shared = shared_weights(tensors_of_weights, folder.parent / base) if base else {}
    save(folder / WEIGHTS, {name: value for name, value in tensors_of_weights.items() if name not in shared})
    save(folder / TRAINING, tensors)
    content = {"format": FORMAT, "weights": number_format, "facts": dict(facts), "checkpoint": plain}
    if base:
        digest = file_digest(folder.parent / base / WEIGHTS)
        content["base"] = {"model": base, "sha256": digest, "weights": shared}
    write_text(folder / MODEL, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_packed(folder: Path) -> dict[str, Any]:
    """The checkpoint of a packed folder as a dict, with weights in float32 and the paths of this installation."""
    from safetensors.torch import load_file

    content = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    if content["format"] > FORMAT:
        raise CheckpointError(
            f"{folder} has format {content['format']}, this version reads up to {FORMAT}: update Trimer"
        )
    tensors = load_file(folder / TRAINING)
    checkpoint = with_tensors(content["checkpoint"], tensors)
    here = paths_here()
    checkpoint["trimer"] = with_places(checkpoint["trimer"], {here[name]: f"${{paths.{name}}}" for name in PLACES})
    weights = load_file(folder / WEIGHTS)
    if base := content.get("base"):
        path = folder.parent / Path(base["model"]).name / WEIGHTS  # never a path outside of the parent folder
        if not path.is_file() or file_digest(path) != base["sha256"]:
            raise CheckpointError(
                f"{folder} shares weights with {path.parent}, which is missing or has changed: copy both folders, or "
                "install Trimer again"
            )
        others = load_file(path)
        weights |= {name: others[other] for name, other in base["weights"].items()}
    return checkpoint | {"state_dict": restored(weights)}


def shared_weights(weights: Mapping[str, Tensor], base: Path) -> dict[str, str]:
    """Name -> name in another packed model, for weights of equal type, shape and values; CheckpointError without it."""
    from safetensors.torch import load_file

    if not (base / WEIGHTS).is_file():
        raise CheckpointError(f"base={base.name}: {base} is not a packed model; pack it first")
    by_digest = {digest_of(value): name for name, value in load_file(base / WEIGHTS).items() if value.numel()}
    digests = {name: digest_of(value) for name, value in weights.items()}
    return {name: by_digest[digest] for name, digest in digests.items() if digest in by_digest}


def digest_of(value: Tensor) -> str:
    """SHA-256 of the type, shape and values of a tensor."""
    head = f"{value.dtype} {tuple(value.shape)} ".encode()
    return hashlib.sha256(
        head + value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    ).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def paths_here() -> dict[str, str]:
    """The folders of data and cache of this installation: `conf/paths/default.yaml` with its environment variables."""
    from omegaconf import OmegaConf

    from trimer.cli.configs import shipped_folder

    paths: Any = OmegaConf.load(shipped_folder() / "paths" / "default.yaml")
    return {name: str(paths[name]) for name in PLACES}


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file of safetensors; tensors may share memory."""
    from safetensors.torch import save_file

    save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, path)


def without_tensors(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """Nested values as JSON: tensors and long texts go to `tensors`, and their dotted name takes their position."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, str) and len(value) >= LONG_TEXT:
        tensors[name] = torch.frombuffer(bytearray(zlib.compress(value.encode(), 9)), dtype=torch.uint8)
        return {"compressed_text": name}
    if isinstance(value, Mapping):
        return {str(key): without_tensors(part, tensors, f"{name}.{key}".lstrip(".")) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_tensors(part, tensors, f"{name}.{number}") for number, part in enumerate(value)]
    return value


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `without_tensors`."""
    if isinstance(value, dict):
        if set(value) == {"tensor"}:
            return tensors[value["tensor"]]
        if set(value) == {"compressed_text"}:
            return decompressed(tensors[value["compressed_text"]])
        return {key: with_tensors(part, tensors) for key, part in value.items()}
    return [with_tensors(part, tensors) for part in value] if isinstance(value, list) else value


def decompressed(value: Tensor) -> str:
    """The text of a tensor of compressed bytes; CheckpointError if it is longer than LARGEST_TEXT."""
    stream = zlib.decompressobj()
    text = stream.decompress(value.numpy().tobytes(), LARGEST_TEXT)
    if not stream.eof:
        raise CheckpointError(f"a compressed text of the model is cut or longer than {LARGEST_TEXT / 2**20:,.0f} MiB")
    return text.decode()


def local_paths(value: Any) -> Iterator[str]:
    """All texts of nested values that are absolute paths."""
    if isinstance(value, dict):
        yield from (path for part in value.values() for path in local_paths(part))
    elif isinstance(value, list):
        yield from (path for part in value for path in local_paths(part))
    elif isinstance(value, str) and value.startswith(("/", "~/")):
        yield value


def with_places(value: Any, places: Mapping[str, str]) -> Any:
    """Nested values in which texts that begin with a folder begin with its new name. places: new name -> folder."""
    if isinstance(value, dict):
        return {key: with_places(part, places) for key, part in value.items()}
    if isinstance(value, list):
        return [with_places(part, places) for part in value]
    if isinstance(value, str):
        for new, old in places.items():
            if value == old or value.startswith(f"{old.rstrip('/')}/"):
                return new + value[len(old.rstrip("/")) :] if value != old else new
    return value
