"""Tables that fit the terminal: as they are, transposed, or without their last columns, which are then listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NAMES = 12  # characters that a column of names has at least, unless its longest word is shorter


def print_table(table: Table, file: str | Path | None = None, console: Console | None = None) -> None:
    """Print a table of rich within the width of the terminal (80 in a file, or COLUMNS).

    Its first column names the rows, and its columns are sorted by importance. file: where the whole table is.
    """
    from rich.console import Console

    console = console or Console()
    console.width = max(console.width, 20)
    sideways = transposed(table)
    if set_widths(table, console.width):
        console.print(table)
    elif len(table.columns) > 2 and set_widths(sideways, console.width):
        console.print(sideways)
    else:
        shown, left_out = without_last_columns(table, console.width)
        console.print(shown)
        place = f"; the whole table is in {file}" if file else ""
        console.print(
            f"Not shown at this width: {', '.join(left_out)}{place}", markup=False, highlight=False, soft_wrap=True
        )


def print_lines(sentences: Sequence[str], console: Console | None = None) -> None:
    """Print sentences, wrapped at the width of the terminal."""
    from rich.console import Console

    (console or Console()).print(" ".join(sentences), markup=False, highlight=False)


def set_widths(table: Table, width: int) -> bool:
    """Give the columns widths at which only names and headers are wrapped, at words; False if they do not fit."""
    from rich.text import Text

    longest, shortest = [], []
    for number, column in enumerate(table.columns):
        header = Text.from_markup(str(column.header))
        cells = [Text.from_markup(str(cell)) for cell in column.cells]
        words = [len(word) for text in cells for word in text.plain.split()]
        is_name = number == 0 or column.overflow == "fold"  # settings and names of methods
        values = min(max(words, default=0), NAMES) if column.overflow == "fold" else max(words, default=0)
        lines = [len(line) for text in cells for line in text.plain.splitlines()]  # a cell may have several
        values = values if is_name else max(lines, default=0)
        title = max((len(word) for word in header.plain.split()), default=0)
        shortest.append(max(values, title, NAMES if is_name and values > NAMES else 0))
        longest.append(max([shortest[-1], *(text.cell_len for text in cells)]) if is_name else shortest[-1])
    spare = width - sum(shortest) - 3 * len(shortest) - 1
    if spare < 0:
        return False
    for column, least, most in zip(table.columns, shortest, longest, strict=True):
        column.min_width = None
        column.no_wrap = False
        column.width = min(most, least + spare)
        spare -= column.width - least
    return True


def transposed(table: Table) -> Table:
    """The same table with a column for each row."""
    from rich.table import Table

    names, *columns = table.columns
    turned = Table(title=table.title, title_justify=table.title_justify, header_style=table.header_style)
    turned.add_column("")
    for name, row in zip(names.cells, table.rows, strict=True):
        turned.add_column(str(name), justify="right", style=row.style or "")
    for column in columns:
        turned.add_row(str(column.header), *column.cells)
    return turned


def without_last_columns(table: Table, width: int) -> tuple[Table, list[str]]:
    """A table with as many of the first columns as fit, at least two, and the headers of the others."""
    from rich.table import Table

    kept = len(table.columns)
    while True:
        kept -= 1
        shown = Table(
            title=table.title, title_justify=table.title_justify, header_style=table.header_style,
            show_lines=table.show_lines, caption=table.caption,
        )  # fmt: skip
        for column in table.columns[:kept]:
            shown.add_column(column.header, justify=column.justify, overflow=column.overflow)
        for row, cells in zip(table.rows, zip(*(c.cells for c in table.columns[:kept]), strict=True), strict=True):
            shown.add_row(*cells, style=row.style, end_section=row.end_section)
        if set_widths(shown, width) or kept <= 2:
            return shown, [str(column.header) for column in table.columns[kept:]]
