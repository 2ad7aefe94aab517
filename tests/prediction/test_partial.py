"""A prediction that was stopped anywhere continues from its partial file, and gives the same bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trimer.errors import ConfigError
from trimer.prediction.partial import Partial

ASKED = {"version": "1", "checkpoint": "a", "input": "b", "seed": "0"}


def run(output, asked=ASKED, stop_before: int = 99) -> tuple[list, list]:
    """Values of four keys, and the keys that had to be computed; KeyboardInterrupt at one of them."""
    computed = []

    def compute(number):
        if number == stop_before:
            raise KeyboardInterrupt
        computed.append(number)
        return [[number, 0.1 * number, None, "ä\n"], float("nan")]

    with Partial(output, asked) as partial:
        values = [partial.once(f"key {number}", compute, number) for number in range(3)]
        values.append(partial.once("array", lambda: (np.float32([0.1, np.nan]) + np.float32(stop_before * 0)).tolist()))
    return values, computed


def test_what_was_computed_is_not_computed_again(tmp_path, capsys):
    whole, _ = run(tmp_path / "whole.csv")
    output = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        run(output, stop_before=2)
    assert "keeps the finished chunks; run the same command to continue" in capsys.readouterr().err
    values, computed = run(output)
    assert computed == [2] and repr(values) == repr(whole)
    assert list(tmp_path.iterdir()) == []


def test_every_cut_of_the_file_gives_the_same_values(tmp_path):
    whole, _ = run(tmp_path / "whole.csv")
    output, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    with pytest.raises(KeyboardInterrupt):
        run(output, stop_before=2)
    content = partial.read_bytes()
    for length in range(len(content) + 1):
        partial.write_bytes(content[:length])
        assert repr(run(output)[0]) == repr(whole), length
    partial.write_bytes(content + b"key 2\t[[2, 0.2")  # a write that the kill cut off
    assert repr(run(output)[0]) == repr(whole)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": "1"}, "seed=0 (now 1)"),
        ({"checkpoint": "other"}, "another checkpoint:"),
        ({"input": "other", "new": "1"}, "another input, new=None (now 1)"),
    ],
)
def test_a_partial_file_of_another_command_is_neither_continued_nor_overwritten(tmp_path, changed, words):
    output, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    with pytest.raises(KeyboardInterrupt):
        run(output, stop_before=1)
    before = partial.read_bytes()
    with pytest.raises(ConfigError) as error:
        run(output, ASKED | changed)
    assert words in str(error.value) and "delete the file to start again, or name another output" in str(error.value)
    assert partial.read_bytes() == before


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "out.csv.partial").write_text("row,id,smiles\n1,a,CCO\n")
    with pytest.raises(ConfigError, match="is not a partial result of this version"):
        run(tmp_path / "out.csv")
    assert (tmp_path / "out.csv.partial").is_file()


def test_two_processes_do_not_write_one_file(tmp_path):
    with Partial(tmp_path / "out.csv", ASKED) as first:
        first.once("key", int)
        with pytest.raises(ConfigError, match="another process is writing"):
            Partial(tmp_path / "out.csv", ASKED).__enter__()
    assert not list(tmp_path.iterdir())


def test_an_error_before_the_first_chunk_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out.csv", stop_before=0)
    assert not list(tmp_path.iterdir())


def test_a_chunk_is_on_disk_before_the_next_begins(tmp_path):
    with Partial(tmp_path / "out.csv", ASKED) as partial:
        partial.once("key 0", lambda: [1.5])
        head, line = (tmp_path / "out.csv.partial").read_bytes().splitlines()
        assert json.loads(head) == ASKED and line == b"key 0\t[1.5]"
