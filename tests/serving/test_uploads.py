"""Formats are recognised by content; compressed files are unpacked within limits."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from pathlib import Path

import pytest

from trimer.examples import example
from trimer.serving.limits import Refusal
from trimer.serving.uploads import prepared, suffix_of, unpacked

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
    ("molecules", b"canonical_smiles,name\nCCO,a\n", "", ".csv"),
    ("molecules", b"Isomeric SMILES\nCCO\n", "", ".csv"),
    ("molecules", b"CID;InChI\n1;InChI=1S/CH4/h1H4\n", "", ".csv"),
    ("molecules", b"CCO,ethanol\n", "", ".csv"),  # its reader says that there is no header
    ("molecules", b"CCO 1,2-ethanediol\n", "", ".smi"),
    ("molecules", b"CC |$a;b$|\n", "", ".smi"),
    ("molecules", b"InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3 ethanol\n", "", ".smi"),
    ("molecules", b"InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3\n", "", ".smi"),
    ("molecules", b"CCO\tethanol\n", "", ".smi"),
    ("proteins", b"id,seq\na,MKV\n", "", ".csv"),
    ("proteins", b"Protein Sequence\nMKV\n", "", ".csv"),
    ("proteins", b"MKTAYIAKQR\n", "", ".fasta"),
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
    other = tmp_path.parent / "of the server.zip"  # a name that exists is not opened
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("private.fasta", "")
    (tmp_path / "list").write_bytes(gzip.compress(b"CCO\nCCN\n"))
    assert unpacked(tmp_path / "list", str(other), 1.0)[1] == str(other.with_suffix(""))
    (tmp_path / "unpacked0").unlink()
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


def test_no_damage_of_an_archive_is_an_error_of_the_server(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "sequence\n" + "PEPTIDEK\n" * 30)
    whole, order = stream.getvalue(), random.Random(0)
    refused = 0
    for number in range(200):
        content = bytearray(whole)
        for _ in range(order.choice((1, 3, 9))):
            content[order.randrange(4, len(content))] = order.randrange(256)
        raw = tmp_path / str(number) / "raw"
        raw.parent.mkdir()
        raw.write_bytes(content)
        try:
            prepared(raw, "a.zip", "peptides", 1.0)
        except Refusal as refusal:
            refused += 1
            assert 400 <= refusal.status < 500
    assert 100 < refused < 200  # some damage concerns nothing that is read


@pytest.mark.parametrize(
    ("kind", "content", "sentence"),
    [
        ("molecules", b"<!DOCTYPE html><html><body>Log in</body></html>", "is a web page"),
        ("peptides", b"<?xml version='1.0'?><pepXML/>", "XML of this kind is in no known format of peptides"),
        ("spectra", b"\x89PNG\r\n", "no known format of spectra: send MGF, MSP, mzML"),
        ("spectra", b"mz,intensity\n100,1\n", "no known format of spectra"),
        ("peptides", b"PK\x03\x04", "damaged"),
    ],
)
def test_files_in_another_format_are_named_with_those_that_are_read(tmp_path, kind, content, sentence):
    (tmp_path / "raw").write_bytes(content)
    with pytest.raises(Refusal, match=sentence) as error:
        prepared(tmp_path / "raw", "a.png", kind, 1.0)
    assert error.value.status in (415, 422)


def test_a_table_without_a_line_of_text_is_refused_by_its_reader(tmp_path):
    (tmp_path / "raw").write_bytes(b"\x1c")  # a line break for Python, but not for a file
    assert suffix_of(tmp_path / "raw", "", "peptides") == ".csv"


def test_entities_of_xml_are_refused_in_any_encoding(tmp_path):
    text = '<?xml version="1.0" encoding="{}"?><!-- {} --><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><mzML/>'
    for number, (name, encoding) in enumerate((("utf-8", "utf-8"), ("utf-16", "utf-16"), ("utf-7", "utf-7"))):
        path = Path(tmp_path / f"{number}")
        path.write_bytes(text.format(name, "x" * 100_000).encode(encoding))
        with pytest.raises(Refusal) as error:
            suffix_of(path, "", "spectra")
        assert error.value.status == 415
