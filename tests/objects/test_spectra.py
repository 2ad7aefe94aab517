"""Spectra from Python values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from matchms import Spectrum as MatchmsSpectrum

from trimer.errors import InputError
from trimer.objects import spectra_of

MZ, INTENSITY = [100.0, 50.5], [1.0, 2.0]
ROWS = [
    {"id": "a", "mz": MZ, "intensity": INTENSITY, "precursor_mz": 300.1, "adduct": "[M+H]+"},
    {"id": "b", "mz": [60.0], "intensity": [4.0], "precursor_mz": None, "adduct": None},
]


def check(table) -> None:
    """The two spectra of ROWS: the first usable, its peaks by ascending m/z; the second without a precursor."""
    assert table["id"].tolist() == ["a", "b"]
    assert [column.tolist() for column in table.peaks(0)] == [[50.5, 100.0], [2.0, 1.0]]
    assert table["precursor_mz"][0] == 300.1
    assert table["adduct"].tolist() == ["[M+H]+", None]
    assert table["problem"].tolist() == [None, "input, spectrum 2: no precursor m/z"]


@pytest.mark.parametrize(
    "values",
    [
        ROWS,
        {name: [row[name] for row in ROWS] for name in ROWS[0]},
        pd.DataFrame(ROWS),
        pl.DataFrame(ROWS),
        pa.Table.from_pylist(ROWS),
    ],
    ids=["dictionaries", "columns", "pandas", "polars", "pyarrow"],
)
def test_tables_and_dictionaries(values):
    check(spectra_of(values))


def test_matchms_spectra():
    first = {"spectrum_id": "a", "precursor_mz": 300.1, "adduct": "[M+H]+", "charge": 1, "collision_energy": "20 eV"}
    spectra = [
        MatchmsSpectrum(np.array([50.5, 100.0]), np.array([2.0, 1.0]), first),
        MatchmsSpectrum(np.array([60.0]), np.array([4.0]), {"spectrum_id": "b", "charge": 0}),
    ]
    table = spectra_of(spectra)
    check(table)
    assert table["charge"].tolist() == [1, 0]
    assert table["collision_energy"][0] == "20 eV"
    assert len(spectra_of(spectra[0])) == 1


@pytest.mark.parametrize(
    "value",
    [
        (MZ, INTENSITY, 300.1, "[M+H]+"),
        (np.array(MZ), np.array(INTENSITY), 300.1),
        {"mz": MZ, "intensity": INTENSITY, "precursor_mz": 300.1},
        {"peaks": [[100.0, 1.0], [50.5, 2.0]], "precursor_mz": 300.1},
        {"mzs": "100.0,50.5", "intensities": "1.0,2.0", "precursor_mz": 300.1},
        {"m/z array": MZ, "intensity array": INTENSITY, "params": {"pepmass": (300.1, None), "title": "x"}},
    ],
    ids=["tuple", "arrays", "dictionary", "pairs", "texts", "pyteomics"],
)
def test_one_spectrum_alone_and_in_a_list(value):
    for table in (spectra_of(value), spectra_of([value])):
        assert len(table) == 1
        assert table["precursor_mz"][0] == 300.1
        assert [column.tolist() for column in table.peaks(0)] == [[50.5, 100.0], [2.0, 1.0]]
        assert table["problem"][0] is None
        assert table["file"][0] is None


def test_a_bad_spectrum_does_not_stop_the_rest():
    values = [5, {"mz": [1.0]}, ([1.0, 2.0], [1.0], 9.0), ([-1.0], [1.0], 9.0), (MZ, INTENSITY, 300.1), ("ab", "cd")]
    problems = spectra_of(values)["problem"].tolist()
    assert problems[0].startswith("input, spectrum 1: a value of type int is not a spectrum: give a matchms Spectrum")
    assert problems[1] == (
        "input, spectrum 2: it has no mz and intensity: use these names, or `peaks` with pairs of both"
    )
    assert problems[2] == "input, spectrum 3: m/z has the shape (2,) and intensity (1,): both must be (n,)"
    assert "the peak (-1, 1) is not a positive m/z" in problems[3]
    assert problems[4] is None
    assert problems[5].startswith("input, spectrum 6: a value of type tuple is not a spectrum")


def test_peaks_alone_have_no_precursor():
    table = spectra_of(np.array([[50.0, 1.0], [60.0, 2.0]]))
    assert table["problem"].tolist() == ["input, spectrum 1: no precursor m/z"]


def test_tables_and_rows_of_tables_are_taken():
    table = spectra_of(ROWS)
    assert spectra_of(table) is table
    check(spectra_of(list(table)))
    for wrong in (5, None, b"a spectrum", np.array(5)):
        with pytest.raises(InputError, match=f"a value of type {type(wrong).__name__} is not a spectrum"):
            spectra_of(wrong)


def test_a_path_is_a_file(tmp_path):
    (tmp_path / "a.mgf").write_text("BEGIN IONS\nTITLE=a\nPEPMASS=300.1\n50 1\nEND IONS\n")
    assert spectra_of(tmp_path / "a.mgf")["id"].tolist() == ["a"]
    assert spectra_of(str(tmp_path / "a.mgf"))["precursor_mz"].tolist() == [300.1]
