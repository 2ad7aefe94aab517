"""Tables of molecules as people have them: what each is read as, what is dropped, and what the messages say."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.labelled.sequence_files import read_sequences
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.errors import ConfigError, InputError
from trimer.tokenizers.smiles import SmilesTokenizer

CASES = Path(__file__).parents[1] / "cases" / "molecules"


def ready(tmp_path, name: str, target: str, labels="y", classes=None, learnt=None, **settings) -> LabelledSequences:
    split = {"keys": ["inchikey1"], "fractions": {"train": 0.8, "val": 0.1, "test": 0.1}}
    source = LabelledFiles(str(CASES / name), "smiles", labels)
    settings = {"split": split, "cache": str(tmp_path), "tokens_per_batch": 4096, **settings}
    data = LabelledSequences(source, SmilesTokenizer(), "molecules", target, classes=classes, **settings)
    if learnt:
        data.take_classes(learnt)
    data.setup()
    return data


def heard(caplog) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


# ---------------------------------------------------------------- classes


def test_numbers_with_different_decimals_are_one_class(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        data = ready(tmp_path, "mixed_1_1.0.csv", "single", "label")
    assert data.classes == ["0", "1"]
    assert "the labels '1' (" in heard(caplog) and "'1.0' (" in heard(caplog)
    assert "class  train  val  test" in heard(caplog), "the table of classes is printed"


def test_case_and_white_space_are_ignored_unless_classes_are_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        data = ready(tmp_path, "case.csv", "single", "label")
    assert [name.lower() for name in data.classes] == ["active", "inactive"]
    assert "name them in data.classes to keep them apart" in heard(caplog)
    assert ready(tmp_path, "case.csv", "single", "label", classes=["Active", "active", "inactive"]).classes == [
        "Active",
        "active",
        "inactive",
    ]


def test_model_with_class_1_accepts_label_1_0(tmp_path):
    data = ready(tmp_path, "mixed_1_1.0.csv", "single", "label", learnt=["1", "0"])
    assert data.classes == ["1", "0"] and (data.labels >= 0).all()


def test_measurements_as_classes_raise_input_error(tmp_path):
    with pytest.raises(InputError, match=r"the labels are 60 different numbers.*use data\.target=regression"):
        ready(tmp_path, "numeric_single.csv", "single")
    assert ready(tmp_path, "numeric_single.csv", "regression").labels.shape == (60, 1)


def test_warns_of_validation_split_with_one_class(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        ready(tmp_path, "dup_rows.csv", "single")
    assert "the 20 rows of val have only the label '1', so classification cannot be evaluated" in heard(caplog)


# ---------------------------------------------------------------- yes, no and numbers


def test_dash_is_a_missing_value_and_row_is_kept(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        data = ready(tmp_path, "dash_missing.csv", "multi", ["a", "b"])
    assert "label 'a'" in heard(caplog) and "most often '-' (" in heard(caplog)
    assert "data.missing=['?', 'none', '-1']" in heard(caplog), "the most frequent first"
    good = int((~np.isnan(data.labels)).any(1).sum())
    assert len(data.store) == good == 60 - data.drops.rules[0]["dropped"] and good > 40
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        named = ready(tmp_path, "dash_missing.csv", "multi", ["a", "b"], missing=["-", "?", "None", -1])
    assert "neither yes nor no" not in heard(caplog)
    assert np.array_equal(named.labels, data.labels, equal_nan=True)


def test_unreadable_yes_or_no_texts_are_listed_with_a_fix(tmp_path):
    with pytest.raises(InputError) as error:
        ready(tmp_path, "active.csv", "multi", "label")
    text = str(error.value)
    assert "label 'label': 60 cells are neither yes nor no" in text and "'inactive' (" in text
    assert "Read as yes: 1, t, true, y, yes; as no: 0, f, false, n, no" in text
    assert "data.positive and data.negative" in text and "data.target=single" in text
    data = ready(tmp_path, "active.csv", "multi", "label", positive=["Active"], negative=["inactive"])
    assert set(data.labels[:, 0]) == {0, 1} and len(data.store) == 60


def test_numeric_column_as_yes_or_no_suggests_regression(tmp_path):
    with pytest.raises(InputError, match=r"Use data\.target=regression if the column 'y' holds numbers"):
        ready(tmp_path, "numeric_single.csv", "multi")


def test_numbers_with_qualifiers_or_units_are_reported(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        data = ready(tmp_path, "qualifiers.csv", "regression", "ic50")
    assert 0 < len(data.store) < 60
    assert "Qualifiers (>, <, ~, ±) and units are not read" in heard(caplog) and "'7 nM' (" in heard(caplog)


def test_decimal_comma_is_read_if_configured(tmp_path):
    with pytest.raises(InputError, match=r"""Use "data\.decimal=','" if the comma"""):
        ready(tmp_path, "decimal_comma.tsv", "regression")
    data = ready(tmp_path, "decimal_comma.tsv", "regression", decimal=",")
    assert data.labels[:2, 0].tolist() == [np.float32(2.12), np.float32(4.75)] and len(data.store) == 60


@pytest.mark.parametrize(("name", "first"), [("listcol.csv", [0, 1, 1]), ("semilist.csv", [1, 0, 1])])
def test_list_in_a_cell_gives_several_labels(tmp_path, name, first):
    data = ready(tmp_path, name, "multi", "odour")
    assert data.classes == ["green", "sweet", "woody"] and data.labels[0].tolist() == first
    assert (data.labels.sum(1) == 2).all() and len(data.store) == 60
    learnt = ready(tmp_path, name, "multi", "odour", learnt=["woody", "fruity", "green"])
    assert learnt.classes == ["woody", "fruity", "green"] and learnt.labels[0].tolist() == [1, 0, first[0]]


def test_warns_of_lists_as_classes(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        ready(tmp_path, "listcol.csv", "single", "odour")
    assert "most labels are lists such as \"['" in heard(caplog) and "use data.target=multi" in heard(caplog)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        ready(tmp_path, "case.csv", "single", "label")
    assert "lists" not in heard(caplog)


# ---------------------------------------------------------------- duplicates


def test_contradictory_molecules_are_counted_and_resolved(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        data = ready(tmp_path, "conflict.csv", "single")
    assert "30 molecules occur more than once with different labels, in 60 rows; all are kept" in heard(caplog)
    assert data.facts()["duplicates"] | {"noise": {}} == {
        "way": "keep", "sequences": 30, "rows": 60, "differing": 30, "differing_rows": 60, "removed": 0, "noise": {},
    }  # fmt: skip
    with pytest.raises(InputError):  # one of each: no molecule has a majority
        ready(tmp_path, "conflict.csv", "single", duplicates="majority")
    with pytest.raises(ConfigError, match=r"duplicates=mean is not defined for data\.target=single"):
        ready(tmp_path, "conflict.csv", "single", duplicates="mean")
    with pytest.raises(ConfigError, match="duplicates=first must be one of keep, mean, majority, drop"):
        ready(tmp_path, "conflict.csv", "single", duplicates="first")


# ---------------------------------------------------------------- structures


def test_readable_molecules_are_kept_and_others_have_a_reason(tmp_path):
    data = ready(tmp_path, "chem.csv", "single")
    kept = dict(zip(data.store.strings("id"), data.store.strings("inchikey1"), strict=True))
    names = [line.split(",")[0] for line in (CASES / "chem.csv").read_text(encoding="utf-8").splitlines()]
    key = {names[int(location.split(":")[1]) - 1]: value for location, value in kept.items()}
    assert key["wildcard"] == "*CCO" and key["cisplatin_dative"] and key["inchi"] == "LFQSCWFLJHTTHZ"
    assert {"polymer", "rgroup_mapped", "cx", "any_bond", "quad"} <= key.keys()
    examples = {rule["rule"]: rule["examples"] for rule in data.drops.rules}["molecule RDKit cannot read"]
    assert any("Explicit valence for atom # 1 N, 5, is greater than permitted" in text for text in examples)
    assert any("unclosed ring" in text for text in examples)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_text_encodings_are_detected(tmp_path, encoding):
    text = (CASES / "conflict.csv").read_text().replace("smiles,y", "smiles,y,näme").replace(",0\n", ",0,Säure\n")
    (tmp_path / "my.csv").write_bytes(text.replace(",1\n", ",1,\n").encode(encoding))
    (table,) = LabelledFiles(str(tmp_path / "my.csv"), "smiles", "y", "näme").chunks()
    assert len(table) == 60 and not table.problems and "Säure" in table.ids


@pytest.mark.parametrize("name", ["canonical.csv", "inchi.csv"])
def test_smiles_column_is_recognised_under_other_names(tmp_path, name, caplog):
    with caplog.at_level(logging.INFO):
        data = ready(tmp_path, name, "single")
    assert len(data.store) == 60 and "as smiles; set `column` to read another one" in heard(caplog)
    assert data.store.strings("text")[5] == "O=C(O)c1ccccc1O"


def test_sdf_properties_are_columns(tmp_path):
    data = ready(tmp_path, "mols.sdf", "multi")
    assert len(data.store) == 10 and data.store.strings("text")[5] == "O=C(O)c1ccccc1O"
    assert data.labels[:4, 0].tolist() == [0, 1, 0, 1]
    table = LabelledFiles(str(CASES / "mols.sdf"), "smiles", "y", "name")
    (records,) = table.chunks()
    assert records.ids[:2] == ["m0", "m1"] and records.places[1] == "mols.sdf, record 2"
    (molecules,) = SmilesFiles(str(CASES / "mols.sdf")).chunks()
    assert molecules.smiles == records.texts
    assert read_sequences(CASES / "mols.sdf", "molecules").texts == records.texts


def test_damaged_sdf_record_does_not_affect_others(tmp_path):
    text = (CASES / "mols.sdf").read_text().replace("$$$$\n", "$$$$\n\n\n\n  1  0  0\nnonsense\n$$$$\n", 1)
    (tmp_path / "my.sdf").write_text(text)
    table = read_sequences(tmp_path / "my.sdf", "molecules")
    assert len(table) == 11 and list(table.problems) == [1]
    assert table.problems[1].startswith("molecule RDKit cannot read: ") and len(table.problems[1]) > 32
