"""Rows of valid and invalid CSV, TSV and Parquet files, with their line numbers."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimer.data.text.reading_limits import settings
from trimer.data.text.tables import FEWER, MORE, TableFile
from trimer.errors import InputError


def rows_of(path, *names) -> list[tuple]:
    return [(*cells, number, *([problem] if problem else [])) for cells, number, problem in TableFile(path).rows(names)]


def written(tmp_path, data: bytes, name: str = "a.csv"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "BOM"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_line_ends_byte_order_marks_and_blank_lines(tmp_path, end, mark, pack):
    lines = ["", " x , y", "a,1", "", ",", "   ", 'b,"2"', ""]
    path = written(tmp_path, pack((mark + end.join(lines)).encode()))
    assert TableFile(path).header == ["x", "y"]
    assert rows_of(path, "x", "y") == [("a", "1", 3), ("", "", 5), ("b", "2", 7)]
    assert TableFile(path).place_of(7) == "a.csv, line 7"


def test_quoted_cells_may_contain_delimiters_and_line_ends(tmp_path):
    path = written(tmp_path, b'x,note,y\na,"two\r\nlines, and a ""word""\n",1\nb,plain,2\n')
    assert rows_of(path, "note", "y") == [('two\r\nlines, and a "word"\n', "1", 2), ("plain", "2", 5)]


def test_tab_separated_tables(tmp_path):
    path = written(tmp_path, b"x\ty\na,b\t1\n")
    assert rows_of(path, "x", "y") == [("a,b", "1", 2)]


def test_rows_that_do_not_fit_the_header_have_a_problem(tmp_path):
    path = written(tmp_path, b"x,name,y\na\nb,2-chloro,ethane,1\nc,n,2,,\nd,n,3\n")
    assert rows_of(path, "x", "y") == [
        ("a", None, 2, FEWER),
        ("b", "ethane", 3, MORE),
        ("c", "2", 4),
        ("d", "3", 5),
    ]


def test_an_unclosed_quote_raises(tmp_path):
    """Otherwise it would silently swallow all rows up to the end of the file."""
    path = written(tmp_path, b'x,y\na,1\n"b,2\n' + b"c,3\n" * 9)
    rows = TableFile(path).rows(["x", "y"])
    assert next(rows) == (["a", "1"], 2, None)
    with pytest.raises(InputError, match=r"a\.csv, the row from line 3 on: .*a quote that is not closed"):
        next(rows)
    with pytest.raises(InputError, match=r"the row from line 2 on: ',' expected after '\"'"):
        rows_of(written(tmp_path, b'x,y\n"5"-methyl,1\n'), "x")


def test_columns_are_selected_by_name(tmp_path):
    path = written(tmp_path, b"smiles,Class,class,ID,ID\nC,1,2,3,4\n")
    assert rows_of(path, "class", "Class", "SMILES") == [("2", "1", "C", 2)]
    file = TableFile(path)
    assert "Smiles" in file and "smile" not in file
    with pytest.raises(InputError, match=r"a\.csv, line 1: no column 'smile', there are smiles, .*did you mean smiles"):
        file.position("smile")
    with pytest.raises(InputError, match="no column 'q', there are smiles, Class, class, ID, ID; name one of them"):
        file.position("q")
    for name, count in (("CLASS", 2), ("ID", 2)):
        with pytest.raises(InputError, match=f"{count} columns are called '{name}'"):
            file.position(name)
    for mark in ";|":
        other = written(tmp_path, f'id{mark}"a,b"{mark}smiles\n1{mark}2,5{mark}C\n'.encode())
        assert rows_of(other, "smiles", "a,b") == [("C", "2,5", 2)]
    wide = written(tmp_path, ",".join(f"c{i}" for i in range(3000)).encode() + b"\n")
    with pytest.raises(InputError) as caught:
        TableFile(wide).position("smiles")
    assert len(str(caught.value)) - len(str(tmp_path)) < 300


def test_parquet_tables(tmp_path):
    path = tmp_path / "a.parquet"
    table = {
        "x": ["C", None, "N"],
        "count": [1, 2, None],
        "value": [0.5, float("nan"), 1e-7],
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        "vector": [[1.0], [2.0], []],
        "pair": [{"a": 1}, {"a": 2}, {"a": 3}],
    }
    pq.write_table(pa.table(table), path)
    assert rows_of(path, "X", "count", "value", "kind") == [
        ("C", "1", "0.5", "a", 1),
        (None, "2", "nan", "b", 2),
        ("N", None, "1e-7", "a", 3),
    ]
    assert TableFile(path).place_of(3) == "a.parquet, row 3"
    assert [cells for cells, _ in rows_of(path, "vector")] == ["[1.0]", "[2.0]", "[]"]
    with pytest.raises(InputError, match=r"column 'pair' has the type struct<.*>, which is not text or a number"):
        rows_of(path, "pair")
    with pytest.raises(InputError, match=r"a\.parquet: no column 'y', there are x, count"):
        rows_of(path, "y")
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cut\.parquet is not a readable Parquet file"):
        TableFile(tmp_path / "cut.parquet")


def test_unreadable_files_raise(tmp_path):
    for data in (b"", b"\n\n", b"\xef\xbb\xbf\n"):
        with pytest.raises(InputError, match=r"a\.csv is empty"):
            TableFile(written(tmp_path, data))
    with pytest.raises(
        InputError,
        match="looks like a FASTA file of sequences, not a table: read it with data=proteins, or with labels with",
    ):
        TableFile(written(tmp_path, b">P1 x\nMK\n"))
    whole = gzip.compress(b"x,y\n" + b"".join(b"C%d,%d\n" % (i, i * i) for i in range(5000)))
    path = written(tmp_path, whole[: len(whole) // 2], "cut.csv.gz")
    rows = TableFile(path).rows(["x"])
    assert next(rows) == (["C0"], 2, None)
    *kept, (cells, line, problem) = rows
    assert len(kept) > 1000 and [cells for cells, _, _ in kept] == [[f"C{i}"] for i in range(1, len(kept) + 1)]
    assert (cells, line) == ([None], len(kept) + 3)
    assert problem.startswith("the file is truncated here") and f"after line {len(kept) + 2};" in problem
    assert rows_of(written(tmp_path, b"x,y\nC," + b"1" * 200_000), "y") == [("1" * 200_000, 2)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"])
def test_common_encodings_give_the_same_table(tmp_path, encoding, caplog):
    path = written(tmp_path, "smiles,name\r\nCC,éthane\r\nC,µ-méthane\r\n".encode(encoding))
    assert rows_of(path, "smiles", "name") == [("CC", "éthane", 2), ("C", "µ-méthane", 3)]
    assert TableFile(path).header == ["smiles", "name"]
    warned = f"{path}, line 2 is not UTF-8 and is read as Windows-1252: 'CC,éthane'; set text.encoding if that is wrong"
    assert (warned in caplog.text) == (encoding in ("cp1252", "latin-1"))


def test_the_encoding_can_be_set(tmp_path, monkeypatch):
    path = written(tmp_path, "smiles,name\nC,メタン\n".encode("shift-jis"))
    monkeypatch.setattr(settings, "encoding", "shift-jis")
    assert rows_of(path, "name") == [("メタン", 2)]
    monkeypatch.setattr(settings, "encoding", "utf-8")
    with pytest.raises(InputError, match=r"a\.csv, line 2: it is not utf-8 text .*: set text\.encoding"):
        rows_of(path, "name")


def test_a_missing_column_of_sequences_names_the_keys_and_a_label_does_not(tmp_path):
    table = TableFile(written(tmp_path, b"structure,y\nCCO,1\n"))
    with pytest.raises(InputError, match=r"no column 'smiles'.*column=<name>.*data\.source\.column=<name>"):
        table.position("smiles")
    with pytest.raises(InputError, match=r"no column 'label', there are structure, y; name one of them$"):
        table.position("label")
