"""Shows our plain-text docstrings in autodoc: they are written for a terminal, not in reStructuredText."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

CODE = re.compile(r"(import |from [\w.]+ import |\w+ = |[\w.]+\(.*\)$)")


def as_rst(lines: list[str]) -> list[str]:
    """Paragraphs stay paragraphs, `names` become literals, lists and indented blocks keep their lines."""
    paragraphs = [block.split("\n") for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n"))]
    out: list[str] = []
    for block in paragraphs:
        if (
            any(line.startswith((" ", "- ")) for line in block[1:])
            or block[0].startswith((" ", "- ", ">>>"))
            or all(map(CODE.match, block))
        ):
            out += ["::", "", *("    " + line for line in block), ""]
        else:
            out += [*map(escaped, block), ""]
    return out


def escaped(line: str) -> str:
    """One line of text with `code` as a literal and everything else without markup."""
    parts = re.split(r"(?<!`)(`[^`\s](?:[^`]*[^`\s])?`)(?!`)", line)
    return "".join(
        f"``{part[1:-1]}``\\ " if place % 2 else re.sub(r"([*|_`\\])", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def rewrite(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = as_rst(lines) if any(line.strip() for line in lines) else lines


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", rewrite)
    return {"parallel_read_safe": True}
