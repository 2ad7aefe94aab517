"""Labelled data: every record that goes is counted, classes are in a known order, no part knows another."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.data.molecules.molecule_rules import UNREADABLE
from trimer.errors import ConfigError, InputError
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

ALCOHOLS = ["C" * n + "O" for n in range(1, 31)]


def table(path: Path, rows: list[tuple], header: str = "smiles,y,id") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def thirty(kinds: str = "abc") -> list[tuple]:
    return [(smiles, kinds[number % len(kinds)], f"m{number}") for number, smiles in enumerate(ALCOHOLS)]


def data_of(path: Path, target: str = "single", labels="y", entity: str = "molecules", **settings) -> LabelledSequences:
    proteins = entity == "proteins"
    source = LabelledFiles(str(path), "sequence" if proteins else "smiles", labels, "id")
    tokenizer = ProteinTokenizer() if proteins else SmilesTokenizer()
    split = {"keys": ["sequence" if proteins else "inchikey1"], "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    settings = {"split": split, "cache": str(path.parent / "cache"), "tokens_per_batch": 4096, **settings}
    return LabelledSequences(source, tokenizer, entity, target, **settings)


def ready(*args, **settings) -> LabelledSequences:
    data = data_of(*args, **settings)
    data.setup()
    return data


def dropped(data: LabelledSequences) -> dict[str, list[str]]:
    report = data.drops
    assert report.left == len(data.store) == report.records - sum(row["dropped"] for row in report.rules)
    assert all(row["dropped"] == len(row["examples"]) for row in report.rules)
    return {row["rule"]: row["examples"] for row in report.rules if row["dropped"]}


# ---------------------------------------------------------------- what goes


def test_every_dropped_record_is_counted_with_its_location(tmp_path):
    rows = [*thirty(), ("CC(C", "a", "x"), ("", "a", "y"), ("CCC", "", "z"), ("C" * 60, "b", "long"), ("CC",)]
    data = ready(table(tmp_path / "my.csv", rows), max_length=40)
    assert dropped(data) == {
        UNREADABLE: ["my.csv, line 32 (CC(C: extra open parentheses while parsing: CC(C, around position 3)"],
        "no sequence": ["my.csv, line 33"],
        "no label": ["my.csv, line 34"],
        "longer than 40 tokens": ["my.csv, line 35"],
        "fewer cells than the header": ["my.csv, line 36"],
    }
    assert data.drops.records == 35


@pytest.mark.parametrize("target", ["multi", "regression"])
def test_unreadable_cell_keeps_other_labels_of_the_row(tmp_path, target):
    rows = [(smiles, n % 2, "" if n % 3 else 1, f"m{n}") for n, smiles in enumerate(ALCOHOLS)]
    rows += [("CCC", "maybe", 1, "x"), ("CCN", "", "NA", "y"), ("CCS", "nan", 0, "z"), ("CCF", "inf", 1, "w")]
    rows += [("CCI", "maybe", "", "v")]
    path = table(tmp_path / "my.csv", rows, "smiles,y,z,id")
    data = ready(path, target, labels=["z", "y"])
    assert dropped(data) == {"no label": ["my.csv, line 33", "my.csv, line 36"]}
    assert data.classes == ["z", "y"] and data.labels.dtype == np.float32 and data.labels.shape == (33, 2)
    assert np.isnan(data.labels[1, 0]) and data.labels[1, 1] == 1
    assert data.labels[-3:, 0].tolist() == [1, 0, 1] and np.isnan(data.labels[-3:, 1]).all()
    assert data.facts()["unread"] == {"y": {"cells": 3, "texts": {"maybe": 2, "inf": 1}}}


def test_words_for_yes_and_no_are_configurable(tmp_path):
    words = ["1", "0", "True", "FALSE", "yes", "No", "1.0", "0.0"]
    rows = [(smiles, words[n % 8], f"m{n}") for n, smiles in enumerate(ALCOHOLS)]
    data = ready(table(tmp_path / "my.csv", rows), "multi")
    assert data.labels[:8, 0].tolist() == [1, 0] * 4


def test_error_without_remaining_rows_lists_reasons(tmp_path):
    path = table(tmp_path / "my.csv", [("C(", "a", "m0"), ("CC", "", "m1")])
    with pytest.raises(InputError, match=rf"(?s)no labelled sequence is left.*2 records in, 0 left.*{UNREADABLE}"):
        ready(path)


def test_chunk_without_remaining_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("trimer.data.labelled.label_files.ROWS", 4)
    rows = [*[("C(", "a", f"x{n}") for n in range(4)], *thirty()]
    data = ready(table(tmp_path / "my.csv", rows))
    assert len(data.store) == 30 and data.drops.records == 34


def test_long_sequences_are_dropped_or_shortened(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("LAGVSE"), n)) for n in range(20, 50)]
    path = table(tmp_path / "my.csv", [(t, "ab"[n % 2], f"p{n}") for n, t in enumerate(texts)], "sequence,y,id")
    for way, count in (("drop", 9), ("start", 30), ("ends", 30)):
        data = ready(path, entity="proteins", max_length=30, too_long=way)
        tokens = data.store.ragged("tokens")
        assert len(data.store) == count and tokens.lengths.max() == 30
        assert data.facts()["shortened"] == (0 if way == "drop" else 21)
        last = tokens[count - 1]
        whole = data.tokenizer.encode(data.store.strings("text", [count - 1])[0])
        assert (last[0], last[-1]) == (whole[0], whole[-1])
        kept = {"drop": whole, "start": np.r_[whole[:29], whole[-1]], "ends": np.r_[whole[:15], whole[-15:]]}[way]
        assert last.tolist() == kept.tolist()


# ---------------------------------------------------------------- classes


def test_classes_by_default_by_number_and_by_list(tmp_path):
    kinds = ["b"] * 14 + ["c"] * 6 + ["a"] * 6 + ["d"] * 4
    path = table(tmp_path / "my.csv", [(s, k, s) for s, k in zip(ALCOHOLS, kinds, strict=True)])
    split = {"keys": ["row"], "fractions": {"train": 0.8, "val": 0.1, "test": 0.1}, "seed": 3}
    assert ready(path, split=split).classes == ["a", "b", "c", "d"]
    data = ready(path, split=split, classes=2)
    assert data.classes == ["b", "a"]  # the most frequent first, equal ones by name
    assert data.facts()["left_out_by_class"] == 10 and data.split.manifest["unused"] == 10
    rows = np.concatenate([data.split.rows(part) for part in data.split.names])
    assert sorted(rows.tolist()) == [*range(14), *range(20, 26)]
    assert set(data.labels[rows]) == {0, 1} and (data.labels[14:20] == -1).all()
    data = ready(path, split=split, classes=["c", "a"])
    assert data.classes == ["c", "a"] and data.labels[14] == 0 and data.labels[20] == 1
    with pytest.raises(ConfigError, match="no record has the label 'e'; the labels are"):
        ready(path, split=split, classes=["a", "e"])
    assert len(list((tmp_path / "cache").iterdir())) == 1, "classes and splits are made of one store"


def test_numeric_class_names(tmp_path):
    path = table(tmp_path / "my.csv", thirty("10"))
    assert ready(path, classes=[1, 0]).classes == ["1", "0"]


def test_unusual_class_names(tmp_path):
    names = ['"a, b"', '"say ""yes"""', "naïve ☃ $x_$"]
    data = ready(table(tmp_path / "my.csv", [(s, names[n % 3], n) for n, s in enumerate(ALCOHOLS)]))
    assert data.classes == ["a, b", "naïve ☃ $x_$", 'say "yes"']
    data.save_reports(tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text())["classes"] == data.classes


def test_class_missing_in_train_raises_input_error(tmp_path):
    rows = [(*row, "test" if row[1] == "c" else "train") for row in thirty()]
    path = table(tmp_path / "my.csv", rows, "smiles,y,id,part")
    with pytest.raises(InputError, match=r"the label 'c' of m2 is in test but not in train: .*data.classes"):
        ready(path, split={"column": "part"})


def test_single_class_raises_input_error(tmp_path):
    path = table(tmp_path / "my.csv", thirty("a"))
    for classes in (None, 2):
        with pytest.raises(InputError, match="every label is 'a', so there is nothing to learn"):
            ready(path, classes=classes)


def test_classes_of_a_model_may_be_missing_in_data(tmp_path):
    rows = [(*row, "test" if row[1] == "c" else "train") for row in thirty()]
    data = data_of(table(tmp_path / "my.csv", rows, "smiles,y,id,part"), split={"column": "part"})
    data.take_classes(["z", "c", "a"])
    data.setup()
    assert data.classes == ["z", "c", "a"] and data.labels[:3].tolist() == [2, -1, 1]
    assert data.facts()["parts"]["test"] == {"z": 0, "c": 10, "a": 0} and data.facts()["left_out_by_class"] == 10


def test_all_rows_can_be_test_rows(tmp_path):
    path = table(tmp_path / "my.csv", thirty())
    data = data_of(path, split={"column": "file", "names": {"my.csv": "test"}})
    data.take_classes(["a", "b", "c"])
    data.setup()
    assert data.split.names == ("test",) and len(data.split.rows("test")) == 30
    with pytest.raises(InputError, match="there is no split 'train'"):
        ready(path, split={"column": "file", "names": {"my.csv": "test"}})


def test_label_without_values_in_train_is_reported(tmp_path, caplog):
    rows = [(s, n % 2, "", 1, f"m{n}", "test" if n > 20 else "train") for n, s in enumerate(ALCOHOLS)]
    path = table(tmp_path / "my.csv", rows, "smiles,y,empty,same,id,part")
    settings = {"labels": ["y", "empty", "same"], "split": {"column": "part"}}
    with caplog.at_level(logging.WARNING):
        ready(path, "multi", **settings)
    assert [text for text in map(logging.LogRecord.getMessage, caplog.records) if text.startswith("the label")] == [
        "the label 'empty' is always missing in train: it cannot be learned",
        "the label 'same' is always yes in train: it cannot be learned",
    ]
    with pytest.raises(InputError, match="the label 'empty' has no number in train: remove it"):
        ready(path, "regression", **settings)
    ready(path, "regression", **settings | {"labels": ["y", "same"]})


def test_facts_count_labels_and_contradictions(tmp_path):
    rows = [*thirty("ab"), ("OC", "b", "again"), ("OCC", "b", "same")]
    data = ready(table(tmp_path / "my.csv", rows))
    facts = data.facts()
    assert facts["identical_with_other_labels"] == 1
    assert sum(sum(part.values()) for part in facts["parts"].values()) == 32
    train = data.labels[data.split.rows("train")]
    assert facts["parts"]["train"] == {"a": (train == 0).sum(), "b": (train == 1).sum()}
    rows = [(s, n % 2, "", f"m{n}") for n, s in enumerate(ALCOHOLS)] + [("OC", 0, 1, "more"), ("OCC", 0, 1, "other")]
    data = ready(table(tmp_path / "two.csv", rows, "smiles,y,z,id"), "multi", labels=["y", "z"])
    assert data.facts()["identical_with_other_labels"] == 1  # what was missing contradicts nothing


# ---------------------------------------------------------------- residues


def residues(tmp_path, count: int = 30, extra: list = ()) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        text = "".join(rng.choice(list("LAGVSE"), rng.integers(5, 20)))
        rows.append((text, "".join("H" if letter in "LA" else "E."[letter == "S"] for letter in text), f"p{number}"))
    return table(tmp_path / "my.csv", [*rows, *extra], "sequence,y,id")


def test_residue_labels(tmp_path):
    path = residues(tmp_path, extra=[("LAG", "HH", "short"), ("LAG*", "HHE", "stop"), ("LA*G", "HHHE", "inside")])
    data = ready(path, "residue", entity="proteins", missing=["."])
    assert data.classes == ["E", "H"]
    assert dropped(data) == {
        "stop (*) inside the sequence": ["my.csv, line 34 (LA*G)"],
        "number of labels differs from number of residues": ["my.csv, line 32"],
    }
    for batch in data.evaluation_batches("test"):
        assert len(batch.labels) == sum(size - 2 for size in batch.sequence.sizes)
    labels = data.training_labels()
    assert set(labels.tolist()) == {0, 1, -100}
    rows = data.split.rows("train")
    assert len(labels) == sum(len(text) for text in data.texts(rows))
    first = data.texts(rows[:1])[0]
    assert labels[: len(first)].tolist() == [{"L": 1, "A": 1, "S": -100}.get(letter, 0) for letter in first]


# ---------------------------------------------------------------- splits


def test_split_by_rows_reports_overlap_with_train(tmp_path, caplog):
    path = table(tmp_path / "my.csv", [(s, y, f"{i}-{again}") for again in range(2) for s, y, i in thirty("ab")])
    split = {"keys": ["row"], "fractions": {"train": 0.8, "val": 0.1, "test": 0.1}}
    with caplog.at_level(logging.WARNING):
        data = ready(path, split=split)
    rows = data.split.rows("test")
    keys = np.array(data.store.strings("inchikey1"))
    share = np.isin(keys[rows], keys[data.split.rows("train")]).mean()
    assert share > 0.5
    messages = [record.message for record in caplog.records if "test rows" in record.message]
    assert len(messages) == 1 and messages[0].startswith(
        f"{100 * share:.0f} % of the test rows are molecules that are also in train"
    )
    assert "data.split.keys=[inchikey1]" in messages[0]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        grouped = ready(path)
    assert not caplog.records
    grouped.split.assert_disjoint({"inchikey1": keys})


def test_validation_is_taken_from_train_by_groups(tmp_path):
    rows = [(s, y, f"{i}-{again}") for s, y, i in thirty("ab") for again in range(2)]
    rows = [(*row, "test" if number >= 50 else "train") for number, row in enumerate(rows)]
    path = table(tmp_path / "my.csv", rows, "smiles,y,id,part")
    data = ready(path, split={"column": "part"}, validation=0.2)
    assert data.split.names == ("train", "val", "test")
    assert data.split.rows("test").tolist() == list(range(50, 60))
    assert 6 <= len(data.split.rows("val")) <= 14
    data.split.assert_disjoint({"inchikey1": data.store.strings("inchikey1")})
    assert data.split.manifest["validation"] == {"share": 0.2, "seed": 0}
    other = ready(path, split={"column": "part", "seed": 5}, validation=0.2)
    assert other.split.rows("val").tolist() != data.split.rows("val").tolist()
    assert other.split.rows("test").tolist() == data.split.rows("test").tolist()


def test_split_ordered_by_scaffold_size(tmp_path):
    rings = ["C1CCCCC1", "c1ccccc1", "C1CCCC1", "C1CC1"]
    rows = [(ring + "C" * n, "ab"[n % 2], f"{r}-{n}") for r, ring in enumerate(rings) for n in range((6, 3, 3, 1)[r])]
    split = {"ordered_by": "scaffold", "fractions": {"train": 0.7, "val": 0.2, "test": 0.1}}
    data = ready(table(tmp_path / "my.csv", rows), split=split)
    assert data.split.manifest["method"] == "scaffold, largest first"
    # To train the six of the first ring, then the three that begin last; the other three fit nowhere but in test.
    assert data.split.rows("train").tolist() == [*range(6), 9, 10, 11]
    assert data.split.rows("val").tolist() == [12]
    assert data.split.rows("test").tolist() == [6, 7, 8]


def test_invalid_splits_raise_errors(tmp_path):
    path = table(tmp_path / "my.csv", thirty())
    with pytest.raises(ConfigError, match=r"data\.split needs `column`"):
        ready(path, split={})
    with pytest.raises(ConfigError, match=r"ordered_by=colour must be one of inchikey1, scaffold"):
        ready(path, split={"ordered_by": "colour"})
    with pytest.raises(ValueError, match=r"split\.keys: sequence must be among inchikey1, scaffold, cluster, row"):
        data_of(path, split={"keys": ["sequence"]})


def test_a_second_setup_changes_nothing(tmp_path):
    data = ready(table(tmp_path / "my.csv", thirty()), classes=2)
    split, labels, used, classes = data.split, data.labels, data.used, data.classes
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert data.split is split and data.labels is labels and data.used is used and data.classes is classes


# ---------------------------------------------------------------- the store


def test_store_name_depends_on_settings_that_shape_it_only(tmp_path):
    path = table(tmp_path / "my.csv", [(*row, "train") for row in thirty("10")], "smiles,y,id,part")
    folder = data_of(path).folder
    same = [
        {"classes": 2},
        {"split": {"keys": ["scaffold"], "seed": 7}},
        {"validation": 0.3, "tokens_per_batch": 100, "seed": 9, "shuffle": False},
    ]
    assert {data_of(path, **settings).folder for settings in same} == {folder}
    others = [
        data_of(path, max_length=40),
        data_of(path, too_long="ends"),
        data_of(path, "multi"),
        data_of(path, split={"column": "part"}),
        data_of(path, labels="part"),
    ]
    unlike = data_of(path)
    unlike.tokenizer = SmilesTokenizer("deepsmiles")
    folders = [data.folder for data in (*others, unlike)]
    path.write_text(path.read_text().replace("CO,", "CN,"))
    folders.append(data_of(path).folder)
    assert len({folder, *folders}) == len(folders) + 1


def test_batches_hold_each_row_once_with_its_label(tmp_path):
    data = ready(table(tmp_path / "my.csv", thirty()), tokens_per_batch=60)
    batches = list(data.evaluation_batches("train"))
    assert len(batches) > 2
    rows = torch.cat([batch.rows for batch in batches])
    assert rows.tolist() == data.split.rows("train").tolist()
    assert torch.cat([batch.labels for batch in batches]).tolist() == data.labels[rows].tolist()
    tokens = data.store.ragged("tokens")
    for batch in batches:
        for row, sequence in zip(batch.rows.tolist(), batch.sequence.unpack(), strict=True):
            assert sequence.tolist() == tokens[row].tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"entity": "genes"}, "entity=genes must be one of molecules, proteins"),
        ({"target": "rank"}, "target=rank must be one of"),
        ({"too_long": "middle"}, "too_long=middle must be one of"),
        ({"max_length": 2}, "max_length=2 must be 3"),
        ({"validation": 1}, "validation=1 must be a fraction"),
        ({"target": "residue"}, "molecules have no residue labels"),
        ({"target": "residue", "entity": "proteins", "too_long": "ends"}, "residue labels need whole sequences"),
        ({"classes": 1}, "classes=1 must be 2 or more"),
        ({"classes": ["a"]}, "must be 2 or more"),
        ({"classes": []}, "must be 2 or more"),
        ({"classes": 3, "target": "multi"}, "classes=3: target=multi has labels, not classes"),
    ],
)
def test_invalid_settings_raise_value_error(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        data_of(tmp_path / "my.csv", **settings)


def test_molecules_are_rewritten_in_training_only(tmp_path):
    """Other tokens in every epoch, the same molecule, the same for the same (seed, epoch, row)."""
    from trimer.data.molecules.random_smiles import RandomSmiles
    from trimer.tokenizers.smiles import SmilesTokenizer

    tokenizer = SmilesTokenizer()
    smiles = ["C[C@H](N)C(=O)O", "c1ccc2[nH]ccc2c1", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"]
    rewrite = RandomSmiles(tokenizer, 1.0, 64, seed=3)
    written = set()
    for row, text in enumerate(smiles):
        whole = tokenizer.encode(text)
        for epoch in range(8):
            tokens = rewrite(text, whole, epoch, row)
            assert tokenizer.decode(tokens) == tokenizer.decode(whole)
            assert (tokens == rewrite(text, whole, epoch, row)).all()
            written.add(tuple(tokens.tolist()))
    assert len(written) > 10
    whole = tokenizer.encode(smiles[0])
    assert RandomSmiles(tokenizer, 1.0, 5)(smiles[0], whole, 0, 0) is whole, "too long, so it stays as it is"
    never = RandomSmiles(tokenizer, 0.0, 64)
    assert all(
        never(smiles[2], tokenizer.encode(smiles[2]), epoch, 0).shape == tokenizer.encode(smiles[2]).shape
        for epoch in range(3)
    )
    with pytest.raises(ConfigError, match="representation=smiles, not selfies"):
        RandomSmiles(SmilesTokenizer("selfies"), 1.0, 64)("CCO", tokenizer.encode("CCO"), 0, 0)
