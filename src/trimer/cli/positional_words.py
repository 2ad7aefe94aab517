"""Words of the command line without `key=`: the arguments of `trimer diff <run> <run>` and similar commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from trimer.cli.schema import PASS_ON, POSITIONAL, SCHEMAS, Command
from trimer.errors import UsageError


def named(command: str, words: Sequence[str]) -> list[str]:
    """The words as overrides `key=value`: plain words get their keys, and keys of a training become `changes`.

    A word is plain if it has no `=`, or if a file or folder has its name. UsageError if there are too many of them.
    """
    keys = list(POSITIONAL.get(command, ()))
    if not keys:
        return list(words)
    plain = [word for word in words if is_plain(word)]
    if len(plain) > len(keys):
        usage = " ".join(f"<{key}>" for key in keys)
        raise UsageError(f"{plain[len(keys)]!r} is one argument too many: trimer {command} {usage} [key=value]")
    overrides = [f"{key}={quoted(word)}" for key, word in zip(keys, plain, strict=False)]
    others = [word for word in words if word not in plain]
    if command in PASS_ON:
        own_fields = {field.name for field in fields(SCHEMAS[command])} - {field.name for field in fields(Command)}
        changes = [word for word in others if word.partition("=")[0] not in own_fields]
        others = [word for word in others if word not in changes]
        overrides += [f"changes=[{','.join(map(quoted, changes))}]"] if changes else []
    return [*overrides, *others]


def is_plain(word: str) -> bool:
    """Whether a word is a value without a key."""
    return not word.startswith(("+", "~")) and ("=" not in word or Path(word).expanduser().exists())


def quoted(text: str) -> str:
    """A text in double quotes, as Hydra reads it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
