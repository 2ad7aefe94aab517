"""Consistency of charge, ion mode and adduct of a spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.data.spectra.cleaning import Adducts
from trimer.data.spectra.readers import read_spectra
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.charges import charge_choices, parse_charge


def spectrum(tmp_path, *lines):
    path = tmp_path / "a.mgf"
    path.write_text("\n".join(["BEGIN IONS", "PEPMASS=300.5", *lines, "50 1", "END IONS", ""]))
    return read_spectra(path)


@pytest.mark.parametrize(
    ("lines", "charge"),
    [
        (["CHARGE=1+", "ADDUCT=[M+H]+", "IONMODE=Positive"], 1),
        (["CHARGE=1", "ADDUCT=[M-H]-", "IONMODE=Negative"], -1),
        (["CHARGE=1", "ADDUCT=[M-H]-"], -1),
        (["CHARGE=2", "IONMODE=negative"], -2),
        (["CHARGE=2+ and 3+", "ADDUCT=[M+2H]2+"], 2),
        (["CHARGE=2 and 3", "IONMODE=positive"], 0),
        (["CHARGE=0", "ADDUCT=[M+2H]2+"], 0),
        (["ADDUCT=[M+H]+"], 0),
        (["CHARGE=1+", "ADDUCT=unknown"], 1),
    ],
)
def test_consistent_values_give_the_charge(tmp_path, lines, charge):
    table = spectrum(tmp_path, *lines)
    assert table["charge"][0] == charge and table["problem"][0] is None


@pytest.mark.parametrize(
    ("lines", "clause"),
    [
        (["CHARGE=2+", "ADDUCT=[M+H]+"], "the adduct '[M+H]+' contradicts the charge '2+'"),
        (["CHARGE=1-", "ADDUCT=[M+H]+"], "the adduct '[M+H]+' contradicts the charge '1-'"),
        (["ADDUCT=[M+H]+", "IONMODE=Negative"], "the adduct '[M+H]+' contradicts the ion mode negative"),
        (["CHARGE=1+", "IONMODE=negative"], "the charge '1+' contradicts the ion mode negative"),
        (["CHARGE=2+ and 3+", "ADDUCT=[M+H]+"], "the adduct '[M+H]+' contradicts the charge '2+ and 3+'"),
        (["PEPMASS=300.5 10 2+", "CHARGE=1+"], "the charge is '1+', but PEPMASS says '2+'"),
    ],
)
def test_contradictions_are_a_reason(tmp_path, lines, clause):
    assert spectrum(tmp_path, *lines)["problem"][0].endswith(clause)


@pytest.mark.parametrize(
    ("allowed", "lines", "kept"),
    [
        (["[M-H]-"], ["CHARGE=1-"], True),
        (["[M-H]-"], ["CHARGE=1"], True),  # no sign is no statement about the polarity
        (["[M-H]-"], ["CHARGE=1+"], False),
        (["[M+H]+", "[M-H]-"], ["CHARGE=1", "IONMODE=negative"], True),
        (["[M+H]+", "[M-2H]2-"], ["CHARGE=2", "IONMODE=positive"], False),
        (["[M+2H]2+"], ["CHARGE=2+ and 3+"], True),
        (["[M+H]+"], ["CHARGE=2+ and 3+"], False),
        (["[M+H]+"], ["CHARGE=0"], True),
        (["[M+H]+"], [], True),
    ],
)
def test_a_spectrum_without_an_adduct_needs_the_charge_of_an_allowed_one(tmp_path, allowed, lines, kept):
    table, keep = Adducts(allowed)(spectrum(tmp_path, *lines))
    assert keep.tolist() == [kept] and (table["problem"][0] is None) == kept


def test_a_charge_without_its_text_is_compared_too():
    table = SpectrumTable.build([50.0], [1.0], [0, 1], {"id": ["a"], "charge": [-1]})
    table, keep = Adducts()(table)
    assert not keep[0]


def test_any_adduct_can_be_allowed(tmp_path):
    step = Adducts(["[M+FA-H]-", "M+2Na-H", "[Cat]+"])
    for text, kept in (("[M+HCOO]-", True), ("[M-H+2Na]+", True), ("[Cat]+", True), ("[M+Na]+", False)):
        table, keep = step(spectrum(tmp_path, f"ADDUCT={text}"))
        assert keep[0] == kept, text
    assert "[M+Na]+" in table["problem"][0]
    table, _ = step(spectrum(tmp_path, "ADDUCT=[M+Foo]+"))
    assert table["problem"][0].endswith("'Foo' is neither a formula nor a known abbreviation, such as ACN, FA, Hac, "
                                        "TFA, IsoProp, DMSO, DMF, TEA")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "choices", "charge"),
    [
        ("2+", [(2, 1)], 2),
        ("+2", [(2, 1)], 2),
        ("2", [(2, 0)], 2),
        ("-1", [(1, -1)], -1),
        ("1.0", [(1, 0)], 1),
        ("-", [(1, -1)], -1),
        ("2+ and 3+", [(2, 1), (3, 1)], 0),
        ("0", [], 0),
        ("12345", [], None),
        ("none", [], None),
    ],
)
def test_charges_are_read_from_text(text, choices, charge):
    assert list(charge_choices(text)) == choices and parse_charge(text) == charge


def test_structures_agree_with_their_adduct():
    """The formate of caffeine weighs 239.0786: 194.0804 + 44.9982."""
    from trimer.data.spectra.cleaning import MassAgreement

    columns = {"id": ["a"], "smiles": ["CN1C=NC2=C1C(=O)N(C)C(=O)N2C"], "adduct": ["[M+FA-H]-"]}
    for mz, kept in ((239.0786, True), (239.09, False)):
        table = SpectrumTable.build([50.0], [1.0], [0, 1], {**columns, "precursor_mz": np.array([mz])})
        assert MassAgreement()(table)[1].tolist() == [kept]
