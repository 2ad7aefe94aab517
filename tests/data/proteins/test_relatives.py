"""Proteins are split by relatives, by clusters of a file and by a column, and the report says what is related."""

from __future__ import annotations

import csv
import json
import logging

import numpy as np
import pytest

from trimer.data.core.masking import Masking
from trimer.data.labelled.label_files import LabelledFasta, LabelledFiles
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.data.modules.masked_sequences import MaskedSequences
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.errors import ConfigError, InputError
from trimer.tokenizers.protein import ProteinTokenizer

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """40 families of three proteins, at 90 % identity to their founder; no two proteins are the same."""
    folder, random = tmp_path_factory.mktemp("relatives"), np.random.default_rng(0)
    rows = []
    for family in range(40):
        founder = random.choice(LETTERS, 80)
        for member in range(3):
            copy = np.where(random.random(80) < 0.1, random.choice(LETTERS, 80), founder)
            rows.append([f"p{family}-{member}", "".join(copy), "ab"[family % 2], f"family {family}"])
    rows = [rows[row] for row in random.permutation(len(rows))]
    with (folder / "proteins.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "sequence", "kind", "family"], *rows])
    (folder / "clusters.tsv").write_text("".join(f"{name}\t{family}\n" for name, _, _, family in rows))
    (folder / "proteins.fasta").write_text(
        "".join(f">{name} kind={kind} family={family.replace(' ', '_')}\n{text}\n" for name, text, kind, family in rows)
    )
    return folder


def labelled(folder, keys, kmers=None, source=None, **settings) -> LabelledSequences:
    source = source or LabelledFiles(str(folder / "proteins.csv"), "sequence", "kind", "id")
    split = {"keys": keys, "fractions": FRACTIONS, "kmers": kmers}
    settings = {"cache": str(folder / "cache"), "tokens_per_batch": 4096, "split": split, **settings}
    return LabelledSequences(source, ProteinTokenizer(), "proteins", "single", **settings)


def families_by_split(data) -> list[set[str]]:
    return [{name.partition("-")[0] for name in data.ids(data.split.rows(part))} for part in data.split.names]


def crossing(data) -> int:
    train, val, test = families_by_split(data)
    return len(train & val | train & test | val & test)


def test_split_by_identity_reports_relatives_in_train(table, tmp_path, caplog):
    caplog.set_level(logging.INFO, "trimer")
    data = labelled(table, ["sequence"])
    data.setup()
    assert crossing(data) > 20
    assert "also in train" not in caplog.text, "no line that reassures"
    related = {row["part"]: row for row in data._related()}
    train = families_by_split(data)[0]
    names = [name.partition("-")[0] for name in data.ids(data.split.rows("test"))]
    assert related["test"]["shared_rows"] == sum(name in train for name in names)
    assert related["test"]["rows"] == len(names)
    assert related["test"]["largest_similarity"] > 0.3
    assert f"relatives: {related['test']['shared_rows']} of {len(names)} proteins" in caplog.text
    warning = next(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "share more than 10 % of 6-mers with one in train" in warning and "keys=[sequence,kmers]" in warning
    data.save_reports(tmp_path)
    saved = json.loads((tmp_path / "split_overlap.json").read_text())["overlap"]
    assert [row["key"] for row in saved if row["part"] == "test"] == ["sequence", "more than 10 % of 6-mers"]


@pytest.mark.parametrize("by", ["kmers", "file", "column"])
def test_labelled_proteins_are_split_by_relatives(table, by, caplog):
    settings = {"file": {"clusters": str(table / "clusters.tsv")}, "column": {"cluster_column": "family"}}.get(by, {})
    data = labelled(table, ["sequence", "kmers" if by == "kmers" else "cluster"], **settings)
    data.setup()
    assert crossing(data) == 0
    assert data.split.manifest["groups"] == 40
    assert all(row["shared_rows"] == 0 and row["largest_similarity"] <= 0.1 for row in data._related())
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


def test_clusters_of_a_fasta_header(table):
    source = LabelledFasta(str(table / "proteins.fasta"), r"kind=(?P<kind>\S+)")
    data = labelled(table, ["cluster"], source=source, cluster_column="family")
    data.setup()
    assert crossing(data) == 0


def test_proteins_without_labels_are_split_by_shared_kmers(table):
    source = ProteinFiles(str(table / "proteins.csv"), id_column="id")
    split = {"keys": ["sequence", "kmers"], "fractions": FRACTIONS, "kmers": {"k": 5, "share": 0.1}}
    masking = Masking(0.15, 0.8, 0.1)
    settings = {
        "masking": masking,
        "validation_masking": masking,
        "cache": str(table / "cache"),
        "tokens_per_batch": 4096,
    }
    data = MaskedSequences("proteins", source, ProteinTokenizer(), split, **settings)
    data.setup()
    assert data.split.manifest["groups"] == 40
    assert {row["key"] for row in data._related()} == {"more than 10 % of 5-mers"}
    plain = MaskedSequences("proteins", source, ProteinTokenizer(), {"fractions": FRACTIONS}, **settings)
    plain.setup()
    assert all(row["shared_rows"] > 5 for row in plain._related())


def test_groups_and_similarities_are_computed_once(table, monkeypatch):
    first = labelled(table, ["kmers"])
    first.setup()
    monkeypatch.setattr("trimer.data.proteins.relatives.kmers_of", None)  # not called again
    second = labelled(table, ["kmers"])
    second.setup()
    assert (first.split.codes == second.split.codes).all()


def test_invalid_split_keys_raise_errors(table, tmp_path):
    with pytest.raises(ValueError, match=r"split\.keys contains cluster: set clusters=<file>"):
        labelled(table, ["cluster"])
    with pytest.raises(ValueError, match="both set clusters: use one of them"):
        labelled(table, ["cluster"], clusters="a.tsv", cluster_column="family")
    for wrong, message in (({"k": 9}, r"kmers\.k=9 must be from 3 to 8"), ({"share": 1}, r"kmers\.share=1 must be")):
        with pytest.raises(ConfigError, match=message):
            labelled(table, ["kmers"], wrong).setup()
    (tmp_path / "few.tsv").write_text("p0-0\ta\n")
    with pytest.raises(InputError, match=r"few\.tsv: 119 of 120 proteins are in no cluster, for example"):
        labelled(table, ["cluster"], clusters=str(tmp_path / "few.tsv")).setup()
