import gzip
import re

import numpy as np
import pytest

from trimer.data.spectra.readers import mgf, read_spectra
from trimer.data.text import opening
from trimer.errors import InputError

TWO = """BEGIN IONS
TITLE=first
PEPMASS=195.0877 12345.6
CHARGE=1+
RTINSECONDS=61.5
SMILES=CN1C=NC2=C1C(=O)N(C)C(=O)N2C
ADDUCT=[M+H]+
110.0713 20.5
138.0662 100
69.0447 3e1
END IONS

BEGIN IONS
TITLE=second
PEPMASS=300.5
CHARGE=2+
50.1\t10.0
60.2\t20.0\t1+
END IONS
"""


def write(tmp_path, text, name="a.mgf"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_fields_and_peaks(tmp_path):
    table = read_spectra(write(tmp_path, TWO))
    assert table["id"].tolist() == ["first", "second"]
    assert table["precursor_mz"].tolist() == [195.0877, 300.5]
    assert table["precursor_intensity"].tolist() == ["12345.6", None]
    assert table["charge"].tolist() == [1, 2]
    assert table["retention_time"][0] == 61.5 and np.isnan(table["retention_time"][1])
    assert table["adduct"].tolist() == ["[M+H]+", None]
    assert table["line"].tolist() == [1, 13]
    assert table["file"][0].endswith("a.mgf")
    assert table.peaks(0)[0].tolist() == [69.0447, 110.0713, 138.0662]  # sorted by m/z
    assert table.peaks(0)[1].tolist() == [30.0, 20.5, 100.0]
    assert table.peaks(1)[0].tolist() == [50.1, 60.2]  # tabs, and a third column with the charge of the peak
    assert table["problem"].tolist() == [None, None]


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_of_other_systems(tmp_path, ends):
    expected, table = (
        read_spectra(write(tmp_path, TWO)),
        read_spectra(write(tmp_path, TWO.replace("\n", ends), "b.mgf")),
    )
    assert np.array_equal(expected.mz, table.mz)
    assert table["id"].tolist() == ["first", "second"]
    assert table["line"].tolist() == [1, 13]
    assert table["problem"].tolist() == [None, None]


def test_gzip_and_byte_order_mark(tmp_path):
    path = tmp_path / "b.mgf.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + TWO.encode()))
    assert read_spectra(path)["id"].tolist() == ["first", "second"]


def test_truncated_gzip(tmp_path):
    path = tmp_path / "b.mgf.gz"
    path.write_bytes(gzip.compress(TWO.encode())[:-20])  # inside the second record
    table = read_spectra(path)
    assert table["id"].tolist() == ["first", "second", "b:3"]
    assert table["problem"][0] is None and "truncated" in table["problem"][1]
    assert re.search(
        r"b\.mgf\.gz, line \d+: the file is truncated here.* not a complete gzip file", table["problem"][2]
    )


def test_gzip_truncated_between_records_or_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(mgf, "_BLOCK", 64)
    first = gzip.compress((TWO[: TWO.index("END IONS") + 9]).encode())
    path = tmp_path / "b.mgf.gz"
    path.write_bytes(first[:-8])  # all of the record, without the check sum
    table = read_spectra(path)
    assert table["id"].tolist() == ["first", "b:2"]
    assert table["problem"][0] is None and "truncated" in table["problem"][1]
    path.write_bytes(gzip.compress(b"# nothing but words " * 50)[:-9])
    with pytest.raises(InputError, match="not a complete gzip file"):
        read_spectra(path)


def test_latin1_beside_utf8(tmp_path):
    text = b"BEGIN IONS\nTITLE=\xe9t\xe9\nNAME=\xce\xb2-carotene\nPEPMASS=100\n50 1\nEND IONS\n"
    table = read_spectra(write(tmp_path, text))
    assert table["id"][0] == "été"
    assert table["name"][0] == "β-carotene"


def test_comments_blank_lines_indents_and_case(tmp_path):
    text = "# COM=x\n\nbegin ions\n; a=b\n  title=x = y\npepmass=100\n\n# 99 99\n  50.5 1 \n\t60.5 2\nend ions\n"
    table = read_spectra(write(tmp_path, text))
    assert table["id"].tolist() == ["x = y"]
    assert table.mz.tolist() == [50.5, 60.5]
    assert table["problem"][0] is None


def test_parameters_before_the_first_record_are_defaults(tmp_path):
    text = "CHARGE=2+\nINSTRUMENT=Orbitrap\n" + TWO.replace("CHARGE=1+\n", "").replace("ADDUCT=[M+H]+\n", "")
    table = read_spectra(write(tmp_path, text))
    assert table["charge"].tolist() == [2, 2]
    assert table["instrument"].tolist() == ["Orbitrap", "Orbitrap"]


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("CHARGE=2+", "charge", 2),
        ("CHARGE=1-", "charge", -1),
        ("CHARGE=+3", "charge", 3),
        ("CHARGE=2+ and 3+", "charge", 0),
        ("RTINMINUTES=1.5", "retention_time", 90.0),
        ("RETENTION_TIME=16.5 min", "retention_time", 990.0),
        ("RTINSECONDS=12.5-13.0", "retention_time", 12.5),
        ("MSLEVEL=2", "ms_level", 2),
        ("MS_LEVEL=MS2", "ms_level", 2),
        ("IONMODE=Positive", "ion_mode", "positive"),
        ("SMILES=N/A", "smiles", None),
        ("SPECTRUMID=CCMSLIB1", "id", "CCMSLIB1"),
        ("FEATURE_ID=7", "id", "x"),
        ("NAME=Malyngamide C M+H", "adduct", "M+H"),
        ("NAME=Vitamin B12", "adduct", None),
        ("PRECURSOR_MZ=101.5", "precursor_mz", 101.5),
        ("MyOwnKey=a=b", "myownkey", "a=b"),
    ],
)
def test_values_of_fields(tmp_path, line, field, value):
    text = f"BEGIN IONS\nTITLE=x\nPEPMASS=100\n{line}\n50 1\nEND IONS\n"
    table = read_spectra(write(tmp_path, text))
    assert table["problem"][0] is None
    assert table[field][0] == value


def test_negative_mode_signs_a_bare_charge(tmp_path):
    text = "BEGIN IONS\nPEPMASS=100\nCHARGE=1\nIONMODE=Negative\n50 1\nEND IONS\n"
    assert read_spectra(write(tmp_path, text))["charge"][0] == -1


def test_records_without_id_are_numbered(tmp_path):
    table = read_spectra(write(tmp_path, TWO.replace("TITLE=first\n", "").replace("TITLE=second\n", ""), "run1.mgf"))
    assert table["id"].tolist() == ["run1:1", "run1:2"]


def record(body, precursor="PEPMASS=100"):
    return f"BEGIN IONS\nTITLE=x\n{precursor}\n{body}END IONS\n"


@pytest.mark.parametrize(
    ("text", "says", "peaks"),
    [
        (record("50 1\n60 nan\n"), "line 5", 1),
        (record("50 1\nnan 5\n"), "line 5", 1),
        (record("50 1\n60 inf\n"), "line 5", 1),
        (record("50 1\n60 -2\n"), "line 5", 1),
        (record("50 1\n-60 2\n"), "line 5", 1),
        (record("50 1\n60\n"), "line 5 '60' is not 'm/z intensity'", 1),
        (record("50 1\n60 1 2 3\n"), "line 5 '60 1 2 3' is not 'm/z intensity'", 1),
        (record("50 1\n6o.0 1\n"), "line 5 '6o.0 1'", 1),
        (record("50 1\nhello\n"), "line 5 'hello'", 1),
        (record("50,5 1\n"), "line 4 '50,5 1'", 0),
        (record("50 1\n", "ADDUCT=[M+H]+"), "no precursor m/z", 1),
        (record("50 1\n", "PEPMASS=0.0"), "no precursor m/z", 1),
        (record("50 1\n", "PEPMASS=nan"), "no precursor m/z", 1),
        (record("50 1\n", "PEPMASS=460,98"), "the value '460,98' of PEPMASS is not a number", 1),
        (record("50 1\n", "PEPMASS=abc"), "the value 'abc' of PEPMASS is not a number", 1),
        (record(""), "no peaks", 0),
        (record("50 1\n60 2\n").removesuffix("END IONS\n"), "truncated", 2),
        (record("50 1\n").replace("END IONS\n", "") + record("50 1\n"), "END IONS is missing", 1),
        ("TITLE=x\nPEPMASS=100\nEND IONS\n", "without BEGIN IONS", 0),
    ],
)
def test_unusable_records_are_kept_with_their_problem(tmp_path, text, says, peaks):
    path = write(tmp_path, text + record("70 1\n80 2\n"))
    table = read_spectra(path)
    problem = table["problem"][0]
    assert problem.startswith(f"{path}, line ") and says in problem
    assert table.peak_counts[0] == peaks
    assert np.isfinite(table.mz).all() and np.isfinite(table.intensity).all()
    assert table["problem"][-1] is None and table.peak_counts[-1] == 2  # the record after it is not harmed


def test_a_record_without_begin_ions_after_others(tmp_path):
    text = record("50 1\n") + "TITLE=stray\nPEPMASS=100\n60 1\nEND IONS\n" + record("70 1\n")
    table = read_spectra(write(tmp_path, text))
    assert len(table) == 3 and table["id"][1] == "stray"
    assert "BEGIN IONS is missing" in table["problem"][1]
    assert table["problem"][[0, 2]].tolist() == [None, None]


def test_chunks_of_a_large_file_are_joined(tmp_path, monkeypatch):
    text = "".join(
        f"BEGIN IONS\nTITLE=s{i}\nPEPMASS={100 + i}\n"
        + "".join(f"{50 + j}.5 {j + 1}\n" for j in range(i % 7 + 1))
        + "END IONS\n"
        for i in range(60)
    )
    path = write(tmp_path, "CHARGE=1+\n" + text)
    whole = read_spectra(path)

    def chunks(path, size=0, where=None):
        data = path.read_bytes()
        return iter([data[i : i + 97] for i in range(0, len(data), 97)])

    monkeypatch.setattr(opening, "read_chunks", chunks)
    parts = read_spectra(path)
    assert len(parts) == 60
    for field in ("id", "precursor_mz", "charge", "line", "problem"):
        assert parts[field].tolist() == whole[field].tolist()
    assert np.array_equal(parts.mz, whole.mz) and np.array_equal(parts.offsets, whole.offsets)


def test_other_files_raise(tmp_path):
    with pytest.raises(InputError, match="holds no spectrum"):
        read_spectra(write(tmp_path, "name,mz\na,100\n"))


def test_a_truncated_file_keeps_its_complete_records(tmp_path):
    whole = TWO.encode()
    for cut in range(whole.index(b"second"), len(whole) - len("END IONS\n"), 7):
        table = read_spectra(write(tmp_path, whole[:cut]))
        assert table["problem"][0] is None and table.peak_counts[0] == 3
        assert "truncated" in table["problem"][1] and ", line 13: " in table["problem"][1]


def random_mgf(tmp_path, n=50, seed=0):
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        count = int(rng.integers(1, 40))
        mz, intensity = rng.uniform(40, 1000, count), rng.exponential(1e4, count)
        if i % 3:
            mz = np.sort(mz)
        lines += ["BEGIN IONS", f"TITLE=s{i}", f"PEPMASS={rng.uniform(100, 1000):.6f}", "CHARGE=1+", "ADDUCT=[M+H]+"]
        lines += [
            f"{m:.{i % 6 + 1}f} {x:.{i % 4}e}" if i % 2 else f"{m!r} {x!r}"
            for m, x in zip(mz.tolist(), intensity.tolist(), strict=True)
        ]
        lines += ["END IONS", ""]
    return write(tmp_path, "\n".join(lines))


def test_agrees_with_pyteomics(tmp_path):
    from pyteomics import mgf as peer

    path = random_mgf(tmp_path)
    table = read_spectra(path)
    spectra = list(peer.read(str(path), use_index=False))
    assert len(spectra) == len(table) == 50
    for row, spectrum in enumerate(spectra):
        order = np.argsort(spectrum["m/z array"], kind="stable")
        assert np.array_equal(table.peaks(row)[0], spectrum["m/z array"][order])
        assert np.array_equal(table.peaks(row)[1], spectrum["intensity array"][order].astype(np.float32))
        assert table["precursor_mz"][row] == spectrum["params"]["pepmass"][0]


def test_agrees_with_matchms(tmp_path):
    importing = pytest.importorskip("matchms.importing")
    path = random_mgf(tmp_path, seed=1)
    table = read_spectra(path)
    spectra = list(importing.load_from_mgf(str(path)))
    assert len(spectra) == len(table)
    for row, spectrum in enumerate(spectra):
        assert np.array_equal(table.peaks(row)[0], spectrum.peaks.mz)
        assert np.array_equal(table.peaks(row)[1], spectrum.peaks.intensities.astype(np.float32))
        assert table["precursor_mz"][row] == spectrum.get("precursor_mz")
        assert table["adduct"][row] == spectrum.get("adduct")
        assert table["charge"][row] == spectrum.get("charge")
