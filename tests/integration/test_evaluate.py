"""Evaluation of checkpoints on their training data or other data, always with the settings of the training."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from trimer.building import build
from trimer.cli.configs import compose
from trimer.cli.main import main
from trimer.commands.evaluate import evaluated_data
from trimer.errors import ConfigError
from trimer.evaluation.molecule_evaluation import evaluate_pairs, slice_table


def contract(tmp_path) -> dict:
    cfg = compose("train", ["data=spectrums", f"paths.cache={tmp_path}/elsewhere", "paths.data=there"])
    cfg.data.tokenizer.spectrum.max_peaks = 7
    data = OmegaConf.to_container(cfg.data, resolve=True)
    return {"data": data, "tokenizer": build(cfg.data.tokenizer).to_config()}


def test_spectra_are_read_with_the_settings_of_the_checkpoint(tmp_path):
    cfg = compose("evaluate", ["ckpt=x", "data=simulated_spectra", "seed=3", f"paths.cache={tmp_path}/here"])
    data = build(evaluated_data(cfg, contract(tmp_path)))
    assert data.tokenizer.spectrum.max_peaks == 7
    assert data.tokenizer.molecule.representation == "selfies"
    assert data.cache == tmp_path / "here"


def test_training_data_are_prepared_in_the_local_cache(tmp_path):
    cfg = compose("evaluate", ["ckpt=x", f"paths.cache={tmp_path}/here"])
    found = contract(tmp_path)
    found["data"]["exclude"] = {
        "_target_": "trimer.data.modules.held_out.HeldOutMolecules",
        "data": dict(found["data"]),
    }
    data = evaluated_data(cfg, found)
    assert data["cache"] == data["exclude"]["data"]["cache"] == f"{tmp_path}/here"
    assert found["data"]["cache"] == f"{tmp_path}/elsewhere"
    assert data["source"] == found["data"]["source"]


def test_each_slice_of_the_metrics_has_a_table():
    metrics = {"tanimoto@1": 0.3, "spectra": 5.0, "tanimoto@1/adduct=[M+H]+": 0.4, "spectra/adduct=[M+H]+": 3.0}
    metrics |= {"tanimoto@1/adduct=[M+Na]+": 0.15, "spectra/adduct=[M+Na]+": 2.0}
    table = slice_table("adduct", metrics, k=[1])
    assert [row["method"] for row in table.rows] == ["adduct [M+H]+ (3 spectra)", "adduct [M+Na]+ (2 spectra)"]
    assert [row["values"]["tanimoto@1"] for row in table.rows] == [0.4, 0.15]


def test_an_unknown_slice_is_rejected_before_anything_is_written():
    with pytest.raises(ConfigError, match="by adduct and instrument_type"):
        evaluate_pairs(None, None, None, None, by=["colour"])


def test_a_split_that_differs_from_the_run_is_rejected(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    small = ["data=simulated_proteins", "data.source.proteins=120", "model=esm2_nano", "task=masked_lm", "test=false"]
    small += ["data.split.fractions={train: 0.6, val: 0.2, test: 0.2}", "trainer.max_steps=1"]
    small += ["trainer.enable_progress_bar=false", "data.tokens_per_batch=900"]
    assert main(["train", *small, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    words = ["evaluate", f"ckpt={tmp_path / 'run'}", "baselines=false"]
    assert main([*words, f"hydra.run.dir={tmp_path / 'one'}"]) == 0
    manifest = tmp_path / "run" / "split.json"
    manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0'))
    capsys.readouterr()
    assert main([*words, f"hydra.run.dir={tmp_path / 'two'}"]) == 1
    assert "split differently than in this run" in capsys.readouterr().err
