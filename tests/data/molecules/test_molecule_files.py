import gzip

import pytest

from trimer.data.molecules.molecule_files import PubChemSmiles, SmilesFiles
from trimer.data.text.tables import FEWER
from trimer.errors import InputError


def all_of(source, size: int = 2) -> list[tuple]:
    """(id, SMILES), and the problem where there is one."""
    return [
        (name, smiles, *([table.problems[row]] if row in table.problems else []))
        for table in source.chunks(size)
        for row, (name, smiles) in enumerate(zip(table.ids, table.smiles, strict=True))
    ]


def test_text_files_hold_one_molecule_per_line(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("CCO ethanol alcohol\n\nC\r\nc1ccccc1\tbenzene\n")
    assert all_of(SmilesFiles(str(path))) == [("ethanol alcohol", "CCO"), ("a.smi:3", "C"), ("benzene", "c1ccccc1")]
    chunks = list(SmilesFiles(str(path)).chunks(2))
    assert [len(table) for table in chunks] == [2, 1]
    assert all_of(SmilesFiles(str(path), limit=2)) == all_of(SmilesFiles(str(path)))[:2]


def test_gzip_is_detected_by_content(tmp_path):
    for name in ("a.smi.gz", "b.smi"):
        (tmp_path / name).write_bytes(gzip.compress(b"CCO\nC\n"))
        assert [smiles for _, smiles in all_of(SmilesFiles(str(tmp_path / name)))] == ["CCO", "C"]


def test_tables_are_read_by_column_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,SMILES,y\nx1,CCO,1\n\n"x,2",C,2\n')
    assert all_of(SmilesFiles(str(path))) == [("a.csv:2", "CCO"), ("a.csv:4", "C")]
    assert all_of(SmilesFiles(str(path), id_column="id")) == [("x1", "CCO"), ("x,2", "C")]
    with pytest.raises(InputError, match=r"line 1: no column 'mol', there are id, SMILES, y"):
        all_of(SmilesFiles(str(path), column="mol"))
    tabs = tmp_path / "b.tsv.gz"
    tabs.write_bytes(gzip.compress(b"smiles\tid\nCCN\tq\nCC\n"))
    assert all_of(SmilesFiles(str(tabs), id_column="id")) == [("q", "CCN"), ("b.tsv.gz:3", "CC", FEWER)]


def test_globs_and_fingerprints(tmp_path):
    (tmp_path / "b.smi").write_text("C\n")
    (tmp_path / "a.smi").write_text("CC\n")
    source = SmilesFiles(str(tmp_path / "*.smi"))
    assert [smiles for _, smiles in all_of(source)] == ["CC", "C"]
    before = source.fingerprint()
    assert SmilesFiles([str(tmp_path / "a.smi"), str(tmp_path / "b.smi")]).fingerprint() == before
    (tmp_path / "b.smi").write_text("N\n")
    assert source.fingerprint() != before


def test_bad_files_raise_input_error(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        SmilesFiles(str(tmp_path / "none.smi")).fingerprint()
    (tmp_path / "empty.smi").write_text("\n\n")
    with pytest.raises(InputError, match=r"empty\.smi is empty"):
        all_of(SmilesFiles(str(tmp_path / "empty.smi")))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty\.csv is empty"):
        all_of(SmilesFiles(str(tmp_path / "empty.csv")))
    whole = gzip.compress("\n".join(f"C{'C' * i}" for i in range(3000)).encode())
    (tmp_path / "cut.smi.gz").write_bytes(whole[: len(whole) // 2])
    *kept, (name, smiles, problem) = all_of(SmilesFiles(str(tmp_path / "cut.smi.gz")))
    assert len(kept) > 100 and [smiles for _, smiles in kept] == ["C" * i for i in range(1, len(kept) + 1)]
    assert (name, smiles) == ("cut.smi.gz:end", "")
    assert problem.startswith("the file is truncated here") and f"after line {len(kept):}" in problem
    (tmp_path / "latin.smi").write_bytes(b"C methane\nCC \xe9thane\n")
    assert all_of(SmilesFiles(str(tmp_path / "latin.smi")))[1] == ("éthane", "CC")


def test_pubchem_ids_are_cids(tmp_path):
    path = tmp_path / "CID-SMILES.gz"
    path.write_bytes(gzip.compress(b"1\tCC(=O)OC(CC(=O)[O-])C[N+](C)(C)C\n2\tC\n3\tN\n"))
    assert all_of(PubChemSmiles(path=str(path), limit=2)) == [("1", "CC(=O)OC(CC(=O)[O-])C[N+](C)(C)C"), ("2", "C")]
    path.write_bytes(gzip.compress(b"1\tC\nnonsense\n"))
    assert all_of(PubChemSmiles(path=str(path)))[1] == ("nonsense", "", "the line is not a CID, a tab and a SMILES")
    with pytest.raises(InputError, match="no such file"):
        PubChemSmiles(path=str(tmp_path / "none.gz")).fingerprint()
