"""Templates compile, text is escaped in HTML, and an undefined variable is an error."""

from __future__ import annotations

import re

import jinja2
import pytest
from markupsafe import Markup

from trimer.reporting.templates import environment, render


@pytest.mark.parametrize("name", environment().list_templates(extensions=["html", "md"]))
def test_every_template_compiles(name):
    environment().get_template(name)


def test_text_is_escaped_and_markup_is_kept():
    rows = [{"a": "<b>", "b": Markup("<svg/>")}]
    text = render(
        "table.html", title="x & y", note="", columns=["a", "b"], words=["a"], rows=rows, findable=8, printed=1
    )
    assert "x &amp; y" in text and re.search(r'<td [^>]*data-label="a">&lt;b&gt;</td><td [^>]*><svg/></td>', text)


def test_an_undefined_template_variable_raises_an_error():
    with pytest.raises(jinja2.UndefinedError, match="name"):
        render("missing.html")


def test_cells_of_markdown_tables_contain_no_pipes():
    assert environment().from_string("{{ cells | row }}").render(cells=["a|b", 1]) == "| a\\|b | 1 |"
