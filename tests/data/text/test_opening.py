"""Compressed and truncated files, encodings and limits."""

import bz2
import gzip
import lzma
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from trimer.data.text.compression import plain_name
from trimer.data.text.opening import open_bytes, read_blocks, read_chunks, read_lines, read_text, read_text_so_far
from trimer.data.text.reading_limits import TextSettings, configure, settings
from trimer.errors import BrokenOff, ConfigError, InputError

TEXT = b"".join(b"line %d\n" % i for i in range(20_000))
PACK = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.fixture(autouse=True)
def usual_settings():
    yield
    configure({})


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("size", [1, 1000, 1 << 22])
def test_all_streams_of_a_file_are_read_in_chunks(tmp_path, kind, size):
    path = tmp_path / "text"  # compression is recognised by the content
    text = TEXT[:3000] if size == 1 else TEXT
    pack = PACK[kind]
    path.write_bytes(pack(text[:1000]) + pack(b"") + pack(text[1000:]) + b"\0" * 512)
    chunks = list(read_chunks(path, size))
    assert b"".join(chunks) == text
    assert max(map(len, chunks)) <= size


@pytest.mark.parametrize("kind", PACK)
def test_everything_before_a_truncated_end_is_read(tmp_path, kind):
    path = tmp_path / "text"
    text = TEXT if kind == "gzip" else TEXT * 40  # bzip2 and xz give nothing of an incomplete block
    whole = PACK[kind](text)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    chunks: list[bytes] = []
    with pytest.raises(InputError, match=rf"not a complete {kind} file \(it ends early\) at chunk \d+; download"):
        chunks.extend(read_chunks(path, 1 << 12, lambda: f" at chunk {len(chunks)}"))
    kept = b"".join(chunks)
    assert text.startswith(kept) and (len(kept) > len(text) // 3 or kind == "xz")


@pytest.mark.parametrize("kind", PACK)
def test_damage_is_reported(tmp_path, kind):
    path = tmp_path / "text"
    whole = bytearray(PACK[kind](TEXT))
    whole[-6] ^= 1  # of the checksum or the footer
    path.write_bytes(whole)
    with pytest.raises(BrokenOff, match=f"not a complete {kind} file"):
        list(read_chunks(path))
    path.write_bytes(PACK[kind](TEXT) + b"something else")
    with pytest.raises(BrokenOff, match=f"not a complete {kind} file"):
        list(read_chunks(path))


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return path


def test_a_zip_archive_of_one_file_is_read(tmp_path):
    path = zipped(tmp_path / "in.zip", x__fasta=TEXT)
    assert b"".join(read_chunks(path, 999)) == TEXT
    assert plain_name(path) == "x.fasta"
    assert [plain_name(tmp_path / name) for name in ("a.csv.gz", "a.csv.XZ", "a.csv")] == ["a.csv"] * 3
    with pytest.raises(InputError, match=r"two\.zip is a zip archive of 2 files \(a\.fa, b\.fa\): unpack it"):
        list(read_chunks(zipped(tmp_path / "two.zip", a__fa=b"x", b__fa=b"y")))
    whole = path.read_bytes()
    central = whole.rindex(b"PK\x01\x02")
    offset = bytearray(whole)
    offset[central + 42 : central + 46] = b"\xff\xff\xff\x7f"  # of the member: outside of the file
    for damaged in (whole[:-30], bytes(offset)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"in\.zip is not a complete zip file"):
            list(read_chunks(path))
    other = whole.replace(b"\x08\x00", b"\x09\x00", 1)  # Deflate64, as Windows packs large files
    path.write_bytes(other[:central] + other[central:].replace(b"\x08\x00", b"\x09\x00", 1))
    with pytest.raises(InputError, match=r"in\.zip is a zip archive that is compressed by a method which is not read"):
        list(read_chunks(path))
    book = tmp_path / "book.xlsx"
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(InputError, match=r"book\.xlsx is a document of Excel, LibreOffice or the like: save its table"):
        list(read_chunks(book))


def test_a_gzip_bomb_raises_after_the_allowed_content(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress((b"A" * 999 + b"\n") * 200_000))  # 200 MB in 200 kB
    assert path.stat().st_size < 500_000
    count = 0
    began = time.process_time()
    with pytest.raises(BrokenOff, match=r"unpacks to more than 100 times its size; text\.max_ratio allows more"):
        for _ in read_lines(path):
            count += 1
    assert 60_000 < count < 70_000  # 64 MiB
    assert time.process_time() - began < 10
    configure({"max_ratio": 2000})
    assert sum(1 for _ in read_lines(path)) == 200_000


def test_an_endless_line_raises_in_bounded_memory(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"first\nsecond\n" + b"A" * 9_000_000)
    configure({"max_record_mib": 2})
    lines = []
    tracemalloc.start()
    with pytest.raises(BrokenOff, match=r"the line that begins on line 3 is longer than 2 MiB: .* text.max_record_mib"):
        lines.extend(read_lines(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert lines == ["first\n", "second\n"] and peak < 12_000_000
    with pytest.raises(BrokenOff, match="the record that begins on line 2"):
        list(read_blocks(path, b"second", 1 << 16))
    configure({})
    assert [len(line) for line in read_lines(path)] == [6, 7, 9_000_000]


def test_blocks_contain_complete_records(tmp_path):
    path = tmp_path / "records"
    text = b"\n# note\n" + b"".join(b">r%d\nAA>A\n" % i for i in range(500))
    for data, sizes in ((text, (1, 7, 100, 1 << 20)), (text.replace(b"\n", b"\r"), (100, 1 << 20))):
        path.write_bytes(data)
        for size in sizes:
            blocks = list(read_blocks(path, b">r", size))
            assert b"".join(blocks) == text
            assert all(block.startswith(b">r") for block in blocks[1:])
    with pytest.raises(BrokenOff) as caught:
        path.write_bytes(gzip.compress(text, mtime=0)[:-20])
        kept = b"".join(iter([*read_blocks(path, b">r", 100)]))
        assert kept
    assert caught.value.unfinished.startswith(b">r")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1 << 20])
def test_lines_end_with_lf_crlf_or_cr(tmp_path, size):
    path = tmp_path / "lines"
    path.write_bytes("a\r\nb\rc\n\n\u2028é\x0bd\r".encode())
    assert list(read_lines(path, size)) == ["a\r\n", "b\r", "c\n", "\n", "\u2028é\x0bd\r"]


def test_a_truncated_file_gives_no_partial_line(tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(TEXT)[:-300])
    lines = []
    with pytest.raises(BrokenOff) as caught:
        lines.extend(read_lines(path))
    assert TEXT.startswith("".join(lines).encode()) and lines[-1].endswith("\n") and len(lines) > 5000
    assert f"after line {len(lines)};" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_utf8_and_utf16_are_recognised(tmp_path, encoding, pack):
    path = tmp_path / "text"
    text = "BEGIN IONS\nNAME=é\nEND IONS\n" * 50
    path.write_bytes(pack(text.encode(encoding)))
    assert read_text(path) == text
    assert b"".join(read_chunks(path, 64)).decode() == text


def test_other_bytes_are_windows_1252_with_a_warning(tmp_path, caplog):
    path = tmp_path / "text"
    path.write_bytes("plain\né both ".encode() + b"\xe9 \x96 \x81\n")
    assert read_text(path) == "plain\né both é – \x81\n" == "".join(read_lines(path))
    assert caplog.text.count("line 2 is not UTF-8 and is read as Windows-1252: 'é both é – ") == 1  # once a file


@pytest.mark.parametrize("name", ["a.smi", "a.fasta", "a.csv"])
def test_a_binary_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(20_000))
    with pytest.raises(InputError, match=f"{name} is a binary file, not text"):
        list(read_lines(tmp_path / name))
    (tmp_path / name).write_bytes(b"CCO ethanol\x00\n" * 15)  # padding of some programs
    assert len(list(read_lines(tmp_path / name))) == 15


def test_whole_text_is_limited(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"x" * 1_100_000)
    configure({"max_file_mib": 1})
    for read in (read_text, read_text_so_far):
        with pytest.raises(InputError, match=r"more than 1 MiB of text, .* raise text\.max_file_mib"):
            read(path)


def test_a_stream_can_seek_backwards(tmp_path):
    path = tmp_path / "text.bz2"
    path.write_bytes(bz2.compress(TEXT))
    with open_bytes(path) as file:
        assert file.read(10) == TEXT[:10]
        file.seek(0)
        assert file.read() == TEXT
        file.seek(50_000)
        assert file.read(20) == TEXT[50_000:50_020]


def test_invalid_settings_raise():
    with pytest.raises(ConfigError, match=r"text\.encoding=klingon is not an encoding of Python"):
        configure({"encoding": "klingon"})
    with pytest.raises(ConfigError, match=r"text\.max_ratio=0 must be 1 or more"):
        configure({"max_ratio": 0})
    assert settings == TextSettings()
