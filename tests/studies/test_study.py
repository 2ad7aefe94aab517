"""The interface of a kind of study, and what happens to a task that names none."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from trimer.building import build, located
from trimer.commands.train import result_of_test_split
from trimer.errors import CheckpointError, ConfigError, InputError
from trimer.examples import example
from trimer.renames import STUDIES
from trimer.studies.label_study import LabelStudy
from trimer.studies.settings import check_averaging
from trimer.studies.study import Study
from trimer.targets import target_of


@pytest.mark.parametrize("target", sorted(set(STUDIES.values())))
def test_every_shipped_study_evaluates_and_describes_itself(target):
    study = located(target, "study")
    assert study.can_evaluate() and study.description is not Study.description


def test_a_base_study_refuses_in_a_sentence():
    study = Study(SimpleNamespace(path=Path("a.ckpt")))
    assert not Study.can_evaluate()
    with pytest.raises(CheckpointError, match=r"a\.ckpt: its task names no study that evaluates"):
        study.evaluate(None)
    with pytest.raises(CheckpointError, match="names no study with a predictor"):
        study.predictor(None)
    with pytest.raises(CheckpointError, match="has no encoder"):
        study.encoder()


def test_a_training_of_a_task_without_a_study_ends_well_with_a_warning(caplog):
    task = SimpleNamespace(contract={"study": "trimer.studies.study.Study"})
    data, trainer = SimpleNamespace(has_labels=True), SimpleNamespace(fast_dev_run=False)
    with caplog.at_level(logging.WARNING):
        assert result_of_test_split(None, task, data, trainer, OmegaConf.create({"test": True})) == {}
    assert "task=SimpleNamespace names no study that evaluates" in caplog.text


def test_only_labels_of_molecules_are_averaged():
    molecules = {"entity": "molecules", "target": "single"}
    assert LabelStudy.can_average(molecules) and not Study.can_average(molecules)
    assert not LabelStudy.can_average({"entity": "proteins", "target": "single"})
    cfg = OmegaConf.create({"augment": 4, "boosting": None})

    class OfPlugin(LabelStudy):
        """A study of a user, a subclass of one of Trimer's."""

    check_averaging(cfg, OfPlugin, molecules)
    with pytest.raises(ConfigError, match="augment=4 is for models that predict labels of molecules"):
        check_averaging(cfg, Study, molecules)


def test_records_of_a_plugin_have_no_example():
    with pytest.raises(InputError, match=r"Trimer has no example polymers, only spectra, .* input=<file>"):
        example("polymers")


@pytest.mark.parametrize(
    ("entity", "target", "column", "texts"),
    [
        ("peptides", "regression", "sequence", ["PEPTIDEK", "ACDM[+16]K"]),
        ("molecules", "single", "smiles", ["CCO", "C"]),
    ],
)
def test_a_table_replaces_a_source_without_files(tmp_path, entity, target, column, texts):
    """As trimer.load(run).evaluate(DataFrame) does for a model that was trained on simulated records."""
    (tmp_path / "mine.csv").write_text(f"{column},value\n" + "".join(f"{text},1\n" for text in texts))
    contract = {"data": {"entity": entity, "source": {"count": 10}}, "labels": {"target": target, "classes": ["value"]}}
    net = SimpleNamespace(kind=target_of(target))
    data = LabelStudy(SimpleNamespace(contract=contract, net=net)).data_of_file(tmp_path / "mine.csv")
    (table,) = build(data["source"]).chunks()
    assert table.texts == texts and table.labels == {"value": ["1"] * len(texts)} and not table.problems
