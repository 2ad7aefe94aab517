"""Output files are complete or absent, and no temporary file remains."""

from __future__ import annotations

import pytest

from trimer.files import write_text, written


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")
    with written(path, "out.csv.writing") as beside:
        assert beside == tmp_path / "out.csv.writing"
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
