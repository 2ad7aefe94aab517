"""What predictions are compared with: calibration, training molecules and embeddings, and a library of spectra."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from table_helpers import write_csv

import trimer
from trimer.checkpoint import checkpoint_path, read
from trimer.checkpoint_updates import update_checkpoint
from trimer.cli.main import main
from trimer.simulate.simulated_molecules import simulated_molecules

SHORT = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false"]
SPECTRUM = "BEGIN IONS\nTITLE={}\nPEPMASS={}\nADDUCT=[M+H]+\n{}85.028 20\n97.028 30\n127.039 {}\nEND IONS\n\n"
SMILES = ["CCO", "CCCO", "c1ccccc1O", "CC(=O)OC", "OCC1CCCC1", "NCC(=O)O"]


@pytest.fixture
def molecules(monkeypatch):
    """Decode every text of the untrained model to one of these molecules, chosen by its tokens."""
    decode = lambda self, ids: SMILES[sum(ids) % len(SMILES)]  # noqa: E731
    monkeypatch.setattr("trimer.tokenizers.joint.SpectrumMoleculeTokenizer.decode_molecule", decode)


@pytest.fixture(scope="module")
def spectra_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spectra")
    overrides = [
        *SHORT, "data.source.molecules=60", "data.tokens_per_batch=2000", "model.d_model=32", "test=false",
        "task.generator.num_samples=4", "task.generator.max_length=16", f"paths.cache={folder / 'cache'}",
    ]  # fmt: skip
    assert main(["train", *overrides, f"hydra.run.dir={folder / 'run'}"]) == 0
    return folder / "run"


def test_candidates_have_probabilities_similarities_and_library_hits(spectra_run, tmp_path, molecules, capsys):
    checkpoint = read(spectra_run)
    assert 0 < checkpoint["training_molecules"]["molecules"] <= 60 and "calibration" not in checkpoint
    source, library, out = tmp_path / "my.mgf", tmp_path / "library.mgf", tmp_path / "out.csv"
    source.write_text(SPECTRUM.format("a", 180.0655, "", 100) + SPECTRUM.format("b", 250.1, "", 90))
    library.write_text(SPECTRUM.format("hit", 180.0656, "NAME=glucose\nSMILES=OCC1OC(O)C(O)C(O)C1O\n", 100))
    words = [f"input={source}", f"output={out}", "trainer=cpu", "ranked=true"]
    assert main(["predict", f"ckpt={spectra_run}", *words]) == 0
    told = capsys.readouterr().err
    assert "p_molecule and p_formula: empty, because the checkpoint is not calibrated" in told
    assert "library_...: empty, because no library is given" in told
    rows = list(csv.DictReader(out.open()))
    assert all(row["p_molecule"] == row["library_cosine"] == "" for row in rows)
    assert {row["library_reason"] for row in rows} == {
        "no library is given: name a file of spectra with library=<file>"
    }
    assert all(0 <= float(row["similarity_to_training"]) <= 1 for row in rows)

    folder = tmp_path / "evaluation"
    options = ["calibrate=true", "calibration_spectra=5", "split=val", "baselines=false"]
    assert main(["evaluate", f"ckpt={spectra_run}", *options, f"hydra.run.dir={folder}"]) == 0
    report = json.loads((folder / "calibration.json").read_text())
    assert report["spectra"] == 5 and report["generator"]["num_samples"] == 4
    assert "val/p_molecule_brier" in json.loads((folder / "result.json").read_text())["metrics"]
    after = read(spectra_run)
    assert all(torch.equal(after["state_dict"][name], value) for name, value in checkpoint["state_dict"].items())

    model = trimer.load(spectra_run)
    predicted = model.predict(source, ranked=True, library=str(library))
    assert main(["predict", f"ckpt={spectra_run}", *words, f"library={library}"]) == 0
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0]) == predicted.columns and len(rows) == len(predicted)
    assert [row["p_molecule"] for row in rows] == [str(value) for value in predicted["p_molecule"]]
    assert all(0 < float(row["p_molecule"]) <= float(row["p_formula"]) + 1e-9 for row in rows)
    hits = {row["id"]: (row["library_name"], row["library_cosine"]) for row in rows}
    assert hits == {"a": ("glucose", "1.0"), "b": ("", "")}
    reasons = {row["id"]: row["library_reason"] for row in rows}
    assert reasons["a"] == "" and reasons["b"].startswith("no spectrum of the library within ")

    capsys.readouterr()
    other = model.predict(source, generator={"num_samples": 5})
    assert other["p_molecule"] == [None, None]
    assert "generator.num_samples=5 (calibrated with 4)" in capsys.readouterr().err


def test_calibration_needs_the_training_data(spectra_run, tmp_path, capsys):
    words = ["calibrate=true", "data=simulated_spectra", f"hydra.run.dir={tmp_path / 'x'}"]
    assert main(["evaluate", f"ckpt={spectra_run}", *words]) == 1
    assert "calibrate=true uses the training data of the checkpoint" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    smiles = simulated_molecules(60, seed=3)
    write_csv(folder / "molecules.csv", ["smiles", "kind"], [[text, "AB"[n % 2]] for n, text in enumerate(smiles)])
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("LAGVSERTIDPK"), random.integers(6, 20))) for _ in range(60)]
    write_csv(folder / "proteins.csv", ["sequence", "kind"], [[text, "AB"[n % 2]] for n, text in enumerate(texts)])
    return folder


@pytest.mark.parametrize(
    ("entity", "model", "key"),
    [("molecules", "smiles_nano", "training_molecules"), ("proteins", "esm2_nano", "training_embeddings")],
)
def test_labels_have_an_applicability(tables, tmp_path, entity, model, key):
    source = tables / f"{entity}.csv"
    words = [
        *SHORT, f"data=labelled_{entity}", f"model={model}", "model.d_model=32", "task=classification",
        "data.source.labels=kind", "data.target=single", f"data.source.paths={source}", "data.tokens_per_batch=400",
        "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}", f"paths.cache={tables / 'cache'}", "baselines=false",
    ]  # fmt: skip
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    test = pq.read_table(tmp_path / "run" / "test" / "predictions.parquet").to_pylist()
    groups = list(csv.DictReader((tmp_path / "run" / "test" / "applicability.csv").open()))
    assert sum(int(row["records"]) for row in groups) == len(test) > 5
    out = tmp_path / "out.csv"
    assert main(["predict", f"ckpt={tmp_path / 'run'}", f"input={source}", f"output={out}", "trainer=cpu"]) == 0
    rows = list(csv.DictReader(out.open()))
    values = {row["sequence"]: float(row["applicability"]) for row in rows}
    assert all(0 <= value <= 1 for value in values.values())
    train = [values[row["sequence"]] for row in rows if row["in_training"].startswith("train")]
    others = [values[row["sequence"]] for row in rows if row["in_training"] == "no"]
    assert np.mean(train) > np.mean(others) and (entity == "proteins" or min(train) == 1)
    path = checkpoint_path(tmp_path / "run")
    update_checkpoint(path, {key: None})
    predicted = trimer.load(tmp_path / "run").predict(source)
    assert set(predicted["applicability"]) == {None}
