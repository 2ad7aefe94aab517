"""Compact HTML tables for notebooks: at most a few rows, every text escaped, molecules drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

ROWS = 20  # shown at most
COLUMNS = 16
LETTERS = 60  # of a cell; its whole text is its title
DRAWN = ("smiles",)
DRAWING = (160, 110)  # pixels


def html_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    total: int,
    what: str,
    drawn: Sequence[str] = DRAWN,
) -> str:
    """The first rows as an HTML table with a caption that tells how many there are.

    columns: names, of which the first 16 are shown. total: rows in all. drawn: columns of SMILES that are drawn.
    """
    shown, names = rows[:ROWS], list(columns)[:COLUMNS]
    head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
    body = "".join(f"<tr>{''.join(_cell(row.get(name), name in drawn) for name in names)}</tr>" for row in shown)
    caption = f"{total:,} {what}" + (f", the first {len(shown)} shown" if len(shown) < total else "")
    if left_out := len(columns) - len(names):
        caption += f"; {left_out} more columns"
    return (
        f'<table class="trimer"><caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cell(value: Any, drawn: bool) -> str:
    if drawn and isinstance(value, str) and value:
        from trimer.reporting.drawing import molecule_svg

        width, height = DRAWING
        svg = molecule_svg(value, width, height)
        return f'<td title="{escape(value)}"><div style="width:{width}px">{svg}</div></td>'
    text = cell_text(value)
    if len(text) <= LETTERS:
        return f"<td>{escape(text)}</td>"
    return f'<td title="{escape(text[:1000])}">{escape(text[: LETTERS - 3])}...</td>'


def cell_text(value: Any) -> str:
    """A value as short text: four digits of a number, nothing for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4f}" if 1000 <= abs(value) < 1e6 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        inside = ", ".join(cell_text(entry) for entry in value[:4])
        return f"[{inside}{', ...' if len(value) > 4 else ''}]"
    return str(value)
