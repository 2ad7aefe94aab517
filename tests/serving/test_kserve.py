"""KServe's protocol over HTTP, with the names and shapes of Koina."""

from __future__ import annotations

import pytest

import trimer
from trimer.peptides.fragment_ions import fragment_mz
from trimer.peptides.proforma import read_proforma

INFER = "/v2/models/{}/infer"


def tensor(name: str, datatype: str, values: list) -> dict:
    return {"name": name, "shape": [len(values), 1], "datatype": datatype, "data": values}


def precursors(peptides: list[str], charges: list[int]) -> list[dict]:
    size = len(peptides)
    return [
        tensor("peptide_sequences", "BYTES", peptides),
        tensor("precursor_charges", "INT32", charges),
        tensor("collision_energies", "FP32", [27.0] * size),
        tensor("instrument_types", "BYTES", ["QE"] * size),
    ]


def outputs_of(response) -> dict[str, dict]:
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


def test_the_server_and_its_models_describe_themselves(client):
    assert client.get("/v2").json()["name"] == "trimer"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/models/peptide-ms2/ready").json()["ready"] is True
    assert client.get("/v2/models/peptide-ms2/config").json()["max_batch_size"] == 1000
    metadata = client.get("/v2/models/peptide-ms2/versions/1").json()
    assert {one["name"]: one["datatype"] for one in metadata["inputs"]} == {
        "peptide_sequences": "BYTES",
        "precursor_charges": "INT32",
        "collision_energies": "FP32",
        "instrument_types": "BYTES",
    }
    widths = {one["shape"][1] for one in metadata["outputs"]}
    assert [one["name"] for one in metadata["outputs"]] == ["intensities", "mz", "annotation"]
    assert len(widths) == 1  # clients join batches, so the width is the same for all requests


def test_retention_times_equal_those_of_python_and_bad_rows_are_nan(client):
    peptides = ["LGGNEQVTR", "[UNIMOD:1]MEDSTK", "PEPTIDEU", ""]  # Koina's notation has no dash
    body = {"id": "a", "inputs": [tensor("peptide_sequences", "BYTES", peptides)]}
    response = client.post(INFER.format("peptide-rt"), json=body)
    outputs = outputs_of(response)
    offline = trimer.load("peptide-rt").predict(["LGGNEQVTR", "[UNIMOD:1]-MEDSTK"], trainer="cpu")
    assert outputs["irt"]["data"][:2] == pytest.approx(offline["retention"], abs=1e-4)
    assert outputs["irt"]["data"][2:] == [None, None]
    assert outputs["irt"]["shape"] == [4, 1]
    assert [bool(text) for text in outputs["errors"]["data"]] == [False, False, True, True]
    assert response.json()["id"] == "a"
    only = client.post(INFER.format("peptide-rt"), json=body | {"outputs": [{"name": "rt"}]})
    assert list(outputs_of(only)) == ["rt"]


def test_fragments_have_annotations_and_bad_rows_are_minus_one(client):
    peptides = ["LGGNEQVTR", "LGGNEQVTR", "[UNIMOD:1]-AC[UNIMOD:4]DEFGHK", "PEPTIDEK", "A" * 60]
    outputs = outputs_of(
        client.post(INFER.format("peptide-ms2"), json={"inputs": precursors(peptides, [2, 2, 1, 70, 2])})
    )
    n, width = outputs["intensities"]["shape"]
    rows = {
        name: [output["data"][row * width : (row + 1) * width] for row in range(n)]
        for name, output in outputs.items()
        if name != "errors"
    }
    # Equal rows are not left out; some CPUs round by the place in a batch.
    assert rows["intensities"][0] == pytest.approx(rows["intensities"][1], abs=1e-6)
    assert max(rows["intensities"][0]) == pytest.approx(1.0)
    place = rows["annotation"][0].index("y3+1")
    assert rows["mz"][0][place] == pytest.approx(fragment_mz(read_proforma("LGGNEQVTR"), "y", 3, 1), abs=1e-3)
    doubly = rows["annotation"][2].index("y1+2")
    assert rows["intensities"][2][doubly] == -1  # impossible for a precursor of charge 1
    for bad in (3, 4):
        assert set(rows["intensities"][bad]) == {-1}
        assert outputs["errors"]["data"][bad]
    assert outputs["errors"]["data"][:3] == ["", "", ""]


def test_probabilities_of_other_models(client):
    body = {"inputs": [tensor("smiles", "BYTES", ["CCO", "C("])]}
    outputs = outputs_of(client.post(INFER.format("kinds"), json=body))
    assert outputs["predictions"]["shape"] == [2, 2]
    assert sum(outputs["predictions"]["data"][:2]) == pytest.approx(1.0, abs=1e-5)


def test_rows_may_be_nested_and_an_empty_text_has_its_reason(client):
    body = {"inputs": [tensor("peptide_sequences", "BYTES", [["PEPTIDEK"], [None]])]}
    outputs = outputs_of(client.post(INFER.format("peptide-rt"), json=body))
    assert outputs["irt"]["data"][0] is not None
    assert outputs["irt"]["data"][1] is None
    assert outputs["errors"]["data"][1]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "no_inputs"),
        ({"inputs": [tensor("sequences", "BYTES", ["A"])]}, "unknown_input"),
        ({"inputs": [tensor("peptide_sequences", "BYTES", ["A"])]}, "missing_input"),
        ({"inputs": [tensor("peptide_sequences", "UINT8", ["A"])]}, "unknown_datatype"),
        ({"inputs": [*precursors(["AK"], [2])[:1], tensor("precursor_charges", "INT32", ["x"])]}, "invalid_tensor"),
        ({"inputs": [*precursors(["AK"], [2])[:1], tensor("precursor_charges", "INT32", [1, 2])]}, "invalid_shape"),
        ({"inputs": [*precursors(["AK"], [2])[:1], tensor("precursor_charges", "INT32", [2.7])]}, "invalid_tensor"),
        ({"inputs": [tensor("peptide_sequences", "BYTES", [[["AK"]]])]}, "invalid_tensor"),
        ({"inputs": [tensor("peptide_sequences", "BYTES", ["AK"]) | {"shape": [2, 1]}]}, "invalid_shape"),
        ({"inputs": [tensor("peptide_sequences", "BYTES", ["AK"]) | {"shape": [-1, -1]}]}, "invalid_shape"),
        ({"inputs": [tensor("peptide_sequences", "BYTES", ["AK"]) | {"shape": "1"}]}, "invalid_shape"),
        ({"inputs": [tensor("peptide_sequences", "BYTES", ["AK"]) | {"shape": [1] * 9}]}, "invalid_shape"),
        ({"inputs": precursors(["AK"], [2]), "outputs": [{"name": "x"}]}, "unknown_output"),
    ],
)
def test_other_tensors_are_refused(client, body, code):
    response = client.post(INFER.format("peptide-ms2"), json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (422, code)
