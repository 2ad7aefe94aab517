"""How much a command prints: `-q` only warnings, errors and the result, `-v` debug messages too.

The choice travels in the environment variable `TRIMER_VERBOSITY`, so that the jobs of a sweep and the processes of a
distributed training follow it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "TRIMER_VERBOSITY"
QUIET, VERBOSE = "quiet", "verbose"


def quiet() -> bool:
    """Whether only warnings, errors and results are printed."""
    return os.environ.get(VARIABLE) == QUIET


@contextmanager
def chosen(level: str | None) -> Iterator[None]:
    """Use a level within the block; None keeps that of the environment."""
    before = os.environ.get(VARIABLE)
    if level is not None:
        os.environ[VARIABLE] = level
    try:
        yield
    finally:
        if level is not None:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before


def configure_logging() -> None:
    """Apply the level to the handlers that Hydra has installed; trimer.log keeps its messages under `-q`.

    Of several processes that train together, only the first prints what all of them would, unless `-v` is given.
    """
    from trimer.run import first_process

    verbose = os.environ.get(VARIABLE) == VERBOSE
    if verbose:
        logging.getLogger("trimer").setLevel(logging.DEBUG)
    few = quiet() or not (verbose or first_process())
    for handler in logging.getLogger().handlers if few else ():
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)


def note(sentence: str) -> None:
    """Print a line on stderr, unless the command is quiet."""
    if not quiet():
        sys.stderr.write(f"{sentence}\n")  # one write, since several threads of a sweep print
