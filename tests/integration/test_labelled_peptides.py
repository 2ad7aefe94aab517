"""Peptides with numbers: what is dropped and why, what shares a part of the split, and whose numbers set the scale."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from trimer.data.modules.labelled_data import LabelledSequences
from trimer.data.peptides.peptide_files import PeptideFiles
from trimer.errors import InputError
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.simulate.simulated_peptides import SimulatedPeptides
from trimer.tasks.regression import Regression
from trimer.tokenizers.protein import ProteinTokenizer

SPLIT = {"keys": ["sequence"], "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0}
DIRTY = {  # a row -> why it goes
    ("AAXAAAK", "3"): "residue X is not one of the 20",
    ("PEPTIDEUK", "3"): "residue U is not one of the 20",
    ("PEPTIOEK", "3"): "residue O is not one of the 20",
    ("AABAAAK", "3"): "residue B is not one of the 20",
    ("AAZAAAK", "3"): "residue Z is not one of the 20",
    ("AAJAAAK", "3"): "residue J is not one of the 20",
    ("pepTIDEK", "3"): "residue p is not one of the 20",
    ("AAAM[Madeup]AAAK", "3"): "unknown modification [Madeup]",
    ("AAAM[+15.99AAAK", "3"): "unclosed bracket",
    ("", "3"): "no residue",
    ("A" * 60, "3"): "longer than 52 tokens",
    ("PEPTIDEK", "soon"): "retention soon is not a number",
    ("PEPTIDEK", "inf"): "retention inf is not a number",
    ("PEPTIDEK", ""): "no label",
    ("PEPTIDEK", "NaN"): "no label",
}


def peptides(count: int = 60) -> list[tuple[str, str]]:
    table = next(iter(SimulatedPeptides(count, "retention", seed=2).chunks()))
    return list(zip(table.texts, table.labels["retention"], strict=True))


def data_of(path: Path, rows: list[tuple], merge: str | None = None, **settings) -> LabelledSequences:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["sequence", "retention"], *rows])
    settings = {
        "split": SPLIT,
        "cache": str(path.parent / "cache"),
        "tokens_per_batch": 4096,
        "max_length": 52,
    } | settings
    source = PeptideFiles(str(path), "retention", merge=merge)
    return LabelledSequences(source, ProteinTokenizer(), "peptides", "regression", **settings)


def ready(*args, **settings) -> LabelledSequences:
    data = data_of(*args, **settings)
    data.setup()
    return data


def scale(data: LabelledSequences) -> Regression:
    task = Regression(PeptideEncoder(d_model=8, layers=1), data.tokenizer)
    task.contract = {}
    task.configure_for(data)
    return task


def test_every_invalid_row_is_in_the_drop_report_with_a_reason(tmp_path):
    data = ready(tmp_path / "my.csv", [*DIRTY, *peptides()])
    rules = {rule["rule"]: rule for rule in data.drops.rules if rule["dropped"]}
    assert set(rules) == set(DIRTY.values())
    assert sum(rule["dropped"] for rule in rules.values()) == len(DIRTY) == data.drops.records - data.drops.left
    for line, reason in enumerate(DIRTY.values(), 2):
        assert any(f"my.csv, line {line}" in example for example in rules[reason]["examples"])


def test_table_of_only_invalid_rows_raises_error_with_reasons(tmp_path):
    with pytest.raises(InputError, match=r"(?s)no labelled sequence is left.*residue X is not one of the 20"):
        ready(tmp_path / "my.csv", list(DIRTY))


def test_split_by_sequence_il_groups_leucine_and_isoleucine(tmp_path):
    twins = [(text, value) for text, value in peptides(300) if "L" in text]
    rows = [*twins, *((text.replace("L", "I"), value) for text, value in twins)]
    apart, together = (
        ready(tmp_path / "my.csv", rows, split=SPLIT | {"keys": [key]}) for key in ("sequence", "sequence_il")
    )
    il = [text.replace("I", "L") for text in apart.store.strings("sequence")]
    together.split.assert_disjoint({"il": il})
    with pytest.raises(InputError, match="are in two splits"):
        apart.split.assert_disjoint({"il": il})
    assert {row["key"] for row in together.split.overlap(together._keys())} == {"sequence", "sequence_il"}
    assert apart.folder == together.folder


def test_duplicate_ids_are_kept(tmp_path):
    rows = [(text, value, "same name") for text, value in peptides()]
    data = data_of(tmp_path / "my.csv", [])
    with (tmp_path / "my.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["sequence", "retention", "id"], *rows])
    data.source = PeptideFiles(str(tmp_path / "my.csv"), "retention", merge=None, id_column="id")
    data.setup()
    parts = [data.split.rows(name) for name in data.split.names]
    assert sorted(np.concatenate(parts)) == list(range(60)) and set(data.ids(np.arange(60))) == {"same name"}


def test_too_few_peptides_for_a_test_split_raise_input_error(tmp_path):
    with pytest.raises(InputError, match=r"leaves .*test empty"):
        ready(tmp_path / "my.csv", [("PEPTIDEK", n) for n in range(30)])


def test_outlier_in_test_split_does_not_change_training(tmp_path):
    rows = peptides()
    usual = ready(tmp_path / "usual.csv", rows)
    for part in ("val", "test"):
        changed = [list(row) for row in rows]
        changed[usual.split.rows(part)[0]][1] = 1e9
        extreme = ready(tmp_path / f"{part}.csv", changed)
        assert np.array_equal(extreme.split.codes, usual.split.codes) and extreme.labels.max() == np.float32(1e9)
        one, two = scale(usual).net, scale(extreme).net
        assert torch.equal(one.mean, two.mean) and torch.equal(one.deviation, two.deviation)
        assert torch.equal(usual.training_labels(), extreme.training_labels())


def test_negative_retention_times_are_predicted(tmp_path):
    """Indexed times are negative for a tenth of the peptides; nothing is cut at 0, nor at what train has seen."""
    data = ready(tmp_path / "my.csv", [(text, float(value) - 40) for text, value in peptides()])
    assert data.labels.min() < 0 and data.store.array("label:retention").min() == pytest.approx(data.labels.min())
    net = scale(data).net
    labels = torch.tensor([[-1000.0], [-0.05], [0.0], [33.3], [1e4]])
    assert torch.allclose(net.predictions((labels - net.mean) / net.deviation), labels, atol=1e-3)
