import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from trimer.data import store as store_module
from trimer.data.store import (
    Ragged,
    Store,
    StoreWriter,
    cache_folder,
    cached_store,
    content_digest,
    is_store,
    write_store,
)
from trimer.errors import InputError


def columns(n: int, seed: int = 0) -> dict:
    random = np.random.default_rng(seed)
    rows = [random.integers(0, 60_000, size) for size in random.integers(0, 9, n)]
    return {
        "tokens": Ragged.pack(rows, np.uint16),
        "mass": random.random(n),
        "smiles": [None if i % 5 == 0 else f"C{i}" for i in range(n)],
    }


def test_what_is_written_is_read(tmp_path):
    given = columns(50)
    opened = write_store(tmp_path / "a", given, {"source": "test"})
    assert len(opened) == 50
    assert opened.columns == ["tokens", "mass", "smiles"]
    assert opened.manifest == {"source": "test"}
    tokens = opened.ragged("tokens")
    assert all((tokens[i] == given["tokens"][i]).all() for i in range(50))
    assert tokens[3].dtype == np.uint16
    assert (tokens.lengths == given["tokens"].lengths).all()
    assert (opened.array("mass") == given["mass"]).all()
    assert opened.strings("smiles") == given["smiles"]


def test_rows_are_found_across_record_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "BATCH_ROWS", 7)
    given = columns(40)
    with StoreWriter(tmp_path / "a") as writer:
        for start in range(0, 40, 11):  # chunks that do not fit the batches
            stop = min(start + 11, 40)
            part = given["tokens"].slice(start, stop)
            writer.append({"tokens": part, "mass": given["mass"][start:stop], "smiles": given["smiles"][start:stop]})
    opened = Store(tmp_path / "a")
    tokens = opened.ragged("tokens")
    assert len(tokens) == 40
    assert all((tokens[i] == given["tokens"][i]).all() for i in range(40))
    rows = [39, 0, 7, 6, 7]
    assert opened.strings("smiles", np.array(rows)) == [given["smiles"][row] for row in rows]
    taken, expected = tokens.take(rows), given["tokens"].take(rows)
    assert (taken.values == expected.values).all()
    assert (taken.offsets == expected.offsets).all()
    assert (opened.array("mass") == given["mass"]).all()
    assert opened.strings("smiles") == given["smiles"]


def test_a_row_is_a_view_of_the_file(tmp_path):
    tokens = write_store(tmp_path / "a", columns(10), {}).ragged("tokens")
    row = tokens[int(np.argmax(tokens.lengths))]
    assert row.base is not None
    assert not row.flags.writeable


def test_pickles_as_its_path(tmp_path):
    opened = write_store(tmp_path / "a", columns(2000), {})
    text = pickle.dumps(opened)
    assert len(text) < 500
    assert (pickle.loads(text).ragged("tokens")[1999] == opened.ragged("tokens")[1999]).all()


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), StoreWriter(tmp_path / "a") as writer:
        writer.append(columns(10))
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of file sizes are POSIX")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    script = """
        import resource, sys
        import numpy as np
        from trimer.data.store import write_store
        from trimer.errors import InputError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_store(sys.argv[1], {"x": np.arange(1_000_000)}, {})
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


def test_nothing_to_write_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no rows"):
        cached_store(tmp_path / "a", lambda writer: None)


def test_columns_must_agree(tmp_path):
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


def test_content_digest(tmp_path):
    a, b, c = (tmp_path / name for name in "abc")
    a.write_text("one"), b.write_text("one"), c.write_text("two")
    assert content_digest([a]) == content_digest([b]) != content_digest([c])
    assert content_digest([a, c]) != content_digest([c, a])
    with pytest.raises(InputError, match="cannot be read"):
        content_digest([tmp_path / "none"])


def test_a_store_without_rows_has_columns_of_no_text(tmp_path):
    empty = write_store(tmp_path / "none", {"smiles": []}, {})
    assert len(empty) == 0 and empty.strings("smiles") == []
