"""Modifications under all their names; masses agree with UNIMOD."""

import numpy as np
import pytest

from trimer.peptides.modifications import (
    COMMON,
    ELEMENTS,
    PeptideError,
    UnknownModification,
    composition_vector,
    formula_text,
    modification,
    parse_formula,
)

UNIMOD_MASSES = {
    "Acetyl": (1, 42.010565),
    "Carbamidomethyl": (4, 57.021464),
    "Deamidated": (7, 0.984016),
    "Phospho": (21, 79.966331),
    "Gln->pyro-Glu": (28, -17.026549),
    "Oxidation": (35, 15.994915),
    "GG": (121, 114.042927),
    "Label:13C(6)15N(2)": (259, 8.014199),
    "TMT6plex": (737, 229.162932),
    "Dimethyl:2H(6)13C(2)": (330, 36.07567),
    "TMTpro": (2016, 304.207146),
}


@pytest.mark.parametrize("name", UNIMOD_MASSES)
def test_modifications_have_masses_and_ids(name):
    number, mass = UNIMOD_MASSES[name]
    known = modification(name)
    assert (known.id, known.name, known.proforma) == (number, name, f"UNIMOD:{number}")
    assert known.mass == pytest.approx(mass, abs=2e-6)
    assert modification(f"UNIMOD:{number}") is known
    assert modification(f"{mass:+.6f}", {"Gln->pyro-Glu": "Q"}.get(name)) is known


@pytest.mark.parametrize(
    "text, name",
    [
        ("UniMod:35", "Oxidation"),
        ("U:35", "Oxidation"),
        ("U:Carbamidomethyl", "Carbamidomethyl"),
        (" oxidation ", "Oxidation"),
        ("Oxidation (M)", "Oxidation"),
        ("Oxidation@M", "Oxidation"),
        ("Acetyl@Protein_N-term", "Acetyl"),
        ("Acetyl (Protein N-term)", "Acetyl"),
        ("Deamidation (NQ)", "Deamidated"),
        ("GlyGly (K)", "GG"),
        ("Label:13C(6)15N(2)", "Label:13C(6)15N(2)"),
        ("Hex(2)", "Hex(2)"),
        ("Xlink:DTSSP[88]", "Xlink:DTSSP[88]"),
        ("Lys8", "Label:13C(6)15N(2)"),
        ("TMT10plex-Lys", "TMT6plex"),
        ("ox", "Oxidation"),
        ("ac", "Acetyl"),
        ("ph", "Phospho"),
        ("de", "Deamidated"),
        ("+57.0215", "Carbamidomethyl"),
        ("U:+57.02", "Carbamidomethyl"),
        ("Obs:+15.995", "Oxidation"),
        ("+79.9663", "Phospho"),
        ("+79.9568", "Sulfo"),
        ("+304.2071", "TMTpro"),
        ("+304.2054", "iTRAQ8plex"),
    ],
)
def test_modifications_are_found_by_all_names(text, name):
    assert modification(text).name == name


def test_equal_masses_are_distinguished_by_the_residue():
    assert modification("-17.0265", "Q").name == modification("-17.03", "-Q").name == "Gln->pyro-Glu"
    assert modification("-17.0265", "N").name == "Ammonia-loss"
    assert modification("gl", "-E").name == "Glu->pyro-Glu"
    assert modification("gl", "K").name == "GG"
    with pytest.raises(UnknownModification) as error:
        modification("-17.0265")
    assert str(error.value) == "ambiguous modification [-17.0265]: Ammonia-loss or Gln->pyro-Glu"


@pytest.mark.parametrize(
    "text", ["Foo", "UNIMOD:99999", "+1000.5", "+61", "gl", "Hex(99)", "Formula:Xx2", "Formula:C2-", "Formula:", ""]
)
def test_unknown_modifications_raise_an_error(text):
    with pytest.raises(UnknownModification) as error:
        modification(text)
    assert str(error.value) == f"unknown modification [{text}]"
    assert isinstance(error.value, PeptideError) and isinstance(error.value, ValueError)


@pytest.mark.parametrize(
    ("text", "residue", "name"),
    [
        ("+57", "C", "Carbamidomethyl"),
        ("+57.0", "C", "Carbamidomethyl"),
        ("+16", "M", "Oxidation"),
        ("+80", "S", "Phospho"),
        ("+80", "Y", "Phospho"),
        ("+42", "-A", "Acetyl"),
        ("-17", "-Q", "Gln->pyro-Glu"),
        ("+229", "K", "TMT6plex"),
    ],
)
def test_rounded_mass_shifts_are_the_common_modification_of_the_residue(text, residue, name):
    assert modification(text, residue).name == name


@pytest.mark.parametrize(
    ("text", "residue", "reason"),
    [
        ("+42", "K", "ambiguous modification [+42]: Acetyl or Trimethyl"),
        (
            "TMT",
            "K",
            "ambiguous modification [TMT]: TMT6plex (UNIMOD:737) or TMT without heavy isotopes (UNIMOD:739); "
            "write the UNIMOD id",
        ),
    ],
)
def test_ambiguous_modifications_are_not_guessed(text, residue, reason):
    with pytest.raises(UnknownModification) as error:
        modification(text, residue)
    assert str(error.value) == reason
    assert modification("U:TMT").id == 739


def test_every_common_modification_is_registered():
    assert all(modification(name).name == name for name in COMMON)


def test_formulas_are_parsed():
    assert parse_formula("H-1N-1O") == (("H", -1), ("N", -1), ("O", 1))
    assert parse_formula("[13C6] C-6 N2 N1") == (("C", -6), ("13C", 6), ("N", 3))
    assert formula_text(parse_formula("[13C6]C-6N3")) == "C-6[13C6]N3"
    assert parse_formula("C2H3N(O)") is None
    custom = modification("Formula:H3C2NO")
    assert (custom.id, custom.name, custom.proforma) == (None, "C2H3NO", "Formula:C2H3NO")
    assert custom.mass == pytest.approx(57.021464, abs=2e-6)
    assert modification(custom.proforma) == custom


def test_composition_vectors_count_elements():
    assert ELEMENTS[:6] == ("C", "H", "N", "O", "P", "S") and len(ELEMENTS) == len(set(ELEMENTS))
    vector = composition_vector([modification("Phospho"), modification("Oxidation")])
    assert vector.dtype == np.int16 and vector.shape == (len(ELEMENTS),)
    assert vector[:6].tolist() == [0, 1, 0, 4, 1, 0] and not vector[6:].any()
    heavy = composition_vector([modification("TMT6plex")])
    assert heavy[:4].tolist() == [12, 20, 2, 2], "8 C and 4 13C; N and 15N"
    assert not composition_vector([]).any()
