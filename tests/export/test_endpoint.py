"""The handler of a Hugging Face endpoint answers as Trimer predicts, and takes nothing but records from a request."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

import trimer
from trimer.export.endpoint import EndpointHandler, plain
from trimer.export.folder import HANDLER, PACKED, write_packed_folder
from trimer.models.convert.esm2_weights import save_esm2
from trimer.models.esm2 import Esm2

PEPTIDES = ["PEPTIDEK", "no peptide!", "LM[Oxidation]SALAR"]


@pytest.fixture(scope="module")
def handler(tmp_path_factory) -> EndpointHandler:
    """The handler of the shipped model of retention times, from the file in its folder."""
    folder = tmp_path_factory.mktemp("export")
    write_packed_folder("peptide-rt", folder / PACKED, weights="float16")
    (folder / "handler.py").write_text(HANDLER)
    spec = importlib.util.spec_from_file_location("handler", folder / "handler.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EndpointHandler(str(folder))


def test_predictions_are_those_of_trimer(handler):
    answer = handler({"inputs": PEPTIDES, "parameters": {}})
    expected = [plain(row) for row in trimer.predict("peptide-rt", PEPTIDES).rows]
    assert answer == expected == json.loads(json.dumps(answer, allow_nan=False))
    assert answer[1]["reason"] and not answer[0]["reason"] and not answer[2]["reason"]
    (alone,) = handler({"inputs": "PEPTIDEK"})
    assert alone["retention"] == pytest.approx(answer[0]["retention"], abs=1e-4)
    assert handler({"inputs": []}) == []


def test_a_request_cannot_name_files_or_other_models(handler, tmp_path):
    file = tmp_path / "peptides.csv"
    file.write_text("sequence\nPEPTIDEK\n")
    for inputs in (str(file), [str(file)]):  # read as a peptide, which it is not
        (row,) = handler({"inputs": inputs})
        assert row["reason"] and "PEPTIDEK" not in str(row)
    for name in ("library", "retention", "trainer", "generator", "column"):
        answer = handler({"inputs": "PEPTIDEK", "parameters": {name: str(file)}})
        assert answer["error"].startswith(f"parameters.{name} cannot be set in a request")


def test_unusable_requests_give_a_sentence(handler):
    for request, sentence in (
        ({}, "inputs must be a text"),
        ({"inputs": [1]}, "inputs must be a text"),
        ({"inputs": ["K"] * 2000}, "a request may have 1,024 records"),
        ({"inputs": ["K" * 2_000_000]}, "a request may have 1,000,000 characters"),
        ({"inputs": [{"mz": [1.0]}]}, "input: the columns mz fit no known layout of peptides"),
        ({"inputs": "K", "parameters": [1]}, "parameters must be an object"),
        ({"inputs": [{"sequence": "K"}], "parameters": {"notation": "words"}}, "notation=words"),
        ({"inputs": "K", "parameters": {"seed": {}}}, "parameters.seed must be a text"),
    ):
        assert handler(request)["error"].startswith(sentence)


def test_an_encoder_without_a_packed_model_gives_embeddings(tmp_path):
    torch.manual_seed(0)
    save_esm2(Esm2(d_model=16, layers=1, heads=2), tmp_path)
    handler = EndpointHandler(Path(tmp_path))
    answer = handler({"inputs": ["MKT", "MKTAYIAK"], "parameters": {"pooling": "mean"}})
    expected = trimer.embed(tmp_path, ["MKT", "MKTAYIAK"]).vectors
    assert [row["embedding"] for row in answer] == [vector.tolist() for vector in expected]
    assert handler({"inputs": "MKT", "parameters": {"candidates": 3}})["error"].startswith("parameters.candidates")
