"""Messages about files of another kind than a model or data read."""

import time

import pytest

from trimer.data.text.file_kinds import START, check_kind, check_lines, check_table, file_kind
from trimer.errors import InputError

MGF = "BEGIN IONS\nPEPMASS=100\n50 1\nEND IONS\n"
FILES = {
    "a.mgf": (MGF, "an MGF file of spectra", "spectra"),
    "b.mgf": (f"# made by hand\nCOM=x\n{MGF}".replace("\n", "\r\n"), "an MGF file of spectra", "spectra"),
    "a.msp": ("NAME: x\nPRECURSORMZ: 5\nNum Peaks: 1\n5 1\n", "an MSP file of spectra", "spectra"),
    "p.msp": ("Name: PEPTIDEK/2\nMW: 5\nNum peaks: 1\n5 1\n", "an MSP library of peptides", "peptide libraries"),
    "a.mzML": ('<?xml version="1.0"?>\n<indexedmzML xmlns="x">', "an mzML file of spectra", "spectra"),
    "a.pir": (">P1;CRAB\ntitle\nMDVT*\n", "a PIR file of proteins", "proteins"),
    "a.fasta": (">P1 x\nMK\n", "a FASTA file of sequences", "proteins"),
    "a.txt": ("ID   X_Y   Reviewed;  3 AA.\n", "an EMBL or UniProt text file", "proteins"),
    "a.smi": ("CCO ethanol\n", "a SMILES file of molecules", "molecules"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named_with_what_fits(tmp_path, name):
    text, called, records = FILES[name]
    (tmp_path / name).write_text(text, newline="")
    kind = file_kind(tmp_path / name, text.encode())
    assert kind is not None and (kind.name, kind.records) == (called, records)
    for reads in {"molecules", "proteins", "peptides"} - {records}:
        with pytest.raises(InputError, match=f"looks like {called} .*this model reads {reads}: .*To use the file, "):
            check_kind(tmp_path / name, reads)
    with pytest.raises(InputError, match=f"looks like {called}, not a table: .*data="):
        check_table(tmp_path / name, text.encode())
    if records != "molecules":
        with pytest.raises(InputError, match=r"not a file of SMILES: .*data="):
            check_lines(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["smiles,label\nCCO,1\n", "ID   ,smiles\n1,CCO\n", "name: x\ny\n", "sequence\tcharge\nAK\t2\n"]
)
def test_tables_and_unknown_texts_are_of_no_kind(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    assert check_kind(tmp_path / "a.csv", "proteins") is None


@pytest.mark.parametrize("sign", [" ", "\n", "a", "a: b\n", "<?x> ", "name: A/1\n"])
def test_a_file_of_one_sign_is_recognised_in_no_time(tmp_path, sign):
    """No pattern tries again from every place: 65,000 blanks took nine seconds."""
    started = time.process_time()
    assert file_kind(tmp_path / "a.csv", sign.encode() * (START // len(sign)) + b"x") is None
    assert time.process_time() - started < 1


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "a.smi").write_text(" \n")
    for check in (lambda: check_kind(tmp_path / "a.smi", "molecules"), lambda: check_lines(tmp_path / "a.smi")):
        with pytest.raises(InputError, match=r"a\.smi is empty"):
            check()
