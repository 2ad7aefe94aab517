"""Pages and Markdown files from the Jinja2 templates of this package; what is put into HTML is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup


@cache
def environment() -> Environment:
    """The templates; an undefined name in a template is an error."""
    templates = Environment(
        loader=PackageLoader("trimer.reporting"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["row"] = markdown_row
    return templates


def render(template: str, **values: object) -> Markup:
    """A filled template, which other templates include as it is."""
    return Markup(environment().get_template(template).render(**values))


def markdown_row(cells: Iterable[object]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
