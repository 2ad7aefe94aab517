"""The example records keep their licences, are drawn by seed, and have the stored candidates of all look-ups."""

from __future__ import annotations

import csv
import json
import re

import pytest

from trimer.baselines.spectrum_baselines import BASELINES
from trimer.examples import FILES, FOLDER, LOOKUPS, draw, example
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


def test_samples_are_seeded_and_keep_the_order():
    assert draw.drawn(3, list(range(100))) == draw.drawn(3, list(range(100)))
    assert draw.drawn(5, list(range(100))) == sorted(draw.drawn(5, list(range(100))))
    assert draw.drawn(5, [1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("peptide", "residues"), [("[UNIMOD:1]-AC[UNIMOD:4]DK", "ACDK"), ("S[UNIMOD:21]R", "SR"), ("K", "K")]
)
def test_modifications_are_not_residues(peptide, residues):
    assert draw.letters(peptide) == residues
