"""Every command takes the name of a shipped model as ckpt=, and a packed model predicts as its checkpoint does."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import trimer
from trimer.checkpoint import load
from trimer.cli.main import main
from trimer.pretrained import registry

SMALL = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false", "baselines=false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A classifier of molecules and a model of spectra, trained for two steps and packed into `models`."""
    folder = tmp_path_factory.mktemp("shipped")
    rows = [f"{'C' * (n + 1)}{end},{kind}" for n in range(8) for end, kind in (("O", "alcohol"), ("N", "amine"))]
    (folder / "mine.csv").write_text("\n".join(["smiles,kind", *rows]) + "\n")
    source = [f"data.source.paths={folder}/mine.csv", "data.source.labels=kind", "data.target=single"]
    shape = ["model=roberta_nano", "model.d_model=16", "model.heads=2", "model.layers=1", "task=classification"]
    cache = f"paths.cache={folder / 'cache'}"
    run = f"hydra.run.dir={folder / 'superclass'}"
    assert main(["train", "data=labelled_molecules", *source, *shape, *SMALL, cache, run, "name=mine"]) == 0
    spectra = ["data.source.molecules=40", "data.tokens_per_batch=1000", "model.d_model=32", "test=false"]
    generator = ["task.generator.num_samples=2", "task.generator.max_length=16"]
    assert main(["train", *spectra, *generator, *SMALL, cache, f"hydra.run.dir={folder / 'spectrums'}"]) == 0
    for name in ("superclass", "spectrums"):
        assert main(["pack", f"ckpt={folder / name}", f"output={folder / 'models' / name}"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _shipped(folder, empty_folder, monkeypatch) -> None:
    """The packed models take the place of the shipped ones; the working directory is empty."""
    monkeypatch.setattr(registry, "FOLDER", folder / "models")


def rows_of(path: Path) -> list[dict]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_predict_takes_a_name(folder, empty_folder):
    for name, ckpt in (("whole", folder / "superclass"), ("packed", "superclass")):
        assert main(["predict", f"ckpt={ckpt}", f"input={folder}/mine.csv", f"output={name}.csv", "trainer=cpu"]) == 0
    whole, packed = (rows_of(empty_folder / f"{name}.csv") for name in ("whole", "packed"))
    assert [row["in_training"] for row in packed] == [row["in_training"] for row in whole]
    assert {row["in_training"].partition(":")[0] for row in packed} >= {"train", "validation"}
    for before, after in zip(whole, packed, strict=True):
        assert float(after["probability of amine"]) == pytest.approx(float(before["probability of amine"]), abs=1e-3)


def test_embed_takes_a_name(folder, empty_folder):
    assert main(["embed", "ckpt=superclass", f"input={folder}/mine.csv", "output=vectors.parquet"]) == 0
    assert (empty_folder / "vectors.parquet").is_file()


def test_a_packed_model_is_not_changed_by_a_calibration(folder, capsys):
    words = ["ckpt=superclass", "calibrate=true", "hydra.run.dir=calibrated", f"paths.cache={folder / 'cache'}"]
    assert main(["evaluate", *words]) == 1
    assert "is a packed model: calibrate its run and pack it again" in capsys.readouterr().err


def test_train_continues_from_a_name(folder, empty_folder):
    """The training data of the shipped model are known to the new checkpoint."""
    words = ["data.source.molecules=40", "data.tokens_per_batch=1000", "model.d_model=32", "test=false", *SMALL]
    cache = f"paths.cache={folder / 'cache'}"
    assert main(["train", *words, "ckpt=spectrums", cache, "hydra.run.dir=tuned", "optimizer.lr=1e-9"]) == 0
    tuned, shipped = load("tuned"), load("spectrums")
    assert len(tuned.training_keys) == len(shipped.training_keys) + 1
    weight = "decoder.0.feed_forward.up.weight"
    name = weight if weight in shipped.net.state_dict() else next(iter(shipped.net.state_dict()))
    assert torch.allclose(tuned.net.state_dict()[name], shipped.net.state_dict()[name], atol=1e-4)


def test_python_loads_a_name(folder):
    model = trimer.load("superclass")
    assert model.card.name == "superclass"
    assert model.card.metrics
    assert model.card.stages[0]["rows"]["train"] > 0
    whole = trimer.load(folder / "superclass").embed(["CCO", "CCN"]).vectors
    assert np.allclose(model.embed(["CCO", "CCN"]).vectors, whole, atol=1e-2)


def test_models_lists_names_and_prints_cards(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("superclass ") and "Accuracy" in line for line in lines)
    assert lines[-1] == "next: trimer models name=<name> prints a card and how the model is used"
    assert main(["models", "name=superclass"]) == 0
    card = capsys.readouterr().out
    assert card.startswith("# superclass")
    assert "next: trimer predict ckpt=superclass" in card


def test_a_misspelt_name_gets_the_nearest_one(capsys):
    for words in (["models", "name=superclas"], ["predict", "ckpt=superclas", "input=a.csv"]):
        assert main(words) == 1
        assert "did you mean superclass" in capsys.readouterr().err


def test_a_packed_model_names_no_local_path(folder):
    for path in (folder / "models").rglob("*.*"):
        if path.suffix in (".json", ".md"):
            assert str(folder / "cache") not in path.read_text(), path


def test_pack_does_not_overwrite_other_folders(folder, empty_folder, capsys):
    (empty_folder / "other").mkdir()
    (empty_folder / "other" / "notes.txt").write_text("mine")
    assert main(["pack", f"ckpt={folder / 'superclass'}", "output=other"]) == 1
    assert "is not a packed model: name another folder" in capsys.readouterr().err
    assert main(["pack", "ckpt=superclass", "output=again"]) == 1
    assert "ckpt=superclass is packed already" in capsys.readouterr().err
    assert not (empty_folder / "again").exists()


def test_predict_without_input_reads_the_examples(empty_folder, capsys):
    assert main(["predict", "ckpt=superclass", "trainer=cpu"]) == 0
    said = "".join(capsys.readouterr())
    assert "no input given: reading the example molecules in " in said
    assert "predictions.csv: 100 molecules predicted" in said
    assert "next: trimer predict ckpt=superclass input=<your file>" in said
    rows = rows_of(empty_folder / "predictions.csv")
    assert len(rows) == 100
    assert not any(row["reason"] for row in rows)


def test_embed_without_input_reads_the_examples(empty_folder, capsys):
    assert main(["embed", "ckpt=superclass", "trainer=cpu"]) == 0
    said = "".join(capsys.readouterr())
    assert "100 of 100 molecules embedded" in said
    assert "next: trimer embed ckpt=superclass input=<your file>" in said


def test_demo_compares_with_look_ups_and_fine_tunes(folder, empty_folder, capsys):
    words = ["output=out", "spectra=4", "steps=1", "generator.num_samples=2", "trainer=cpu"]
    assert main(["demo", *words, f"paths.cache={folder / 'cache'}"]) == 0, capsys.readouterr().err
    out = "".join(capsys.readouterr())
    assert "next: trimer predict ckpt=spectrums input=<your file>" in out
    for name in ("random training", "nearest precursor", "cosine look-up", "oracle", "spectrums"):
        assert name in out
    assert "the best look-up" in out
    assert "validation loss on simulated spectra: " in out
    page = (empty_folder / "out" / "examples" / "page.html").read_text()
    assert "Example spectra to structures" in page
    tuned = load(empty_folder / "out" / "fine_tuned")
    assert tuned.contract["model"]["d_model"] == 32


def test_demo_without_its_model_says_what_to_do(capsys, monkeypatch, tmp_path):
    assert main(["demo", "ckpt=superclass"]) == 1
    assert "trimer demo needs a model that generates molecules" in capsys.readouterr().err
    assert main(["demo", "ckpt=spectrum"]) == 1
    assert "did you mean spectrums" in capsys.readouterr().err
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    assert main(["demo"]) == 1
    assert "train a small study from nothing with trimer train experiment=demo" in capsys.readouterr().err


def test_the_card_names_the_largest_change_by_half_precision(folder):
    card = (folder / "models" / "superclass" / "card.md").read_text()
    assert "changes a probability or intensity by at most" in card
    assert "(100 example molecules)" in card
    assert "a token's probability" in (folder / "models" / "spectrums" / "card.md").read_text()


def test_evaluate_takes_a_name_and_train_and_evaluate_say_what_they_wrote_and_what_to_do_next(folder, empty_folder):
    log = (folder / "superclass" / "trimer.log").read_text()
    assert f"run folder: {folder / 'superclass'}" in log
    assert f"next: trimer predict ckpt={folder / 'superclass'} input=<your file>" in log
    words = ["ckpt=superclass", "baselines=false", "hydra.run.dir=evaluated", "trainer=cpu"]
    assert main(["evaluate", *words, f"paths.cache={folder / 'cache'}"]) == 0
    log = (empty_folder / "evaluated" / "trimer.log").read_text()
    assert "results: evaluated" in log
    assert "next: trimer report input=" in log
    first, again = (
        rows_of(path / "test" / "table.csv")[-1] for path in (folder / "superclass", empty_folder / "evaluated")
    )
    assert again["method"] == "superclass"
    assert float(again["cross_entropy"]) == pytest.approx(float(first["cross_entropy"]), abs=1e-3)


def test_prepare_report_and_pack_say_what_they_wrote_and_what_to_do_next(folder, empty_folder, capsys):
    source = [f"data.source.paths={folder}/mine.csv", "data.source.labels=kind", "data.target=single"]
    assert main(["prepare", "data=labelled_molecules", *source, f"paths.cache={folder / 'cache'}"]) == 0
    said = "".join(capsys.readouterr())
    assert f"rows in {folder / 'cache'}" in said
    assert "next: trimer train with the same choices" in said
    assert main(["report", f"input={folder / 'superclass'}", "output=tables"]) == 0
    said = "".join(capsys.readouterr())
    assert "tables/runs.csv" in said
    assert "next: open tables/report.html" in said
    assert main(["pack", f"ckpt={folder / 'superclass'}", "output=mine"]) == 0
    said = "".join(capsys.readouterr())
    assert any(line.endswith("MB  mine") for line in said.splitlines())
    assert "next: trimer predict ckpt=mine" in said


def test_quiet_commands_suggest_nothing(folder, capsys):
    assert main(["predict", "-q", "ckpt=superclass", f"input={folder}/mine.csv", "trainer=cpu"]) == 0
    assert "next:" not in "".join(capsys.readouterr())
