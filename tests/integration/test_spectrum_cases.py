"""Layouts of real files that lost spectra, ids or metadata; the files are in tests/cases/spectra."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import numpy as np
import pytest

from trimer.data.spectra.cleaning import Adducts, MsLevel, Readable, Structure, clean_rows
from trimer.data.spectra.readers import read_spectra

CASES = Path(__file__).parents[1] / "cases" / "spectra"
STEPS = {"readable": Readable(), "ms_level": MsLevel(), "adducts": Adducts()}


def read(name):
    return read_spectra(CASES / name)


def reasons(name):
    """Why each spectrum of a file cannot be answered by a model of [M+H]+ and [M+Na]+; None where it can."""
    return [reason and reason.split("): ", 1)[1] for reason in clean_rows(read(name), STEPS)[2]]


def test_msp_records_whose_name_is_not_the_first_key():
    table = read("b20_riken.msp")
    assert table["id"].tolist() == table["name"].tolist() == ["Tyrosine", "second"]
    assert table["problem"].tolist() == [None, None] and table.peak_counts.tolist() == [5, 3]
    assert table["smiles"].tolist() == ["NC(Cc1ccc(O)cc1)C(=O)O", "CC"]
    table = read("riken.msp")
    assert len(table) == 8 and table["problem"].tolist() == [None] * 8
    assert table["id"][:2].tolist() == ["Isophorone diamine", "Prallethrin"]
    assert table["precursor_mz"][:2].tolist() == [171.18558, 301.1798] and table.peak_counts[:2].tolist() == [24, 19]


@pytest.mark.parametrize("gap", ["\n", ""])
def test_msp_records_without_peaks_do_not_take_those_of_the_next(tmp_path, gap):
    """Each record begins with the same key; the second has no peaks and no 'Num Peaks'."""
    record = "INCHIKEY: A\nNAME: {}\nPRECURSORMZ: 100\n{}" + gap
    path = tmp_path / "a.msp"
    path.write_text(record.format("a", "50 1\n60 2\n") + record.format("b", "") + record.format("c", "70 3\n"))
    table = read_spectra(path)
    assert table["id"].tolist() == ["a", "b", "c"] and table.peak_counts.tolist() == [2, 0, 1]
    assert "no peaks" in table["problem"][1]


def test_msp_record_of_another_first_key_begins_after_an_empty_line(tmp_path):
    path = tmp_path / "a.msp"
    path.write_text("NAME: a\nPRECURSORMZ: 100\n\nINCHIKEY: B\nNAME: b\nPRECURSORMZ: 100\nNum Peaks: 1\n50 1\n")
    table = read_spectra(path)
    assert table["id"].tolist() == ["a", "b"] and table["inchikey"].tolist() == [None, "B"]


def test_msp_without_a_number_of_peaks():
    table = read("b07_nonumpeaks.msp")
    assert table["id"].tolist() == ["Tyrosine"] and table["problem"][0] is None
    assert table.peaks(0)[0].tolist() == [91.05, 119.05, 123.04, 136.08, 165.05]


def test_msp_without_an_adduct_keeps_the_name_as_id():
    assert read("noadduct.msp")["id"].tolist() == ["glycoside-like unknown"]
    assert reasons("noadduct.msp") == [None]


def test_structures_come_from_inchi():
    table, _, why = clean_rows(read("inchi_only.mgf"), {"structure": Structure()})
    assert len(table) == 8 and list(why) == [None] * 8
    # hexaflumuron, by its InChIKey in PubChem
    assert table["inchikey1"][0] == "RGNPBRKPHBKNKX" and "Cl" in table["smiles"][0]


def test_charge_inside_pepmass_is_used():
    table = read("b02_pepmass_charge.mgf")
    assert table["charge"].tolist() == [2, -1] and table["precursor_mz"].tolist() == [352.1888] * 2
    assert table["precursor_intensity"].tolist() == ["836632.25"] * 2
    assert reasons("b02_pepmass_charge.mgf") == [
        "the charge is 2+, and the allowed adducts are [M+H]+, [M+Na]+",
        "the charge is 1-, and the allowed adducts are [M+H]+, [M+Na]+",
    ]


def test_charges_that_no_allowed_adduct_has_are_a_reason():
    found = reasons("b16_neg_noionmode.mgf")
    assert [reason.split(",")[0] for reason in found] == [
        "the charge is 1-",
        "the charge is 2+",
        "the charge is 2+ and 3+",
        "the charge is -1",
    ]


def test_scans_are_an_id():
    assert read("b04_scansonly.mgf")["id"].tolist() == ["1745", "22"]


def test_ion_is_the_adduct():
    table = read("b09_mzmine_sirius.mgf")
    assert table["adduct"].tolist() == [None, "[M+H]+", "[M+Na]+", "[M-H]-"]
    assert table["charge"].tolist() == [1, 1, 1, -1] and table["ms_level"].tolist() == [1, 2, 2, 2]
    first, *others = reasons("b09_mzmine_sirius.mgf")
    assert "MS level" in first and others == [None, None, "the adduct '[M-H]-' is none of [M+H]+, [M+Na]+"]


def test_utf16_is_read():
    table = read("b12_utf16.mgf")
    assert table["id"].tolist() == ["a"] and table["problem"][0] is None and table.peak_counts[0] == 5


def test_annotations_with_blanks():
    table = read("b13_peakcomments.mgf")
    assert table["problem"][0] is None
    assert table.peaks(0)[0].tolist() == [55.05, 77.04, 91.05, 105.07, 119.08]
    assert table.peaks(0)[1].tolist() == [10.0, 30.0, 100.0, 55.0, 20.0]


def test_msp_annotations_with_blanks(tmp_path):
    path = tmp_path / "a.msp"
    path.write_text("Name: a\nPrecursorMZ: 100\nNum Peaks: 3\n50 10 C4H2+ 1.2ppm\n60 20 C5+ -0.3 ppm\n70 30 C5H10+\n")
    table = read_spectra(path)
    assert table["problem"][0] is None and table.peaks(0)[1].tolist() == [10.0, 20.0, 30.0]


def test_several_numbers_on_a_line_are_not_taken_for_one_peak(tmp_path):
    path = tmp_path / "a.mgf"
    path.write_text("BEGIN IONS\nPEPMASS=100\n50 1 60 2\nEND IONS\n")
    assert "'50 1 60 2' is not 'm/z intensity'" in read_spectra(path)["problem"][0]


def test_numpress_is_decoded():
    pytest.importorskip("pynumpress")
    table = read("m05_numpress.mzML")
    assert table["problem"].tolist() == [None] * 3 and table.peak_counts.tolist() == [51, 40, 10]
    assert table["charge"].tolist() == [1, 1, 1] and table["ion_mode"].tolist() == ["positive"] * 3
    # the first two m/z of a linear prediction stand in it as they are: a fixed point, then two integers
    texts = (CASES / "m05_numpress.mzML").read_text().split("<binary>")[1::2]
    for row, text in enumerate(texts):
        data = base64.b64decode(text.split("</binary>")[0])
        point = struct.unpack(">d", data[:8])[0]
        first, second = (number / point for number in struct.unpack("<ii", data[8:16]))
        assert table.peaks(row)[0][:2] == pytest.approx([first, second], abs=1e-6)
        assert np.all((table.peaks(row)[0] > 50) & (table.peaks(row)[0] < 400)) and np.all(table.peaks(row)[1] > 0)


def test_numpress_without_its_package_is_a_reason(monkeypatch):
    import pyteomics.auxiliary.utils as utils

    known = {name: value for name, value in utils._default_compression_map.items() if "Numpress" not in name}
    monkeypatch.setattr("pyteomics.mzml.MzML.compression_type_map", known)
    table = read("m05_numpress.mzML")
    assert all("packed by MS-Numpress linear prediction compression" in text for text in table["problem"])
    assert all("install the package pynumpress" in text for text in table["problem"])


def test_a_scan_that_decodes_to_another_number_of_peaks_is_not_used(tmp_path):
    pytest.importorskip("pynumpress")
    path = tmp_path / "a.mzML"
    text = (CASES / "m05_numpress.mzML").read_text()
    path.write_text(text.replace('defaultArrayLength="40"', 'defaultArrayLength="41"'))
    table = read_spectra(path)
    assert "states 41 peaks, and 40 are decoded" in table["problem"][1] and table["problem"][0] is None


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("RTINSECONDS=-1", "retention_time", np.nan),
        ("RTINMINUTES=-1", "retention_time", np.nan),
        ("RTINSECONDS=0", "retention_time", 0.0),
        ("SCANS=-1", "id", "a:1"),
        ("SCANS=7\nNAME=x", "id", "7"),
        ("NAME=x", "id", "x"),
        ("PEPMASS=300.5 2+", "charge", 2),
        ("PEPMASS=300.5 10 3-", "charge", -3),
        ("INCHI=InChI=1S/CH4/h1H4", "inchi", "InChI=1S/CH4/h1H4"),
    ],
)
def test_values_that_stand_for_nothing_or_for_something(tmp_path, key, field, value):
    path = tmp_path / "a.mgf"
    path.write_text(f"BEGIN IONS\nPEPMASS=300.5\n{key}\n50 1\nEND IONS\n")
    found = read_spectra(path)[field][0]
    assert found == value or (isinstance(value, float) and np.isnan(value) and np.isnan(found))
