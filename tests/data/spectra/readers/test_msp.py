import gzip

import numpy as np
import pytest

from trimer.data.spectra.readers import read_spectra
from trimer.errors import InputError

NIST = """Name: Caffeine
Synon: $:00in-source
Synon: Guaranine
Precursor_type: [M+H]+
Spectrum_type: MS2
PrecursorMZ: 195.0877
Instrument_type: HCD
Collision_energy: NCE=35% 39eV
Ion_mode: P
CAS#: 58-08-2; NIST#: 1234567
Formula: C8H10N4O2
Num Peaks: 4
69.0447 30; 110.0713 20.5; 138.0662 999;
195.0877 50 "p/0.1ppm"

"""
MONA = """Name: Theophylline
DB#: MoNA_000123
InChIKey: ZFXYFBGIUFBOJW-UHFFFAOYSA-N
Precursor_type: [M-H]-
PrecursorMZ: 179.057
Ion_mode: N
Comments: "SMILES=CN1C2=C(NC=N2)C(=O)N(C)C1=O" "retention time=2.5 min" "author=A, B"
Num Peaks: 2
164.034 32
122.036 100

"""


def write(tmp_path, text, name="a.msp"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_two_dialects(tmp_path):
    table = read_spectra(write(tmp_path, NIST + MONA))
    assert table["problem"].tolist() == [None, None]
    assert table["id"].tolist() == ["Caffeine", "MoNA_000123"]
    assert table["name"].tolist() == ["Caffeine", "Theophylline"]
    assert table["adduct"].tolist() == ["[M+H]+", "[M-H]-"]
    assert table["ion_mode"].tolist() == ["positive", "negative"]
    assert table["precursor_mz"].tolist() == [195.0877, 179.057]
    assert table["ms_level"].tolist() == [2, 0]
    assert table["collision_energy"][0] == "NCE=35% 39eV"
    assert table["nist#"][0] == "1234567" and table["cas#"][0] == "58-08-2"
    assert table["synon"][0] == "$:00in-source; Guaranine"
    assert table["smiles"][1] == "CN1C2=C(NC=N2)C(=O)N(C)C1=O"
    assert table["retention_time"][1] == 150.0
    assert table["author"][1] == "A, B"
    assert table["line"].tolist() == [1, 16]
    assert table.peaks(0)[0].tolist() == [69.0447, 110.0713, 138.0662, 195.0877]
    assert table.peaks(1)[0].tolist() == [122.036, 164.034]


def test_crlf_gzip_and_no_empty_line_between_records(tmp_path):
    text = (NIST.rstrip() + "\n" + MONA).replace("\n", "\r\n")
    path = tmp_path / "b.msp.gz"
    path.write_bytes(gzip.compress(text.encode("latin-1")))
    table = read_spectra(path)
    assert table["problem"].tolist() == [None, None]
    assert table.peak_counts.tolist() == [4, 2]


def test_truncated_gzip(tmp_path):
    path = tmp_path / "b.msp.gz"
    path.write_bytes(gzip.compress((NIST.rstrip() + "\n\n" + MONA).encode())[:-20])
    table = read_spectra(path)
    assert table["problem"][0] is None and "truncated" in table["problem"][-1]
    assert "not a complete gzip file" in table["problem"][-1] and table["id"][-1] == f"b:{len(table)}"
    path.write_bytes(gzip.compress(b"")[:-2])
    with pytest.raises(InputError, match="not a complete gzip file"):
        read_spectra(path)


def test_ms_dial_keys(tmp_path):
    text = "NAME: x\nPRECURSORMZ: 100.5\nPRECURSORTYPE: [M+H]+\nRETENTIONTIME: 2.0\nNum Peaks: 1\n50.5\t10\n"
    table = read_spectra(write(tmp_path, text))
    assert table["retention_time"][0] == 120.0 and table["adduct"][0] == "[M+H]+"


@pytest.mark.parametrize(
    "peaks", ["50 1\n60 2\n70 3", "50 1 60 2 70 3 80 4", "50,1 60,2\n70:3", "(50 1) (60 2)", "50 1;60 2;70 3;"]
)
def test_separators(tmp_path, peaks):
    count = peaks.count("0 ") + peaks.count("0,") + peaks.count("0:")
    table = read_spectra(write(tmp_path, f"Name: x\nPrecursorMZ: 100\nNum Peaks: {count}\n{peaks}\n"))
    assert table["problem"][0] is None
    assert table.peaks(0)[0].tolist() == [50.0, 60.0, 70.0, 80.0][:count]
    assert table.peaks(0)[1].tolist() == [1.0, 2.0, 3.0, 4.0][:count]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Name: x\nPrecursorMZ: 100\nNum Peaks: 3\n50 1\n60 2\n", "'Num Peaks' is 3, but 2 peaks follow"),
        ("Name: x\nPrecursorMZ: 100\nNum Peaks: two\n50 1\n60 2\n", "not a number"),
        ("Name: x\nPrecursorMZ: 100\nNum Peaks: 2\n50 1\nnan 2\n", "(nan, 2) is not a positive m/z"),
        ("Name: x\nPrecursorMZ: 100\nNum Peaks: 2\n50 1\n60 x2\n", "line 5 '60 x2'"),
        ("Name: x\nPrecursorMZ: 100\nNum Peaks: 1\n50 -1\n", "(50, -1)"),
        ("Name: x\nNum Peaks: 1\n50 1\n", "no precursor m/z"),
        ("Name: x\nPrecursorMZ: 100\nNum Peaks: 0\n", "no peaks"),
    ],
)
def test_unusable_records_are_kept_with_their_problem(tmp_path, text, says):
    path = write(tmp_path, text + "\n" + MONA)
    table = read_spectra(path)
    assert len(table) == 2 and table["problem"][1] is None
    assert table["problem"][0].startswith(f"{path}, line 1: ") and says in table["problem"][0]


def test_agrees_with_matchms(tmp_path):
    importing = pytest.importorskip("matchms.importing")
    rng = np.random.default_rng(0)
    text = ""
    for i in range(20):
        count = int(rng.integers(1, 30))
        mz, intensity = np.sort(rng.uniform(50, 900, count)), rng.uniform(1, 999, count)
        rows = [f"{m:.5f}\t{x:.3f}" for m, x in zip(mz, intensity, strict=True)]
        joined = "\n".join(rows) if i % 2 else "; ".join(row.replace("\t", " ") for row in rows)
        text += f"NAME: m{i}\nPRECURSORMZ: {mz[-1] + 1:.5f}\nPRECURSORTYPE: [M+H]+\nNum Peaks: {count}\n{joined}\n\n"
    path = write(tmp_path, text)
    table = read_spectra(path)
    spectra = list(importing.load_from_msp(str(path)))
    assert len(spectra) == len(table) == 20
    for row, spectrum in enumerate(spectra):
        assert np.array_equal(table.peaks(row)[0], spectrum.peaks.mz)
        assert np.array_equal(table.peaks(row)[1], spectrum.peaks.intensities.astype(np.float32))
        assert table["precursor_mz"][row] == spectrum.get("precursor_mz")
        assert table["adduct"][row] == spectrum.get("adduct")
