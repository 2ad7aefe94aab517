"""ProForma is read and written; masses agree with pyteomics."""

import random

import pytest

from trimer.peptides.modifications import modification
from trimer.peptides.proforma import Peptide, PeptideError, assemble, read_proforma, read_proforma_charged


@pytest.mark.parametrize(
    "text, canonical",
    [
        ("PEPTIDE", "PEPTIDE"),
        ("[Acetyl]-AC[UNIMOD:4]DEM[Oxidation]K[+42.01]/2", "[UNIMOD:1]-AC[UNIMOD:4]DEM[UNIMOD:35]K[UNIMOD:1]"),
        ("PEPTIDE-[Amidated]", "PEPTIDE-[UNIMOD:2]"),
        ("[TMT6plex][Acetyl]-K", "[UNIMOD:1][UNIMOD:737]-K"),
        ("PEM[Carbamidomethyl][Oxidation]K", "PEM[UNIMOD:35][UNIMOD:4]K"),
        ("<[UNIMOD:4]@C,M>ACCMK", "AC[UNIMOD:4]C[UNIMOD:4]M[UNIMOD:4]K"),
        ("<[Oxidation]@M><[UNIMOD:4]@C>ACM", "AC[UNIMOD:4]M[UNIMOD:35]"),
        ("PEP[U:Xlink:DTSSP[88]]K", "PEP[UNIMOD:126]K"),
        ("PEP[Formula:H3C2NO]K", "PEP[Formula:C2H3NO]K"),
        ("[-17.0265]-QAA", "[UNIMOD:28]-QAA"),
        ("AC[INFO:seen|Carbamidomethyl]K", "AC[UNIMOD:4]K"),
    ],
)
def test_peptides_are_written_canonically(text, canonical):
    peptide = read_proforma(text)
    assert peptide.proforma == canonical
    assert read_proforma(canonical) == peptide


def test_modifications_have_positions():
    peptide = read_proforma("[Acetyl]-AM[Oxidation]K-[Amidated]")
    assert peptide.letters == "AMK"
    assert [(position, one.name) for position, one in peptide.modifications] == [
        (0, "Acetyl"),
        (2, "Oxidation"),
        (4, "Amidated"),
    ]


def test_charges_are_parsed():
    assert read_proforma_charged("PEPTIDE/3") == (Peptide("PEPTIDE"), 3)
    assert read_proforma_charged("PEPTIDE") == (Peptide("PEPTIDE"), None)
    assert read_proforma("PEPTIDE/3") == Peptide("PEPTIDE")


def test_masses_agree_with_pyteomics():
    assert read_proforma("PEPTIDE").mass == pytest.approx(799.35996402671, abs=1e-8)
    assert read_proforma("PEPTIDE").mz(2) == pytest.approx(400.687258480125, abs=1e-8)
    assert read_proforma("SAMPLER").mass == pytest.approx(802.40072372322, abs=1e-8)
    assert read_proforma("ACDEFGHIKLMNPQRSTVWY").mass == pytest.approx(2394.1249068251295, abs=1e-8)
    modified = read_proforma("[Acetyl]-AC[Carbamidomethyl]DEM[Oxidation]K")
    bare = read_proforma("ACDEMK")
    assert modified.mass - bare.mass == pytest.approx(42.010565 + 57.021464 + 15.994915, abs=5e-6)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "no residue"),
        ("  ", "no residue"),
        ("[Acetyl]-", "no residue"),
        ("PEPXIDE", "residue X is not one of the 20"),
        ("SECU[Oxidation]K", "residue U is not one of the 20"),
        ("peptide", "residue p is not one of the 20"),
        ("PEP[Foo]K", "unknown modification [Foo]"),
        ("PEP[+1000.5]K", "unknown modification [+1000.5]"),
        ("PEP[Foo|INFO:x]K", "unknown modification [Foo|INFO:x]"),
        ("PEP[OxidationK", "unclosed bracket"),
        ("PEP]K", "unclosed bracket"),
        ("PEP[]K", "empty bracket"),
        ("[Acetyl]PEP", "no - between the N-terminal modification and the residues"),
        ("PE-PK", "a - that is not between the residues and a terminal modification"),
        ("PEP-", "a - that is not between the residues and a terminal modification"),
        ("PE(PT)[Phospho]K", "ranges are not supported"),
        ("(?DQ)PEP", "ambiguous residues are not supported"),
        ("[Phospho]?PEP", "modifications of unknown position are not supported"),
        ("PES[Phospho#g1]T[#g1]K", "ambiguous positions are not supported"),
        ("PEPK[#XL1]", "cross-links are not supported"),
        ("PEPK//KK", "cross-linked peptides are not supported"),
        ("PEP+KK", "chimeric spectra are not supported"),
        ("{Hex}PEP", "labile modifications are not supported"),
        ("<13C>PEP", "isotopes and fixed modifications of this kind are not supported"),
        ("[Acetyl]", "no residue"),
        ("[Acetyl", "unclosed bracket"),
        ("PEP K", "residue ' ' is not one of the 20"),
        ("PEP/0", "charges of this kind are not supported"),
        ("PEP/-2", "charges of this kind are not supported"),
        ("PEP/2[+2Na]", "charges of this kind are not supported"),
    ],
)
def test_invalid_peptides_have_a_reason(text, reason):
    with pytest.raises(PeptideError) as error:
        read_proforma(text)
    assert str(error.value) == reason


def test_assemble_sorts_and_checks_positions():
    assert assemble("AMK", [(2, "Oxidation"), (0, "Acetyl")]).proforma == "[UNIMOD:1]-AM[UNIMOD:35]K"
    with pytest.raises(PeptideError) as error:
        assemble("AMK", [(5, "Oxidation")])
    assert str(error.value) == "modification [Oxidation] at position 5 of 3 residues"


def test_simulated_peptides_round_trip():
    draw = random.Random(0)
    names = ["Oxidation", "Phospho", "Acetyl", "Formula:[13C2]H4", "Label:13C(6)15N(2)", "Xlink:DTSSP[88]"]
    for _ in range(500):
        letters = "".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=draw.randint(1, 20)))
        placed = [(draw.randint(0, len(letters) + 1), draw.choice(names)) for _ in range(draw.randint(0, 4))]
        peptide = assemble(letters, placed)
        assert read_proforma(peptide.proforma) == peptide
        assert peptide.mass == pytest.approx(
            read_proforma(letters).mass + sum(modification(name).mass for _, name in placed), abs=1e-6
        )


def test_any_text_is_a_peptide_or_has_a_reason():
    draw = random.Random(1)
    signs = "ACKM[]()-.+|;:/{}<>?#@ 2oxU"
    texts = ["".join(draw.choices(signs, k=draw.randint(0, 10))) for _ in range(5000)]
    read = 0
    for text in texts:
        try:
            peptide = read_proforma(text)
        except PeptideError as error:
            assert str(error)
        else:
            assert read_proforma(peptide.proforma) == peptide
            read += 1
    assert read > 50


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("M[147]K", "M[UNIMOD:35]K"),
        ("C[160]S[167]Y[243]K", "C[UNIMOD:4]S[UNIMOD:21]Y[UNIMOD:21]K"),
        ("M[147.0354]K", "M[UNIMOD:35]K"),
        ("[43]-AK", "[UNIMOD:1]-AK"),
    ],
)
def test_an_unsigned_mass_is_that_of_the_modified_residue(text, canonical):
    assert read_proforma(text).proforma == canonical


def test_the_sign_of_a_charge_may_precede_or_follow():
    assert [read_proforma_charged(f"PEPTIDEK/{text}")[1] for text in ("2", "+2", "2+")] == [2, 2, 2]
