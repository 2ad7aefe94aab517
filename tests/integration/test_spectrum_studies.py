"""The scripts of the study of spectra on a small run: test-time tuning, rankings, notations, stored predictions."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_data import spectra
from spectrums import candidate_rankings, change_notation, stored_predictions
from spectrums import test_time_tuning as study

from trimer import checkpoint
from trimer.building import build
from trimer.checkpoint import load
from trimer.cli.configs import compose
from trimer.cli.main import main
from trimer.commands.evaluate import evaluated_data
from trimer.errors import ConfigError, InputError
from trimer.generation.candidates import Candidate
from trimer.generation.molecule_generator import GeneratedMolecules
from trimer.reporting.table import ResultTable
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_spectra import simulate_table

SMALL = ["--spectra", "2", "--samples", "2", "--similar", "3", "--rates", "0.01", "--steps", "1", "2"]


def train(folder, output, *overrides: str) -> None:
    """One step of a tiny model on a few simulated spectra."""
    words = [
        "experiment=spectrums/finetune", f"paths.data={folder}", f"paths.cache={folder / 'cache'}", "test=false",
        "model.d_model=16", "model.encoder_ffn=16", "model.decoder_ffn=16", "data.tokens_per_batch=700",
        "data.prepare_workers=1", "trainer.max_steps=1", "trainer.val_check_interval=1", "trainer.limit_val_batches=1",
        "trainer.enable_progress_bar=false", "trainer.precision=32-true", "callbacks.ranking.sample=2",
        "task.generator.max_length=16", "task.generator.num_samples=2", "task.generator.redraws=0",
        f"hydra.run.dir={output}",
    ]  # fmt: skip
    assert main(["train", *words, *overrides]) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with simulated spectra and the run of a tiny model."""
    folder = tmp_path_factory.mktemp("tuning")
    spectra(folder / "spectra", simulate_table(simulated_molecules(60, seed=3), seed=3))
    train(folder, folder / "run")
    return folder


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_study_compares_tuned_weights_and_continues(run, tmp_path, capsys):
    output = tmp_path / "out.csv"
    words = ["--ckpt", str(run / "run"), "--output", str(output), *SMALL, "--overrides", f"paths.cache={run / 'cache'}"]
    study.main(words)
    first = rows(output)
    settings = [(row["half"], row["steps"]) for row in first]
    assert settings[:3] == [("choice", "0"), ("choice", "1"), ("choice", "2")]
    assert settings[3] == ("report", "0") and len(settings) == 5
    assert len({row["molecule"] for row in first}) == 2
    losses = [float(row["true_loss"]) for row in first[:3]]
    assert len(set(losses)) == 3, "each step changes the weights"
    assert "| samples and look-up | before tuning |" in capsys.readouterr().out

    lines = output.read_text().splitlines(keepends=True)
    output.write_text("".join(lines[:3]))
    study.main(words)
    again = rows(output)
    exact = [name for name in first[0] if not name.startswith("seconds")]
    assert [[row[name] for name in exact] for row in again] == [[row[name] for name in exact] for row in first]
    with pytest.raises(InputError, match=r"samples=2, not 3: choose another --output"):
        study.main([*words, "--samples", "3"])


def test_similar_spectra_are_limited_for_each_molecule():
    scores, molecules = np.array([0.9, 0.8, 0.7, 0.6]), np.array([5, 5, 5, 7])
    assert study.similar_rows(scores, molecules, 2, 1).tolist() == [0, 3]
    assert study.similar_rows(scores, molecules, 2, 9).tolist() == [0, 1]


def test_each_drawn_spectrum_is_of_another_molecule():
    molecules = np.array(list("aabbcc"), object)
    drawn = study.drawn_rows(np.arange(6), molecules, 3, 0)
    assert sorted(molecules[drawn]) == ["a", "b", "c"]
    assert drawn.tolist() == study.drawn_rows(np.arange(6), molecules, 3, 0).tolist()


def test_stored_predictions_are_compared_with_look_ups_on_the_same_spectra(run, tmp_path):
    """A model that stored the true molecule of each spectrum is ahead of each look-up by what that lacks to 1."""
    cache = f"paths.cache={run / 'cache'}"
    contract = load(run / "run").contract
    data = build(evaluated_data(compose("evaluate", ["ckpt=x", cache]), contract))
    data.setup()
    test = data.table(data.split.rows("test"))
    columns = {"id": test["id"].tolist(), "rank": [1] * len(test), "smiles": test["smiles"].tolist()}
    pq.write_table(pa.table(columns), tmp_path / "predictions.parquet")
    words = [str(tmp_path), "--ckpt", str(run / "run"), "--overrides", cache]
    stored_predictions.main(words)
    table = ResultTable.from_dict(json.loads((tmp_path / "paired.json").read_text()))
    *others, model = (row["values"] for row in table.rows)
    assert {row["method"] for row in table.rows} >= {"cosine look-up", stored_predictions.CONSENSUS}
    assert model["tanimoto@1"] == model["top1_accuracy"] == 1
    for values in others:
        assert values["tanimoto@1_difference"] == pytest.approx(1 - values["tanimoto@1"])
        assert values["tanimoto@1_difference_std_error"] == pytest.approx(values["tanimoto@1_std_error"])

    stored = ResultTable(metrics=table.metrics)
    for row in table.rows:
        alone = {name: row["values"][name] for name in stored_predictions.COLUMNS}
        stored.add(row["method"], alone, baseline=row["kind"] != "method")
    stored.save(tmp_path)
    stored_predictions.main([*words, "--update", str(tmp_path / "table.json")])
    read = [json.loads((tmp_path / name).read_text())["rows"] for name in ("table.json", "paired.json")]
    assert [row["values"].keys() for row in read[0]] == [row["values"].keys() for row in read[1]]
    stored.rows[0]["values"]["tanimoto@1"] += 0.01
    stored.save(tmp_path)
    with pytest.raises(InputError, match="tanimoto@1 of random training molecule is"):
        stored_predictions.update(tmp_path / "table.json", table)
    pq.write_table(pa.table({name: values[1:] for name, values in columns.items()}), tmp_path / "predictions.parquet")
    with pytest.raises(InputError, match="name the checkpoint and the data of this evaluation"):
        stored_predictions.main(words)


def test_some_spectra_of_each_molecule_are_drawn():
    molecules = np.array(["a", "b", "a", "b", "a", "c"], object)
    rows = candidate_rankings.drawn(np.array([0, 1, 2, 4, 5]), molecules, 2, seed=1)
    assert sorted(molecules[rows]) == ["a", "a", "b", "c"] and 3 not in rows and list(rows) == sorted(rows)
    one = candidate_rankings.drawn(np.array([0, 1, 2, 4, 5]), molecules, 1, seed=1)
    assert sorted(molecules[one]) == ["a", "b", "c"] and set(one) <= set(rows)


def test_a_predicted_spectrum_is_most_like_that_of_its_molecule():
    smiles = ["CCOC(=O)c1ccccc1N", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"]
    table = simulate_table(smiles, seed=0)
    for row, own in enumerate(smiles):
        cosines = {text: candidate_rankings.predicted_cosine(table, row, text) for text in smiles}
        assert max(cosines, key=cosines.__getitem__) == own and 0 <= min(cosines.values()) < max(cosines.values()) <= 1


def test_a_first_candidate_agrees_with_the_precursor_and_has_the_highest_sum():
    values = [("C", 50.0, 0.9), ("CC", 1.0, 0.5), ("CCC", 2.0, 0.4)]
    generated = [GeneratedMolecules([Candidate(s, "", 0.0, ppm, 1, None, score) for s, ppm, score in values], 3, 3)]
    bonus = {"CC": 0.0, "CCC": 1.0, "C": 9.0}
    assert candidate_rankings.firsts(generated, 10.0) == [["CC"]]
    assert candidate_rankings.firsts(generated, 10.0, 0.2, lambda _, c: bonus[c.smiles]) == [["CCC"]]
    assert candidate_rankings.firsts(generated, None) == [["C"]]


def test_candidates_of_validation_spectra_are_measured(run, capsys):
    candidate_rankings.main(["--ckpt", str(run / "run"), "--samples", "2", "--weights", "0.1"])
    lines = capsys.readouterr().out.splitlines()
    assert "% of the samples valid" in lines[0] and lines[1].startswith("  tanimoto@1 ")
    assert lines[7].startswith("0.1 x predicted spectrum: tanimoto@1 ")


def test_a_model_trains_on_with_another_notation(run, tmp_path):
    path = tmp_path / "reworded.ckpt"
    change_notation.main([str(run / "run"), "--output", str(path)])
    before, after = (load(ckpt) for ckpt in (run / "run", path))
    rows = [loaded.tokenizer.vocabulary.tokens.index for loaded in (before, after)]
    tokens = [loaded.net.tokens.weight for loaded in (before, after)]
    assert after.tokenizer.molecule.representation == "deepsmiles"
    for token in ("mz100", "i0", "<C6>"):  # spectra and formulas are read as before
        assert tokens[1][rows[1](token)].equal(tokens[0][rows[0](token)])
    carbon = tokens[0][[rows[0]("[C]"), rows[0]("[=C]")]].mean(0)
    assert torch.allclose(tokens[1][rows[1]("c")], carbon)
    others = {name: weight for name, weight in before.net.state_dict().items() if len(weight) != len(tokens[0])}
    assert others and all(after.net.state_dict()[name].equal(weight) for name, weight in others.items())

    train(run, tmp_path / "run", f"ckpt={path}", "data.tokenizer.molecule.representation=deepsmiles")


def test_a_model_keeps_its_notation(run):
    with pytest.raises(ConfigError, match="selfies already"):
        change_notation.change_notation(checkpoint.read(run / "run"), "selfies")
