"""The same peptides in the notations of search engines and libraries."""

import pytest

from trimer.peptides.notations import NOTATIONS
from trimer.peptides.proforma import PeptideError

FULL = "[UNIMOD:1]-AC[UNIMOD:4]DEM[UNIMOD:35]K"


@pytest.mark.parametrize(
    "notation, texts, canonical",
    [
        ("proforma", ["[Acetyl]-AC[UNIMOD:4]DEM[Oxidation]K"], FULL),
        ("maxquant", ["_AMK_"], "AMK"),
        ("maxquant", ["_AM(ox)K_"], "AM[UNIMOD:35]K"),
        ("maxquant", ["_AM(Oxidation (M))K_"], "AM[UNIMOD:35]K"),
        ("maxquant", ["_(ac)AM(ox)N(de)K_"], "[UNIMOD:1]-AM[UNIMOD:35]N[UNIMOD:7]K"),
        ("maxquant", ["_(Acetyl (Protein N-term))AS(Phospho (STY))K_"], "[UNIMOD:1]-AS[UNIMOD:21]K"),
        ("maxquant", ["_(gl)QMK_"], "[UNIMOD:28]-QMK"),
        ("maxquant", ["_AMK(Amidated (C-term))_"], "AMK-[UNIMOD:2]"),
        ("diann", ["AM(UniMod:35)K"], "AM[UNIMOD:35]K"),
        ("diann", ["(UniMod:1)AC(UniMod:4)DEM(UniMod:35)K"], FULL),
        ("diann", [".(UniMod:1)AC(UniMod:4)DEM(UniMod:35)K"], FULL),
        ("diann", [".(UniMod:1)AC(UniMod:4)K.(UniMod:2)"], "[UNIMOD:1]-AC[UNIMOD:4]K-[UNIMOD:2]"),
        ("diann", ["AC(+57.0215)K"], "AC[UNIMOD:4]K"),
        (
            "spectronaut",
            ["_[Acetyl (Protein N-term)]AC[Carbamidomethyl (C)]DEM[Oxidation (M)]K_"],
            FULL,
        ),
        ("brackets", ["(UniMod:1)AC(UniMod:4)DEM(UniMod:35)K"], FULL),
        ("brackets", ["_[Acetyl (Protein N-term)]AC[Carbamidomethyl (C)]DEM[Oxidation (M)]K_"], FULL),
        ("brackets", ["[UNIMOD:1]-AC[UNIMOD:4]DEM[UNIMOD:35]K"], FULL),
        ("brackets", ["n[43]AC[160]DEM[147]K"], FULL),
        ("brackets", ["[]-AMK-[]"], "AMK"),
        ("brackets", ["AMK"], "AMK"),
        ("brackets", ["AMKc[UNIMOD:2]"], "AMK-[UNIMOD:2]"),
        ("fragpipe", ["ACDEMK", "2C(57.0215), 5M(15.9949), N-term(42.0106)"], FULL),
        ("fragpipe", ["ACK", "C-term(-0.9840)"], "ACK-[UNIMOD:2]"),
        ("fragpipe", ["ACK", None], "ACK"),
        ("prosit", ["[]-HC[UNIMOD:4]VDPM[UNIMOD:35]K-[]"], "HC[UNIMOD:4]VDPM[UNIMOD:35]K"),
        ("prosit", ["[UNIMOD:737]-SPM[UNIMOD:35]YK[UNIMOD:737]-[]"], "[UNIMOD:737]-SPM[UNIMOD:35]YK[UNIMOD:737]"),
        ("prosit", ["EPPVIC[UNIMOD:4]K"], "EPPVIC[UNIMOD:4]K"),
        ("alphabase", ["ACDEMK", "Oxidation@M;Acetyl@Any_N-term;Carbamidomethyl@C", "5;0;2"], FULL),
        ("alphabase", ["ACK", "Amidated@Any_C-term", "-1"], "ACK-[UNIMOD:2]"),
        ("alphabase", ["ACK", "", ""], "ACK"),
        ("alphabase", ["ACK", None, None], "ACK"),
        ("ms2pip", ["ACDEMK", "0|Acetyl|2|Carbamidomethyl|5|Oxidation"], FULL),
        ("ms2pip", ["ACK", "-1|Amidated"], "ACK-[UNIMOD:2]"),
        ("ms2pip", ["ACK", "-"], "ACK"),
        ("ms2pip", ["ACK", None], "ACK"),
        ("deepphospho", ["*A2ES1TEE3D4K"], "[UNIMOD:1]-AS[UNIMOD:21]ESM[UNIMOD:35]TEET[UNIMOD:21]DY[UNIMOD:21]K"),
        ("deepphospho", ["@AESK"], "AESK"),
    ],
)
def test_notations_are_converted_to_proforma(notation, texts, canonical):
    assert NOTATIONS[notation](*texts).proforma == canonical


@pytest.mark.parametrize(
    "notation, texts, reason",
    [
        ("maxquant", ["__"], "no residue"),
        ("maxquant", ["_AM(ox_"], "unclosed bracket"),
        ("maxquant", ["_AM(foo)K_"], "unknown modification [foo]"),
        ("diann", ["AXK"], "residue X is not one of the 20"),
        ("diann", ["AK(UniMod:99999)"], "unknown modification [UniMod:99999]"),
        ("spectronaut", ["_AM[Nonsense (M)]K_"], "unknown modification [Nonsense (M)]"),
        ("alphabase", ["ACK", "Oxidation@M", ""], "1 modifications at 0 sites"),
        ("alphabase", ["ACK", "Oxidation@M", "x"], "position 'x' is not a number"),
        ("alphabase", ["ACK", "Oxidation@M", "7"], "modification [Oxidation@M] at position 7 of 3 residues"),
        ("ms2pip", ["ACK", "1|Acetyl|2"], "modifications 1|Acetyl|2 are not pairs of position|name"),
        ("ms2pip", ["ACK", "Acetyl|0"], "position 'Acetyl' is not a number"),
        ("brackets", ["n[43]"], "no residue"),
        ("brackets", ["_A[Oxidation (M)K_"], "unclosed bracket"),
        ("fragpipe", ["ACK", "2C 57.0215"], "assigned modification '2C 57.0215' cannot be read"),
        ("deepphospho", ["AESK"], "the first character is neither * nor @"),
        ("deepphospho", ["@AE5K"], "residue 5 is not one of the 20"),
    ],
)
def test_invalid_notations_have_a_reason(notation, texts, reason):
    with pytest.raises(PeptideError) as error:
        NOTATIONS[notation](*texts)
    assert str(error.value) == reason
