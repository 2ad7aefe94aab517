"""The page on file formats names every column of the files that Trimer writes."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from trimer.callbacks.batch_sizes import COLUMNS as BATCH_SIZES
from trimer.callbacks.protocol import COLUMNS as PROTOCOL
from trimer.data.core.drops import DropReport
from trimer.data.core.splits import Split
from trimer.data.labelled.label_duplicates import Duplicates
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.evaluation.applicability import COLUMNS as APPLICABILITY
from trimer.evaluation.calibration import mean_probabilities
from trimer.evaluation.candidate_calibration import calibrate_candidates, reliability
from trimer.evaluation.label_evaluation import LabelEvaluation
from trimer.evaluation.training_overlap import TrainingOverlap
from trimer.generation.candidates import Candidate
from trimer.generation.molecule_generator import MoleculeGenerator
from trimer.metrics.fragment_metrics import PER_SPECTRUM
from trimer.metrics.label_metrics import per_class
from trimer.prediction.embedding import EmbeddingFile
from trimer.prediction.fragment_predictor import FragmentPredictor
from trimer.prediction.label_predictor import HEADS
from trimer.prediction.library_formats import AlphabaseFile, DiannTable, SpectronautTable
from trimer.prediction.molecule_predictor import MoleculePredictor
from trimer.prediction.spectral_library import IN_TRAINING, REASONS
from trimer.prediction.structure_file import HEADS as SDF_REASONS
from trimer.reporting.table import ResultTable
from trimer.run import RunFolder
from trimer.targets import target_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##+ (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def names(section: str) -> set[str]:
    """All texts in backquotes below a heading that contains `section`."""
    (text,) = [text for heading, text in SECTIONS.items() if section in heading]
    return set(re.findall(r"`([^`]+)`", text))


LIBRARIES = "spectral libraries"


@pytest.mark.parametrize(
    ("section", "columns"),
    [
        ("predict`: molecules", MoleculePredictor.columns),
        ("predict`: labels", HEADS),
        (LIBRARIES, DiannTable.columns),
        (LIBRARIES, SpectronautTable.columns),
        (LIBRARIES, FragmentPredictor.columns),
        (LIBRARIES, REASONS),
        ("pages and SDF", SDF_REASONS),
        (LIBRARIES, IN_TRAINING),
        ("`predictions.parquet`", [field.name for field in fields(Candidate)]),
        ("`predictions.parquet`", PER_SPECTRUM),
        ("Other tables", APPLICABILITY),
        ("`protocol.csv`", PROTOCOL),
        ("`schedule.csv`", BATCH_SIZES),
        ("`drops.json`", DropReport().to_dict()),
    ],
)
def test_every_column_of_a_file_is_named(section, columns):
    assert set(columns) <= names(section)


@pytest.mark.parametrize("target", ["single", "multi", "regression", "residue"])
def test_label_columns_are_named(target):
    assert {
        column.replace("A", "<class>" if target in ("single", "residue") else "<label>")
        for column in target_of(target).columns(["A"])
    } <= names("predict`: labels")


def test_columns_of_an_evaluation_of_labels_are_named():
    probabilities, labels = np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 1])
    tables = names("Other tables")
    assert set(per_class(probabilities, labels, ["A", "B"])[0]) <= tables
    for target, truth in (("single", labels), ("multi", np.array([[1.0, 0.0], [0.0, 1.0]]))):
        assert set(mean_probabilities(target, probabilities, truth, ["A", "B"], None)[0]) <= tables
    columns = LabelEvaluation(ResultTable(), {}, "single", ["A", "B"], ["1", "2"], ["C", "N"], probabilities, labels)
    known = names("`predictions.parquet`")
    assert {name.replace("of A", "of <class>") for name in columns.prediction_columns() if name[-1] != "B"} <= known
    columns.target, columns.labels = "multi", np.array([[1.0, 0.0], [0.0, 1.0]])
    assert {re.sub(": [AB]$", ": <label>", name) for name in columns.prediction_columns()} <= known


def test_keys_of_a_calibration_report_are_named():
    empty = SpectrumTable.build((), (), (0,), {"smiles": [], "inchikey1": []})
    _, report = calibrate_candidates(empty, [], None, MoleculeGenerator())
    row = reliability([np.array([0.5])], [np.array([True])])
    inner = set(report["molecule"]) | set(row) | set(row["bins"][0])
    assert set(report) | inner <= names("`calibration.json`")


def test_columns_of_embeddings_are_named(tmp_path):
    with EmbeddingFile(tmp_path / "e.parquet", "mean") as file:
        file.add(["1"], [3], [np.zeros(2, np.float32)], [None])
    assert set(pq.read_schema(tmp_path / "e.parquet").names) <= names("trimer embed")


def test_datasets_of_an_alphabase_library_are_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    AlphabaseFile(tmp_path / "l.hdf", []).close()
    with h5py.File(tmp_path / "l.hdf") as file:
        assert set(file["library/precursor_df"]) <= names(LIBRARIES)


def test_keys_of_split_files_are_named(tmp_path):
    split = Split.build(np.array([0, 1]), ["train", "test"], method="a column")
    assert set(split.manifest) <= names("`split.json`")
    assert set(split.overlap({"id": np.array(["a", "b"], object)})[0]) <= names("`split_overlap.json`")


def test_keys_of_run_files_are_named(tmp_path):
    run = RunFolder(tmp_path / "run").start(OmegaConf.create({"seed": 0}), [])
    assert set(run.record) <= names("`run.json`")
    run.finish({"metrics": {}})
    assert set(run.result) <= names("`result.json`")
    assert {field.name for field in fields(Duplicates)} <= names("`labels.json`")


def test_columns_of_tables_and_of_training_overlap_are_named(tmp_path):
    table = ResultTable()
    table.add("model", {"accuracy": 0.5, "accuracy_std_error": 0.1, "accuracy_ci95_low": 0, "accuracy_ci95_high": 1})
    columns = next(csv.reader([table.to_csv().splitlines()[0]]))
    assert {column.replace("accuracy", "<metric>") for column in columns} <= names("`table.md`")
    assert set(table.to_dict()) | set(table.to_dict()["rows"][0]) <= names("`table.md`")
    TrainingOverlap(["no"], []).save(tmp_path, ["1"])
    facts = json.loads((tmp_path / "training_overlap.json").read_text())
    assert set(facts) | set(facts["counts"]) <= names("Other tables")
