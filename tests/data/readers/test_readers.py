import pytest

from trimer.data.readers import SUFFIXES, read_spectra
from trimer.errors import InputError


def test_wrong_paths(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_spectra(tmp_path / "missing.mgf")
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(InputError, match=r"'.docx' is no known format; known are .mgf, .msp"):
        read_spectra(tmp_path / "a.docx")
    (tmp_path / "noending").write_text("x")
    with pytest.raises(InputError, match="'noending' is no known format"):
        read_spectra(str(tmp_path / "noending"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        read_spectra(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"\n\n", b"hello\n", b"\x00\xff\xfe binary \x80\n", b"[]", b"{}", b"3"])
def test_files_of_something_else(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    try:
        table = read_spectra(path)
    except InputError as error:
        assert str(path) in str(error)
    else:  # a row may stand for what was there, but never as a usable spectrum
        assert all(table["problem"])
