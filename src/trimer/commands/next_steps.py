"""The last line of a command: what to do next with what it wrote. `--quiet` omits it."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

log = logging.getLogger(__name__)


def suggest(*commands: str) -> None:
    """Log `next: trimer evaluate ckpt=..., or trimer predict ckpt=...`, the most useful command first."""
    log.info("next: %s", ", or ".join(commands))


def word(value: str | Path) -> str:
    """A name, or a path relative to the working directory if it is below it, as a word for a shell."""
    path = Path(value).expanduser()
    if path.exists():
        try:
            value = path.resolve().relative_to(Path.cwd())
        except ValueError:
            value = path
    return shlex.quote(str(value))
