"""The folder of an export: the model in one format, with its card and what is needed to use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.errors import ConfigError
from trimer.export.card import facts_for_card, write_card
from trimer.export.tokenizer_files import write_tokenizer
from trimer.files import write_text

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

PACKED = "trimer"  # folder of the packed model in a Hugging Face folder
INTERFACE = "interface.json"
HANDLER = '''"""Handler of a Hugging Face inference endpoint; see trimer.export.endpoint."""

from trimer.export.endpoint import EndpointHandler

__all__ = ["EndpointHandler"]
'''


def export(
    ckpt: str | Path, format: str, folder: Path, weights: str = "float32", packed: bool = True
) -> dict[str, int]:
    """Export a run, a checkpoint, a shipped model or public weights; returns the size in bytes of each file.

    format: one of FORMATS. weights: number format of a packed model. packed: a Hugging Face folder also
    holds the packed model, from which its handler predicts.
    """
    if format not in FORMATS:
        raise ConfigError(f"format={format} must be one of {', '.join(FORMATS)}")
    if format == "safetensors":
        write_packed_folder(ckpt, folder, weights)
    else:
        from trimer.api import load

        WRITERS[format](load(ckpt).loaded, folder, weights, packed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def write_packed_folder(ckpt: str | Path, folder: Path, weights: str) -> None:
    """The packed form of a checkpoint (`trimer.pretrained.packed`); a packed one is copied."""
    from trimer.checkpoint import checkpoint_path
    from trimer.pretrained.pack_model import copy_packed, pack
    from trimer.pretrained.packed import is_packed
    from trimer.public import is_public

    if is_public(ckpt):
        raise ConfigError(f"ckpt={ckpt} is a folder of public weights already: use format=torch or format=onnx")
    path = checkpoint_path(ckpt)
    if is_packed(path):
        copy_packed(path, folder)
    else:
        pack(path, folder, weights=weights)


def write_huggingface(loaded: Loaded, folder: Path, weights: str, packed: bool) -> None:
    """A folder of `transformers` with tokenizer files, card, handler and, if asked for, the packed model."""
    from trimer.export.huggingface import pipeline_of, write_transformers_model
    from trimer.public import is_public

    architecture = write_transformers_model(loaded, folder)
    reads = write_tokenizer(loaded.tokenizer, folder, longest_of(loaded.net))
    write_text(folder / "handler.py", HANDLER)
    write_text(folder / "requirements.txt", "trimer\n")
    with_packed = packed and not is_public(loaded.path)
    if with_packed:
        write_packed_folder(loaded.path, folder / PACKED, weights)
    facts = facts_for_card(loaded, folder)
    usage = usage_of(architecture, reads, with_packed)
    write_card(folder / "README.md", loaded, facts, usage, pipeline_of(architecture) if reads else "other")


def usage_of(architecture: str, reads: str, packed: bool) -> str:
    """The section of a card that shows how to load the folder."""
    lines = ["## Use", "", "```python", "import trimer", "", f'model = trimer.load("<folder>{"/trimer" * packed}")']
    lines += ["```", "", "```python", f"from transformers import {'AutoTokenizer, ' * bool(reads)}{architecture}", ""]
    lines += [f'model = {architecture}.from_pretrained("<folder>").eval()']
    lines += ['tokenizer = AutoTokenizer.from_pretrained("<folder>")'] if reads else []
    lines += ["```", ""]
    if reads:
        lines += [f"The tokenizer reads {reads}.", ""]
    else:
        lines += ["The input of this model is tokenized by Trimer; `vocab.json` lists the ids of its tokens.", ""]
    if architecture.endswith("Classification"):
        lines += [
            "Softmax (one of several classes), sigmoid (yes-or-no labels) or identity (numbers) of the logits equals "
            "the prediction of Trimer: calibration and units are part of the output layer.",
            "",
        ]
    return "\n".join(lines)


def write_program(loaded: Loaded, folder: Path, weights: str, packed: bool) -> None:
    """`model.pt2` of `torch.export` with its interface and card."""
    from trimer.export.padded import Padded
    from trimer.export.programs import write_torch

    _write_padded(loaded, folder, Padded(loaded.net), write_torch)


def write_onnx_folder(loaded: Loaded, folder: Path, weights: str, packed: bool) -> None:
    """`model.onnx` with its interface and card."""
    from trimer.export.padded import Padded
    from trimer.export.programs import check_onnx, write_onnx

    check_onnx()
    _write_padded(loaded, folder, Padded(loaded.net), write_onnx)


def _write_padded(loaded: Loaded, folder: Path, padded: Any, write: Callable[[Any, Any, Path], Path]) -> None:
    from trimer.export.programs import exported_program

    program = exported_program(padded)
    folder.mkdir(parents=True, exist_ok=True)
    write(program, padded, folder)
    reads = write_tokenizer(loaded.tokenizer, folder, longest_of(loaded.net))
    write_text(folder / INTERFACE, json.dumps(interface_of(loaded, padded), indent=2, ensure_ascii=False) + "\n")
    usage = "\n".join(
        [
            "## Use",
            "",
            f"`{INTERFACE}` lists inputs and outputs. Rows are padded on the right.",
            f"`tokenizer.json` reads {reads}." if reads else "`vocab.json` lists the ids of the tokens.",
            "",
        ]
    )
    write_card(folder / "README.md", loaded, facts_for_card(loaded, folder), usage)


def interface_of(loaded: Loaded, padded: Any) -> dict[str, Any]:
    """Inputs and outputs of a program with shapes, limits, tokens, and the names of its predictions."""
    from trimer.peptides.conditions import CHARGES, KINDS
    from trimer.peptides.modifications import ELEMENTS

    tokenizer = loaded.tokenizer
    charges = [f"charge {number}" for number in range(1, CHARGES + 1)]
    conditions = [*charges, "collision energy / 100", "collision energy is known", *KINDS, "unknown instrument"]
    shapes: dict[str, dict[str, Any]] = {
        "input_ids": {"shape": ["batch", "length"], "type": "int64"},
        "attention_mask": {"shape": ["batch", "length"], "type": "int64", "values": "1 token, 0 padding on the right"},
        "composition": {"shape": ["batch", "length", len(ELEMENTS)], "type": "float32", "elements": list(ELEMENTS)},
        "conditions": {"shape": ["batch", len(conditions)], "type": "float32", "columns": conditions},
        "possible": {
            "shape": ["batch", "length", padded.channels],
            "type": "int64",
            "values": "1 for a fragment that the peptide can form, else 0",
        },
    }
    labels = loaded.contract.get("labels") or {}
    roles = {role: getattr(tokenizer, role) for role in ("cls", "eos", "pad", "unk") if hasattr(tokenizer, role)}
    return {
        "inputs": {name: shapes[name] for name in padded.inputs},
        "outputs": padded.outputs,
        **({"target": labels["target"], "columns": list(labels["classes"])} if labels else {}),
        "longest": padded.longest,
        "special_tokens": roles,
        "vocabulary": dict(tokenizer.vocabulary.ids),
    }


def longest_of(net: Any) -> int | None:
    """Maximum number of tokens of a sequence; None without a limit."""
    encoder = getattr(net, "encoder", net)
    return getattr(encoder, "longest", None) or getattr(net, "max_positions", None)


WRITERS: dict[str, Callable[[Loaded, Path, str, bool], None]] = {
    "huggingface": write_huggingface,
    "torch": write_program,
    "onnx": write_onnx_folder,
}
FORMATS = ("huggingface", "safetensors", "torch", "onnx")
