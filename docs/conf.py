"""Sphinx settings: MyST-NB pages with the furo theme. `make docs` builds into docs/_build/html."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS / "_ext"), str(ROOT / "src")]

from trimer import __version__  # noqa: E402 - the path has to be set first

project = "Trimer"
author = "The Trimer authors"
copyright = author
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "copied_files",
    "config_reference",
    "plain_docstrings",
]
exclude_patterns = ["_build", "_ext", "Thumbs.db"]
suppress_warnings = ["mystnb.unknown_mime_type"]

html_theme = "furo"
html_title = f"Trimer {version}"
html_show_sphinx = False

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 3

# Notebooks are stored with their outputs; `make notebooks` and the tests execute them.
nb_execution_mode = "off"
nb_execution_timeout = 300
nb_output_stderr = "remove"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_mock_imports: list[str] = []

copybutton_prompt_text = "$ "
