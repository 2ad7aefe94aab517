"""The progress display: messages in a log file, one line on a terminal, silence for quiet commands."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import threading

import pytest

from trimer import progress as module
from trimer.progress import Display, no_displays, progress, tracked
from trimer.verbosity import QUIET, VARIABLE


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, "trimer.progress")
    return lambda: [record.getMessage() for record in caplog.records]


class Terminal(io.StringIO):
    """A stream that reports to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    """A context in which stderr is a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return lambda: contextlib.redirect_stderr(Terminal())


def test_a_log_file_gets_one_message_per_tenth(messages):
    with progress("predict", total=200, unit="spectra") as advance:
        for _ in range(200):
            advance(1)
    assert [message.partition(" spectra")[0] for message in messages()] == [
        f"predict: {done}/200" for done in range(20, 201, 20)
    ]
    assert "ETA 0:00:0" in messages()[0] and "took 0:00:0" in messages()[-1]


def test_each_large_chunk_gets_one_message(messages):
    with progress("embed", total=7, unit="proteins") as advance:
        for chunk in (3, 3, 1):
            advance(chunk)
    assert [message.partition(",")[0] for message in messages()] == [f"embed: {done}/7 proteins" for done in (3, 6, 7)]


def test_a_resumed_loop_starts_at_its_position(messages):
    with Display("train", total=100, unit="step", done=55) as display:
        display.update(56)
        display.update(60)
    assert [message.partition(",")[0] for message in messages()] == ["train: step 60/100"]


def test_an_unknown_total_is_reported_once_a_minute(messages, monkeypatch):
    clock = iter(range(0, 10_000, 7))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with progress("prepare", unit="rows") as advance:
        for _ in range(20):
            advance(1000)
    assert messages() == ["prepare: 9,000 rows", "prepare: 18,000 rows"]


def test_quiet_commands_and_other_ranks_show_no_progress(messages, monkeypatch):
    monkeypatch.setenv(VARIABLE, QUIET)
    with progress("predict", total=2) as advance:
        advance(2)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with progress("predict", total=2) as advance:
        advance(2)
    assert messages() == []


def test_an_inner_display_is_not_shown(messages):
    with progress("train", total=1) as advance:
        with progress("validate", total=1) as inner:
            inner(1)
        advance(1)
    assert len(messages()) == 1 and messages()[0].startswith("train: 1/1")


def test_the_display_is_closed_after_an_error(messages):
    with pytest.raises(KeyboardInterrupt), progress("predict", total=2):
        raise KeyboardInterrupt
    with progress("embed", total=1) as advance:
        advance(1)
    assert messages()[0].startswith("embed")


def test_a_terminal_is_updated_at_most_ten_times_a_second(on_terminal):
    with on_terminal() as terminal:
        with progress("predict", total=10_000, unit="spectra") as advance:
            for _ in range(10_000):
                advance(1)
        assert sys.stderr is terminal
    text = terminal.getvalue()
    assert text.count("predict:") <= 20  # 10,000 units take less than a second
    assert "predict: 10,000/10,000 spectra, took 0:00:0" in text


def test_messages_appear_above_the_line_of_a_terminal(on_terminal):
    with on_terminal() as terminal:
        handler = logging.StreamHandler(terminal)
        logging.getLogger().addHandler(handler)
        try:
            with progress("predict", total=2, unit="spectra"):
                assert handler.stream is not terminal
                logging.getLogger("trimer.test").warning("look at this")
            assert handler.stream is terminal
        finally:
            logging.getLogger().removeHandler(handler)
    before, _, after = terminal.getvalue().partition("look at this")
    assert "predict: 0/2" in before and "predict: 0/2" in after


@pytest.mark.parametrize(("width", "end"), [(80, "2 tokens/s"), (45, "loss 2.31"), (34, "ETA")])
def test_details_that_do_not_fit_the_line_are_omitted(width, end):
    with Display("train", total=900, unit="step") as display:
        display.update(312, ["loss 2.31", "lr 6.0e-05", "2 tokens/s"])
        line = display.text(width)
    assert len(line) <= width and end in line and not line.endswith(",")


def test_no_color_disables_the_colours_of_the_bar(on_terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = {}
    for no_color in ("", "1"):
        monkeypatch.setenv("NO_COLOR", no_color)
        with on_terminal() as terminal, progress("predict", total=2, unit="spectra") as advance:
            advance(1)
        shown[no_color] = terminal.getvalue()
    assert "━" in shown["1"] and "━" in shown[""]
    assert re.search(r"\x1b\[[39]\d", shown[""]) and not re.search(r"\x1b\[[39]\d", shown["1"])


def test_no_thread_is_started(on_terminal):
    before = threading.active_count()
    with on_terminal(), progress("predict", total=2):
        assert threading.active_count() == before


def test_tracked_items_pass_unchanged_and_count_their_units(caplog):
    caplog.set_level("INFO")
    assert list(tracked(["ab", "", "cde"], "evaluate", 5, "letters", len)) == ["ab", "", "cde"]
    assert "evaluate: 5/5 letters" in caplog.text


def test_a_server_shows_no_progress_in_any_thread(messages):
    with no_displays():
        thread = threading.Thread(target=lambda: list(tracked([1, 2], "generate", 2, "spectra")))
        thread.start()
        thread.join()
    assert messages() == []
    with progress("generate", total=1, unit="spectra") as advance:
        advance(1)
    assert "1/1 spectrum," in messages()[-1]
