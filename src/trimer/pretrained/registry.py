"""The shipped models: their names, folders and facts. Nothing heavy is imported here."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trimer.errors import CheckpointError

FOLDER = Path(__file__).resolve().parent  # each model is a folder in it
MODEL = "model.json"  # the plain values of a packed checkpoint (`trimer.pretrained.packed`)


def names() -> list[str]:
    """The names of the shipped models, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{MODEL}"))


def resolved(path: str | Path) -> Path:
    """The folder of a shipped model if the path is its name, else the path itself; a path that exists is kept."""
    path = Path(path).expanduser()
    return path if path.exists() or str(path) not in names() else FOLDER / path


def shipped(name: str) -> Path:
    """The folder of a shipped model; CheckpointError with the nearest names if there is none."""
    if name not in names():
        raise CheckpointError(f"{name} is not a shipped model{suggestion(name)}")
    return FOLDER / name


def word_for(path: Path) -> str:
    """What a user writes after `ckpt=` for a checkpoint: the name of a shipped model, or the path."""
    return path.name if path.parent == FOLDER else str(path)


def suggestion(word: str | Path) -> str:
    """`; did you mean a or b? trimer models lists the shipped models`, or the part of it that applies."""
    known = names()
    if not known:
        return ""
    near = get_close_matches(str(word), known, n=3, cutoff=0.6)
    question = f"; did you mean {' or '.join(near)}?" if near else ";"
    return f"{question} trimer models lists the shipped models"


def facts(folder: str | Path) -> dict[str, Any]:
    """The facts of the card of a packed model (`trimer.pretrained.cards`)."""
    path = Path(folder) / MODEL
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["facts"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): install Trimer again, or copy the folder again"
        ) from error


def size(folder: str | Path) -> int:
    """The size of a packed model in bytes."""
    return sum(path.stat().st_size for path in Path(folder).iterdir() if path.is_file())
