"""Names of earlier versions in checkpoints and run folders."""

from __future__ import annotations

import importlib

import pytest
from omegaconf import OmegaConf

from trimer.checkpoint import contract
from trimer.cli.configs import compose
from trimer.renames import MODULES, current_config, current_contract, current_target
from trimer.tokenizers.protein import ProteinTokenizer


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


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["data=denoising"],
        ["data=labelled_molecules", "data.source.labels=a", "data.target=single", "task=classification",
         "data.source.paths=a.csv", "model=smiles_nano"],
        ["data=simulated_fragments", "task=fragments", "model=peptides_nano"],
    ],
)  # fmt: skip
def test_the_contract_of_an_earlier_checkpoint_is_that_of_a_present_one(words):
    """Every `_target_` of a real config is written under its former name, and the study is left out."""
    config = OmegaConf.to_container(compose("train", words), resolve=True)
    present = contract(config, ProteinTokenizer())
    former = {current: old for old, current in MODULES.items()}

    def aged(node):
        if isinstance(node, dict):
            return {key: old_target(value) if key == "_target_" else aged(value) for key, value in node.items()}
        return [aged(value) for value in node] if isinstance(node, list) else node

    def old_target(target):
        module, _, name = target.removeprefix("trimer.").rpartition(".")
        return f"trimer.{former.get(module, module)}.{name}" if target.startswith("trimer.") else target

    earlier = aged(present)
    assert earlier != present
    del earlier["study"]
    assert current_contract(earlier) == present
