"""FASTA as it is found in the wild, read the same whatever the size of the blocks."""

import gzip
import tracemalloc

import numpy as np
import pytest

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.text.fasta import read_fasta
from trimer.data.text.letters import INNER_STOP
from trimer.errors import InputError

WILD = b""">sp|P1|ONE_HUMAN First of two OS=Homo sapiens OX=9606 GN=ONE PE=1
MKLV
AGS

>two\tsecond
mkl*
>empty

>three >in the header
  MK L
T*A
>
GG
>last no line end
WW"""
ROWS = [
    ("sp|P1|ONE_HUMAN", "MKLVAGS", 1),
    ("two", "mkl", 5),
    ("empty", "", 7),
    ("three", "MKLT*A", 9),
    ("", "GG", 12),
    ("last", "WW", 14),
]


def write(tmp_path, content: bytes, name: str = "a.fasta"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def rows(path, **settings):
    return [
        (name, records.sequences[row].tobytes().decode(), int(records.lines[row]))
        for records in read_fasta(path, **settings)
        for row, name in enumerate(records.ids)
    ]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_wild_files(tmp_path, ends, block):
    path = write(tmp_path, WILD.replace(b"\n", ends))
    assert rows(path, block=block) == ROWS
    problems = {}
    count = 0
    for records in read_fasta(path, block):
        problems |= {count + row: rule for row, rule in records.problems.items()}
        count += len(records)
    assert problems == {2: NO_SEQUENCE, 3: INNER_STOP}


def test_line_ends_of_the_classic_mac(tmp_path):
    assert rows(write(tmp_path, WILD.replace(b"\n", b"\r"))) == ROWS


@pytest.mark.parametrize("name", ["a.fasta.gz", "a.fasta"])
def test_gzip_is_known_by_its_content(tmp_path, name):
    assert rows(write(tmp_path, gzip.compress(WILD), name)) == ROWS
    two = gzip.compress(WILD + b"\n") + gzip.compress(b">more\nAC\n")  # members, as bgzip writes them
    assert rows(write(tmp_path, two, name)) == [*ROWS, ("more", "AC", 16)]


def test_headers_are_whole_and_of_any_encoding(tmp_path):
    path = write(tmp_path, "\ufeff\n\n>a \u03b2-chain\nMK\n".encode() + b">b caf\xe9 au lait\nML\n")
    assert [header for records in read_fasta(path) for header in records.headers] == [
        "a \u03b2-chain",
        "b café au lait",
    ]
    assert rows(path) == [("a", "MK", 3), ("b", "ML", 5)]


def test_values_of_the_header(tmp_path):
    records = next(read_fasta(write(tmp_path, WILD)))
    assert records.values("OS") == ["Homo sapiens", None, None, None, None]
    assert records.values("PE")[0] == "1" and records.values("E")[0] is None


def test_duplicates_stay(tmp_path):
    assert rows(write(tmp_path, b">a\nMK\n>a\nMK\n>a\nML\n")) == [("a", "MK", 1), ("a", "MK", 3), ("a", "ML", 5)]


def test_one_stop_at_the_end_is_no_part_of_a_protein(tmp_path):
    records = next(read_fasta(write(tmp_path, b">a\nMK*\n>b\nMK**\n>c\n*\n>d\n*MK\n>e\nM\n")))
    assert [records.sequences[row].tobytes() for row in range(4)] == [b"MK", b"MK*", b"", b"*MK"]
    assert records.problems == {1: INNER_STOP, 2: NO_SEQUENCE, 3: INNER_STOP}


def test_what_is_no_fasta_is_told_with_its_line(tmp_path):
    with pytest.raises(InputError, match=r"a\.fasta, line 3: 'MKLV' stands before the first '>'"):
        rows(write(tmp_path, b"\n\nMKLV\n>a\nMK\n"))
    for content in (b"", b"\n \n"):
        with pytest.raises(InputError, match="holds no sequence: no line begins with '>'"):
            rows(write(tmp_path, content))


def test_a_cut_file_keeps_its_whole_records_and_has_a_row_for_the_loss(tmp_path):
    random = np.random.default_rng(0)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)[random.integers(0, 20, (3000, 60))]
    whole = gzip.compress(b"".join(b">r%d\n%s\n" % (i, row.tobytes()) for i, row in enumerate(letters, 1)))
    path = write(tmp_path, whole[: len(whole) // 2], "cut.fasta.gz")
    chunks = list(read_fasta(path, 4096))
    seen = [name for records in chunks for name in records.ids]
    assert len(seen) > 1000 and seen == [f"r{i}" for i in range(1, len(seen) + 1)]
    assert [records.problems for records in chunks[:-1]] == [{}] * (len(chunks) - 1)
    assert len(chunks[-1]) == 1 and chunks[-1].sequences.lengths.tolist() == [0]
    assert f"is not a whole gzip file (it ends early) after record {len(seen) - 1:,}, line" in chunks[-1].problems[0]


def test_memory_is_flat(tmp_path):
    path = tmp_path / "large.fasta"
    record = b">name of a protein\n" + b"MKLVAGSTPE" * 30 + b"\n"
    path.write_bytes(record * 30_000)  # 10 MB
    tracemalloc.start()
    count = sum(len(records) for records in read_fasta(path, 1 << 17))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 30_000
    assert peak < 4_000_000
