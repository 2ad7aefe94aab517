"""Exported programs give the outputs of the network for other batch sizes and lengths than those of the export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trimer.errors import ConfigError
from trimer.export import programs
from trimer.export.padded import Padded
from trimer.models.esm2 import Esm2
from trimer.models.fragment_model import Fragments
from trimer.models.labelled_model import Labelled
from trimer.models.peptide_encoder import PeptideEncoder

SHAPES = ((1, 5), (4, 12), (3, 40))


@pytest.fixture(scope="module")
def encoder() -> tuple[Padded, torch.export.ExportedProgram]:
    torch.manual_seed(0)
    padded = Padded(Esm2(d_model=16, layers=1, heads=2).eval())
    return padded, programs.exported_program(padded)


@pytest.fixture(scope="module")
def fragments() -> tuple[Padded, torch.export.ExportedProgram]:
    torch.manual_seed(0)
    padded = Padded(Fragments(PeptideEncoder(d_model=16, layers=1, conditions=True), 4).eval())
    return padded, programs.exported_program(padded)


@torch.no_grad()
def test_a_torch_program_is_equal_for_all_shapes(encoder, tmp_path):
    padded, exported = encoder
    program = torch.export.load(programs.write_torch(exported, padded, tmp_path)).module()
    for shape in SHAPES:
        inputs = padded.example(*shape)
        torch.testing.assert_close(program(*inputs), padded(*inputs), atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_a_head_and_the_input_of_modifications_are_exported():
    net = Labelled(PeptideEncoder(d_model=16, layers=1, conditions=True), 3, "single", {"pooling": "attention"})
    padded = Padded(net.eval())
    program = programs.exported_program(padded).module()
    for shape in SHAPES:
        inputs = tuple(x + 1 if x.is_floating_point() else x for x in padded.example(*shape))
        torch.testing.assert_close(program(*inputs), padded(*inputs), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_fragments_are_exported(fragments):
    padded, exported = fragments
    program = exported.module()
    for shape in SHAPES:
        inputs = padded.example(*shape)
        torch.testing.assert_close(program(*inputs), padded(*inputs), atol=1e-6, rtol=1e-5)


def onnx_session(padded, exported, folder: Path):
    """The ONNX program in ONNX Runtime; the test is skipped without the packages."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason='format=onnx needs "trimer[onnx]"')
    runtime = pytest.importorskip("onnxruntime", reason='"trimer[onnx]" is not installed')
    path: Path = programs.write_onnx(exported, padded, folder)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == padded.inputs
    return session


@torch.no_grad()
def test_an_onnx_program_of_fragments_is_equal(fragments, tmp_path):
    padded, session = fragments[0], onnx_session(*fragments, tmp_path)
    for shape in SHAPES[1:]:
        inputs = padded.example(*shape)
        named = {name: value.numpy() for name, value in zip(padded.inputs, inputs, strict=True)}
        (intensities,) = session.run(padded.outputs, named)
        torch.testing.assert_close(torch.from_numpy(intensities), padded(*inputs)[0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_onnx_program_is_equal_for_all_shapes(encoder, tmp_path):
    padded, session = encoder[0], onnx_session(*encoder, tmp_path)
    for shape in SHAPES:
        inputs = padded.example(*shape)
        named = {name: value.numpy() for name, value in zip(padded.inputs, inputs, strict=True)}
        for ours, theirs in zip(padded(*inputs), session.run(padded.outputs, named), strict=True):
            torch.testing.assert_close(torch.from_numpy(theirs), ours, atol=1e-5, rtol=1e-4)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'onnx and onnxscript: pip install "trimer\[onnx\]"'):
        programs.check_onnx()
