"""The commands that are suggested at the end of a command can be pasted into a shell."""

from __future__ import annotations

import logging

from trimer.commands.next_steps import suggest, word


def test_suggestions_are_one_line(caplog):
    with caplog.at_level(logging.INFO):
        suggest("trimer predict ckpt=a input=<your file>", "trimer models lists the other models")
    assert caplog.messages == ["next: trimer predict ckpt=a input=<your file>, or trimer models lists the other models"]


def test_paths_are_relative_and_quoted(empty_folder, tmp_path):
    (empty_folder / "my runs").mkdir()
    assert word(empty_folder / "my runs") == "'my runs'"
    assert word("my runs") == "'my runs'"
    assert word(tmp_path) == str(tmp_path)  # above the working directory
    assert word("superclass") == "superclass"
