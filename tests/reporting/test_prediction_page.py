"""Pages of predictions: which spectra have a card, bounds, missing values."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from trimer.peptides.channels import channels_of
from trimer.reporting import attempts
from trimer.reporting.prediction_cards import CardSpectrum, explained_share, selected
from trimer.reporting.prediction_page import ROWS, LabelPage, MoleculePage, PeptidePage, cell
from trimer.simulate.peak_annotation import explain_peaks
from trimer.targets import target_of

CAFFEINE = "Cn1cnc2c1c(=O)n(C)c(=O)n2C"
COLUMNS = ("row", "id", "precursor_mz", "adduct", "rank", "smiles", "formula", "neutral_mass", "ppm_error", "agrees",
           "p_molecule", "p_formula", "similarity_to_training", "count", "library_id", "library_name", "library_smiles",
           "library_precursor_mz", "library_cosine", "in_training", "reason")  # fmt: skip
SPECTRUM = CardSpectrum(np.array([110.0713, 138.0662, 150.5]), np.array([50, 100, 50], np.float32))
PAGE = {"title": "Predicted molecules", "what": "spectra", "source": "my.mgf"}


def row(number: int, **values: object) -> dict:
    known = {"row": number, "id": f"s{number}", "precursor_mz": 195.0877, "adduct": "[M+H]+", "rank": 1,
             "smiles": CAFFEINE, "formula": "C8H10N4O2", "neutral_mass": 194.0804, "ppm_error": -0.2,
             "agrees": True}  # fmt: skip
    return {**dict.fromkeys(COLUMNS), **known, **values}


@pytest.fixture(autouse=True)
def all_sections_are_made():
    attempts.FAILED.clear()
    yield
    assert attempts.FAILED == []


def test_the_cards_are_those_with_the_highest_probability_in_the_order_of_the_input():
    groups = [[row(n, p_molecule=p)] for n, p in enumerate((0.1, 0.9, None, 0.5), 1)]
    shown, words = selected(groups, 2)
    assert [rows[0]["row"] for rows in shown] == [2, 4] and "highest p(molecule)" in words
    assert [rows[0]["row"] for rows in selected([[row(n)] for n in range(3)], 2)[0]] == [0, 1]
    assert len(selected(groups, 4)[0]) == 4


def test_the_precursor_does_not_count_as_explained():
    mz, intensity = np.array([138.0662, 150.5, 195.0877]), np.array([30.0, 10.0, 100.0])
    explained = explain_peaks(CAFFEINE, mz, "[M+H]+", 10)
    assert explained_share(mz, intensity, explained, 195.0877) == (0.75, 1, 2)
    assert explained_share(mz, intensity, explained, None) == (pytest.approx(130 / 140), 2, 3)
    assert explained_share(mz[2:], intensity[2:], explained[2:], 195.0877) == (None, 0, 0)


def test_a_large_file_gives_a_bounded_page_and_all_rows_beside_it(tmp_path):
    rows = [row(n, id=f"s{n} <script>") for n in range(1, ROWS + 501)]
    spectra = {n: SPECTRUM for n in range(1, ROWS + 501)}
    MoleculePage(**PAGE, cards=3, spectra=spectra)(tmp_path / "out.html", COLUMNS, rows)
    text = (tmp_path / "out.html").read_text()
    assert text.count("<article") == 3 and "3 of 1,500 spectra" in text
    assert "The first 1,000 of 1,500 rows; out.rows.csv has all." in text
    assert text.count("<tr") < ROWS + 50 and len(text) < 1_500_000
    assert len(list(csv.DictReader((tmp_path / "out.rows.csv").open()))) == len(rows)


def test_the_page_names_the_model_and_no_probability_is_zero(tmp_path):
    page = MoleculePage(**PAGE, cards=1, spectra={1: SPECTRUM}, about={"Checkpoint": "/a/runs/demo/1-x"})
    page(tmp_path / "out.html", COLUMNS, [row(1, p_molecule=0.003, p_formula=0.5)])
    text = (tmp_path / "out.html").read_text()
    assert "my.mgf · model demo/1-x" in text and "p(molecule) <b>&lt; 0.01</b>" in text and "<b>0.50</b>" in text


def test_missing_values_and_records_without_prediction_are_shown(tmp_path):
    bare = row(1, precursor_mz=None, adduct=None, ppm_error=None, agrees=None)
    failed = row(2, rank=None, smiles=None, formula=None, reason="no <b>candidate</b>")
    spectra = {1: SPECTRUM, 2: SPECTRUM}
    MoleculePage(**PAGE, cards=5, spectra=spectra)(tmp_path / "out.html", COLUMNS, [bare, failed])
    text = (tmp_path / "out.html").read_text()
    assert "The adduct is unknown, so peaks are not explained." in text and "no precursor m/z" in text
    assert "agreement cannot be checked" in text and "no &lt;b&gt;candidate&lt;/b&gt;" in text
    assert "1 of 2 spectra have a prediction, 1 have a reason why there is none" in text


def test_only_shared_peaks_of_the_library_spectrum_are_marked(tmp_path):
    spectrum = CardSpectrum(SPECTRUM.mz, SPECTRUM.intensity, (np.array([110.08, 120.0]), np.array([1.0, 2.0])))
    hit = row(1, library_id="<i>", library_cosine=0.5, library_smiles="CCO", library_precursor_mz=195.1)
    MoleculePage(**PAGE, cards=1, spectra={1: spectrum})(tmp_path / "out.html", COLUMNS, [hit])
    text = (tmp_path / "out.html").read_text()
    assert text.count('class="stick shared') == 2 and "&lt;i&gt;" in text and "cosine 0.50" in text


@pytest.mark.parametrize(
    ("target", "names", "values", "shown"),
    [
        ("single", ["label", "probability", "probability of a", "probability of b"], ["a", 0.8, 0.8, 0.2],
         "a 0.80, b 0.20"),
        ("multi", ["predicted a", "probability of a", "predicted b", "probability of b"], ["no", 0.1, "yes", 0.7],
         "b 0.70, a 0.10"),
        ("regression", ["logS"], [-1.25], "-1.250"),
        ("residue", ["labels", "probability", "probability of H"], ["HHC" * 100, [0.5], [0.5]], "HHC" * 30),
    ],
)  # fmt: skip
def test_labels_of_each_kind_are_shown(tmp_path, target, names, values, shown):
    heads = {"row": 1, "id": "a", "sequence": "MKV", "applicability": 0.5, "in_training": "no", "reason": None}
    labels = target_of(target).shown
    page = LabelPage(title="Predicted labels", what="sequences", source="x", cards=1, labels=labels, names=names)
    page(tmp_path / "out.html", [*heads, *names], [{**heads, **dict(zip(names, values, strict=True))}])
    text = (tmp_path / "out.html").read_text()
    assert shown in text and "0.50" in text and "HHC" * 100 not in text


def test_fragments_are_labelled_by_their_ions(tmp_path):
    peptide = {"row": 1, "id": "a", "sequence": "AGK", "peptide": "AGK", "charge": 2, "retention": 3.5, "unseen": "",
               "intensities": [[0.5, 1.0], [0.0, 0.001]], "reason": None}  # fmt: skip
    page = PeptidePage(title="t", what="peptides", source="x", cards=1, channels=channels_of(["b1", "y1"]))
    page(tmp_path / "out.html", list(peptide), [peptide])
    text = (tmp_path / "out.html").read_text()
    assert re.search(r"<title>m/z 204\.\d+ Th, 100\.0%, y2</title>", text)
    assert re.search(r"<title>m/z 72\.\d+ Th, 50\.0%, b1</title>", text)
    assert "2 peaks, 2 annotated" in text and "retention time 3.50" in text


def test_cells_are_short_texts():
    assert [cell("ppm_error", value) for value in (None, 1.26, float("nan"), True, 12)] == ["", "1.3", "", "yes", "12"]
    assert len(cell("smiles", "C" * 500)) == 120
