"""The generated reference names every command, every choice and every key of conf/."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import yaml

from trimer.cli.configs import shipped_folder
from trimer.cli.schema import SCHEMAS

EXTENSIONS = Path(__file__).resolve().parents[2] / "docs" / "_ext"

pytest.importorskip("sphinx")


def extension(name: str):
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


reference = extension("config_reference")
PAGES = reference.pages()
FILES = sorted(
    path for path in shipped_folder().rglob("*.yaml") if path.relative_to(shipped_folder()).parts[0] != "hydra"
)


def leaves(node: object, prefix: str = "") -> set[str]:
    """Dotted keys of the scalars and lists of a YAML file."""
    if not isinstance(node, dict) or not node:
        return {prefix}
    return {key for name, value in node.items() for key in leaves(value, f"{prefix}.{name}" if prefix else str(name))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(shipped_folder())))
def test_every_key_is_in_the_reference(path):
    relative = path.relative_to(shipped_folder())
    page = PAGES["commands.md"] if len(relative.parts) == 1 else PAGES[f"group_{relative.parts[0]}.md"]
    node = yaml.safe_load(path.read_text()) or {}
    node.pop("defaults", None)
    for key in leaves(node) - {""}:
        parts = key.split(".")
        above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]  # {a: 1} is shown as one value
        inside = f"| `{key}." in page  # of a list of objects, their keys are shown
        assert inside or any(f"| `{name}` |" in page for name in above), f"{relative}: {key}"


def test_every_command_is_in_the_reference():
    for command in SCHEMAS:
        assert f"## `trimer {command}`" in PAGES["commands.md"]


def test_comments_and_values_are_separated():
    text = "# What it is.\na: 1 # one\nb:\n  c: 'x # y'\n  d: # below\n    e: null\nlist:\n  - f: 1\n"
    assert reference.headline(text) == "What it is."
    keys = {key.path: (key.value, key.comment) for key in reference.keys_of(text)}
    assert keys["a"] == ("1", "one")
    assert keys["b.d"] == ("", "below")
    assert keys["b.d.e"] == ("null", "")


def test_a_key_without_a_comment_gets_that_of_its_group():
    comments = reference.shared_comments({"one": "lr: 1 # peak\n", "two": "lr: 2\n"})
    assert reference.key_table("lr: 2\n", comments)[2] == "| `lr` | `2` | peak |"


def test_docstrings_become_restructured_text():
    docstrings = extension("plain_docstrings")
    assert docstrings.as_rst(["`name` times *x*"]) == ["``name``\\  times \\*x\\*", ""]
    assert docstrings.as_rst(["A list:", "- one"])[:2] == ["::", ""]
