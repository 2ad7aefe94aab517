"""Names of earlier versions in checkpoints and run folders."""

from __future__ import annotations

import importlib

import pytest
from omegaconf import OmegaConf

from trimer.building import build, check
from trimer.checkpoint import contract
from trimer.cli.configs import compose
from trimer.renames import CLASSES, MODULES, current_config, current_contract, current_override, current_target
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.tokenizers.protein import ProteinTokenizer


@pytest.mark.parametrize("module", sorted(set(MODULES.values())))
def test_every_new_module_name_exists(module):
    importlib.import_module(f"trimer.{module}")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_old_module_name_exists(module):
    try:
        former = importlib.import_module(f"trimer.{module}")
    except ModuleNotFoundError:
        return
    assert hasattr(former, "__path__"), "a folder of that name may exist, a module may not"


def test_only_targets_are_renamed_at_any_depth():
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


@pytest.mark.parametrize(
    ("override", "present"),
    [
        (
            "model._target_=trimer.models.peptides.PeptideEncoder",
            "model._target_=trimer.models.peptide_encoder.PeptideEncoder",
        ),
        ("+_target_=trimer.data.pairs.X", "+_target_=trimer.data.modules.spectrum_pairs.X"),
        ("a._target_='trimer.data.pairs.X'", "a._target_='trimer.data.modules.spectrum_pairs.X'"),
        (
            "+a={_target_: trimer.data.pairs.X, n: 1, sub: {_target_: trimer.data.store.Y}}",
            "+a={_target_: trimer.data.modules.spectrum_pairs.X, n: 1, sub: {_target_: trimer.data.core.store.Y}}",
        ),
        (
            "data._target_=trimer.data.proteins.ProteinSequences",
            "data._target_=trimer.data.modules.masked_sequences.MaskedSequences",
        ),
        ("model._target_=trimer.models.esm2.Esm2", "model._target_=trimer.models.esm2.Esm2"),
        ("model._target_=torch.nn.Linear", "model._target_=torch.nn.Linear"),
        ("name=trimer.data.pairs.X", "name=trimer.data.pairs.X"),
        ("not_target_=trimer.data.pairs.X", "not_target_=trimer.data.pairs.X"),
        ("~callbacks.best", "~callbacks.best"),
    ],
)
def test_targets_in_overrides_are_renamed_and_nothing_else(override, present):
    assert current_override(override) == present


def test_current_names_are_unchanged():
    assert current_target("trimer.tasks.seq2seq.Seq2Seq") == "trimer.tasks.seq2seq.Seq2Seq"


@pytest.mark.parametrize("former", sorted(CLASSES))
def test_old_classes_are_replaced_by_new_ones_with_the_same_arguments(former):
    module, _, name = former.rpartition(".")
    assert not hasattr(importlib.import_module(f"trimer.{module}"), name)
    target, arguments = CLASSES[former]
    assert current_target(f"trimer.{former}") == f"trimer.{target}"
    needed = {"source": {}, "tokenizer": {}, "split": {}, "cache": "cache"}
    check({"_target_": f"trimer.{target}", **needed, **arguments})


@pytest.mark.parametrize("module", ["data.molecules"])
def test_masked_molecule_configs_of_earlier_versions_build_the_same_data(module, tmp_path):
    """A data config as stored in checkpoints and run folders of the two earlier versions."""
    (tmp_path / "a.smi").write_text("\n".join(simulated_molecules(20, seed=3)) + "\n")
    masking = {"_target_": "trimer.data.masking.Masking", "ratio": 0.3, "mask": 0.8, "replace": 0.1}
    data = build(
        current_config(
            {
                "_target_": f"trimer.{module}.MoleculeSequences",
                "source": {
                    "_target_": "trimer.data.sources.molecule_files.SmilesFiles",
                    "paths": str(tmp_path / "a.smi"),
                },
                "tokenizer": {"_target_": "trimer.tokenizers.smiles.SmilesTokenizer"},
                "split": {"keys": ["inchikey1"], "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0},
                "masking": masking | {"end_ratio": None, "total_steps": None},
                "validation_masking": None,
                "cache": str(tmp_path / "cache"),
                "exclude": None,
                "max_length": 64,
                "num_workers": 0,
                "prepare_workers": None,
                "seed": 0,
            }
        )
    )
    assert (data.kind, data.records.max_length, data.tokens_per_batch) == ("molecules_masked", 64, 8192)
    assert data.masking.ratio == data.validation_masking.ratio == 0.3
    data.setup()
    assert len(data.store) == 20


@pytest.mark.parametrize(("written", "crop"), [({}, 1022), ({"crop": 60}, 60), ({"crop": None}, None)])
def test_masked_protein_configs_of_earlier_versions_keep_their_values_and_old_defaults(written, crop):
    former = {"_target_": "trimer.data.proteins.ProteinSequences", "clusters": None, "max_unknown": 0.5, **written}
    config = current_config({"data": former})["data"]
    assert config["_target_"] == "trimer.data.modules.masked_sequences.MaskedSequences"
    assert (config["entity"], config["crop"], config["max_unknown"]) == ("proteins", crop, 0.5)
    assert config["masking"]["ratio"] == config["validation_masking"]["ratio"] == 0.15
    assert current_config({"data": config})["data"] == config, "a current config is unchanged"


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
def test_the_contract_of_an_old_checkpoint_equals_the_current_one(words):
    """Every `_target_` of a real config has its old name, and the study is missing."""
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
