"""Labelled records from tables and FASTA files, clean and dirty."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_helpers import whole

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.core.label_table import LabelTable
from trimer.data.labelled.label_files import NO_MATCH, LabelledFasta, LabelledFiles
from trimer.data.text.letters import INNER_STOP
from trimer.data.text.tables import FEWER, MORE
from trimer.errors import InputError

ROWS = [
    ("m1", "CCO", "1", "0.5", "train"),
    ("m2", " c1ccccc1 ", "NA", "", "test"),
    ("m1", "C", "0", "nan", ""),
    ("", "", "1", "2", "train"),
]
NAMES = ("ID", "Smiles", "toxic", "log S", "fold")


def written(tmp_path, kind: str) -> str:
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        columns = [list(column) for column in zip(*ROWS, strict=True)]
        columns[3] = [0.5, None, float("nan"), 2.0]
        pq.write_table(pa.table(dict(zip(NAMES, columns, strict=True))), path)
    elif kind.startswith("csv"):
        text = "\ufeff" + "".join(",".join(f'"{cell}"' for cell in row) + "\r\n" for row in (NAMES, *ROWS))
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    else:
        path.write_text("\n\n".join("\t".join(row) for row in (NAMES, *ROWS)) + "\n")
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet"])
def test_tables(tmp_path, kind):
    source = LabelledFiles(written(tmp_path, kind), "smiles", ["log S", "toxic"], "id")
    unit = "row" if kind == "parquet" else "line"
    numbers = {"parquet": [1, 2, 3, 4], "tsv": [3, 5, 7, 9]}.get(kind, [2, 3, 4, 5])
    assert whole(source, ["fold"]) == LabelTable(
        ["m1", "m2", "m1", f"a.{kind}:{numbers[3]}"],
        ["CCO", "c1ccccc1", "C", ""],
        {"log S": ["0.5", None, None, "2"], "toxic": ["1", None, "0", "1"]},
        {"fold": ["train", "test", None, "train"]},
        [f"a.{kind}, {unit} {number}" for number in numbers],
        {3: NO_SEQUENCE},
    )


def test_remaining_columns_are_labels(tmp_path):
    path = written(tmp_path, "csv")
    assert list(whole(LabelledFiles(path, "smiles", None, "id")).labels) == ["toxic", "log S", "fold"]
    table = whole(LabelledFiles(path, "smiles", None, "id"), ["fold"])
    assert (list(table.labels), list(table.columns)) == (["toxic", "log S"], ["fold"])
    (tmp_path / "index.csv").write_text(",smiles,y\n0,C,1\n")
    assert whole(LabelledFiles(str(tmp_path / "index.csv"), "smiles", None)).labels == {"y": ["1"]}
    (tmp_path / "bare.csv").write_text("smiles\nC\n")
    with pytest.raises(InputError, match="no column is left for a label besides smiles"):
        whole(LabelledFiles(str(tmp_path / "bare.csv"), "smiles", None))
    with pytest.raises(InputError, match=r"a\.csv, line 1: no column 'smile', there are .* mean Smiles"):
        whole(LabelledFiles(path, "smile", None))
    with pytest.raises(InputError, match=r"no column 'toxicity', .*; did you mean toxic\?"):
        whole(LabelledFiles(path, "smiles", ["toxicity"]))


def test_a_column_may_be_label_and_split(tmp_path):
    table = whole(LabelledFiles(written(tmp_path, "csv"), "smiles", "fold"), ["fold", "ID"])
    assert table.labels["fold"] == table.columns["fold"] == ["train", "test", None, "train"]
    assert table.columns["ID"] == ["m1", "m2", "m1", None]


def test_malformed_rows_have_problems_and_others_are_unaffected(tmp_path):
    (tmp_path / "a.csv").write_text("smiles,name,y\nC,a,1\nCC\nCCC,b,c,0\nCCCC,d,0\n")
    table = whole(LabelledFiles(str(tmp_path / "a.csv"), "smiles", "y"))
    assert table.problems == {1: FEWER, 2: MORE}
    assert [table.labels["y"][row] for row in (0, 3)] == ["1", "0"]
    assert table.places == [f"a.csv, line {line}" for line in (2, 3, 4, 5)]


def test_column_file_names_the_file_of_each_record(tmp_path):
    (tmp_path / "train.csv").write_text("smiles,y\nC,1\nN,0\n")
    (tmp_path / "test.csv").write_text("y,smiles,extra\n1,O,x\n")
    source = LabelledFiles([str(tmp_path / "train.csv"), str(tmp_path / "test.csv")], "smiles", None)
    table = whole(source, ["file"])
    assert table.columns == {"file": ["train.csv", "train.csv", "test.csv"]}
    assert (table.texts, table.labels) == (["C", "N", "O"], {"y": ["1", "0", "1"]})
    assert table.ids == ["train.csv:2", "train.csv:3", "test.csv:2"]
    assert whole(LabelledFiles(str(tmp_path / "*.csv"), "smiles", "y")).texts == ["O", "C", "N"], "a glob is sorted"
    (tmp_path / "own.csv").write_text("smiles,y,file\nC,1,plate7\n")
    assert whole(LabelledFiles(str(tmp_path / "own.csv"), "smiles", "y"), ["file"]).columns == {"file": ["plate7"]}


def test_chunks_and_limits(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("smiles,y\n" + "".join(f"{'C' * (i % 50 + 1)},{i}\n" for i in range(10_000)))
    tables = list(LabelledFiles(str(path), "smiles", "y").chunks())
    assert len(tables) > 1
    assert LabelTable.concatenate(tables).labels["y"] == [str(i) for i in range(10_000)]
    assert whole(LabelledFiles(str(path), "smiles", "y", limit=5000)).ids[-1] == "a.csv:5001"
    (tmp_path / "none.csv").write_text("smiles,y\n")
    with pytest.raises(InputError, match=r"none\.csv holds no record"):
        whole(LabelledFiles(str(tmp_path / "none.csv"), "smiles", "y"))


def test_fingerprints(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("smiles,y,z\nC,1,2\n")
    one = LabelledFiles(str(path), "smiles", "y")
    before = one.fingerprint()
    assert LabelledFiles(str(path), "smiles", ["y"]).fingerprint() == before
    others = [
        LabelledFiles(str(path), "smiles", "z"),
        LabelledFiles(str(path), "smiles", None),
        LabelledFiles(str(path), "z", "y"),
        LabelledFiles(str(path), "smiles", "y", id_column="z"),
        LabelledFiles(str(path), "smiles", "y", limit=1),
    ]
    assert len({before, *(other.fingerprint() for other in others)}) == 6
    path.write_text("smiles,y,z\nC,0,2\n")
    assert one.fingerprint() != before
    other = path.rename(tmp_path / "b.csv")
    path.write_text("smiles,y,z\nC,1,2\n")
    assert one.fingerprint() == before
    other.write_text("smiles,y,z\nC,1,2\n")
    assert LabelledFiles(str(other), "smiles", "y").fingerprint() != before, (
        "ids and locations contain the name of the file"
    )


def test_invalid_settings_raise_value_error():
    for arguments, says in (
        (([], "smiles", "y"), "paths is empty: name a CSV, TSV, Parquet or SDF file"),
        (("a.csv", "smiles", []), "labels is empty"),
        (("a.csv", "smiles", ["y", "y"]), "names 'y' twice"),
        (("a.csv", "smiles", ["y", "smiles"]), "'smiles' is both the sequence and a label"),
        (("a.csv", "smiles", "y", None, 0), "limit=0 must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=says):
            LabelledFiles(*arguments)
    with pytest.raises(InputError, match=r"none\.csv: no such file; name a CSV, TSV, Parquet or SDF file, or a glob"):
        LabelledFiles("none.csv", "smiles", "y").fingerprint()


# -------------------------------------------------------------------- FASTA

PATTERN = r"family=(?P<family>\w+)(?: part=(?P<part>\w+))?"


def test_fasta(tmp_path):
    path = tmp_path / "a.fasta.gz"
    text = ">P1 family=kinase part=train OX=9606\r\nMK\r\nL*\r\n>P2 part=test\r\nMA\r\n>P2 family=NA\r\nM*K\r\n"
    path.write_bytes(gzip.compress((text + "> family=globin\r\nMG\r\n>P5 family=globin\r\n").encode()))
    source = LabelledFasta(str(path), PATTERN)
    table = whole(source)
    assert table == LabelTable(
        ["P1", "P2", "P2", "family=globin", "P5"],
        ["MKL", "MA", "M*K", "MG", ""],
        {"family": ["kinase", None, None, "globin", "globin"], "part": ["train", None, None, None, None]},
        {},
        [f"a.fasta.gz, line {line}" for line in (1, 4, 6, 8, 10)],
        {1: NO_MATCH, 2: INNER_STOP, 4: NO_SEQUENCE},
    )
    table = whole(source, ["OX", "part", "file"])
    assert list(table.labels) == ["family"]
    assert table.columns == {
        "OX": ["9606", None, None, None, None],
        "part": ["train", None, None, None, None],
        "file": ["a.fasta.gz"] * 5,
    }


def test_id_can_be_a_group_of_the_pattern(tmp_path):
    (tmp_path / "a.fasta").write_text(">sp|P1|A_B y=1\nMK\n>\nML\n>sp|P2|C y=0\nMM\n")
    table = whole(LabelledFasta(str(tmp_path / "a.fasta"), r"\|(?P<id>\w+)\|.* y=(?P<y>\d)"))
    assert table.ids == ["P1", "a.fasta:3", "P2"]
    assert (table.labels, table.problems) == ({"y": ["1", None, "0"]}, {1: NO_MATCH})


def test_fasta_in_many_chunks(tmp_path):
    count = 20_000
    (tmp_path / "a.fasta").write_text("".join(f">P{i} family=f{i % 7}\n{'MK' * 20}\n" for i in range(count)))
    tables = list(LabelledFasta(str(tmp_path / "a.fasta"), PATTERN).chunks())
    assert len(tables) > 1
    table = LabelTable.concatenate(tables)
    assert table.ids == [f"P{i}" for i in range(count)]
    assert table.labels["family"] == [f"f{i % 7}" for i in range(count)]
    assert table.places[-1] == f"a.fasta, line {2 * count - 1}"


def test_invalid_patterns_and_columns_raise_errors(tmp_path):
    (tmp_path / "a.fasta").write_text(">P1 family=kinase\nMK\n")
    path = str(tmp_path / "a.fasta")
    with pytest.raises(
        InputError, match=r"a\.fasta: no header matches the pattern '.*', the first is 'P1 family=kinase'"
    ):
        whole(LabelledFasta(path, r"clan=(?P<clan>\w+)"))
    with pytest.raises(InputError, match=r"a\.fasta: no header has 'fold=\.\.\.'"):
        whole(LabelledFasta(path, PATTERN), ["fold"])
    with pytest.raises(ValueError, match="not a regular expression"):
        LabelledFasta(path, "(")
    for pattern in (r"family=(\w+)", r"(?P<id>\w+)"):
        with pytest.raises(ValueError, match="no named group for a label"):
            LabelledFasta(path, pattern)
    other = LabelledFasta(path, r"family=(?P<family>\w)")
    assert other.fingerprint() != LabelledFasta(path, PATTERN).fingerprint()
    whole_file = gzip.compress(b"".join(b">P%d family=f%d\nMKL\n" % (i, i * i) for i in range(5000)))
    (tmp_path / "cut.fasta.gz").write_bytes(whole_file[: len(whole_file) // 2])
    table = whole(LabelledFasta(str(tmp_path / "cut.fasta.gz"), PATTERN))
    assert len(table) > 1000 and list(table.problems) == [len(table) - 1]
    assert "the file is truncated here" in table.problems[len(table) - 1]
    assert table.labels["family"][:3] == ["f0", "f1", "f4"]
