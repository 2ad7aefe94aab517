"""Averages of language model, random SMILES and boosting, with features beside the SMILES: predicted as measured."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from table_helpers import write_csv

from trimer.api import command_config
from trimer.checkpoint import load, read
from trimer.checkpoint_updates import update_checkpoint
from trimer.cli.main import main
from trimer.pretrained.packed import paths_here, write_packed
from trimer.simulate.simulated_molecules import simulated_molecules

SHORT = [
    "data=labelled_molecules", "model=smiles_nano", "model.d_model=32", "task=regression", "data.target=regression",
    "data.source.labels=number", "data.source.id_column=id", "trainer.max_steps=2", "trainer.val_check_interval=2",
    "trainer.enable_progress_bar=false", "trainer.precision=32-true", "data.tokens_per_batch=400", "baselines=false",
    "data.split.fractions={train: 0.5, val: 0.25, test: 0.25}", "data.features=[counts,MolLogP]",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("averaging")
    smiles = simulated_molecules(60, seed=3)
    rows = [[text, 100 + len(text), f"m{row}"] for row, text in enumerate(smiles)]
    write_csv(folder / "molecules.csv", ["smiles", "number", "id"], rows)
    words = [*SHORT, f"data.source.paths={folder / 'molecules.csv'}", f"hydra.run.dir={folder / 'run'}"]
    assert main(["train", *words, "boosting=true", "augment=2"]) == 0
    return folder / "run"


def predict(ckpt: Path, folder: Path, output: str, *words: str) -> dict[str, dict]:
    source = ckpt if ckpt.is_dir() else ckpt.parents[1]
    files = [f"input={source.parent / 'molecules.csv'}", "id_column=id", f"output={folder / output}"]
    assert main(["predict", f"ckpt={ckpt}", *files, "trainer.precision=32-true", *words]) == 0
    with (folder / output).open(encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def test_predict_gives_what_the_table_measures(run, tmp_path, monkeypatch):
    """Also without LightGBM, whose model the checkpoint carries as text."""
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    assert metrics["boosting_weight"] > 0.2 and "val/loss_random_smiles" in metrics
    table = list(csv.DictReader((run / "test" / "table.csv").open()))
    boosting = "gradient boosting (LightGBM)"
    assert [row["method"] for row in table] == ["language model alone", boosting, "language model + boosting"]
    assert float(table[2]["rmse"]) < float(table[0]["rmse"]) and table[0]["rmse_difference_p"]
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    rows = predict(run, tmp_path, "out.csv")
    tested = pq.read_table(run / "test" / "predictions.parquet").to_pylist()
    for row in tested:
        for ours, theirs in (("number", "predicted"), ("number_low", "low"), ("number_high", "high")):
            assert float(rows[row["id"]][ours]) == pytest.approx(row[f"{theirs}: number"], abs=1e-3)


def numbers(loaded, smiles: list[str], **settings) -> list[float]:
    predictor = loaded.study.predictor(command_config("predict", {"ckpt": "-", "output": "-"}, settings))
    return [rows[0]["number"] for rows in predictor.predict([predictor.records(smiles)])]


def test_random_smiles_of_predictions_do_not_depend_on_the_other_records(run):
    loaded, smiles = load(run), simulated_molecules(12, seed=5)
    loaded.averaging = None
    several = numbers(loaded, smiles, augment=3, seed=1)
    assert numbers(loaded, ["CCO", smiles[7]], augment=3, seed=1)[1] == pytest.approx(several[7], abs=1e-3)
    for other in ({"augment": 3, "seed": 2}, {"augment": 0}, {}):
        assert abs(numbers(loaded, [smiles[7]], **other)[0] - several[7]) > 1e-4
    loaded.averaging = {"random_smiles": 3, "seed": 1, "weight": 0.0, "boosting": None}
    assert numbers(loaded, smiles) == pytest.approx(several), "as stored in the checkpoint"


def test_the_head_reads_features_that_predictions_compute(run):
    loaded = load(run)
    assert loaded.contract["data"]["features"] == ["counts", "MolLogP"] and loaded.net.head.features.in_features == 2049
    assert (loaded.net.head.feature_mean[:2048] >= 0).all() and loaded.net.head.feature_mean.any()
    loaded.averaging = None
    before = numbers(loaded, ["CCO", "CCN"])
    loaded.net.head.features.weight.data[:, 2048] += 1.0
    assert abs(numbers(loaded, ["CCO"])[0] - before[0]) > 1e-4


def test_a_packed_model_keeps_its_average(run, tmp_path):
    write_packed(tmp_path / "packed", read(run), paths_here(), "float32", facts={})
    assert load(tmp_path / "packed").averaging == load(run).averaging
    assert load(run).averaging["boosting"]["models"][0]["text"].startswith("tree\n")


def test_a_damaged_average_gives_one_sentence(run, tmp_path, capsys):
    path = tmp_path / "damaged.ckpt"
    torch.save(torch.load(run / "checkpoints" / "best.ckpt", weights_only=True), path)
    words = ["predict", f"ckpt={path}", f"input={run.parent / 'molecules.csv'}", f"output={tmp_path / 'out.csv'}"]
    for value in ({"random_smiles": 1000, "seed": 0, "weight": 0.5}, {"weight": 2.0}, "text"):
        update_checkpoint(path, {"averaging": value})
        capsys.readouterr()
        assert main(words) == 1
        error = capsys.readouterr().err.strip()
        assert "the key averaging is damaged" in error and "\n" not in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["evaluate", "boosting=true"], "chosen on the validation split: add calibrate=true"),
        (["evaluate", "augment=-1"], "augment=-1 must be 0 to 100"),
        (["train", "data=labelled_proteins", "model=esm2_nano", "boosting=true"], "boosting=True is for models that"),
        (["train", "data=labelled_proteins", "model=esm2_nano", "augment=2"], "augment=2 is for models that"),
    ],
)
def test_settings_that_do_not_fit_are_rejected(run, tmp_path, capsys, words, sentence):
    command, *words = words
    if command == "evaluate":
        words = [*words, f"ckpt={run}", "baselines=false"]
    else:
        words = [*SHORT[3:-1], *words, f"data.source.paths={run.parent / 'molecules.csv'}"]
    capsys.readouterr()
    assert main([command, *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    assert sentence in capsys.readouterr().err
