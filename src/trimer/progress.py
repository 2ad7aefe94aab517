"""The progress display of all commands: a line on a terminal, a message every 10 % in a log file.

    with progress("predict", total=len(spectra), unit="spectra") as advance:
        for chunk in chunks:
            ...
            advance(len(chunk))

The terminal is updated at most ten times a second, from the loop itself: there is no thread, so worker processes can be
forked while a display is shown. Only the first process of a distributed run shows one. `-q` shows none.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import ClassVar, TypeVar

from trimer.counts import singular
from trimer.verbosity import quiet

log = logging.getLogger(__name__)

Item = TypeVar("Item")

REFRESH = 0.1  # seconds between two updates of a terminal
SHARE = 0.1  # of the total between two messages in a log file
PAUSE = 60.0  # seconds between two messages in a log file where the total is unknown
BAR, WIDE = 20, 95  # characters of the bar, and of the terminals that have one


class Display:
    """The progress of one piece of work.

    name: of the work, as `predict`. total: units of it, None if unknown. unit: plural noun (`spectra`), or `step` for
    numbered steps. done: units that an earlier process has finished, which do not count for the remaining time.
    Inside another display, in a further process of a distributed run and with `-q` nothing is shown.
    """

    _active: ClassVar[Display | None] = None

    def __init__(self, name: str, total: int | None = None, unit: str = "", done: int = 0) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self.details: Sequence[str] = ()
        self._earlier = done
        self._exit = ExitStack()
        self._draw: Callable[[], None] | None = None

    def __enter__(self) -> Display:
        from trimer.run import first_process

        if Display._active is None and first_process() and not quiet():
            Display._active = self
            self._started = self._shown = time.monotonic()
            self._next_share = self._share() + SHARE
            self._draw = self._open_terminal() if sys.stderr is not None and sys.stderr.isatty() else self._write_log
        return self

    def __exit__(self, *_: object) -> None:
        if Display._active is self:
            if self._draw != self._write_log and self._draw is not None:
                self._draw()
            Display._active, self._draw = None, None
            self._exit.close()

    def advance(self, units: int = 1) -> None:
        """Count units that are finished."""
        self.update(self.done + units)

    def update(self, done: int, details: Sequence[str] | None = None) -> None:
        """Set the units that are finished, and what is shown after the remaining time, by priority."""
        self.done = done
        self.details = self.details if details is None else details
        if self._draw is not None and self._due():
            self._draw()

    def text(self, width: int | None = None) -> str:
        """`train: step 312/900, ETA 0:12:33, loss 2.31`, without the last details where they are wider than `width`."""
        count = f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"
        unit = singular(self.unit) if (self.total or self.done) == 1 else self.unit
        count = f"step {count}" if self.unit == "step" else f"{count} {unit}".rstrip()
        line = f"{self.name}: {count}"
        for part in filter(None, (self._eta(), *self.details)):
            if width is not None and len(line) + len(part) + 2 > width:
                break
            line = f"{line}, {part}"
        return line

    def _eta(self) -> str:
        finished = self.done - self._earlier
        if self.total is None or finished <= 0 or self._draw is None:
            return ""
        seconds = time.monotonic() - self._started
        if self.done >= self.total:
            return f"took {timedelta(seconds=round(seconds))}"
        return f"ETA {timedelta(seconds=round(seconds / finished * (self.total - self.done)))}"

    def _share(self) -> float:
        """The finished share, rounded down to a tenth."""
        return SHARE * int(self.done / SHARE / self.total + 1e-9) if self.total else 0.0

    def _due(self) -> bool:
        """Whether the display is to be updated now."""
        now = time.monotonic()
        if self._draw != self._write_log:
            due = now - self._shown >= REFRESH
        elif self.total is None:
            due = now - self._shown >= PAUSE
        else:
            due = self._share() >= self._next_share - 1e-9
            self._next_share = max(self._next_share, self._share() + SHARE)
        if due:
            self._shown = now
        return due

    def _write_log(self) -> None:
        log.info("%s", self.text())

    def _open_terminal(self) -> Callable[[], None]:
        """Keep the last line of the terminal for this display; log messages and prints appear above it."""
        from rich.console import Console
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        terminal, console = sys.stderr, Console(stderr=True)
        # stdout stays where it goes, if that is a file or a pipe.
        live = Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())

        def draw() -> None:
            width = console.width - 1
            if self.total is None or width < WIDE:
                live.update(Text(self.text(width), no_wrap=True, overflow="ellipsis"), refresh=True)
                return
            row = Table.grid(padding=(0, 1, 0, 0))
            bar = ProgressBar(self.total, min(self.done, self.total), BAR)
            row.add_row(bar, Text(self.text(width - BAR - 1), no_wrap=True, overflow="ellipsis"))
            live.update(row, refresh=True)

        self._exit.enter_context(live)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is terminal:
                handler.setStream(sys.stderr)  # rich's, which prints above the display
                self._exit.callback(handler.setStream, terminal)
        draw()
        return draw


@contextmanager
def no_displays() -> Iterator[None]:
    """Show no progress, in any thread: a server computes many small pieces of work."""
    before, Display._active = Display._active, Display("")
    try:
        yield
    finally:
        Display._active = before


@contextmanager
def progress(name: str, total: int | None = None, unit: str = "", done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show the progress of a loop, which calls `advance(units)` for what it has finished."""
    with Display(name, total, unit, done) as display:
        yield display.advance


def tracked(
    items: Iterable[Item], name: str, total: int | None, unit: str, size: Callable[[Item], int] = lambda item: 1
) -> Iterator[Item]:
    """The items, with a display of how many units are done. size: units of an item."""
    with progress(name, total, unit) as advance:
        for item in items:
            yield item
            advance(size(item))
