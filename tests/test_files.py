"""Output files are complete or absent, and no temporary file remains."""

from __future__ import annotations

import pytest

from trimer.files import temporary_path, write_csv, write_text, written


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with written(path) as beside:
        assert beside.parent == tmp_path and beside.name.startswith(".out.csv.")
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [False, True])
def test_an_error_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path, durable):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="stopped"), written(path, durable=durable) as beside:
        beside.write_text("half")
        raise ValueError("stopped")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_utf_8(tmp_path):
    write_text(tmp_path / "a.txt", "R² ≥ 0.9\n")
    assert (tmp_path / "a.txt").read_bytes() == "R² ≥ 0.9\n".encode()


def test_a_file_with_one_writer_overwrites_the_rest_of_a_killed_process(tmp_path):
    path = tmp_path / "out.csv"
    temporary_path(path, one_writer=True).write_text("rest of a killed process")
    with written(path, one_writer=True) as beside:
        beside.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_csv_rows_are_sequences_or_mappings(tmp_path):
    path = tmp_path / "out.csv"
    write_csv(path, ["id", "smiles"], [["a", "C,C"], {"smiles": "CO", "other": 1, "id": "b"}, {"id": None}])
    assert path.read_bytes() == b'id,smiles\na,"C,C"\nb,CO\n,\n'
    with pytest.raises(ValueError, match="stopped"):
        write_csv(path, ["id"], _stopping())
    assert path.read_text().startswith("id,smiles") and list(tmp_path.iterdir()) == [path]


def _stopping():
    yield ["half"]
    raise ValueError("stopped")
