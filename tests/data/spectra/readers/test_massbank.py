import pytest

from trimer.data.spectra.readers import read_spectra
from trimer.errors import InputError

RECORD = """ACCESSION: MSBNK-Test-T{n}
RECORD_TITLE: Nicotine; LC-ESI-QFT; MS2; CE: 15; R=35000; [M+H]+
LICENSE: CC BY
COMMENT: CONFIDENCE standard compound
COMMENT: ID 3008
CH$NAME: Nicotine
CH$NAME: 3-(1-methyl-2-pyrrolidinyl)pyridine
CH$FORMULA: C10H14N2
CH$SMILES: CN1CCC[C@H]1c1cccnc1
CH$IUPAC: InChI=1S/C10H14N2/c1-12-7-3-5-10(12)9-4-2-6-11-8-9/h2,4,6,8,10H,3,5,7H2,1H3/t10-/m0/s1
CH$LINK: INCHIKEY SNICXCGAKADSCV-JTQLQIEISA-N
AC$INSTRUMENT: Q Exactive
AC$INSTRUMENT_TYPE: LC-ESI-QFT
AC$MASS_SPECTROMETRY: MS_TYPE MS2
AC$MASS_SPECTROMETRY: ION_MODE POSITIVE
AC$MASS_SPECTROMETRY: COLLISION_ENERGY 15 (nominal)
AC$CHROMATOGRAPHY: RETENTION_TIME 0.9 min
MS$FOCUSED_ION: PRECURSOR_M/Z 163.123
MS$FOCUSED_ION: PRECURSOR_TYPE [M+H]+
PK$SPLASH: splash10-000
PK$ANNOTATION: m/z tentative_formula
  80.0494 C5H6N+
PK$NUM_PEAK: 3
PK$PEAK: m/z int. rel.int.
  80.0494 1000.5 10
  163.1231 99900 999
  132.0808 500 5
//
"""


def test_a_record_is_read(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text(RECORD.format(n=1))
    table = read_spectra(path)
    assert table["problem"].tolist() == [None]
    for field, value in {
        "id": "MSBNK-Test-T1",
        "name": "Nicotine",
        "synonyms": "3-(1-methyl-2-pyrrolidinyl)pyridine",
        "formula": "C10H14N2",
        "smiles": "CN1CCC[C@H]1c1cccnc1",
        "inchikey": "SNICXCGAKADSCV-JTQLQIEISA-N",
        "instrument": "Q Exactive",
        "instrument_type": "LC-ESI-QFT",
        "ms_level": 2,
        "ion_mode": "positive",
        "collision_energy": "15 (nominal)",
        "retention_time": 54.0,
        "precursor_mz": 163.123,
        "adduct": "[M+H]+",
        "splash": "splash10-000",
        "license": "CC BY",
        "comment": "CONFIDENCE standard compound; ID 3008",
        "line": 1,
    }.items():
        assert table[field][0] == value, field
    assert table.peaks(0)[0].tolist() == [80.0494, 132.0808, 163.1231]
    assert table.peaks(0)[1].tolist() == [1000.5, 500.0, 99900.0]


def test_a_folder_with_several_records_in_a_file(tmp_path):
    (tmp_path / "Lab").mkdir()
    (tmp_path / "Lab" / "a.txt").write_text(RECORD.format(n=1) + RECORD.format(n=2))
    (tmp_path / "Lab" / "b.txt").write_bytes(RECORD.format(n=3).replace("Nicotine", "Nicotiné").encode("latin-1"))
    (tmp_path / "README.txt").write_text("no record\n")
    table = read_spectra(tmp_path)
    assert table["id"].tolist() == [f"MSBNK-Test-T{n}" for n in (1, 2, 3)]
    assert table["name"][2] == "Nicotiné"
    assert [file.rsplit("/", 1)[1] for file in table["file"]] == ["a.txt", "a.txt", "b.txt"]
    assert table["line"].tolist() == [1, 29, 1]


def test_missing_and_ms3_values(tmp_path):
    text = RECORD.format(n=1).replace("0.9 min", "N/A min").replace("163.123\n", "163.123/132.0808\n")
    (tmp_path / "t.txt").write_text(text.replace("MS_TYPE MS2", "MS_TYPE MS3"))
    table = read_spectra(tmp_path / "t.txt")
    assert table["problem"].tolist() == [None] and table["precursor_mz"][0] == 132.0808 and table["ms_level"][0] == 3


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("//\n", "", "truncated"),
        ("NUM_PEAK: 3", "NUM_PEAK: 4", "is 4, but 3 peaks follow"),
        ("80.0494 1000.5", "80.0494 much", "line 25 '80.0494 much 10'"),
        ("80.0494 1000.5", "80.0494 nan", "(80.0494, nan)"),
        ("MS$FOCUSED_ION: PRECURSOR_M/Z 163.123\n", "", "no precursor m/z"),
        ("LICENSE: CC BY", "DEPRECATED: 2020-01-01 wrong structure", "deprecated"),
    ],
)
def test_unusable_records_are_kept_with_their_problem(tmp_path, old, new, says):
    path = tmp_path / "t.txt"
    path.write_text(RECORD.format(n=1).replace(old, new, 1) + RECORD.format(n=2))
    table = read_spectra(path)
    assert len(table) == 2 and table["problem"][1] is None
    assert table["problem"][0].startswith(f"{path}, line 1: ") and says in table["problem"][0]


def test_files_without_a_record_raise(tmp_path):
    with pytest.raises(InputError, match="holds no file of spectra"):
        read_spectra(tmp_path)
    (tmp_path / "t.txt").write_text("hello\n")
    with pytest.raises(InputError, match="no line begins with 'ACCESSION:'"):
        read_spectra(tmp_path / "t.txt")
