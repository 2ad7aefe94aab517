"""Pages and figures are made by `attempt`: one that fails is reported, and the run continues."""

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
    """What make(*arguments, **named) returns; None where it raises, with a warning that names `what` and the reason.

    Ctrl-C and SIGTERM pass. HYDRA_FULL_ERROR=1 adds the traceback.
    """
    try:
        return make(*arguments, **named)
    except Exception as error:  # whatever a library for drawing raises must not cost a training
        FAILED.append(f"{what}: {_reason(error)}")
        whole = os.environ.get("HYDRA_FULL_ERROR") == "1"
        log.warning("could not make %s; the run continues without it", FAILED[-1], exc_info=whole)
        return None


def failed_reports() -> dict[str, list[str]]:
    """`{"not_made": [...]}` for result.json, empty where all pages and figures were made; the list begins anew."""
    failed = list(FAILED)
    FAILED.clear()
    return {"not_made": failed} if failed else {}


def _reason(error: Exception) -> str:
    """The sentence of an error of ours; type, message and place of any other."""
    if isinstance(error, TrimerError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f" at {last.filename.rpartition('/')[2]}:{last.lineno}"
    return f"{type(error).__name__}{place}: {' '.join(str(error).split())}"
