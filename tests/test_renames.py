"""Names of earlier versions in checkpoints and run folders."""

from __future__ import annotations

import importlib

import pytest

from trimer.renames import MODULES, current_config, current_target


@pytest.mark.parametrize("module", sorted(set(MODULES.values())))
def test_every_present_module_exists(module):
    importlib.import_module(f"trimer.{module}")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_former_module_exists(module):
    try:
        former = importlib.import_module(f"trimer.{module}")
    except ModuleNotFoundError:
        return
    assert hasattr(former, "__path__"), "a folder of that name may exist, a module may not"


def test_targets_are_renamed_at_any_depth_and_nothing_else_is():
    config = {
        "_target_": "trimer.generation.molecules.MoleculeGenerator",
        "note": "trimer.generation.molecules.MoleculeGenerator",
        "steps": [{"_target_": "trimer.data.cleaning.peaks.PeakCount"}, {"_target_": "torch.optim.AdamW"}],
    }
    assert current_config(config) == {
        "_target_": "trimer.generation.molecule_generator.MoleculeGenerator",
        "note": "trimer.generation.molecules.MoleculeGenerator",
        "steps": [
            {"_target_": "trimer.data.spectra.cleaning.peaks.PeakCount"},
            {"_target_": "torch.optim.AdamW"},
        ],
    }


def test_present_names_stay():
    assert current_target("trimer.tasks.seq2seq.Seq2Seq") == "trimer.tasks.seq2seq.Seq2Seq"
