"""Spectral libraries of peptides: rows in any order, notations told by their text, annotations, MSP, mzSpecLib."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from trimer.data.peptides.fragment_annotations import loss_name, read_annotation
from trimer.data.peptides.fragment_files import FragmentFiles, FragmentTable, find_layout
from trimer.data.peptides.peptide_files import PeptideFiles
from trimer.errors import InputError

CASES = Path(__file__).parents[2] / "cases" / "peptides"


def whole(path, **settings) -> FragmentTable:
    return FragmentTable.concatenate(list(FragmentFiles(str(path), **settings).chunks()))


def fragments(table: FragmentTable, row: int = 0) -> dict[str, float]:
    """The fragments of a spectrum as {`y3+1-H3PO4`: intensity}."""
    series, number, charge, loss = table.series, table.number, table.ion_charge, table.loss
    return {
        f"{'by'[series[i]]}{number[i]}+{charge[i]}-{loss[i]}": round(float(table.intensity[i]), 4)
        for i in np.flatnonzero(table.row == row)
    }


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- rows in any order, notations


def test_rows_of_a_precursor_may_stand_apart():
    """The case is sorted by product m/z; the whole file holds 400 precursors."""
    table = whole(CASES / "openswath_sorted_by_mz.tsv")
    assert len(table) == 12 and not table.problems
    lines = (CASES / "openswath_sorted_by_mz.tsv").read_text().splitlines()
    assert len(table.row) == len(lines) - 1
    assert table.texts[0] == "AAGALGSASSGS[UNIMOD:21]MPNLAAR" and table.charge[0] == 3


def test_one_precursor_at_two_energies_is_two_spectra(tmp_path):
    header = "ModifiedPeptide\tPrecursorCharge\tFragmentType\tFragmentNumber\tFragmentCharge\tRelativeIntensity"
    rows = [f"{header}\tCollisionEnergy", "AAK\t2\ty\t1\t1\t1\t25", "AAK\t2\ty\t1\t1\t1\t30", "AAK\t2\ty\t2\t1\t1\t25"]
    table = whole(write(tmp_path / "library.tsv", "\n".join(rows) + "\n"))
    assert table.energy.tolist() == [25, 30] and np.bincount(table.row).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("trimer_own_library.tsv", ["AAAAEIAVK", "[UNIMOD:1]-MPEPTIDEK", "[UNIMOD:737]-PEPTIDEK[UNIMOD:737]"]),
        ("diann18_library.tsv", ["AAC[UNIMOD:4]DEFGHK", "LGGNEQVTR", "[UNIMOD:1]-AM[UNIMOD:35]EDEFGHK"]),
    ],
)
def test_the_notation_is_told_by_the_text(name, texts):
    table = whole(CASES / name)
    assert not table.problems and table.texts[:3] == texts
    peptides = next(iter(PeptideFiles(str(CASES / name), "charge").chunks()))
    assert not peptides.problems and set(peptides.texts) == set(table.texts)


def test_retention_times_of_a_library_are_read_from_tr_recalibrated():
    table = next(iter(PeptideFiles(str(CASES / "diann18_library.tsv"), "retention").chunks()))
    assert table.labels["retention"] == ["33.1"] * 3 and not table.problems


def test_q_values_and_negative_energies_of_a_library_are_looked_at(tmp_path):
    header = "ModifiedPeptide\tPrecursorCharge\tFragmentType\tFragmentNumber\tFragmentCharge\tRelativeIntensity"
    rows = [f"{header}\tCollisionEnergy\tQValue", "AAK\t2\ty\t1\t1\t1\t25\t0.5", "AAR\t2\ty\t1\t1\t1\t-5\t0"]
    table = whole(write(tmp_path / "library.tsv", "\n".join(rows) + "\n"))
    assert table.problems == {0: "q-value above 0.01", 1: "collision energy -5 is below 0 or infinite"}


# ---------------------------------------------------------------- annotations


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("y3", ("y", 3, 1, "")),
        ('"y3-18^2/0.01,b5"', ("y", 3, 2, "H2O")),
        ("b5-H2O^2/0.5ppm", ("b", 5, 2, "H2O")),
        ("1@b5-H3PO4/0.5ppm*0.9", ("b", 5, 1, "H3PO4")),
        ("y7-97.9769^1", ("y", 7, 1, "H3PO4")),
        ("y7-H3O4P1^1", ("y", 7, 1, "H3PO4")),
        ("y4-H2O-NH3", ("y", 4, 1, "H2O+NH3")),
        ("y1+1", ("y", 1, 1, "")),
        ("b'b12+2'", ("b", 12, 2, "")),
        ("y3++", ("y", 3, 2, "")),
        ("y3i/0.01", None),
        ("p^2", None),
        ("IY", None),
        ("?", None),
        ("", None),
    ],
)
def test_annotations(text, fragment):
    assert read_annotation(text) == fragment


def test_losses_have_one_name():
    assert [loss_name(text) for text in ("noloss", None, "-18", "H2O", "H3O4P", "98", "CH4OS")] == [
        "", "", "H2O", "H2O", "H3PO4", "H3PO4", "CH4OS",
    ]  # fmt: skip


def test_a_library_with_annotations_alone(tmp_path):
    header = "PrecursorMz\tProductMz\tAnnotation\tModifiedPeptideSequence\tPrecursorCharge\tLibraryIntensity"
    rows = [
        header,
        "1\t1\ty3-98^1\tAAS(UniMod:21)K\t2\t50",
        "1\t1\tb2^1\tAAS(UniMod:21)K\t2\t100",
        "1\t1\t?\tAAS(UniMod:21)K\t2\t9",
    ]
    table = whole(write(tmp_path / "easypqp.tsv", "\n".join(rows) + "\n"))
    assert table.texts == ["AAS[UNIMOD:21]K"] and fragments(table) == {"y3+1-H3PO4": 0.5, "b2+1-": 1.0}
    assert table.other == {"?": 1}


def test_koina(tmp_path):
    text = (
        ",peptide_sequences,precursor_charges,collision_energies,intensities,mz,annotation\n"
        "0,AAC[UNIMOD:4]K,2,25,0.5,147.1,b'y1+1'\n0,AAC[UNIMOD:4]K,2,25,1.0,307.1,b'y2+1'\n0,AAC[UNIMOD:4]K,2,25,-1,0,b'y9+3'\n"
    )
    table = whole(write(tmp_path / "koina.csv", text))
    assert table.texts == ["AAC[UNIMOD:4]K"] and fragments(table) == {"y1+1-": 0.5, "y2+1-": 1.0}
    assert table.energy.tolist() == [25]


# ---------------------------------------------------------------- MSP

MSP = """Name: AC[160]M[147]K/2
Comment: Parent=300.1
Num peaks: 2
147.1128	50	"y1/0.01"
234.1448 100 "y2-H2O^2/0.02,b3"

Name: ACMK/2_2(0,A,Acetyl)(1,C,CAM)
Comment: Mods=2(0,A,Acetyl)(1,C,CAM) HCD=28eV Inst=it
Num peaks: 2
147.1128	50	"y1/0.01"
200.0	5	"?"

Name: QSMK/3
Comment: Mods=2/0,Q,Pyro-glu/1,S,Phospho Collision_energy=30.0
Num peaks: 1
147.1128	50	"b2-98/0.01"
Name: ACMK/2
Comment: Mods=2 ModString=ACMK//Carbamidomethyl@C2; Oxidation@M3/2 iRT=12
Num peaks: 1
147.1128	50	"y1/0.0ppm"

Name: ACMK/2
Comment: Mods=1/0,M,Oxidation
Num peaks: 1
147.1128	50	"y1"

Name: ACMK/2
Comment: Mods=0
Num peaks: 1
147.1128	50

Name: ACMK/2
Comment: Mods=0 Spec=Decoy
Num peaks: 1
147.1128	50	"y1"
"""


def test_msp_libraries(tmp_path):
    path = write(tmp_path / "library.msp", MSP)
    assert find_layout(path) == "msp"
    table = whole(path)
    assert table.texts[:4] == [
        "AC[UNIMOD:4]M[UNIMOD:35]K",
        "[UNIMOD:1]-AC[UNIMOD:4]MK",
        "[UNIMOD:28]-QS[UNIMOD:21]MK",
        "AC[UNIMOD:4]M[UNIMOD:35]K",
    ]
    assert table.charge[:4].tolist() == [2, 2, 3, 2] and table.energy[1:3].tolist() == [28, 30]
    assert fragments(table) == {"y1+1-": 0.5, "y2+2-H2O": 1.0} and fragments(table, 2) == {"b2+1-H3PO4": 1.0}
    assert table.problems == {
        4: "modification 0,M,Oxidation is on a A of ACMK",
        5: "no peak has an annotation of a fragment, as y3 or b5-H2O^2",
        6: "decoy",
    }
    assert table.places[4] == "library.msp, line 22"


def test_the_keys_of_msp_libraries_come_in_any_order(tmp_path):
    records = []
    for record in MSP.split("Name: ")[1:]:
        name, comment, *others = record.strip().splitlines()
        records.append("\n".join([comment, f"Name: {name}", *others]))
    path = write(tmp_path / "library.msp", "\n\n".join(records) + "\n")
    assert find_layout(path) == "msp"
    table, usual = whole(path), whole(write(tmp_path / "usual.msp", MSP))
    assert table.texts == usual.texts and table.problems == usual.problems
    assert table.intensity.tolist() == usual.intensity.tolist()


# ---------------------------------------------------------------- mzSpecLib

MZSPECLIB = """<mzSpecLib>
MS:1003186|library format version=1.0
<AttributeSet Spectrum=all>
[1]MS:1000045|collision energy=27
[1]UO:0000000|unit=UO:0000266|electronvolt
MS:1000031|instrument model=MS:1001911|Q Exactive
<Spectrum=1>
MS:1003061|library spectrum name=ACMK/2
MS:1000744|selected ion m/z=300.1
<Analyte=1>
MS:1003270|proforma peptidoform ion notation=[UNIMOD:1]-AC[Carbamidomethyl]MK/2
MS:1000041|charge state=2
<Peaks>
147.1128\t50.0\ty1/1.2ppm
234.1448\t100.0\tb3-H2O^2/1.2ppm

<Spectrum=2>
MS:1003072|spectrum origin type=MS:1003192|decoy spectrum
<Analyte=1>
MS:1003270|proforma peptidoform ion notation=AAK/2
<Peaks>
147.1128\t50.0\ty1
<Spectrum=3>
<Analyte=1>
MS:1003270|proforma peptidoform ion notation=AAK/2
<Analyte=2>
MS:1003270|proforma peptidoform ion notation=AAR/2
<Peaks>
147.1128\t50.0\t1@y1
"""


def test_mzspeclib_libraries(tmp_path):
    path = write(tmp_path / "library.mzlb.txt", MZSPECLIB)
    assert find_layout(path) == "mzspeclib"
    table = whole(path)
    assert table.texts[0] == "[UNIMOD:1]-AC[UNIMOD:4]MK" and table.charge.tolist() == [2, 2, 2]
    assert fragments(table) == {"y1+1-": 0.5, "b3+2-H2O": 1.0}
    assert table.energy[0] == 27 and table.instrument[0] == "Q Exactive"
    assert table.problems == {1: "decoy", 2: "spectrum of several peptides"}
    assert table.ids[0] == "library.mzlb.txt:7"


def test_mzspeclib_in_json_is_one_sentence(tmp_path):
    path = write(tmp_path / "library.mzlb.json", '{"format_version": "1.0", "spectra": []}')
    with pytest.raises(InputError, match="is mzSpecLib in JSON: convert it to its text form"):
        whole(path)


@pytest.mark.parametrize(("name", "text"), [("a.msp.gz", MSP), ("a.mzlb.txt.gz", MZSPECLIB)])
def test_what_precedes_a_break_is_kept_with_a_row_for_the_loss(tmp_path, name, text):
    packed = gzip.compress((text * 50).encode() if name == "a.msp.gz" else text.encode(), 0)
    (tmp_path / name).write_bytes(packed[: int(len(packed) * 0.7)])
    table = whole(tmp_path / name)
    assert table.texts[0] in ("AC[UNIMOD:4]M[UNIMOD:35]K", "[UNIMOD:1]-AC[UNIMOD:4]MK")
    assert "gzip" in table.problems[len(table) - 1]
