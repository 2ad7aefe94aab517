import json
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from whole_stores import write_store

from trimer.data.core import store as store_module
from trimer.data.core.ragged import Ragged
from trimer.data.core.store import Store, StoreWriter, cache_folder, cached_store, is_store
from trimer.data.core.store_files import checksums, unchanged
from trimer.data.text.content import content_digest
from trimer.errors import InputError


def columns(n: int, seed: int = 0) -> dict:
    random = np.random.default_rng(seed)
    rows = [random.integers(0, 60_000, size) for size in random.integers(0, 9, n)]
    return {
        "tokens": Ragged.pack(rows, np.uint16),
        "mass": random.random(n),
        "smiles": [None if i % 5 == 0 else f"C{i}" for i in range(n)],
    }


def test_columns_are_read_as_written(tmp_path):
    data = columns(50)
    opened = write_store(tmp_path / "a", data, {"source": "test"})
    assert len(opened) == 50
    assert opened.columns == ["tokens", "mass", "smiles"]
    assert opened.manifest == {"source": "test"}
    tokens = opened.ragged("tokens")
    assert all((tokens[i] == data["tokens"][i]).all() for i in range(50))
    assert tokens[3].dtype == np.uint16
    assert (tokens.lengths == data["tokens"].lengths).all()
    assert (opened.array("mass") == data["mass"]).all()
    assert opened.strings("smiles") == data["smiles"]


def test_rows_are_read_across_record_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "BATCH_ROWS", 7)
    data = columns(40)
    with StoreWriter(tmp_path / "a") as writer:
        for start in range(0, 40, 11):  # chunks that do not fit the batches
            stop = min(start + 11, 40)
            part = data["tokens"].slice(start, stop)
            writer.append(
                {
                    "tokens": part,
                    "mass": data["mass"][start:stop],
                    "smiles": data["smiles"][start:stop],
                }
            )
    opened = Store(tmp_path / "a")
    tokens = opened.ragged("tokens")
    assert len(tokens) == 40
    assert all((tokens[i] == data["tokens"][i]).all() for i in range(40))
    rows = [39, 0, 7, 6, 7]
    assert opened.strings("smiles", np.array(rows)) == [data["smiles"][row] for row in rows]
    taken, expected = tokens.take(rows), data["tokens"].take(rows)
    assert (taken.values == expected.values).all()
    assert (taken.offsets == expected.offsets).all()
    assert (opened.array("mass") == data["mass"]).all()
    assert opened.strings("smiles") == data["smiles"]


def test_a_row_is_a_view_of_the_file(tmp_path):
    tokens = write_store(tmp_path / "a", columns(10), {}).ragged("tokens")
    row = tokens[int(np.argmax(tokens.lengths))]
    assert row.base is not None
    assert not row.flags.writeable


def test_a_store_is_pickled_as_its_path(tmp_path):
    opened = write_store(tmp_path / "a", columns(2000), {})
    text = pickle.dumps(opened)
    assert len(text) < 500
    assert (pickle.loads(text).ragged("tokens")[1999] == opened.ragged("tokens")[1999]).all()


def test_a_failure_leaves_no_files(tmp_path):
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "a") as writer:
        writer.append(columns(10))
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of file sizes are POSIX")
def test_a_full_disk_raises_and_leaves_no_files(tmp_path):
    script = """
        import resource, sys
        import numpy as np
        from trimer.data.core.store import StoreWriter
        from trimer.errors import InputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with StoreWriter(sys.argv[1], {}) as writer:
                writer.append({"x": np.arange(1_000_000)})
        except InputError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cannot be written" in done.stdout, done.stderr
    assert "free disk space" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["no manifest", "half a manifest", "short columns"])
def test_a_half_written_store_is_built_again(tmp_path, damage):
    folder = tmp_path / "a"
    write_store(folder, columns(10), {})
    manifest = folder / "manifest.json"
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "half a manifest":
        manifest.write_text(manifest.read_text()[:20])
    else:
        arrow = folder / "columns.arrow"
        arrow.write_bytes(arrow.read_bytes()[:-100])
    assert not is_store(folder)
    with pytest.raises(InputError, match="holds no complete store"):
        Store(folder)
    built = cached_store(folder, lambda writer: writer.append(columns(20)))
    assert len(built) == 20


def test_a_complete_store_is_not_built_again(tmp_path):
    calls = []

    def build(writer):
        calls.append(1)
        writer.append(columns(5))

    cached_store(tmp_path / "a", build)
    assert len(cached_store(tmp_path / "a", build)) == 5
    assert calls == [1]


def test_a_store_without_columns_raises(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        cached_store(tmp_path / "a", lambda writer: None)


def test_columns_must_match(tmp_path):
    with pytest.raises(ValueError, match="different numbers of rows"):
        write_store(tmp_path / "a", {"x": np.arange(3), "y": ["a"]}, {})
    with pytest.raises(ValueError, match="chunk has columns"), StoreWriter(tmp_path / "b") as writer:
        writer.append({"x": np.arange(3)})
        writer.append({"y": np.arange(3)})
    with pytest.raises(KeyError, match="no ragged column 'x'"):
        write_store(tmp_path / "c", {"x": np.arange(3)}, {}).ragged("x")


def test_cache_folder_depends_on_content_not_on_order(tmp_path):
    first = cache_folder(tmp_path, "pairs", {"a": 1, "b": {"c": [2, 3]}})
    assert first == cache_folder(tmp_path, "pairs", {"b": {"c": [2, 3]}, "a": 1})
    assert first != cache_folder(tmp_path, "pairs", {"a": 1, "b": {"c": [3, 2]}})
    assert first.name.startswith("pairs-")
    assert len(first.name) == len("pairs-") + 16


def test_content_digest_depends_on_contents_and_order(tmp_path):
    a, b, c = (tmp_path / name for name in "abc")
    a.write_text("one"), b.write_text("one"), c.write_text("two")
    assert content_digest([a]) == content_digest([b]) != content_digest([c])
    assert content_digest([a, c]) != content_digest([c, a])
    with pytest.raises(InputError, match="cannot be read"):
        content_digest([tmp_path / "none"])


def test_a_store_may_have_no_rows(tmp_path):
    empty = write_store(tmp_path / "none", {"smiles": []}, {})
    assert len(empty) == 0 and empty.strings("smiles") == []


def damage_file(path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("checksums", [True, False], ids=["with checksums", "of an earlier version"])
@pytest.mark.parametrize(
    ("old", "new"), [(b"C49", b"C\xff9"), (b"ARROW1", b"AROOW1")], ids=["in a text", "in the file format"]
)
def test_a_damaged_store_is_prepared_again_with_a_warning(tmp_path, caplog, monkeypatch, old, new, checksums):
    folder = tmp_path / "a"
    write_store(folder, columns(50), {})
    if not checksums:
        head = json.loads((folder / "manifest.json").read_text())
        del head["store"]["crc32"]
        (folder / "manifest.json").write_text(json.dumps(head))
    damage_file(folder / "columns.arrow", old, new)
    assert is_store(folder)
    built = cached_store(folder, lambda writer: writer.append(columns(50)))
    assert f"{folder} is damaged and is prepared again" in caplog.text
    assert built.strings("smiles")[49] == "C49"


def test_swapped_bytes_are_detected(tmp_path):
    folder = tmp_path / "a"
    write_store(folder, {"x": np.arange(5000)}, {})
    damage_file(folder / "columns.arrow", np.arange(3000, 3002).tobytes(), np.arange(3000, 3002).tobytes()[::-1])
    assert (cached_store(folder, lambda writer: writer.append({"x": np.arange(7)})).array("x") == np.arange(7)).all()


def test_opening_a_damaged_store_raises(tmp_path):
    write_store(tmp_path / "a", columns(50), {})
    damage_file(tmp_path / "a" / "columns.arrow", b"C49", b"C\xff9")
    with pytest.raises(InputError, match="is damaged: delete it and prepare the data again"):
        Store(tmp_path / "a").strings("smiles")
    damage_file(tmp_path / "a" / "columns.arrow", b"ARROW1", b"AROOW1")
    with pytest.raises(InputError, match="is damaged: delete it and prepare the data again"):
        Store(tmp_path / "a")


def test_large_files_are_checked_in_blocks_spread_over_them(tmp_path, monkeypatch):
    monkeypatch.setattr("trimer.data.core.store_files.BLOCK", 10)
    monkeypatch.setattr("trimer.data.core.store_files.CHECKED_BLOCKS", 3)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(95)))
    sums = checksums(path)
    assert len(sums) == 10 and unchanged(path, sums)
    for position, seen in ((0, True), (94, True), (45, True), (25, False)):
        content = bytearray(range(95))
        content[position] += 1
        path.write_bytes(bytes(content))
        assert unchanged(path, sums) is not seen


KILLED = """
import os, signal, sys
import numpy as np
from trimer.data.core.store import StoreWriter
with StoreWriter(sys.argv[1]) as writer:
    writer.append({"x": np.arange(9)})
    print("writing", flush=True)
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.read()
"""


def test_half_written_folders_of_killed_processes_are_removed(tmp_path):
    words = [sys.executable, "-c", KILLED, str(tmp_path / "pairs-0123456789abcdef")]
    subprocess.run([*words, "dies"], check=False, capture_output=True)
    (left,) = tmp_path.iterdir()
    old = tmp_path / ".pairs-0123456789abcdef-abcdefgh"  # from a version without locks
    old.mkdir()
    os.utime(old, (0, 0))
    alive = subprocess.Popen([*words, "lives"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert alive.stdout is not None and alive.stdout.readline() == "writing\n"
    with StoreWriter(tmp_path / "other-0123456789abcdef") as writer:  # a store written within another block stays
        write_store(tmp_path / "third-0123456789abcdef", columns(5), {})
        assert not left.exists() and not old.exists()
        writer.append(columns(5))
    alive.communicate()
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["other", "pairs", "third"]
    assert not list(tmp_path.glob("*/.lock"))
