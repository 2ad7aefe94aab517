"""From peptide files and simulated peptides to checkpoints, result tables, predictions and libraries."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from trimer.building import build
from trimer.checkpoint import load
from trimer.cli.main import main
from trimer.peptides.proforma import read_proforma
from trimer.simulate.simulated_peptides import SimulatedPeptides

SHORT = ["trainer.enable_progress_bar=false", "trainer.precision=32-true", "data.tokens_per_batch=1000"]
STEPS = [*SHORT, "trainer.max_steps=20", "trainer.val_check_interval=10", "optimizer.lr=0.01"]
RETENTION = ["data=simulated_peptides", "data.source.count=300", "task=regression", "model=peptides_nano"]
FRAGMENTS = ["data=simulated_fragments", "data.source.count=300", "task=fragments", "model=peptides_nano"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("peptides")


@pytest.fixture(scope="module")
def run(folder):
    """kind -> folder of its run, trained on first use."""
    settings = {
        "retention": RETENTION,
        "fragments": [*FRAGMENTS, "model.conditions=true", "data.channels=[b1,y1,y2,y1-H3PO4]"],
        "charges": [*RETENTION[:2], "task=classification", RETENTION[3], "data.source.what=charges",
                    "data.target=multi"],
    }  # fmt: skip

    def trained(kind: str) -> Path:
        path = folder / kind
        if not path.exists():
            words = [*settings[kind], *STEPS, f"hydra.run.dir={path}", f"paths.cache={folder / 'cache'}"]
            assert main(["train", *words]) == 0
        return path

    return trained


def output_of(capsys) -> str:
    text = capsys.readouterr()
    return " ".join((text.out + text.err).split())


def methods(path: Path) -> list[str]:
    return [row[0] for row in csv.reader((path / "test" / "table.csv").open())][1:]


def test_retention_models_have_baselines_and_the_scale_of_the_train_split(run):
    assert methods(run("retention")) == ["trivial baseline: majority or mean", "linear model on composition", "train"]
    result = json.loads((run("retention") / "result.json").read_text())["metrics"]
    assert result["test/mae"] < result["test/rmse"] < result["test/p95_error"]
    assert {"test/r2", "test/r_squared", "test/pearson", "test/slope", "test/intercept"} <= set(result)


def test_fine_tuning_is_compared_with_the_initial_model_and_its_recalibration(run, folder):
    words = [*RETENTION, *SHORT, f"ckpt={run('retention')}", "data.source.seed=5", "scheduler=warmup_plateau"]
    words += ["trainer=epochs", "trainer.max_epochs=3", "scheduler.interval=epoch", "scheduler.warmup=1"]
    words += ["callbacks=protocol_early_stopping", f"hydra.run.dir={folder / 'transfer'}", "trainer.precision=32-true"]
    assert main(["train", *words, f"paths.cache={folder / 'cache'}"]) == 0
    rows = ["before fine-tuning", "calibrated only, linear", "calibrated only, spline"]
    assert methods(folder / "transfer")[2:] == [*rows, "train"]
    table = pq.read_table(folder / "transfer" / "protocol.parquet").to_pylist()
    parts = [(row["split"], row["epoch"]) for row in table]
    assert parts[0] == ("all", -1) and [parts.count(("train", epoch)) for epoch in range(3)] == [2, 2, 2]
    assert {split for split, _ in parts} == {"all", "train", "validation", "test"}
    assert {row["property"] for row in table} == {"retention"}


def test_another_scale_affects_only_the_model_without_recalibration(run, folder, capsys):
    """Retention times are doubled and shifted: a linear recalibration of the initial model corrects both."""
    path = folder / "slow.csv"
    table = next(iter(SimulatedPeptides(400, "retention", seed=9).chunks()))
    rows = [[text, 2 * float(value) + 30] for text, value in zip(table.texts, table.labels["retention"], strict=True)]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["sequence", "retention"], *rows])
    words = ["data=peptide_properties", f"data.source.paths={path}", "data.source.what=retention", *RETENTION[2:]]
    words += ["data.target=regression", *STEPS, "optimizer.lr=0.0", f"ckpt={run('retention')}"]
    words += ["callbacks=protocol", f"paths.cache={folder / 'cache'}"]
    assert main(["train", *words, f"hydra.run.dir={folder / 'slow'}"]) == 0
    assert "fine-tuning did not improve on that" in output_of(capsys)  # a learning rate of 0 cannot improve the model
    metrics_of = {
        row["method"]: row["values"]
        for row in json.loads((folder / "slow" / "test" / "table.json").read_text())["rows"]
    }
    assert metrics_of["calibrated only, linear"]["mae"] < 0.5 * metrics_of["before fine-tuning"]["mae"]
    assert metrics_of["calibrated only, linear"]["r_squared"] == pytest.approx(
        metrics_of["before fine-tuning"]["r_squared"], 1e-3
    )
    protocol = pq.read_table(folder / "slow" / "protocol.parquet").to_pylist()
    before = {row["metric"]: row["value"] for row in protocol if row["epoch"] == -1}
    # the same network and scale, on all data here and on the test split there
    assert before["mae"] == pytest.approx(metrics_of["before fine-tuning"]["mae"], rel=0.25)
    assert before["slope"] == pytest.approx(metrics_of["before fine-tuning"]["slope"], rel=0.25)


def test_fragment_models_write_their_table_and_figures(run):
    assert methods(run("fragments")) == ["trivial baseline: mean spectrum", "train"]
    names = {path.name for path in (run("fragments") / "test").iterdir()}
    assert {"similarity.png", "spectra.png", "predictions.parquet", "page.html", "curves.png"} <= names
    rows = pq.read_table(run("fragments") / "test" / "predictions.parquet").to_pylist()
    for row in rows[:5]:
        assert len(row["predicted"]) == len(row["measured"]) == 4 * (len(read_proforma(row["text"]).letters) - 1)


def test_fragment_models_continue_with_their_head(run, folder, capsys):
    words = [*FRAGMENTS, *STEPS, "optimizer.lr=0.0", f"ckpt={run('fragments')}", "model.conditions=true"]
    same = [*words, "data.channels=[b1,y1,y2,y1-H3PO4]", f"hydra.run.dir={folder / 'same'}"]
    assert main(["train", *same, f"paths.cache={folder / 'cache'}"]) == 0
    assert "with its head: the channels are the same" in output_of(capsys)
    assert methods(folder / "same") == ["trivial baseline: mean spectrum", "before fine-tuning", "train"]
    other = [*words, "data.channels=[b1,y1]", f"hydra.run.dir={folder / 'other'}"]
    assert main(["train", *other, f"paths.cache={folder / 'cache'}"]) == 0
    output = output_of(capsys)
    assert "with a new head: it was trained on other channels" in output
    assert "no row 'before fine-tuning'" in output and "was not trained on these labels" in output
    assert methods(folder / "other") == ["trivial baseline: mean spectrum", "train"]


def test_evaluating_a_fragment_checkpoint_again_gives_the_same_table(run, folder):
    words = [f"ckpt={run('fragments')}", f"hydra.run.dir={folder / 'again'}", f"paths.cache={folder / 'cache'}"]
    assert main(["evaluate", *words, "trainer.precision=32-true"]) == 0
    one, two = (list(csv.reader((path / "test" / "table.csv").open())) for path in (run("fragments"), folder / "again"))
    assert [row[1:] for row in one] == [row[1:] for row in two]


DIRTY = [
    ["PEPTIDEK", "2"],
    ["AAS[UNIMOD:21]AAAAK", "3"],
    ["AAJAAAAK", "2"],
    ["AAAM[Madeup]AAAK", "2"],
    ["AAK", "2"],
    ["PEPTIDEKPEPTIDEK", "8"],
    ["PEPTIDEKR", ""],
]


def test_every_row_of_a_dirty_table_is_returned(run, folder):
    path, out = folder / "dirty.csv", folder / "said.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["sequence", "charge"], *DIRTY])
    assert main(["predict", f"ckpt={run('retention')}", f"input={path}", f"output={out}"]) == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == len(DIRTY) and [row["row"] for row in rows] == [str(n) for n in range(1, 8)]
    assert rows[2]["reason"] == "dirty.csv, line 4: residue J is not one of the 20"
    assert rows[3]["reason"] == "dirty.csv, line 5: unknown modification [Madeup]"
    assert [bool(row["retention"]) for row in rows] == [True, True, False, False, True, True, True]


def test_modifications_omitted_in_the_training_file_are_restored_in_prediction(folder):
    """The file omits carbamidomethylation of cysteines, which the model was trained with."""
    rows = [[f"AAC{'GAVLISTE'[n % 8]}{'L' * (n % 5 + 2)}K", 10 + n % 5] for n in range(60)]
    for name, given in (("bare", rows), ("asked", [["AACGLLK", 0]])):
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["sequence", "retention"], *given])
    words = ["data=peptide_properties", f"data.source.paths={folder / 'bare.csv'}", "data.source.what=retention"]
    words += ["data.source.fixed=Carbamidomethyl@C", "data.target=regression", *RETENTION[2:], *STEPS, "test=false"]
    assert main(["train", *words, f"hydra.run.dir={folder / 'fixed'}", f"paths.cache={folder / 'cache'}"]) == 0
    written = folder / "written.csv"
    written.write_text("proforma\nAAC[UNIMOD:4]GLLK\n")
    times = []
    for path in (folder / "asked.csv", written):
        out = folder / f"of_{path.name}"
        assert main(["predict", f"ckpt={folder / 'fixed'}", f"input={path}", f"output={out}"]) == 0
        times.append(float(next(csv.DictReader(out.open()))["retention"]))
    assert times[0] == times[1]


def test_a_library_has_masses_retention_times_and_reasons(run, folder):
    path, out = folder / "dirty.csv", folder / "library.tsv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["sequence", "charge"], *DIRTY])
    words = [f"input={path}", f"output={out}", "energy=28", "instrument=Lumos", f"retention={run('retention')}"]
    assert main(["predict", f"ckpt={run('fragments')}", *words]) == 0
    rows = list(csv.DictReader(out.open(), delimiter="\t"))
    assert {row["ModifiedPeptide"] for row in rows} == {"PEPTIDEK", "AAS(UniMod:21)AAAAK"}
    first = [row for row in rows if row["ModifiedPeptide"] == "PEPTIDEK"]
    assert float(first[0]["PrecursorMz"]) == pytest.approx(464.734767, abs=1e-4)
    assert first[0]["LibraryIntensity"] == "1.00000" and first[0]["Tr_recalibrated"]
    assert not any(row["FragmentLossType"] == "H3PO4" for row in first)
    y1 = [
        row
        for row in rows
        if (row["FragmentType"], row["FragmentSeriesNumber"], row["FragmentCharge"]) == ("y", "1", "1")
    ]
    assert all(float(row["ProductMz"]) == pytest.approx(147.11280, abs=1e-4) for row in y1)
    values = [float(row["LibraryIntensity"]) for row in first]
    assert values == sorted(values, reverse=True) and np.min(values) >= 0.01
    reasons = {row["row"]: row["reason"] for row in csv.DictReader((folder / "library.reasons.csv").open())}
    assert set(reasons) == {"3", "4", "5", "6", "7"}
    assert reasons["5"].endswith("3 residues, but the model was trained on 7 to 30")
    assert reasons["6"].endswith("charge 8, but the model was trained on charges 1 to 6")
    assert reasons["7"].endswith("no charge, but the model was trained on charges 1 to 6")


def test_a_library_has_proteins_genes_and_unseen_modifications(run, folder, capsys):
    path, out = folder / "named.csv", folder / "named.tsv"
    path.write_text(
        "sequence,charge,nce,Protein,Gene\nPEPTIDEK,2,28,P1;P2,G1\nPEPTIDEC[UNIMOD:121]K,2,28,P3,\n"
        "AAAAAAAK,2,-5,,\nAAAAAAAR,2,abc,,\nAAAAAAAA,2,nan,,\n"
    )
    assert main(["predict", f"ckpt={run('fragments')}", f"input={path}", f"output={out}"]) == 0
    messages = output_of(capsys)
    assert "the library will have no retention times: set retention=<run" in messages
    assert "1 of them with residues or modifications that are not in the training data" in messages
    rows = list(csv.DictReader(out.open(), delimiter="\t"))
    first = {row["StrippedPeptide"]: row for row in reversed(rows)}
    assert (first["PEPTIDEK"]["ProteinId"], first["PEPTIDEK"]["Genes"], first["PEPTIDEK"]["Unseen"]) == (
        "P1;P2", "G1", "",
    )  # fmt: skip
    assert first["PEPTIDECK"]["Unseen"] == "C[UNIMOD:121]" and set(first) == {"PEPTIDEK", "PEPTIDECK", "AAAAAAAA"}
    reasons = {row["row"]: row["reason"] for row in csv.DictReader((folder / "named.reasons.csv").open())}
    assert reasons == {
        "3": "named.csv, line 4: collision energy -5 is below 0 or infinite",
        "4": "named.csv, line 5: collision energy abc is not a number",
    }
    assert main(["predict", f"ckpt={run('fragments')}", f"input={path}", f"output={out}", "energy=-3"]) == 1
    assert "energy=-3.0 must be 0 or more" in capsys.readouterr().err


def test_every_row_without_a_spectrum_has_the_correct_reason(run, folder):
    path, out = Path(__file__).parents[1] / "cases" / "peptides" / "pepin.csv", folder / "pepin.msp"
    assert main(["predict", f"ckpt={run('fragments')}", f"input={path}", f"output={out}"]) == 0
    rows = csv.DictReader((folder / "pepin.reasons.csv").open())
    assert {int(row["row"]) + 1: row["reason"].partition(": ")[2] for row in rows} == {
        3: "6 residues, but the model was trained on 7 to 30",
        16: "unknown modification [+100.123]",
        17: "residue U is not one of the 20",
        18: "charge 0 is not a whole number above 0",
        19: "charge 9, but the model was trained on charges 1 to 6",
        20: "no charge, but the model was trained on charges 1 to 6",
        21: "charge two is not a whole number above 0",
        22: "the same peptide and charge as pepin.csv, line 2",
        23: "collision energy abc is not a number",
        24: "collision energy -5 is below 0 or infinite",
        26: "1 residue, but the model was trained on 7 to 30",
        27: "73 residues, but the model was trained on 7 to 30",
        28: "residue p is not one of the 20",
    }


def test_predictions_mark_unseen_modifications(run, folder):
    path, out = folder / "new.csv", folder / "new_said.csv"
    path.write_text("sequence\nPEPTIDEK\n[UNIMOD:36]-PEPK[UNIMOD:121]TIDEK\nPEJK\n")
    assert main(["predict", f"ckpt={run('retention')}", f"input={path}", f"output={out}"]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["unseen"] for row in rows] == ["", "[UNIMOD:36]-; K[UNIMOD:121]", ""]


def test_a_library_marks_peptides_of_the_training_data(run, folder, capsys):
    data = build(load(run("fragments")).contract["data"])
    data.setup()
    splits = {split: data.store.strings("sequence", data.split.rows(split)[:3]) for split in data.split.names}
    path, out = folder / "known.csv", folder / "known.tsv"
    letters = list(dict.fromkeys(text for some in splits.values() for text in some))
    path.write_text("sequence,charge\n" + "".join(f"{text},2\n" for text in letters))
    assert main(["predict", f"ckpt={run('fragments')}", f"input={path}", f"output={out}"]) == 0
    in_training = {
        row["peptide"]: row["in_training"] for row in csv.DictReader((folder / "known.in_training.csv").open())
    }
    marks = {"train": "train: peptide", "val": "validation: peptide", "test": "no"}
    assert in_training == {text: marks[split] for split, some in splits.items() for text in some}
    assert f"{len(set(splits['train']))} of {len(letters)} peptides were in train" in output_of(capsys)


def test_a_library_holds_each_precursor_once(run, folder, capsys):
    path, out = folder / "twice.csv", folder / "once.tsv"
    path.write_text("sequence,charge\nPEPTIDEK,2\nPEPTIDEK,3\nPEPTIDEK,2\n")
    assert main(["predict", f"ckpt={run('fragments')}", f"input={path}", f"output={out}", "instrument=Abacus"]) == 0
    rows = list(csv.DictReader(out.open(), delimiter="\t"))
    assert {(row["ModifiedPeptide"], row["PrecursorCharge"]) for row in rows} == {("PEPTIDEK", "2"), ("PEPTIDEK", "3")}
    assert len({tuple(row.values()) for row in rows}) == len(rows)
    reasons = list(csv.DictReader((folder / "once.reasons.csv").open()))
    assert [row["reason"] for row in reasons] == ["twice.csv, line 4: the same peptide and charge as twice.csv, line 2"]
    assert "unknown instruments: Abacus" in output_of(capsys)


def test_maxquant_tables_are_read_with_fixed_modifications(run, folder, capsys):
    path = folder / "evidence.txt"
    path.write_text("Modified sequence\tCharge\tRetention time\tReverse\n_ACDEFGHIK_\t2\t20\t\n")
    plain = folder / "plain.csv"
    plain.write_text("sequence\nACDEFGHIK\nAC[UNIMOD:4]DEFGHIK\n")

    def predicted(table: Path, *words: str) -> list[str]:
        out = folder / "times.csv"
        assert main(["predict", f"ckpt={run('retention')}", f"input={table}", f"output={out}", *words]) == 0
        return [row["retention"] for row in csv.DictReader(out.open())]

    bare, modified = predicted(plain)
    assert bare != modified
    capsys.readouterr()
    assert predicted(path) == [modified] and "does not write Carbamidomethyl@C" in output_of(capsys)
    assert predicted(path, "fixed=Carbamidomethyl@C") == [modified] and "are read as" not in output_of(capsys)
    assert predicted(path, "fixed=") == [bare] and "are read as" not in output_of(capsys)
    path.write_text("peptides of mine\n_ACDEFGHIK_\n")
    assert predicted(path.rename(folder / "mine.tsv"), "column=peptides of mine", "notation=maxquant") == [modified]


def test_masses_include_cysteine_modifications_that_deepphospho_omits(run, folder):
    path, out = folder / "dpc.csv", folder / "dpc.tsv"
    path.write_text("peptide,charge\n@AGCSSDEFVNR,2\n")
    words = [f"ckpt={run('fragments')}", f"input={path}", f"output={out}", "notation=deepphospho"]
    assert main(["predict", *words]) == 0
    row = next(csv.DictReader(out.open(), delimiter="\t"))
    # 10 residues, water, carbamidomethyl (57.02146) and two protons
    assert float(row["PrecursorMz"]) == pytest.approx(621.264, abs=1e-3)
    assert row["ModifiedPeptide"] == "AGC(UniMod:4)SSDEFVNR"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["notation=mine"], "notation=mine must be one of proforma, maxquant"),
        (["fixed=Carb"], "fixed=Carb: 'Carb' is not name@residue"),
    ],
)
def test_invalid_notations_give_one_sentence(run, folder, capsys, words, sentence):
    (folder / "few.csv").write_text("sequence,charge\nPEPTIDEK,2\n")
    arguments = [f"ckpt={run('retention')}", f"input={folder / 'few.csv'}", f"output={folder / 'out.csv'}"]
    assert main(["predict", *arguments, *words]) == 1
    text = capsys.readouterr().err
    assert sentence in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("kind", "output", "words"),
    [
        ("fragments", "out.json", "a spectral library needs one of the suffixes .tsv, .csv, .parquet, .msp"),
        ("retention", "out.tsv", "the suffix must be one of .csv, .parquet, .json"),
    ],
)
def test_an_output_format_of_another_task_is_rejected(run, folder, kind, output, words, capsys):
    (folder / "few.csv").write_text("sequence,charge\nPEPTIDEK,2\n")
    arguments = [f"ckpt={run(kind)}", f"input={folder / 'few.csv'}", f"output={folder / output}"]
    assert main(["predict", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_embeddings_of_labelled_sequences_are_written(folder, capsys):
    words = [*FRAGMENTS, "model.conditions=true", *STEPS, "callbacks=embeddings", f"paths.cache={folder / 'cache'}"]
    assert main(["train", *words, f"hydra.run.dir={folder / 'embeddings'}"]) == 1
    assert "callbacks=embeddings needs labelled sequences, and data=PeptideFragments has none" in output_of(capsys)


def test_charge_classification_has_auroc_and_charge_labels(run):
    header = (run("charges") / "test" / "table.csv").read_text().splitlines()[0]
    assert "auroc" in header.lower()
    labels = json.loads((run("charges") / "labels.json").read_text())
    assert labels["classes"] == ["1", "2", "3", "4", "5", "6"]
