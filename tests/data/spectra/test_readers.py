import gzip
from pathlib import Path

import pytest

from trimer.data.spectra.readers import SUFFIXES, read_spectra
from trimer.data.spectra.spectrum_sources import SpectralFiles
from trimer.errors import InputError


def test_wrong_paths_raise(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_spectra(tmp_path / "missing.mgf")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(InputError, match=r"'.docx' is not a known format of spectra; use .mgf, .msp"):
        read_spectra(tmp_path / "a.docx")
    (tmp_path / "noending").write_text("x")
    with pytest.raises(InputError, match="'noending' is not a known format of spectra"):
        read_spectra(str(tmp_path / "noending"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_files_raise(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        read_spectra(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"\n\n", b"hello\n", b"\x00\xff\xfe binary \x80\n", b"[]", b"{}", b"3"])
def test_files_of_other_formats_raise(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    try:
        table = read_spectra(path)
    except InputError as error:
        assert str(path) in str(error)
    else:  # a row may stand for what was there, but never as a usable spectrum
        assert all(table["problem"])


MGF = "BEGIN IONS\nTITLE={}\nPEPMASS=100\n50 1\nEND IONS\n"


def folder(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "b.mgf").write_text(MGF.format("b"))
    (tmp_path / "below" / "a.mgf.gz").write_bytes(gzip.compress(MGF.format("a").encode()))
    (tmp_path / "c.msp").write_text("Name: c\nPrecursorMZ: 100\nNum Peaks: 1\n50 1\n")
    (tmp_path / "notes.txt").write_text("nothing of interest\n")
    (tmp_path / "predictions.csv").write_text("row,id\n")


def test_a_folder_is_read_with_its_subfolders(tmp_path):
    folder(tmp_path)
    table = read_spectra(tmp_path)
    assert table["id"].tolist() == ["b", "a", "c"] and table["problem"].tolist() == [None] * 3
    assert [Path(file).name for file in table["file"]] == ["b.mgf", "a.mgf.gz", "c.msp"]


def test_a_glob_is_read(tmp_path):
    folder(tmp_path)
    assert read_spectra(tmp_path / "*.m*")["id"].tolist() == ["b", "c"]
    assert read_spectra(str(tmp_path / "**" / "*.mgf*"))["id"].tolist() == ["b", "a"]
    with pytest.raises(InputError, match="does not exist"):
        read_spectra(tmp_path / "*.mzML")


def test_an_unreadable_file_among_several_is_a_row(tmp_path):
    folder(tmp_path)
    (tmp_path / "d.mgf").touch()
    table = read_spectra(tmp_path)
    assert table["id"].tolist() == ["b", "a", "c", "d"] and "d.mgf is empty" in table["problem"][3]
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="holds no file of spectra"):
        read_spectra(tmp_path / "none")
    (tmp_path / "none" / "e.mgf").touch()
    with pytest.raises(InputError, match="is empty"):
        read_spectra(tmp_path / "none")


def test_the_fingerprint_of_a_folder_depends_on_all_its_files(tmp_path):
    folder(tmp_path)
    source = SpectralFiles(str(tmp_path))
    before = source.fingerprint()
    assert [table["id"].tolist() for table in source.chunks()] == [["b", "a", "c"]]
    (tmp_path / "c.msp").write_text("Name: d\nPrecursorMZ: 100\nNum Peaks: 1\n50 1\n")
    assert source.fingerprint() != before
