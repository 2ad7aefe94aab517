"""`-q` and `-v`: printed messages, the log file, and jobs of a sweep."""

from __future__ import annotations

import logging
import os

import pytest

from trimer import verbosity

TALKING = """
import logging, sys, types

def main(cfg):
    from trimer.progress import progress
    log = logging.getLogger("trimer.commands.train")
    log.debug("a detail"); log.info("a message"); log.warning("a warning")
    with progress("train", total=1, unit="step") as advance:
        advance(1)
    print("the result")

sys.modules["trimer.commands.train"] = types.SimpleNamespace(main=main)
from trimer.cli.main import main as trimer
sys.exit(trimer())
"""


@pytest.mark.parametrize(
    ("flags", "printed"),
    [
        ([], ["a message", "a warning", "train: step 1/1"]),
        (["-q"], ["a warning"]),
        (["--verbose"], ["a detail", "a message", "a warning", "train: step 1/1"]),
    ],
)
def test_flags_select_the_printed_messages(shell, empty_folder, flags, printed):
    (empty_folder / "talking.py").write_text(TALKING)
    done = shell("talking", "train", *flags, "hydra.run.dir=run")
    assert done.returncode == 0 and done.stdout == "the result\n"
    lines = done.stderr.splitlines()
    assert len(lines) == len(printed) and all(line.startswith(text) for line, text in zip(lines, printed, strict=True))
    assert "a message" in (empty_folder / "run" / "trimer.log").read_text()


@pytest.mark.parametrize(
    ("rank", "level", "printed"), [("0", "", "message"), ("1", "", ""), ("1", verbosity.VERBOSE, "message")]
)
def test_only_the_first_process_of_a_training_prints_messages(monkeypatch, capsys, rank, level, printed):
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setenv(verbosity.VARIABLE, level)
    logger = logging.getLogger("trimer")
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler()])
    monkeypatch.setattr(logger, "level", logging.INFO)
    verbosity.configure_logging()
    logger.info("message")
    logger.warning("warning")
    assert capsys.readouterr().err.split() == [*printed.split(), "warning"]


def test_quiet_and_verbose_exclude_each_other(trimer, capsys):
    assert trimer("train", "-q", "-v") == 2
    assert "not allowed with" in capsys.readouterr().err


def test_the_level_ends_with_the_command(monkeypatch):
    monkeypatch.setenv(verbosity.VARIABLE, verbosity.VERBOSE)
    with verbosity.chosen(verbosity.QUIET):
        assert verbosity.quiet()
    with verbosity.chosen(None):
        assert os.environ[verbosity.VARIABLE] == verbosity.VERBOSE
    assert logging.getLogger("trimer").level == logging.NOTSET
