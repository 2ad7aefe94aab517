"""Formats are recognised by content; compressed files are unpacked within limits."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from trimer.examples import example
from trimer.serving.limits import Refusal
from trimer.serving.uploads import prepared, suffix_of

CASES = [
    ("spectra", b"# a comment\r\nBEGIN IONS\r\nPEPMASS=100\r\n", "", ".mgf"),
    ("spectra", b"\xef\xbb\xbfNAME: x\nPRECURSORMZ: 100\n", "spectra.txt", ".msp"),
    ("spectra", b'<?xml version="1.0"?>\n<indexedmzML xmlns="x">', "", ".mzml"),
    ("spectra", b'<mzXML xmlns="x">', "", ".mzxml"),
    ("spectra", b"ACCESSION: MSBNK-1\n", "", ".txt"),
    ("spectra", b'[{"spectrum_id": 1}]', "", ".json"),
    ("spectra", b"identifier\tmzs\tintensities\n", "a.csv", ".tsv"),
    ("molecules", b"CCO ethanol\n", "", ".smi"),
    ("molecules", b"[NH4+] ammonium\n", "a.txt", ".smi"),
    ("molecules", b"Smiles,name\nCCO,a\n", "a.smi", ".csv"),
    ("molecules", b"name\tsmiles\na\tCCO\n", "", ".tsv"),
    ("molecules", b"PAR1....", "", ".parquet"),
    ("molecules", b"\n  x\n\n  1  0  0     0  0            999 V2000\nM  END\n$$$$\n", "", ".sdf"),
    ("proteins", b">a\nMKV\n", "a.csv", ".fasta"),
    ("proteins", b"id,sequence\na,MKV\n", "", ".csv"),
    ("proteins", b"LOCUS       X 10 aa\n", "", ".gb"),
    ("peptides", b"Sequence\tCharge\nPEPTIDEK\t2\n", "evidence.txt", ".tsv"),
    ("precursors", b"peptide;charge\nPEPTIDEK;2\n", "", ".csv"),
    ("molecules", "smiles,name\nCCO,a\n".encode("utf-16"), "", ".csv"),
]


@pytest.mark.parametrize(("kind", "content", "name", "suffix"), CASES)
def test_the_content_chooses_the_format(tmp_path, kind, content, name, suffix):
    (tmp_path / "raw").write_bytes(content)
    assert suffix_of(tmp_path / "raw", name, kind) == suffix


@pytest.mark.parametrize("kind", ["spectra", "molecules", "proteins", "peptides", "precursors"])
def test_the_shipped_examples_are_recognised(kind):
    assert suffix_of(example(kind), "", kind) == example(kind).suffix


def test_names_of_clients_and_of_archives_become_no_paths(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../escape.smi", "CCO a\n")
    (tmp_path / "raw").write_bytes(gzip.compress(stream.getvalue()))
    path = prepared(tmp_path / "raw", "../../../etc/cron.d/x", "molecules", 1.0)
    assert path == tmp_path / "upload.smi"
    assert path.read_text() == "CCO a\n"
    assert [file.name for file in tmp_path.iterdir()] == ["upload.smi"]


@pytest.mark.parametrize(
    "content", [gzip.compress(b"x" * 100)[:-4], b"PK\x03\x04broken", b"BZhbroken"], ids=["gzip", "zip", "bzip2"]
)
def test_damaged_archives_are_refused(tmp_path, content):
    (tmp_path / "raw").write_bytes(content)
    with pytest.raises(Refusal) as error:
        prepared(tmp_path / "raw", "a.gz", "molecules", 1.0)
    assert error.value.status == 422
    assert str(tmp_path) not in str(error.value)


def test_entities_of_xml_are_refused_in_any_encoding(tmp_path):
    text = '<?xml version="1.0" encoding="{}"?><!-- {} --><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><mzML/>'
    for number, (name, encoding) in enumerate((("utf-8", "utf-8"), ("utf-16", "utf-16"), ("utf-7", "utf-7"))):
        path = Path(tmp_path / f"{number}")
        path.write_bytes(text.format(name, "x" * 100_000).encode(encoding))
        with pytest.raises(Refusal) as error:
            suffix_of(path, "", "spectra")
        assert error.value.status == 415
