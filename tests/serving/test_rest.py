"""Predictions over REST: every input and output format, one reason for each bad row, versions in every response."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import re
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem

import trimer
from trimer.models.convert.esm2_weights import save_esm2
from trimer.models.esm2 import Esm2
from trimer.serving import requests, rest
from trimer.serving.models import not_collected
from trimer.serving.served_cards import example_records
from trimer.serving.server import loaded
from trimer.serving.service import Service

TABLES = ("ndjson", "csv", "parquet")
CASES = Path(__file__).parents[1] / "cases"
FULL = ("spectra/b20_riken.msp", "molecules/mols.sdf", "proteins/digits.fasta", "peptides/psm.tsv")  # in all formats
PEPTIDES = ["LGGNEQVTR", "AC[UNIMOD:4]DEFGHK", "PEPTIDEK", "not a peptide", "[UNIMOD:1]-MEDSTK"]
FILES = {
    "mine.csv": b"smiles,name\nCCO,a\nnot a molecule,b\nCCCN,c\n",
    "mine.tsv": b"name\tsmiles\na\tCCO\nb\tnot a molecule\nc\tCCCN\n",
    "wrong.csv": b"name\tsmiles\na\tCCO\nb\tnot a molecule\nc\tCCCN\n",  # a TSV
    "mine.smi": b"CCO a\nnot_a_molecule b\nCCCN c\n",
    "../../etc/passwd": b"CCO a\nnot_a_molecule b\nCCCN c\n",
}


# Model, and a file of tests/cases as a program wrote it.
AS_WRITTEN = [
    ("spectrums", "spectra/b09_mzmine_sirius.mgf"),
    ("spectrums", "spectra/b20_riken.msp"),
    ("spectrums", "spectra/m05_numpress.mzML"),
    ("kinds", "molecules/mols.sdf"),
    ("membrane", "proteins/x.fasta.xz"),
    ("states", "proteins/utf16.fasta"),
    ("membrane", "proteins/digits.fasta"),
    ("peptide-rt", "peptides/psm.tsv"),
    ("peptide-rt", "peptides/ev_silac.txt"),
    ("peptide-ms2", "peptides/diann18_library.tsv"),
]
EXPECTED = {  # whether each record has a prediction; for the other files as in Python
    "spectra/b09_mzmine_sirius.mgf": [False, True, True, False],  # MS1, and an adduct that is not in the training data
    "spectra/b20_riken.msp": [True, True],
    "spectra/m05_numpress.mzML": [True, True, True],
}


def predict(client, model: str, **options):
    return client.post(f"/v1/models/{model}/predict", **options)


def test_rows_equal_those_of_python_and_a_bad_one_has_a_reason(client):
    response = predict(client, "peptide-rt", json={"records": PEPTIDES})
    assert response.status_code == 200
    body = response.json()
    offline = trimer.load("peptide-rt").predict(PEPTIDES, trainer="cpu")
    assert [row["retention"] for row in body["rows"]] == pytest.approx(offline["retention"], abs=1e-4)
    assert [row["reason"] is None for row in body["rows"]] == [True, True, True, False, True]
    assert body["rows"][3]["reason"] == offline[3]["reason"]
    assert body["columns"] == offline.columns
    assert (body["model"], body["trimer_version"], body["without"]) == ("peptide-rt", trimer.__version__, 1)
    assert len(body["model_version"]) == 12


def test_large_bodies_and_answers_go_through_files_and_are_the_same(client, monkeypatch):
    body = json.dumps({"records": PEPTIDES}).encode()
    header = {"content-type": "application/json"}
    usual = predict(client, "peptide-rt", content=body, headers=header)
    monkeypatch.setattr(rest, "IN_MEMORY", 0)
    monkeypatch.setattr(requests, "IN_MEMORY", 10)
    large = predict(client, "peptide-rt", content=body, headers=header)
    assert "last-modified" in large.headers and "last-modified" not in usual.headers
    assert [row["sequence"] for row in large.json()["rows"]] == [row["sequence"] for row in usual.json()["rows"]]
    assert large.json().keys() == usual.json().keys()
    assert large.headers["trimer-records"] == usual.headers["trimer-records"]
    packed = predict(client, "peptide-rt", content=gzip.compress(body), headers=header)
    assert packed.json()["records"] == len(PEPTIDES)


@pytest.mark.parametrize("name", FILES)
def test_files_are_recognised_by_their_content(client, name):
    sent = predict(client, "kinds", files={"file": (name, FILES[name])})
    assert sent.status_code == 200, sent.text
    rows = sent.json()["rows"]
    assert [row["reason"] is None for row in rows] == [True, False, True]
    assert rows[0]["sequence"] == "CCO"
    assert "/" not in rows[1]["reason"]  # no path of the server


@pytest.mark.parametrize(("model", "file"), AS_WRITTEN)
def test_files_of_other_programs_get_a_prediction_or_a_reason_for_each_record(client, all_models, model, file):
    """The rows are the same in all formats; an SDF has a molecule without atoms where a spectrum has no prediction."""
    content, few = (CASES / file).read_bytes(), json.dumps({"generator": {"num_samples": 2}})
    form = {"files": {"file": (Path(file).name, content)}, "data": {"parameters": few} if model == "spectrums" else {}}
    sent = predict(client, model, **form)
    assert sent.status_code == 200, sent.text
    rows = sent.json()["rows"]
    if (predicted := EXPECTED.get(file)) is None:
        offline = all_models[model].model.predict(CASES / file, trainer="cpu")
        predicted = [reason is None for reason in offline["reason"]]
    assert [row["reason"] is None for row in rows] == predicted != []
    value = {"spectrums": "smiles", "peptide-rt": "retention", "peptide-ms2": "intensities", "states": "labels"}
    assert [row[value.get(model, "label")] is not None for row in rows] == predicted
    assert not any(tempfile.gettempdir() in (row["reason"] or "") for row in rows)
    reasons = [row["reason"] for row in rows]
    for name in TABLES + ("sdf",) * (model in ("spectrums", "kinds")) if file in FULL else ():
        other = client.post(f"/v1/models/{model}/predict?format={name}", **form)
        assert other.status_code == 200, other.text
        assert reasons_of(name, other.content) == reasons, name


def reasons_of(name: str, content: bytes) -> list[str | None]:
    """The reasons of all rows of a response, None for rows with a prediction."""
    if name == "parquet":
        return pq.read_table(io.BytesIO(content))["reason"].to_pylist()
    text = content.decode()
    if name == "ndjson":
        return [json.loads(line)["reason"] for line in text.splitlines()]
    if name == "csv":
        return [row["reason"] or None for row in csv.DictReader(io.StringIO(text))]
    found = [re.search(r">  <reason>[^\n]*\n([^\n]+)", one) for one in text.split("$$$$\n")[:-1]]
    return [match and match[1] for match in found]


def test_proteins_are_embedded_by_every_kind_of_model(client, all_models):
    fasta = b">one\nMKTAYIAKQR\n>two\nMK*V\n"
    for name in ("membrane", "states", "esm2"):
        url = f"/v1/models/{name}/embed"
        body = client.post(url, content=fasta).json()
        assert [row["id"] for row in body["rows"]] == ["one", "two"]
        offline = all_models[name].model.embed(["MKTAYIAKQR"], trainer="cpu").vectors[0]
        assert body["rows"][0]["embedding"] == pytest.approx(offline.tolist(), abs=1e-4)
        assert "stop (*) inside the sequence" in body["rows"][1]["reason"]
        table = pq.read_table(io.BytesIO(client.post(f"{url}?format=parquet&pooling=residue", content=fasta).content))
        assert len(table["embedding"][0].as_py()) == 10
        lines = client.post(f"{url}?format=csv", content=fasta).text.splitlines()
        assert len(lines) == 3 and lines[0] == "row,id,length,embedding,reason"
    refused = predict(client, "esm2", content=fasta)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unsupported_operation")


def test_public_weights_embed_proteins(service, serve_config, tmp_path):
    torch.manual_seed(0)
    save_esm2(Esm2(d_model=16, layers=1, heads=2), tmp_path / "esm2_tiny")
    (model,) = loaded([f"{tmp_path}/esm2_tiny"], serve_config).values()
    card = service._warmed_up(model)
    assert (model.name, list(card["operations"]), card["input"]["kind"]) == ("esm2_tiny", ["embed"], "proteins")
    assert len(card["example"]["known"]) == 6


def test_the_card_of_a_protein_model_has_known_proteins(client, all_models):
    for name in ("membrane", "states", "esm2"):
        card = client.get(f"/v1/models/{name}").json()
        records, known = card["example"]["records"], card["example"]["known"]
        assert [one["id"] for one in records] == [one["id"] for one in known]
        assert [one["meaning"] for one in known] == ["membrane-bound", "soluble"] * 3
        operation = "embed" if name == "esm2" else "predict"
        answer = client.post(f"/v1/models/{name}/{operation}", json=card["example"]).json()
        assert [row["id"] for row in answer["rows"]] == [one["id"] for one in records]
        assert answer["without"] == 0
    assert client.get("/v1/models/membrane").json()["knows"]["classes"] == ["M", "S"]
    assert "both ends" in client.get("/v1/models/membrane").json()["input"]["longer"]
    assert client.get("/v1/models/states").json()["knows"]["target"] == "residue"


def test_no_row_tells_a_client_to_name_a_library(client, all_models):
    record = {"precursor_mz": 195.0877, "adduct": "[M+H]+", "mz": [138.0662, 110.0713], "intensity": [100, 30]}
    body = predict(client, "spectrums", json={"records": [record]}).json()
    assert body["rows"][0]["smiles"] and body["rows"][0]["library_reason"] is None


def test_a_raw_table_with_another_column_of_sequences_is_read(client):
    url = "/v1/models/kinds/predict?format=csv"
    for content, query in ((b"canonical_smiles,name\nCCO,a\n", ""), (b"compound,no\nCCO,a\n", "&column=compound")):
        response = client.post(url + query, content=content)
        (row,) = csv.DictReader(io.StringIO(response.text))
        assert (row["sequence"], row["reason"]) == ("CCO", "")
    message = client.post(url, content=b"CCO,ethanol\nCCN,ethylamine\n").json()["error"]["message"]
    assert message.startswith("upload.csv, line 1: no column 'smiles', there are CCO, ethanol")


def test_a_list_with_the_media_type_of_a_table_gets_the_remedy(client):
    for model, content, name in (("kinds", b"CCO\nCCN\n", "smiles"), ("peptide-rt", b"LGGNEQVTR\n", "sequence")):
        response = client.post(f"/v1/models/{model}/predict", content=content, headers={"Content-Type": "text/csv"})
        assert response.status_code == 422
        assert f"write {name} in a line above it" in response.json()["error"]["message"]


def test_line_ends_that_curl_removed_are_noticed(client, all_models):
    def post(model: str, content: bytes, media: str = "application/x-www-form-urlencoded"):
        return client.post(f"/v1/models/{model}/predict", content=content, headers={"Content-Type": media})

    joined = post("kinds", b"CCOCCN")
    assert joined.status_code == 200
    assert any("--data-binary" in text for text in joined.json()["warnings"])
    assert not post("kinds", b"CCO\nCCN\n").json()["warnings"]
    assert not post("kinds", b"CCO", "text/plain").json()["warnings"]
    for model, content in (
        ("membrane", b">aMKTAYIAKQR>bMKKLLPTAAA"),
        ("peptide-rt", b"sequencePEPTIDEK"),
        ("spectrums", b"BEGIN IONSPEPMASS=100END IONS"),
    ):
        refused = post(model, content)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "one_line")
    table = io.BytesIO()
    pd.DataFrame({"smiles": ["CCO"]}).to_parquet(table)
    assert post("kinds", table.getvalue()).json()["without"] == 0


def test_warnings_name_no_path_of_the_server(client, all_models):
    response = client.post("/v1/models/membrane/predict", content=b">a\n\n", headers={"Content-Type": "text/plain"})
    assert response.json()["warnings"][0].startswith("none of the 1 rows of upload.fasta can be used")
    assert "/" not in response.json()["warnings"][0]


def test_raw_bodies_may_be_compressed_and_take_parameters_in_the_url(client):
    body = gzip.compress(b"structure\nCCO\nCCCN\n")
    headers = {"content-type": "text/csv", "content-encoding": "gzip"}
    sent = client.post("/v1/models/kinds/predict?column=structure&format=csv", content=body, headers=headers)
    assert sent.status_code == 200, sent.text
    assert sent.headers["content-type"].startswith("text/csv")
    assert len(sent.text.splitlines()) == 3
    assert sent.headers["trimer-model"] == "kinds"
    assert sent.headers["trimer-version"] == trimer.__version__


def test_an_sdf_is_read_and_written_with_a_reason_for_each_bad_row(client):
    sdf = "".join(f"{Chem.MolToMolBlock(Chem.MolFromSmiles(text))}$$$$\n" for text in ("CCO", "CCN"))
    sent = predict(client, "kinds", content=sdf.encode(), headers={"accept": "chemical/x-mdl-sdfile"})
    assert sent.status_code == 200, sent.text
    supplier = Chem.SDMolSupplier()
    supplier.SetData(sent.text)
    assert [Chem.MolToSmiles(molecule) for molecule in supplier] == ["CCO", "CCN"]
    assert {"alcohol", "amine"} >= {molecule.GetProp("label") for molecule in supplier}
    bad = predict(client, "kinds", json={"records": ["C("]}, headers={"accept": "chemical/x-mdl-sdfile"})
    assert ">  <reason>" in bad.text


def test_random_smiles_are_bounded_and_their_seed_is_reported(client):
    body = {"records": ["CCO", "CCCN"], "parameters": {"augment": 3, "seed": 5}}
    assert predict(client, "kinds", json=body).json()["seed"] == 5
    refused = predict(client, "kinds", json=body | {"parameters": {"augment": 10_000}}).json()["error"]
    assert "limits.num_samples" in refused["message"]
    assert predict(client, "peptide-rt", json={"records": ["PEPTIDEK"]}).json()["seed"] is None


def test_ndjson_and_parquet_have_all_rows(client):
    lines = predict(client, "peptide-rt", json={"records": PEPTIDES}, headers={"accept": "application/jsonlines"})
    rows = [json.loads(line) for line in lines.text.splitlines()]
    parquet = client.post("/v1/models/peptide-rt/predict?format=parquet", json={"records": PEPTIDES})
    table = pq.read_table(io.BytesIO(parquet.content)).to_pylist()
    assert [row["reason"] for row in table] == [row["reason"] for row in rows]
    assert len(rows) == 5


def test_fragments_are_a_table_or_a_library_and_equal_rows_are_all_predicted(client):
    record = {"sequence": "LGGNEQVTR", "charge": 2, "nce": 27}
    bad = {"sequence": "LGGNEQVTR", "charge": 40}
    both = predict(client, "peptide-ms2", json={"records": [record, bad, record], "parameters": {"fixed": ""}}).json()
    first, wrong, again = both["rows"]
    for one, other in zip(first["intensities"], again["intensities"], strict=True):
        assert one == pytest.approx(other, abs=1e-6)  # some CPUs round by the place in a batch
    assert "charge" in wrong["reason"]
    library = client.post("/v1/models/peptide-ms2/predict?format=tsv", json={"records": [record]})
    assert library.text.startswith("ModifiedPeptide\t")
    assert library.headers["trimer-records"] == "1"


def test_embeddings_and_their_limit(client, service, monkeypatch):
    body = client.post("/v1/models/peptide-rt/embed", json={"records": ["PEPTIDEK", "?"]}).json()
    offline = trimer.load("peptide-rt").embed(["PEPTIDEK"], trainer="cpu").vectors
    assert body["rows"][0]["embedding"] == pytest.approx(offline[0].tolist(), abs=1e-4)
    assert body["rows"][1]["embedding"] is None
    assert body["rows"][1]["reason"]
    unusable = client.post("/v1/models/peptide-rt/embed", json={"records": ["?", "*"]}).json()
    assert [row["reason"] is None for row in unusable["rows"]] == [False, False]
    refused = client.post("/v1/models/peptide-ms2/embed", json={"records": ["PEPTIDEK/2"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unsupported_operation")


def test_the_card_names_columns_parameters_limits_and_an_example_that_works(client):
    listed = client.get("/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["peptide-rt", "peptide-ms2", "kinds"]
    for entry in listed:
        card = client.get(entry["card"]).json()
        operation = card["operations"]["predict"]
        assert {"row", "reason"} <= {column["name"] for column in operation["columns"]}
        assert {"name", "default", "limit", "help"} <= set(operation["parameters"][0])
        assert card["limits"]["body_mib"] > 0
        assert card["task"] and card["version"] and card["knows"]
        answer = predict(client, card["name"], json=card["example"])
        assert answer.status_code == 200
        assert answer.json()["without"] == 0
    rt = client.get("/v1/models/peptide-rt").json()
    assert rt["licence"] == "Apache-2.0, as Trimer"
    assert rt["task"] == "predicts the indexed retention time of a peptide"
    assert "7 to 30 residues on one gradient" in rt["caveats"][0]
    kinds = client.get("/v1/models/kinds").json()  # a run of the user
    assert (kinds["licence"], kinds["caveats"], kinds["task"]) == (None, [], "predicts one of 2 classes of molecules")
    assert rt["table"]["rows"] and "C[UNIMOD:4]" in rt["knows"]["sites"]
    assert client.get("/v1/models/nothing").json()["error"]["code"] == "unknown_model"


def test_examples_are_read_without_a_warning(caplog):
    example_records.cache_clear()
    with caplog.at_level(logging.WARNING, "trimer"):
        assert any("C[UNIMOD:4]" in text for text in example_records("peptides"))
        for kind in ("precursors", "molecules", "proteins", "spectra"):
            assert example_records(kind)
    assert not caplog.records


def test_predictions_wait_until_each_model_has_predicted_an_example(service, monkeypatch):
    from starlette.testclient import TestClient

    from trimer.serving.app import create_app

    loading = Service(service.limits)
    client = TestClient(create_app(loading))
    assert client.get("/healthz").status_code == 200
    for path in ("/readyz", "/ping", "/v2/health/ready"):
        assert client.get(path).status_code == 503
    refused = predict(client, "peptide-rt", json={"records": ["PEPTIDEK"]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
    monkeypatch.setattr(loading, "_warmed_up", lambda model: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loading.start(lambda: service.models)
    failed = client.get("/readyz")
    assert (failed.status_code, failed.json()["status"]) == (503, "failed")
    loading.close()


def test_nothing_of_a_request_is_kept_or_logged(client, tmp_path, monkeypatch):
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(not_collected)  # as those of the server
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for options in ({"json": {"records": PEPTIDES}}, {"files": {"file": ("a.csv", b"sequence\nPEPTIDEK\nSECRETK?\n")}}):
        assert predict(client, "peptide-rt", **options).status_code == 200
    table = predict(client, "peptide-rt", json={"records": [{"sequence": "SECRETCK"}]}).json()
    assert table["warnings"]  # its cysteine is taken as carbamidomethylated
    assert "SECRET" not in written.getvalue() and table["warnings"][0] not in written.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_versions_metrics_and_openapi(client):
    assert client.get("/version").json()["models"].keys() == {"peptide-rt", "peptide-ms2", "kinds"}
    predict(client, "peptide-rt", json={"records": ["PEPTIDEK"]})
    metrics = client.get("/metrics").text
    assert 'trimer_requests_total{route="/v1/models/{model}/predict",status="200"}' in metrics
    assert 'trimer_records_total{model="peptide-rt",operation="predict",outcome="predicted"}' in metrics
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/v1/models/{model}/predict",
        "/v1/models/{model}/embed",
        "/invocations",
        "/v2/models/{model}/infer",
    } <= set(paths)
