"""`import trimer`: trained models in Python give the results of the commands, for files and for objects."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem

import trimer
from trimer import model_card
from trimer.api import data_file, overrides_of
from trimer.cli.main import main
from trimer.errors import CheckpointError, ConfigError, InputError
from trimer.model_card import records_in_words, stages_of
from trimer.simulate.simulated_molecules import simulated_molecules

pytestmark = pytest.mark.usefixtures("rough_figures")
SHORT = [
    "trainer.max_steps=4", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false",
    "trainer.precision=32-true", "data.tokens_per_batch=800",
]  # fmt: skip
STUDIES = {
    "labels": [
        "data=labelled_molecules", "data.source.labels=kind", "data.target=single", "task=classification",
        "model=smiles_nano", "model.d_model=32", "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}",
    ],
    "spectra": ["data.source.molecules=60", "model.d_model=32", "task.generator.num_samples=2",
                "task.generator.max_length=24", "test=false"],
    "fragments": ["data=simulated_fragments", "data.source.count=200", "task=fragments", "model=peptides_nano",
                  "test=false"],
    "proteins": ["data=simulated_proteins", "data.source.proteins=300", "task=masked_lm", "model=esm2_nano",
                 "model.d_model=32", "model.layers=2", "test=false"],
}  # fmt: skip
SPECTRUM = {"mz": [85.028, 97.028, 127.039, 145.049], "intensities": [20, 30, 100, 60], "precursor_mz": 180.0655,
            "adduct": "[M+H]+"}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    rows = [(smiles, "long" if len(smiles) > 20 else "short") for smiles in simulated_molecules(60, seed=3)]
    with (folder / "molecules.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("smiles", "kind"), *rows])
    return folder


@pytest.fixture(scope="module")
def model(folder):
    """kind -> trained model, trained on first use."""

    def trained(kind: str) -> trimer.api.TrainedModel:
        path = folder / kind
        if not path.exists():
            source = [f"data.source.paths={folder / 'molecules.csv'}"] if kind == "labels" else []
            words = [*STUDIES[kind], *SHORT, *source, f"hydra.run.dir={path}", f"paths.cache={folder / 'cache'}"]
            assert main(["train", *words]) == 0
        return trimer.load(path)

    return trained


def test_importing_the_package_loads_no_heavy_library():
    heavy = "print([name for name in ('torch', 'lightning', 'rdkit', 'hydra', 'matchms') if name in sys.modules])"
    code = f"import sys, trimer; assert 'predict' in dir(trimer); {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists():
    import trimer.building  # an imported module must not hide a public name

    for name in trimer.__all__:
        assert callable(getattr(trimer, name)), name
    with pytest.raises(AttributeError, match="nothing"):
        trimer.nothing  # noqa: B018


def test_labels_equal_those_of_the_command(model, folder, tmp_path):
    labels, smiles = model("labels"), ["CCO", "c1ccccc1O", "not a molecule"]
    table = tmp_path / "mine.csv"
    table.write_text("smiles\n" + "\n".join(smiles) + "\n")
    assert main(["predict", f"ckpt={folder / 'labels'}", f"input={table}", f"output={tmp_path / 'out.parquet'}"]) == 0
    expected = pq.read_table(tmp_path / "out.parquet").to_pandas()
    predictions = labels.predict(smiles)
    assert predictions.to_pandas()["label"].tolist()[:2] == expected["label"].tolist()[:2]
    np.testing.assert_allclose(predictions.to_pandas()["probability"][:2], expected["probability"][:2], rtol=1e-5)
    assert predictions[2]["label"] is None and "cannot read" in predictions[2]["reason"]
    same = labels.predict(table)  # a file
    assert [row["probability"] for row in same] == [row["probability"] for row in labels.predict(str(table))]


def test_molecules_data_frames_and_spectra_are_accepted_as_records(model):
    labels = model("labels")
    expected = [row["probability"] for row in labels.predict(["CCO"])]
    assert [row["probability"] for row in labels.predict(Chem.MolFromSmiles("OCC"))] == expected
    assert [row["probability"] for row in labels.predict(pd.DataFrame({"smiles": ["CCO"]}))] == expected
    (row,) = model("spectra").predict([SPECTRUM])
    assert row["precursor_mz"] == SPECTRUM["precursor_mz"] and (row["smiles"] or "is a valid molecule" in row["reason"])


def test_an_invalid_record_does_not_affect_the_others(model):
    rows = model("labels").predict(["CCO", None, "C(", "CCN"])
    assert [bool(row["label"]) for row in rows] == [True, False, False, True]
    assert all(row["reason"] for row in list(rows)[1:3])


def test_settings_are_named_as_in_the_command(model):
    spectra = model("spectra")
    with pytest.raises(ConfigError, match="candidate is not a setting of trimer predict; did you mean candidates"):
        spectra.predict([SPECTRUM], candidate=3)
    with pytest.raises(ConfigError, match=r"generator\.num_sample is not a setting"):
        spectra.predict([SPECTRUM], generator={"num_sample": 3})
    for wrong, says in (
        ({"candidates": "three"}, "candidates='three' cannot be used"),
        ({"generator": "beam"}, "generator='beam' must be a dictionary"),
        ({"trainer": None}, "trainer=None must be a dictionary"),
        ({"trainer": "nope"}, "trainer=nope"),
        ({"trainer": {"devices": "two"}}, "devices=two must be a number of processes"),
        ({"output": "mine.csv"}, "output: the call of predict in Python sets this itself"),
    ):
        with pytest.raises(ConfigError, match=says):
            spectra.predict([SPECTRUM], **wrong)
    assert spectra.predictor(candidates=np.int64(3)).cfg.candidates == 3
    assert spectra.predictor(generator={"num_samples": 3}).generator.num_samples == 3
    assert spectra.predictor() is spectra.predictor(), "one predictor for the same settings"


def test_the_last_predictors_are_kept(model):
    spectra = model("spectra")
    first = spectra.predictor(candidates=1)
    for count in (2, 3, 1, 4, 5):  # the first one is used again in between
        assert (spectra.predictor(candidates=count) is first) == (count == 1)
    assert spectra.predictor(candidates=1) is first
    assert len(spectra._predictors) == trimer.api.KEPT_PREDICTORS


def test_settings_of_other_kinds_of_models_are_rejected(model):
    for kind, settings, key, kinds in (
        ("labels", {"candidates": 3}, "candidates", "generate molecules"),
        ("labels", {"generator": {"num_samples": 3}}, r"generator\.num_samples", "generate molecules"),
        ("labels", {"cleaning": {"adducts": {"allowed": ["[M+H]+"]}}}, r"cleaning\.adducts\.allowed", "generate"),
        ("labels", {"fixed": ""}, "fixed", "read peptides"),
        ("labels", {"energy": 30}, "energy", "spectral libraries"),
        ("spectra", {"column": "smiles"}, "column", "molecules, proteins or peptides"),
        ("spectra", {"retention": "runs/rt"}, "retention", "spectral libraries"),
        ("fragments", {"ranked": True}, "ranked", "generate molecules"),
    ):
        with pytest.raises(ConfigError, match=rf"^{key} is for models that .*{kinds}.*, and .*{kind}.* is not one"):
            model(kind).predictor(**settings)
    model("fragments").predictor(column="sequence", fixed="", energy=30, instrument="Lumos")
    with pytest.raises(ConfigError, match="atoms=True is for a public RoBERTa"):
        trimer.load(model("labels").path, atoms=True)
    with pytest.raises(ConfigError, match="pooling=max must be one of mean, cls, residue"):
        model("labels").embed(["CCO"], pooling="max")
    with pytest.raises(ConfigError, match=r"column: it refers to 'x', and the config has no such key"):
        model("labels").predict(["CCO"], column="${x}")


def test_ids_come_from_the_named_column(model):
    peptides = pd.DataFrame({"sequence": ["PEPTIDEK"], "charge": [2], "name": ["mine"]})
    assert model("fragments").predict(peptides, id_column="name")["id"] == ["mine"]
    molecules = pd.DataFrame({"smiles": ["CCO"], "name": ["mine"]}, index=[7])
    assert model("labels").predict(molecules, id_column="name")["id"] == ["mine"]
    assert model("labels").embed(molecules, id_column="name").ids == ["mine"]


def test_predictions_in_int8_do_not_change_later_ones(model):
    labels = model("labels")
    state = {name: value.clone() for name, value in labels.net.state_dict().items()}
    labels.predict(["CCO"], trainer={"precision": "int8"})
    labels.embed(["CCO"], trainer={"precision": "int8"})
    copy = labels._int8.net
    labels.embed(["CCN"], trainer={"precision": "int8"})
    assert labels._int8.net is copy, "one copy for all calls"
    assert labels.net.state_dict().keys() == state.keys()
    fresh = trimer.load(labels.path).predict(["CCO"])
    assert labels.predict(["CCO"])["probability"] == fresh["probability"]


def test_predicted_fragments_are_plotted_as_spectra(model):
    predictions = model("fragments").predict(["PEPTIDEK/2", "PEPTX/2", "ACDEFGHK/2"])
    axes = predictions.plot()
    assert [axis.get_title(loc="left") for axis in axes] == ["PEPTIDEK   charge 2", "ACDEFGHK   charge 2"]
    row = predictions[0]
    peaks = axes[0].collections
    assert len(peaks) > 2 and all(0 < peak.get_segments()[0][1][1] <= 1 for peak in peaks)
    assert max(value for site in row["intensities"] for value in site) == max(
        peak.get_segments()[0][1][1] for peak in peaks
    )
    assert predictions[:1].plot(axes[1]) is axes[1]
    with pytest.raises(InputError, match="no record has a prediction, so there is nothing to plot"):
        predictions[1:2].plot()


def test_what_cannot_be_evaluated_gives_a_sentence():
    assert overrides_of("data=tox21") == overrides_of(("data=tox21",)) == ["data=tox21"] and overrides_of(()) == []
    for wrong in (5, None, [{"smiles": "CCO", "kind": "short"}], {"smiles": ["CCO"]}):
        with pytest.raises(InputError, match=f"type {type(wrong).__name__} cannot be evaluated: give a file, a DataFr"):
            overrides_of(wrong)
    with data_file(pd.DataFrame({"smiles": ["CCO"]})) as file:
        assert file.name == "DataFrame.parquet", "messages say what the file was"


def test_a_model_is_loaded_from_a_path_only(model):
    for wrong in (None, 3, model("labels")):
        with pytest.raises(CheckpointError, match="is not the path of a checkpoint or a run folder"):
            trimer.load(wrong)


def test_config_errors_are_sentences():
    for command, words, says in (
        ("trian", [], "trian is not a command that has settings; did you mean train"),
        ("train", "model=esm2_nano", "overrides must be a list"),
        ("train", ["model=nope"], "model=nope"),
        ("train", ["data.source.pths=x"], "pths"),
    ):
        with pytest.raises(ConfigError, match=says):
            trimer.compose(command, words)


def test_fragment_intensities_of_a_peptide_are_predicted(model):
    (row,) = model("fragments").predict(["PEPTIDEK/2"])
    assert row["charge"] == 2 and len(row["intensities"]) == 7
    assert max(max(site) for site in row["intensities"]) == pytest.approx(1)


def test_embeddings_equal_those_of_the_command(model, folder, tmp_path):
    proteins, fasta, output = model("proteins"), tmp_path / "two.fasta", tmp_path / "out.parquet"
    fasta.write_text(">a\nMKTAYIAK\n>b\nMEEPQSDPSV\n")
    assert main(["embed", f"ckpt={folder / 'proteins'}", f"input={fasta}", f"output={output}"]) == 0
    vectors = proteins.embed(["MKTAYIAK", "MEEPQSDPSV", "1234"])
    expected = np.array(pq.read_table(output)["embedding"].to_pylist())
    np.testing.assert_allclose(np.stack(vectors.vectors[:2]), expected, atol=1e-5)
    assert vectors.vectors[2] is None and vectors.reasons[2]
    by_residue = proteins.embed(["MKTAYIAK"], pooling="residue")
    assert by_residue.vectors[0].shape == (8, 32)


def test_the_command_embeds_the_files_of_a_glob(model, folder, tmp_path):
    assert model("proteins")
    for name in "ab":
        (tmp_path / f"{name}.fasta").write_text(f">{name}\nMKTAYIAK\n")
    words = ["embed", f"ckpt={folder / 'proteins'}", f"output={tmp_path / 'out.parquet'}"]
    assert main([*words, f"input={tmp_path / '*.fasta'}"]) == 0
    assert len(pq.read_table(tmp_path / "out.parquet")) == 2


def test_embedding_without_an_encoder_raises_an_error(model):
    with pytest.raises(CheckpointError, match="has no encoder"):
        model("spectra").embed(["CCO"])
    with pytest.raises(CheckpointError, match="not to predict"):
        model("proteins").predict(["MKTAYIAK"])


def test_evaluation_writes_its_results_and_returns_the_table(model, tmp_path):
    evaluation = model("labels").evaluate(folder=tmp_path / "evaluation", split="val", baselines=False)
    assert evaluation.metrics["accuracy"] >= 0
    assert (tmp_path / "evaluation" / "val" / "table.csv").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        model("labels").evaluate(folder=tmp_path / "file")


def test_a_file_or_a_data_frame_is_evaluated_as_a_whole(model, folder, tmp_path):
    labels, path = model("labels"), folder / "molecules.csv"
    from_file = labels.evaluate(path, folder=tmp_path / "file")
    from_frame = labels.evaluate(pd.read_csv(path), folder=tmp_path / "frame")
    assert from_file.metrics == from_frame.metrics and len(from_file.ids) == 60
    assert (tmp_path / "file" / "all" / "table.csv").is_file() or list((tmp_path / "file").glob("*/table.csv"))
    with pytest.raises(InputError, match="no such file"):
        labels.evaluate(tmp_path / "missing.csv", folder=tmp_path / "none")
    with pytest.raises(ConfigError, match=r"have no columns of a file; name the data with"):
        model("proteins").evaluate(path, folder=tmp_path / "none")


def test_the_split_of_the_overrides_is_that_of_the_command_line(model, folder, tmp_path):
    words = ["data=labelled_molecules", f"data.source.paths={folder / 'molecules.csv'}", "data.source.labels=kind",
             "data.target=single", "data.tokens_per_batch=800"]  # fmt: skip
    whole = model("labels").evaluate(words, folder=tmp_path / "whole", baselines=False)
    split = [*words, "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"]
    tested = model("labels").evaluate(split, folder=tmp_path / "tested", baselines=False)
    assert len(whole.ids) == 60 and 0 < len(tested.ids) < 30


def test_interleaved_predictions_leave_no_mode_behind(model):
    predictor = model("labels").predictor()
    first, second = (predictor.predict(iter([predictor.records(["CCO"])])) for _ in range(2))
    next(first), next(second), first.close(), second.close()
    assert not torch.is_inference_mode_enabled() and not torch.is_autocast_enabled("cpu")


def test_lookups_of_matchms_are_in_the_table(model, tmp_path):
    evaluation = model("spectra").evaluate(folder=tmp_path / "evaluation", split="val", lookups=["modified_cosine"])
    assert "modified cosine (matchms)" in [row["method"] for row in evaluation.table.rows]
    with pytest.raises(ConfigError, match="similarity=sine must be one of cosine_greedy"):
        model("spectra").evaluate(folder=tmp_path / "other", split="val", lookups=["sine"])


def test_the_model_card_describes_the_model(model):
    card = model("labels").card
    assert card.does == "predicts one of 2 classes of molecules" and card.classes == ["long", "short"]
    assert "accuracy" in card.metrics and card.stages[-1]["rows"]["train"]
    assert "<table>" in card._repr_html_() and "predicts one of 2 classes" in str(model("labels"))


@pytest.mark.parametrize("damaged", ["{", "[]", '{"metrics": {"test/accuracy": null, "test/f1": "high"}}'])
def test_a_damaged_result_file_does_not_prevent_the_model_card(tmp_path, damaged):
    (tmp_path / "result.json").write_text(damaged)
    assert model_card.metrics_of_test_split(tmp_path) == {}


def test_training_from_python_returns_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*STUDIES["proteins"], *SHORT, f"paths.cache={tmp_path / 'cache'}", f"paths.run={tmp_path / 'run'}"]
    model = trimer.train(trimer.compose("train", words))
    assert model.path.is_relative_to(tmp_path / "run") and model.card.does.startswith("embeds proteins")


@pytest.mark.slow
def test_several_processes_predict_the_same_rows_as_one(model, folder, tmp_path):
    table = tmp_path / "mine.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["smiles"], *([smiles] for smiles in simulated_molecules(300, seed=5))])
    rows = []
    for devices in (1, 2):
        output = tmp_path / f"{devices}.csv"
        words = [f"ckpt={folder / 'labels'}", f"input={table}", f"output={output}", f"trainer.devices={devices}"]
        assert model("labels") and main(["predict", *words]) == 0
        rows.append(list(csv.DictReader(output.open())))
    assert [row["id"] for row in rows[0]] == [row["id"] for row in rows[1]]
    assert [row["label"] for row in rows[0]] == [row["label"] for row in rows[1]]


def test_text_that_names_no_file_is_a_record(tmp_path):
    from trimer.api import as_file

    (tmp_path / "a.mgf").write_text("")
    assert as_file(str(tmp_path / "a.mgf")) == tmp_path / "a.mgf" and as_file(Path("none")) == Path("none")
    assert as_file(str(tmp_path / "*.mgf")) is not None
    for missing in ("none.csv", "none.fasta", "*.mgf", "runs/none.mzML.gz"):  # letters alone would be a protein
        assert as_file(missing) == Path(missing), missing
    for text in ("CCO", "[Na+].[Cl-]", "C*", "N[C@@H](C)C(=O)O", "MKT\nAYI", ["a.mgf"]):
        assert as_file(text) is None, text


def test_runs_of_the_same_name_are_parts_of_one_stage():
    keys = [
        {"name": "simulate", "rows": {"train": 10, "val": 2}},
        {"name": "simulate", "rows": {"train": 30, "val": 1}},
        {"name": "finetune", "rows": {}},
        {"name": "simulate", "rows": {"train": 5}},
    ]
    stages = stages_of(keys)
    assert [(stage["name"], stage["parts"]) for stage in stages] == [("simulate", 2), ("finetune", 1), ("simulate", 1)]
    assert stages[0]["rows"] == {"train": 30, "val": 2}
    assert [records_in_words(stage) for stage in stages] == ["2 parts of up to 30 records", "", "5 records"]
