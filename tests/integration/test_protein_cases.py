"""Every case of proteins gives the same rows in every command: a vector or labels, or the reason why there are none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from trimer.cli.main import main
from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.labelled.residue_labels import split_labels
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.data.text.fasta_layouts import THREE_LINES
from trimer.data.text.letters import DIGITS, DNA
from trimer.models.convert.esm2_weights import save_esm2
from trimer.models.esm2 import Esm2

CASES = Path(__file__).parents[1] / "cases" / "proteins"
NO_RESIDUE = "inside the sequence, which is no residue"
REASONS = {
    "3line.fasta": [THREE_LINES] * 3,
    "digits.fasta": [DIGITS],
    "dna.fasta": [DNA],
    "nonascii_seq.fasta": [f"'α' {NO_RESIDUE}", f"'–' {NO_RESIDUE}"],
    "pir.fasta": [None],
    "nan.csv": [None, NO_SEQUENCE, NO_SEQUENCE, NO_SEQUENCE, DIGITS, DNA],
    "t_blank_first.csv": [None],
    "t_semi.csv": [None, None],
    "t_ragged.csv": [None, "fewer cells than the header", "more cells than the header"],
    "t_list_labels.parquet": [None, None],
    "utf16.fasta": [None, None],
    "in.zip": [None],
    "x.fasta.bz2": [None],
    "x.fasta.xz": [None],
}


def reasons_of_proteins(path: Path) -> list[str | None]:
    return [part.problems.get(row) for part in ProteinFiles(str(path)).chunks() for row in range(len(part))]


@pytest.mark.parametrize("case", REASONS)
def test_proteins_are_read_or_have_a_reason(case):
    found = reasons_of_proteins(CASES / case)
    assert [
        reason and reason[: len(wanted or "")] for reason, wanted in zip(found, REASONS[case], strict=True)
    ] == REASONS[case]


def test_what_precedes_the_break_of_a_cut_file_is_kept_with_a_row_for_the_loss():
    found = reasons_of_proteins(CASES / "cut.fasta.gz")
    assert len(found) > 2000 and found[:-1] == [None] * (len(found) - 1)
    assert "the file breaks off here" in found[-1]


@pytest.mark.parametrize(
    "case", [name for name in REASONS if name.startswith("t_") and name != "t_list_labels.parquet"]
)
def test_labelled_tables_give_the_same_reasons(case):
    found = [
        part.problems.get(row)
        for part in LabelledFiles(str(CASES / case), "sequence", "y").chunks()
        for row in range(len(part))
    ]
    assert found == REASONS[case]


def test_two_columns_of_one_name_are_one_sentence_in_every_reader():
    for source in (
        ProteinFiles(str(CASES / "t_dup_col.csv")),
        LabelledFiles(str(CASES / "t_dup_col.csv"), "sequence", "y"),
    ):
        with pytest.raises(Exception, match="2 columns are called 'sequence'"):
            list(source.chunks())


def test_categorical_columns_are_text():
    (part,) = ProteinFiles(str(CASES / "t_categorical.parquet"), id_column="id").chunks()
    assert [part.sequences[row].tobytes() for row in range(len(part))][:2] == [b"MKT", b"MKVA"]
    (table,) = LabelledFiles(str(CASES / "t_categorical.parquet"), "sequence", "y").chunks()
    assert table.labels["y"][:2] == ["x", "z"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    return save_esm2(Esm2(d_model=16, layers=1, heads=1), tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("case", ["nan.csv", "3line.fasta", "digits.fasta"])
def test_embed_gives_a_vector_or_the_same_reason(case, weights, tmp_path):
    output = tmp_path / "out.parquet"
    assert main(["embed", f"ckpt={weights}", f"input={CASES / case}", f"output={output}"]) == 0
    rows = pq.read_table(output).to_pylist()
    reasons = [row["reason"] for row in rows]
    assert [reason and reason.partition(": ")[2] for reason in reasons] == REASONS[case], "each after its place"
    assert [row["embedding"] is None for row in rows] == [reason is not None for reason in REASONS[case]]


def test_embed_counts_letters_that_the_vocabulary_lacks(weights, tmp_path, capsys):
    (tmp_path / "a.fasta").write_text(">a\nMKJJ\n>b\nMKXB\n>c\nMK1\n")
    assert main(["embed", f"ckpt={weights}", f"input={tmp_path}/a.fasta", f"output={tmp_path}/o.parquet"]) == 0
    told = "1 of 2 proteins (50.0 %) hold what the vocabulary cannot spell, and are read without it: 'J' 2 times"
    assert told in capsys.readouterr().err


@pytest.fixture(scope="module")
def residues(tmp_path_factory):
    """The run of a model of residues, trained for two steps on the case of dots, whose dots are missing."""
    folder = tmp_path_factory.mktemp("residues")
    words = ["train", "data=labelled_residues", f"data.source.paths={CASES}/dots.csv", "data.source.labels=ss"]
    words += ["data.source.id_column=id", "data.missing=['.']", "model=esm2_nano", "model.layers=1"]
    words += ["task=classification", "task.head.pooling=residue", "trainer.max_steps=2", "trainer.log_every_n_steps=1"]
    words += ["data.split.fractions={train: 0.5, val: 0.25, test: 0.25}", f"hydra.run.dir={folder}/run", "logger=csv"]
    assert main([*words, f"paths.cache={folder}/cache"]) == 0
    return folder / "run"


def test_an_evaluation_of_residues_writes_its_predictions(residues):
    rows = pq.read_table(residues / "test" / "predictions.parquet").to_pylist()
    truth = {row["id"]: row for row in csv.DictReader((CASES / "dots.csv").open())}
    assert len(rows) == json.loads((residues / "split.json").read_text())["sizes"]["test"]
    for row in rows:
        labels = split_labels(row["label"], len(row["text"]))
        assert ["." if label is None else label for label in labels] == list(truth[row["id"]]["ss"])
        said = np.array([row["probability of E"], row["probability of H"]])
        np.testing.assert_allclose(said.sum(0), 1, atol=1e-5)
        assert len(row["predicted"]) == len(row["text"]) == said.shape[1]
        assert row["predicted"] == "".join("EH"[best] for best in said.argmax(0))


def test_predictions_of_residues_have_probabilities(residues, tmp_path):
    source = tmp_path / "new.fasta"
    source.write_text(">a\nMKTAYIAKQR\n>b\nMK1\n>c\nMKV\n")
    rows = {}
    for suffix in ("parquet", "csv", "json"):
        output = tmp_path / f"out.{suffix}"
        assert main(["predict", f"ckpt={residues}", f"input={source}", f"output={output}"]) == 0
        if suffix == "parquet":
            rows[suffix] = pq.read_table(output).to_pylist()
        else:
            text = output.read_text()
            rows[suffix] = json.loads(text) if suffix == "json" else list(csv.DictReader(text.splitlines()))
    first, second, third = rows["parquet"]
    assert second["reason"] == f"new.fasta, record 2: {DIGITS}" and second["probability of E"] is None
    for row, size in ((first, 10), (third, 3)):
        said = np.array([row["probability of E"], row["probability of H"]])
        assert len(row["labels"]) == size == said.shape[1]
        np.testing.assert_allclose(said.sum(0), 1, atol=2e-5)
        np.testing.assert_allclose(row["probability"], said.max(0))
    assert rows["json"][0] == first
    assert json.loads(rows["csv"][0]["probability of H"]) == first["probability of H"]
