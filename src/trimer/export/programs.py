"""Networks as programs: `torch.export` (.pt2) and ONNX, with dynamic batch size and length."""

from __future__ import annotations

import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from trimer.errors import ConfigError
from trimer.export.padded import Padded

SHORTEST = 3  # tokens: start, one residue, end
NEEDED = ("onnx", "onnxscript")


def exported_program(padded: Padded) -> torch.export.ExportedProgram:
    """The network as a program of `torch.export`; batch size and length are dynamic."""
    padded = padded.eval()
    example = padded.example()
    with torch.no_grad():
        padded(*example)  # constants that are cached, such as rotary frequencies, are computed outside of the tracing
        batch = torch.export.Dim("batch", min=1)
        length = torch.export.Dim("length", min=SHORTEST, max=padded.longest)
        shapes = tuple({0: batch} if name == "conditions" else {0: batch, 1: length} for name in padded.inputs)
        return torch.export.export(padded, example, dynamic_shapes=shapes, strict=False)


def write_torch(program: torch.export.ExportedProgram, padded: Padded, folder: Path) -> Path:
    """Write `model.pt2`; `torch.export.load(path).module()` is the network."""
    path = folder / "model.pt2"
    torch.export.save(program, path)
    return path


def check_onnx() -> None:
    """ConfigError if the packages of the ONNX exporter are not installed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(f'format=onnx needs {" and ".join(missing)}: pip install "trimer[onnx]"')


def write_onnx(program: torch.export.ExportedProgram, padded: Padded, folder: Path) -> Path:
    """Write `model.onnx`, with weights above 2 GB in a file beside it."""
    check_onnx()
    path = folder / "model.onnx"
    size = sum(value.numel() * value.element_size() for value in padded.state_dict().values())
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # of torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        onnx_program: Any = torch.onnx.export(
            program,
            input_names=padded.inputs,
            output_names=padded.outputs,
            dynamo=True,
            verbose=False,
        )
    onnx_program.save(str(path), external_data=size > 1.8e9)
    return path
