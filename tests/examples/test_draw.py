"""The example records keep their licences, are drawn by seed, and have the stored candidates of all look-ups."""

from __future__ import annotations

import csv
import json
import re

import pytest
from Bio.SeqUtils.CheckSum import crc64

from trimer.baselines.spectrum_baselines import BASELINES
from trimer.examples import FILES, FOLDER, KNOWN, LOOKUPS, draw, example, known_proteins
from trimer.studies.study import Study


def test_every_kind_has_a_file_that_the_readme_describes():
    text = (FOLDER / "README.md").read_text()
    for kind, name in FILES.items():
        assert example(kind).is_file()
        assert f"`{name}`" in text
    for name in re.findall(r"`(LICENSE\.\w+|spectra\.ATTRIBUTION\.tsv|lookups\.json)`", text):
        assert (FOLDER / name).is_file()
    assert Study.example.__doc__


def test_all_spectra_are_of_the_test_fold_with_licence_and_authors():
    text = example("spectra").read_text(encoding="utf-8")
    spectra = text.split("BEGIN IONS")[1:]
    assert len(spectra) == draw.SPECTRA
    assert len(set(re.findall(r"^INCHIKEY=(.{14})", text, re.MULTILINE))) == draw.SPECTRA
    assert set(re.findall(r"^FOLD=(.*)$", text, re.MULTILINE)) == {"test"}
    assert all(re.search(r"^LICENSE=(CC BY|dl-de/by-2-0|CC0)$", spectrum, re.MULTILINE) for spectrum in spectra)
    with (FOLDER / "spectra.ATTRIBUTION.tsv").open(encoding="utf-8") as stream:
        authors = {row["accession"]: row["authors"] for row in csv.DictReader(stream, delimiter="\t")}
    titles = re.findall(r"^TITLE=(.*)$", text, re.MULTILINE)
    assert set(authors) == set(titles)
    assert all(authors.values())


def test_every_spectrum_has_candidates_of_every_look_up():
    stored = json.loads((FOLDER / LOOKUPS).read_text(encoding="utf-8"))
    titles = re.findall(r"^TITLE=(.*)$", example("spectra").read_text(encoding="utf-8"), re.MULTILINE)
    assert stored["ids"] == titles
    assert set(stored["candidates"]) <= set(BASELINES)
    assert {"random training molecule", "cosine look-up", "nearest precursor m/z"} <= set(stored["candidates"])
    for candidates in stored["candidates"].values():
        assert [len(some) for some in candidates] == [draw.CANDIDATES] * len(titles)


def test_the_known_proteins_are_the_entries_of_uniprot():
    """CRC-64 of the sequences, as in the line SQ of the entries."""
    assert f"`{KNOWN}`" in (FOLDER / "README.md").read_text()
    proteins = known_proteins()
    assert [one["label"] for one in proteins] == ["M", "S"] * 3
    assert {one["id"]: crc64(one["sequence"]).removeprefix("CRC-") for one in proteins} == {
        "P43220": "EE7C0EAE29931F5D", "Q9H4B7": "6A3E5208C1C89AE4", "Q15116": "A5210FD40C304FB7",
        "P04637": "AD5C149FD8106131", "Q92963": "7F957871F836AE92", "P11766": "F4F823B4A609C952",
    }  # fmt: skip
    trained_on = example("proteins").read_text(encoding="utf-8")
    assert not [one["id"] for one in proteins if one["id"] in trained_on]


def test_samples_are_seeded_and_keep_the_order():
    assert draw.drawn(3, list(range(100))) == draw.drawn(3, list(range(100)))
    assert draw.drawn(5, list(range(100))) == sorted(draw.drawn(5, list(range(100))))
    assert draw.drawn(5, [1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("peptide", "residues"), [("[UNIMOD:1]-AC[UNIMOD:4]DK", "ACDK"), ("S[UNIMOD:21]R", "SR"), ("K", "K")]
)
def test_modifications_are_not_residues(peptide, residues):
    assert draw.letters(peptide) == residues
