"""The study of test-time tuning: a small run, what it compares, and that it continues where it was stopped."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from small_data import spectra
from spectrums import test_time_tuning as study

from trimer.cli.main import main
from trimer.errors import InputError
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_spectra import simulate_table

SMALL = ["--spectra", "2", "--samples", "2", "--similar", "3", "--rates", "0.01", "--steps", "1", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny model of a few simulated spectra."""
    folder = tmp_path_factory.mktemp("tuning")
    spectra(folder / "spectra", simulate_table(simulated_molecules(60, seed=3), seed=3))
    overrides = [
        "experiment=spectrums/finetune", f"paths.data={folder}", f"paths.cache={folder / 'cache'}", "test=false",
        "model.d_model=16", "model.encoder_ffn=16", "model.decoder_ffn=16", "data.tokens_per_batch=700",
        "data.prepare_workers=1", "trainer.max_steps=1", "trainer.val_check_interval=1", "trainer.limit_val_batches=1",
        "trainer.enable_progress_bar=false", "trainer.precision=32-true", "callbacks.ranking.sample=2",
        "task.generator.max_length=16", "task.generator.num_samples=2", "task.generator.redraws=0",
        f"hydra.run.dir={folder / 'run'}",
    ]  # fmt: skip
    assert main(["train", *overrides]) == 0
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
