"""Pages and figures are made through `attempt`: a failure is reported, and the run continues."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from trimer.errors import TrimerError

log = logging.getLogger(__name__)

FAILED: list[str] = []  # one sentence for each page or figure of the present command that could not be made

Arguments = ParamSpec("Arguments")
Made = TypeVar("Made")


def attempt(
    what: str, make: Callable[Arguments, Made], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Made | None:
    """The result of make(*arguments, **named), or None and a warning with `what` and the reason if it raises.

    Ctrl-C and SIGTERM are not caught. HYDRA_FULL_ERROR=1 adds the traceback.
    """
    try:
        return make(*arguments, **named)
    except Exception as error:  # no error of a drawing library may end a training
        FAILED.append(f"{what}: {_reason(error)}")
        traced = os.environ.get("HYDRA_FULL_ERROR") == "1"
        log.warning("could not make %s; the run continues without it", FAILED[-1], exc_info=traced)
        return None


def failed_reports() -> dict[str, list[str]]:
    """`{"not_made": [...]}` for result.json, empty if all pages and figures were made; clears the list."""
    failed = list(FAILED)
    FAILED.clear()
    return {"not_made": failed} if failed else {}


def _reason(error: Exception) -> str:
    """The sentence of a Trimer error; type, source line and message of any other."""
    if isinstance(error, TrimerError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    location = f" at {last.filename.rpartition('/')[2]}:{last.lineno}"
    return f"{type(error).__name__}{location}: {' '.join(str(error).split())}"
