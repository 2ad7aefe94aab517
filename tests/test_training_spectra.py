"""Training spectra in a checkpoint, in which analogues are looked up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trimer import training_spectra as module
from trimer.checkpoint import Loaded
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import CheckpointError
from trimer.training_spectra import analogues_of, training_spectra


def table() -> SpectrumTable:
    columns = {"smiles": ["CCO", "CCCO", "OCC"], "precursor_mz": [47.0, 61.0, np.nan]}
    mz, intensity = [29.0, 31.01, 43.0, 29.0], [100.0, 25.0, 1.0, 3.0]
    return SpectrumTable.build(mz, intensity, [0, 2, 3, 4], columns)


def loaded(stored) -> Loaded:
    return Loaded(torch.nn.Linear(1, 1), None, {}, Path("x.ckpt"), training_spectra=stored)


def test_the_library_of_a_checkpoint_is_that_of_the_training_spectra():
    library = analogues_of(loaded(training_spectra(table())))
    assert library.molecules.smiles == ["CCO", "CCCO"]
    assert library.molecules.of_row.tolist() == [0, 1, 0]
    assert library.train.mz == pytest.approx([29.0, 31.01, 43.0, 29.0], abs=1e-5)
    assert library.train.intensity == pytest.approx([1.0, 0.25, 1.0, 1.0], abs=0.005)
    assert library.train["precursor_mz"][:2].tolist() == [47.0, 61.0]
    assert analogues_of(loaded(None)) is None


def test_only_the_highest_peaks_and_a_sample_of_many_spectra_are_stored(monkeypatch):
    monkeypatch.setattr(module, "PEAKS", 1)
    stored = training_spectra(table())
    assert stored["mz"].tolist() == [29.0, 43.0, 29.0]
    monkeypatch.setattr(module, "LIMIT", 2)
    assert len(training_spectra(table())["molecule"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mz": torch.ones(4, dtype=torch.float64)}, "mz of type"),
        ({"offsets": torch.tensor([0, 3, 2, 4], dtype=torch.int32)}, "do not fit"),
        ({"molecule": torch.tensor([0, 1, 2], dtype=torch.int32)}, "molecules that are not there"),
        ({"mz": torch.full((4,), torch.nan)}, "impossible m/z"),
        ({"smiles": None}, "peaks and molecules"),
        ({"precursor_mz": torch.ones(2)}, "as many precursors"),
    ],
)
def test_a_malformed_library_is_refused(change, message):
    with pytest.raises(CheckpointError, match=message):
        analogues_of(loaded(training_spectra(table()) | change))
