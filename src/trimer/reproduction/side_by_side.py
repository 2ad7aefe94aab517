"""A comparison of two runs for the terminal, as Markdown, and as CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from trimer.errors import ConfigError
from trimer.files import write_csv, write_text
from trimer.reproduction.comparison import SECTIONS, Row

SUFFIXES = (".csv", ".md")
ABSENT = "-"
WIDEST_KEY = 34  # characters of the first column
MANY = 3  # keys of a subtree that are listed one by one


def short_names(left: Path, right: Path) -> tuple[str, str]:
    """The names of two run folders, with as many parents as they need to differ."""
    parts = left.resolve().parts, right.resolve().parts
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if names[0] != names[1]:
            return names[0], names[1]
    return str(left), str(right)


def shown(rows: Sequence[Row], all_rows: bool) -> list[Row]:
    """The rows that differ, or all."""
    return [row for row in rows if all_rows or not row.equal]


def as_text(rows: Sequence[Row], names: tuple[str, str], width: int, all_rows: bool = False) -> str:
    """The rows that differ below the heading of their section, within a width; long values are wrapped."""
    chosen = shown(rows if all_rows else collapsed(rows), all_rows)
    key = min(max([len(row.key) for row in chosen] or [0]), WIDEST_KEY, width // 2 - 4)
    value = (width - key - 6) // 2
    lines = line_of(["", *names], key, value)
    for section in SECTIONS:
        count = sum(row.section == section for row in rows)
        different = [row for row in chosen if row.section == section]
        state = "" if different else ": nothing recorded" if not count else ": no difference"
        lines += ["", section + state]
        for row in different:
            lines += line_of([row.key, row.left, row.right], key, value)
    return "\n".join(lines)


def line_of(cells: Sequence[str | None], key: int, value: int) -> list[str]:
    """A row of three cells on as many lines as its longest cell needs."""
    widths = (key, value, value)
    wrapped = [wrap(ABSENT if text is None else text, size) for text, size in zip(cells, widths, strict=True)]
    lines = []
    for at in range(max(map(len, wrapped))):
        cells_of_line = [part[at] if at < len(part) else "" for part in wrapped]
        padded = [f"{cell:<{size}}" for cell, size in zip(cells_of_line, widths, strict=True)]
        lines.append(f"  {'  '.join(padded)}".rstrip())
    return lines


def wrap(text: str, width: int) -> list[str]:
    """A text on lines of a width, broken after blanks, dots, slashes, commas and underscores, not in a number."""
    lines = [""]
    for part in re.findall(r"[(+-]*\d+\.\d+[^ ./,_]*[ ./,_]?|[^ ./,_]*[ ./,_]|[^ ./,_]+", text):
        if len(lines[-1]) + len(part.rstrip()) <= width:
            lines[-1] += part
            continue
        pieces = [part[start : start + width] for start in range(0, len(part), width)]
        lines = [line for line in [*lines, *pieces] if line]
    return [line.rstrip() for line in lines]


def collapsed(rows: Sequence[Row]) -> list[Row]:
    """The rows with one row for each subtree of the config that only one of the runs has, if it has several keys."""
    config = [row for row in rows if row.section == "config"]
    known = (
        {above for row in config if row.left is not None for above in prefixes(row.key)},
        {above for row in config if row.right is not None for above in prefixes(row.key)},
    )
    members: dict[tuple[str, bool], list[Row]] = {}
    for row in config:
        if (row.left is None) != (row.right is None):
            other = known[row.left is not None]
            above = next((prefix for prefix in prefixes(row.key) if prefix not in other), row.key)
            members.setdefault((above, row.left is None), []).append(row)
    large = {row: subtree for subtree, group in members.items() if len(group) > MANY for row in group}
    kept: dict[Row, None] = {}
    for row in rows:
        if row in large:
            above, on_the_right = large[row]
            count = f"{len(members[large[row]])} keys"
            row = Row("config", above, None if on_the_right else count, count if on_the_right else None)
        kept.setdefault(row)
    return list(kept)


def prefixes(key: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    parts = key.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def save(rows: Sequence[Row], names: tuple[str, str], path: Path, all_rows: bool = False) -> None:
    """Write the rows that differ, or all, as `.csv` or `.md`; ConfigError for another suffix."""
    check_suffix(path)
    chosen = shown(rows, all_rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        write_csv(path, ["section", "key", *names], [[row.section, row.key, row.left, row.right] for row in chosen])
        return
    lines = [f"# {names[0]} and {names[1]}"]
    for section in SECTIONS:
        different = [row for row in chosen if row.section == section]
        lines += ["", f"## {section}", ""]
        if not different:
            lines.append("No difference.")
            continue
        lines += [f"| key | {names[0]} | {names[1]} |", "| --- | --- | --- |"]
        lines += [f"| {cell(row.key)} | {cell(row.left)} | {cell(row.right)} |" for row in different]
    write_text(path, "\n".join(lines) + "\n")


def check_suffix(path: Path) -> None:
    """ConfigError for a file that is neither CSV nor Markdown."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"output={path} must end with {' or '.join(SUFFIXES)}")


def cell(value: str | None) -> str:
    """A cell of a Markdown table."""
    return ABSENT if value is None else value.replace("|", "\\|").replace("\n", " ")
