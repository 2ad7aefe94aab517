"""Names of shipped models: an existing path wins, and a misspelt name gets the nearest valid ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trimer.checkpoint import checkpoint_path
from trimer.errors import CheckpointError
from trimer.pretrained import registry
from trimer.pretrained.packed import read_packed


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """Two shipped models, without weights that can be used."""
    folder = tmp_path / "pretrained"
    for name in ("peptide-rt", "peptide-charge"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.json").write_text(json.dumps({"facts": {"name": name}}))
        (folder / name / "weights.safetensors").write_bytes(b"")
    monkeypatch.setattr(registry, "FOLDER", folder)
    return folder


def test_a_name_is_the_path_of_its_folder(models, empty_folder):
    assert registry.names() == ["peptide-charge", "peptide-rt"]
    assert checkpoint_path("peptide-rt") == models / "peptide-rt"
    assert registry.facts(registry.shipped("peptide-rt")) == {"name": "peptide-rt"}


def test_an_existing_path_wins(models, empty_folder):
    (empty_folder / "peptide-rt" / "checkpoints").mkdir(parents=True)
    best = empty_folder / "peptide-rt" / "checkpoints" / "best.ckpt"
    best.write_bytes(b"")
    assert checkpoint_path("peptide-rt").resolve() == best


def test_a_misspelt_name_gets_the_nearest_ones(models, empty_folder):
    with pytest.raises(CheckpointError, match=r"did you mean peptide-rt.*trimer models lists the shipped models"):
        checkpoint_path("peptid-rt")
    with pytest.raises(CheckpointError, match="no such file or run folder; trimer models lists"):
        checkpoint_path("xyz")
    with pytest.raises(CheckpointError, match="peptid-charge is not a shipped model; did you mean peptide-charge"):
        registry.shipped("peptid-charge")


def test_a_damaged_model_is_reported(models):
    (models / "peptide-rt" / "model.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"model\.json cannot be read .*install Trimer again"):
        registry.facts(models / "peptide-rt")
    with pytest.raises(CheckpointError, match=r"peptide-rt is damaged"):
        from trimer.checkpoint import read

        read("peptide-rt")


CARRIED = {
    "spectrums": {"training_molecules", "calibration", "fingerprint_regression"},
    "superclass": {"training_molecules", "averaging"},
    "membrane": {"training_embeddings"},
    "peptide-rt": {"training_embeddings"},
    "peptide-charge": {"training_embeddings"},
    "peptide-ms2": set(),
}


@pytest.mark.parametrize("name", registry.names())
def test_shipped_models_carry_what_the_columns_of_a_prediction_need(name):
    """Keys of the training data for all; records for similarity and applicability, and modifications that were seen."""
    checkpoint = read_packed(registry.shipped(name))
    assert all(stage["keys"]["train"] for stage in checkpoint["training_keys"])
    assert CARRIED.get(name, set()) <= set(checkpoint)
    if name.startswith("peptide-"):
        assert any(stage.get("facts") for stage in checkpoint["training_keys"])
