"""Words of the command line without `key=`: the arguments of `trimer diff <run> <run>` and similar commands.

Some commands take any number of them: `trimer report runs/a runs/b`, `trimer serve ckpt=spectrums peptide-rt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from trimer.cli.schema import LISTS, PASS_ON, POSITIONAL, SCHEMAS, Command
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


def with_values(command: str, words: Sequence[str]) -> list[str]:
    """The words as overrides, for a command that takes any number of plain words: they are values of one key.

    They are added to the values that the key itself has, once or several times.
    """
    key = LISTS.get(command)
    mine = [word for word in words if key and (word.startswith(f"{key}=") or has_no_key(word))]
    if len(mine) < 2 and not any(map(has_no_key, mine)):
        return list(words)
    values = [quoted(word) if has_no_key(word) else elements_of(word.partition("=")[2]) for word in mine]
    values = [value for value in values if value not in ("", "null")]
    value = values[0] if len(mine) == 1 else f"[{','.join(values)}]"
    return [*(word for word in words if word not in mine), f"{key}={value}"]


def has_no_key(word: str) -> bool:
    """Whether a word has no `=` and is no deletion such as `~logger`."""
    return "=" not in word and not word.startswith("~")


def elements_of(value: str) -> str:
    """The elements of a list in Hydra's syntax, or the value if it is no list."""
    return value[1:-1].strip() if value.startswith("[") and value.endswith("]") else value


def is_plain(word: str) -> bool:
    """Whether a word is a value without a key."""
    return not word.startswith(("+", "~")) and ("=" not in word or Path(word).expanduser().exists())


def quoted(text: str) -> str:
    """A text in double quotes, as Hydra reads it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
