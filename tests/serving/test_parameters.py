"""Parameters of clients: all settings of predictions, without those that name files, classes or devices."""

from __future__ import annotations

from omegaconf import OmegaConf

from trimer.cli.configs import shipped_folder
from trimer.serving.parameters import EMBED, GENERATOR, OF_THE_SERVER, described, dotted, of_query
from trimer.studies.settings import KINDS

PREDICT = OmegaConf.load(shipped_folder() / "predict.yaml")


def test_settings_of_predictions_are_parameters_or_belong_to_the_server():
    """A new setting has to be put on one side: does it name a file, or cost more than a limit allows?"""
    assert set(GENERATOR) == set(PREDICT.generator) - {"batch"}
    known = {name for names in KINDS.values() for name in names}
    assert set(OF_THE_SERVER) <= known
    safe = {"ranked", "candidates", "tolerance_ppm", "only_agreeing", "generator", "column", "id_column", "notation",
            "fixed", "energy", "instrument", "augment"}  # fmt: skip
    assert known - set(OF_THE_SERVER) == safe
    assert set(EMBED) <= set(OmegaConf.load(shipped_folder() / "embed.yaml"))


def test_the_help_of_a_parameter_is_the_comment_of_its_setting():
    assert described()["predict"]["candidates"] == "maximum number of molecules per spectrum"
    assert described()["embed"]["pooling"].startswith("mean over residues")


def test_values_of_urls_are_json_or_texts():
    values = of_query({"candidates": "3", "ranked": "true", "column": "my smiles", "generator.top_p": "0.9"})
    assert values == {"candidates": 3, "ranked": True, "column": "my smiles", "generator.top_p": 0.9}
    assert dotted({"generator": {"top_p": 1}, "seed": 2}) == {"generator.top_p": 1, "seed": 2}
