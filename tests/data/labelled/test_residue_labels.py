"""Labels of residues: letters, lists, names; classes are what the file has, and what is missing is named."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core.label_table import LabelTable
from trimer.data.labelled.residue_files import ResidueFiles
from trimer.data.labelled.residue_labels import split_labels
from trimer.errors import InputError
from trimer.targets import joined_labels

CASES = Path(__file__).parents[2] / "cases" / "proteins"


@pytest.mark.parametrize(
    ("text", "residues", "labels"),
    [
        ("HH.?-", 5, list("HH.?-")),
        ("[0, 1, 1]", 3, ["0", "1", "1"]),
        ("[0.0, 1.0]", 2, ["0", "1"]),
        ('["helix", null, "coil"]', 3, ["helix", None, "coil"]),
        ("['H', 'E']", 2, ["H", "E"]),
        ("[0 1 1]", 3, ["0", "1", "1"]),
        ("helix coil coil", 3, ["helix", "coil", "coil"]),
        ("0,1,1", 3, ["0", "1", "1"]),
        ("H E", 3, ["H", " ", "E"]),  # a blank is the coil of DSSP
    ],
)
def test_cell_is_split_into_residue_labels(text, residues, labels):
    assert split_labels(text, residues) == labels
    assert split_labels(joined_labels(labels), residues) == labels


def test_cell_of_wrong_length_is_detected():
    assert len(split_labels("HHE", 5)) != 5 and len(split_labels("[0, 1]", 5)) != 5


def data(tmp_path, path, *words: str):
    fixed = ["data=labelled_residues", f"data.source.paths={path}", f"paths.cache={tmp_path}/cache"]
    split = ["data.split.keys=[row]", "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"]
    return build(compose("train", [*fixed, *split, *words]).data)


def dots() -> Counter:
    rows = (CASES / "dots.csv").read_text().splitlines()[1:]
    return Counter("".join(row.split(",")[2] for row in rows))


def counted(module) -> dict[str, int]:
    values = module.labels.values
    return {name: int((values == number).sum()) for number, name in enumerate(module.classes)}


def test_dot_is_a_class_unless_configured_as_missing(tmp_path, caplog):
    words = ["data.source.labels=ss"]
    module = data(tmp_path, CASES / "dots.csv", *words)
    with caplog.at_level(logging.INFO):
        module.setup()
    assert module.classes == [".", "E", "H"] and counted(module) == dict(dots())
    assert f"0 of {dots().total():,} residues have no label" in caplog.text
    caplog.clear()
    module = data(tmp_path, CASES / "dots.csv", *words, "data.missing=['.','?']")
    with caplog.at_level(logging.INFO):
        module.setup()
    assert module.classes == ["E", "H"] and counted(module) == {name: dots()[name] for name in "EH"}
    assert f"{dots()['.']:,} of {dots().total():,} residues have no label ('.' {dots()['.']:,})" in caplog.text
    assert int((module.labels.values == -100).sum()) == dots()["."]


def test_residues_of_excluded_classes_count_as_unlabelled(tmp_path, caplog):
    module = data(tmp_path, CASES / "dots.csv", "data.source.labels=ss", "data.classes=[H, .]")
    with caplog.at_level(logging.INFO):
        module.setup()
    assert module.classes == ["H", "."]
    assert f"residues have no label ('E' {dots()['E']:,})" in caplog.text


def test_lists_in_parquet_are_labels(tmp_path):
    (table,) = ResidueFiles(str(CASES / "t_list_labels.parquet"), labels="y", id_column="id").chunks()
    assert table.ids == ["a", "b"] and table.texts == ["MKT", "MKVA"]
    assert [split_labels(text, len(seq)) for text, seq in zip(table.labels["label"], table.texts, strict=True)] == [
        ["0", "1", "1"],
        ["1", "1", "0", "0"],
    ]


def test_labels_of_three_line_files(tmp_path):
    module = data(tmp_path, CASES / "3line.fasta", "data.split.fractions={train: 0.5, val: 0.25, test: 0.25}")
    module.setup()
    lines = (CASES / "3line.fasta").read_text().split("\n")
    assert module.texts(range(3)) == lines[1::3]
    assert module.classes == sorted(set("".join(lines[2::3])))
    assert [module.classes[number] for number in module.labels[1]] == list(lines[5])


def test_fold_in_header_is_a_column(tmp_path):
    path = tmp_path / "signalp.fasta"
    path.write_text(
        "".join(f">Q{i}|EUKARYA|SP|{i % 3}\n{'MKTAYIAK'[: 4 + i % 5]}\n{'SSIIIIII'[: 4 + i % 5]}\n" for i in range(9))
    )
    words = ["data.source.pattern='\\|(?P<fold>\\d)$'", "data.split.column=fold", "data.split.keys=null"]
    module = data(tmp_path, path, *words, "data.split.names={0: train, 1: val, 2: test}", "data.split.fractions=null")
    module.setup()
    assert module.ids(module.split.rows("val")) == [f"Q{i}|EUKARYA|SP|1" for i in (1, 4, 7)]
    assert module.classes == ["I", "S"]


BIOTRAINER = ">a TARGET=HHEC SET=train\nMKTA\n>b TARGET=CCEE SET=test MASK=1101\nMKVA\n>c SET=train\nMMMM\n"


def test_biotrainer_files_are_read_with_their_masks(tmp_path):
    path = tmp_path / "biotrainer.fasta"
    path.write_text(BIOTRAINER)
    table = LabelTable.concatenate(list(ResidueFiles(str(path)).chunks(["SET"])))
    labels = [text and split_labels(text, 4) for text in table.labels["label"]]
    assert labels == [list("HHEC"), ["C", "C", None, "E"], None]
    assert table.columns["SET"] == ["train", "test", "train"]


def test_biotrainer_labels_in_a_separate_file(tmp_path):
    (tmp_path / "sequences.fasta").write_text(">a\nMKTA\n>b\nMKVA\n>c\nMM\n")
    apart = ">b SET=train VALIDATION=True\n0110\n>a SET=train VALIDATION=False\n0001\n>c SET=test\n10\n"
    (tmp_path / "labels.fasta").write_text(apart)
    source = ResidueFiles(str(tmp_path / "sequences.fasta"), labels_paths=str(tmp_path / "labels.fasta"))
    table = LabelTable.concatenate(list(source.chunks(["SET"])))
    assert table.labels["label"] == ["0001", "0110", "10"] and table.columns["SET"] == ["train", "val", "test"]


def test_protein_with_wrong_number_of_labels_is_dropped(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("id,sequence,ss\n" + "".join(f"p{i},MKTAYI,HHEEHH\n" for i in range(6)) + "bad,MKT,HH\n")
    module = data(tmp_path, table, "data.source.labels=ss", "data.source.id_column=id")
    module.setup()
    assert {rule["rule"]: rule["dropped"] for rule in module.drops.rules if rule["dropped"]} == {
        "number of labels differs from number of residues": 1
    }


def test_files_without_labels_raise_input_error(tmp_path):
    (tmp_path / "plain.fasta").write_text(">a\nMKT\n")
    with pytest.raises(InputError, match=r"plain\.fasta has no residue labels"):
        list(ResidueFiles(str(tmp_path / "plain.fasta")).chunks())
    with pytest.raises(InputError, match=r"is a table: name its column of labels"):
        list(ResidueFiles(str(CASES / "dots.csv")).chunks())
    (tmp_path / "b.fasta").write_text(BIOTRAINER)
    with pytest.raises(InputError, match="no header has 'fold'"):
        list(ResidueFiles(str(tmp_path / "b.fasta")).chunks(["fold"]))
