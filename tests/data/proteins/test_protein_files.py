"""Proteins from files of any kind, and from UniProt's addresses."""

import gzip
import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.proteins.protein_files import UNIPROT, ProteinFiles, SwissProt, UniRef
from trimer.data.text.letters import INNER_STOP
from trimer.data.text.tables import FEWER
from trimer.errors import InputError


def all_of(source, columns=()) -> list[tuple]:
    """(id, letters, cluster, columns..., problem) of every protein."""
    return [
        (
            table.ids[row],
            table.sequences[row].tobytes().decode("latin-1"),
            *([table.clusters[row]] if table.clusters is not None else []),
            *(table.columns[name][row] for name in columns),
            *([table.problems[row]] if row in table.problems else []),
        )
        for table in source.chunks(columns)
        for row in range(len(table))
    ]


def test_fasta(tmp_path):
    (tmp_path / "a.fa").write_text(">P1 first OX=9606 SET=train\nMK\nL*\n>\nM*K\n>P3 SET=test\n")
    source = ProteinFiles(str(tmp_path / "a.fa"))
    assert all_of(source) == [("P1", "MKL"), ("a.fa:4", "M*K", INNER_STOP), ("P3", "", NO_SEQUENCE)]
    assert [row[2] for row in all_of(source, ["SET"])] == ["train", None, "test"]
    families = ProteinFiles(str(tmp_path / "a.fa"), cluster_column="OX", id_column="SET")
    assert [row[:3] for row in all_of(families)] == [
        ("train", "MKL", "9606"),
        ("a.fa:4", "M*K", None),
        ("test", "", None),
    ]
    with pytest.raises(InputError, match=r"a\.fa: no header has 'fold=\.\.\.'"):
        all_of(source, ["fold"])


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_tables(tmp_path, kind):
    rows = [
        ("x,1", "MKL*", "train", "f1"),
        ("x2", "m k", "val", "f2"),
        ("x3", "M*K", "val", "f2"),
        ("x4", "", "test", "f3"),
    ]
    path = tmp_path / f"a.{kind}"
    names = ("ID", "Sequence", "fold", "family")
    if kind == "parquet":
        columns = [list(column) for column in zip(*rows, strict=True)]
        columns[1][3] = None
        pq.write_table(pa.table(dict(zip(names, columns, strict=True))), path)
    elif kind == "csv":
        text = "".join(",".join(f'"{cell}"' for cell in row) + "\r\n" for row in (names, *rows))
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text("\n".join("\t".join(row) for row in (names, *rows)) + "\n\n")
    source = ProteinFiles(str(path), id_column="id", cluster_column="family")
    assert all_of(source, ["fold"]) == [
        ("x,1", "MKL", "f1", "train"),
        ("x2", "mk", "f2", "val"),
        ("x3", "M*K", "f2", "val", INNER_STOP),
        ("x4", "", "f3", "test", NO_SEQUENCE),
    ]
    first = 1 if kind == "parquet" else 2
    assert all_of(ProteinFiles(str(path)))[1][0] == f"{path.name}:{first + 1}"
    with pytest.raises(InputError, match="no column 'seq', there are ID, Sequence, fold, family; name one of them"):
        all_of(ProteinFiles(str(path), column="seq"))


def test_format_is_detected_from_content(tmp_path):
    (tmp_path / "a.csv").write_text(">P1\nMK\n")
    (tmp_path / "b.dat").write_text("name,sequence\nQ,ML\n")
    pq.write_table(pa.table({"sequence": ["MG"]}), tmp_path / "c.bin")
    proteins = all_of(ProteinFiles([str(tmp_path / name) for name in ("a.csv", "b.dat", "c.bin")]))
    assert proteins == [("P1", "MK"), ("b.dat:2", "ML"), ("c.bin:1", "MG")]


def test_globs_limits_and_fingerprints(tmp_path):
    (tmp_path / "b.fa").write_text(">1\nM\n>2\nMK\n")
    (tmp_path / "a.fa").write_text(">3\nMKL\n")
    source = ProteinFiles(str(tmp_path / "*.fa"))
    assert [name for name, _ in all_of(source)] == ["3", "1", "2"]
    assert [name for name, _ in all_of(ProteinFiles(str(tmp_path / "*.fa"), limit=2))] == ["3", "1"]
    before = source.fingerprint()
    assert ProteinFiles([str(tmp_path / "a.fa"), str(tmp_path / "b.fa")]).fingerprint() == before
    assert ProteinFiles(str(tmp_path / "*.fa"), limit=2).fingerprint() != before
    (tmp_path / "b.fa").write_text(">1\nM\n>2\nML\n")
    assert source.fingerprint() != before


def test_bad_files_raise_input_error(tmp_path):
    with pytest.raises(InputError, match=r"none\.fa: no such file; name a FASTA, Parquet, CSV or TSV file, or a glob"):
        ProteinFiles(str(tmp_path / "none.fa")).fingerprint()
    (tmp_path / "empty.fa").write_text("")
    with pytest.raises(InputError, match=r"empty\.fa is empty"):
        all_of(ProteinFiles(str(tmp_path / "empty.fa")))
    (tmp_path / "short.csv").write_text("id,sequence\na,MK\nb\n")
    assert all_of(ProteinFiles(str(tmp_path / "short.csv"), id_column="id"))[1] == ("b", "", FEWER)
    (tmp_path / "words.dat").write_text("MKL\n")
    with pytest.raises(InputError, match=r"words\.dat, line 1: 'MKL' stands before the first '>'"):
        all_of(ProteinFiles(str(tmp_path / "words.dat")))
    pq.write_table(pa.table({"sequence": ["MG"] * 1000}), tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cut\.parquet is no Parquet file that can be read"):
        all_of(ProteinFiles(str(tmp_path / "cut.parquet")))
    with pytest.raises(ValueError, match="paths is empty"):
        ProteinFiles([])
    with pytest.raises(ValueError, match="limit=0 must be 1 or more"):
        ProteinFiles("a.fa", limit=0)


def test_uniref_and_swissprot_are_downloaded(tmp_path, monkeypatch):
    wanted = []

    def download(url, folder, sha256=None):
        wanted.append((url, str(folder), sha256))
        path = tmp_path / "got.fasta.gz"
        path.write_bytes(gzip.compress(b">UniRef50_A\nMK\n>UniRef50_B\nML\n"))
        return path

    monkeypatch.setattr("trimer.data.text.download.download", download)
    assert [name for name, _ in all_of(UniRef(50, folder="data/u", limit=1))] == ["UniRef50_A"]
    assert [name for name, _ in all_of(SwissProt(sha256="abc"))] == ["UniRef50_A", "UniRef50_B"]
    assert wanted == [
        (f"{UNIPROT}/uniref/uniref50/uniref50.fasta.gz", "data/u", None),
        (f"{UNIPROT}/knowledgebase/complete/uniprot_sprot.fasta.gz", "data/swissprot", "abc"),
    ]
    copy = UniRef(90, path=str(tmp_path / "got.fasta.gz"))
    assert copy.fingerprint().startswith(
        hashlib.sha256(hashlib.sha256(copy.files()[0].read_bytes()).digest()).hexdigest()
    )
    assert len(wanted) == 2, "a copy that is there is not downloaded"
    with pytest.raises(ValueError, match="identity=70 must be 50, 90 or 100"):
        UniRef(70)
