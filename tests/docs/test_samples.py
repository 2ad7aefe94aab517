"""Every sample file of the page on own data is read, and no record of it has a problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trimer
from trimer.data.labelled.residue_files import LABEL, ResidueFiles
from trimer.data.labelled.sequence_files import read_sequences
from trimer.data.peptides.fragment_files import FragmentFiles
from trimer.data.peptides.peptide_layouts import LAYOUTS
from trimer.data.proteins.clusters import read_clusters
from trimer.data.proteins.entry_files import SUFFIXES as ENTRIES
from trimer.data.spectra.readers import SUFFIXES as SPECTRA
from trimer.data.spectra.readers import XML

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "own_data.md"
SAMPLE = re.compile(r"<!-- sample: (\w+) (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
SAMPLES = SAMPLE.findall(PAGE.read_text(encoding="utf-8"))
SEQUENCES = {"molecules", "proteins", "peptides"}


@pytest.mark.parametrize(("kind", "name", "text"), SAMPLES, ids=[f"{kind} {name}" for kind, name, _ in SAMPLES])
def test_sample_is_read(kind, name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    if kind == "clusters":
        assert len(read_clusters(path).ids) == len(text.splitlines())
    elif kind == "spectra":
        table = trimer.read_spectra(path)
        assert len(table) == 1
        assert not any(table["problem"])
        assert table["precursor_mz"][0] == pytest.approx(195.0877)
        assert table["adduct"][0] == "[M+H]+"
    elif kind == "fragments":
        for table in FragmentFiles(str(path)).chunks():
            assert not table.problems
            assert set(table.row) == set(range(len(table))), "each spectrum has a fragment"
            assert not table.other
    elif kind == "residues":
        for table in ResidueFiles(str(path)).chunks():
            assert not table.problems
            assert all(table.labels[LABEL])
    else:
        table = read_sequences(path, kind)
        assert len(table.texts) >= 1
        assert all(table.texts)
        assert not table.problems


def test_every_kind_of_record_has_samples():
    assert {kind for kind, _, _ in SAMPLES} == {"spectra", "fragments", "residues", "clusters"} | SEQUENCES


def test_every_text_format_of_spectra_and_proteins_has_a_sample():
    shown = {
        kind: {Path(name).suffix.lower() for of, name, _ in SAMPLES if of == kind} for kind in SEQUENCES | {"spectra"}
    }
    assert shown["spectra"] == SPECTRA.keys() - XML.keys(), "mzML and mzXML are not written by hand"
    entries = {ENTRIES[suffix] for suffix in shown["proteins"] if suffix in ENTRIES}
    assert entries == set(ENTRIES.values()) - {"Swiss-Prot"}, "the sample of Swiss-Prot has the suffix of UniProt, .dat"
    assert shown["proteins"] >= {".fasta", ".csv", ".xml", ".pir", ".dat"}
    assert shown["molecules"] >= {".smi", ".csv", ".sdf"}


def test_every_code_block_is_a_sample():
    page = PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"^```\w+$", page, re.MULTILINE)) == len(SAMPLES)


@pytest.mark.parametrize("name", sorted(LAYOUTS.keys() - {"deepphospho"}))
def test_every_column_of_a_peptide_layout_is_named(name):
    (row,) = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(rf"\|.*`{name}`.*\|.*\|", line)
    ]
    layout = LAYOUTS[name]
    columns = {*layout.sequence, *layout.charge, *layout.retention, layout.modifications, layout.sites, layout.observed}
    assert columns - {None} <= set(re.findall(r"`([^`]+)`", row))
