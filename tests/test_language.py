"""Private, archaic or ambiguous words that may not come back in user-facing text, with the usual term for each.

Checked are the README and other pages, docs/, notebooks/, the comments of conf/, and the docstrings, comments and
strings of src/.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

WORDS = {  # pattern -> what to write
    r"\bfloors?\b(?!\()": "trivial baseline",
    r"\bprocessors?\b": "CPU",
    r"\bbe it\b|\bbe they\b": "whether",
    r"\bis said\b|\bare said\b|\bsays so\b|\bwhat \w+ says\b": "is reported",
    r"\bis told\b|\bare told\b|\btold of\b": "receives, knows",
    r"\bwhat reads\b|\bwhat writes\b": "the reader, the writer",
    r"\bgo(es)? on (with|where|bit|as|after|in)\b": "continues, resumes",
    r"\b(laid|lay|lie|lies|lying) end to end\b|\bend to end, in\b": "concatenated",
    r"\bhidden (tokens?|residues?|places?)\b": "masked token",
    r"\bmasked places?\b": "masked positions",
    r"\bkinds? of tokens?\b": "vocabulary size",
    r"\bwritten molecules?\b": "generated molecule, candidate",
    r"\bstands? beside\b|\bstood beside\b": "is compared with",
    r"\b(is|are) refused\b": "is rejected, raises an error",
    r"\bby a (line|spline) and\b|\bto the new scale by\b": "recalibrated by a linear or spline fit",
    r"\brows lost to\b": "dropped records",
    r"\b(network|model|weights) as (it|they) (was|were)\b": "model before fine-tuning",
    r"\bfarthest from the truth\b": "largest errors",
    r"\bwithout a value, or in part\b": "undefined metrics",
    r"\bof (its|their|his) own\b": "own, separate",
    r"\bbound of every\b": "oracle",
    r"\bat hand\b": "available",
    r"\bforgotten at the door\b|\bby heart\b|\bworth its while\b": "plain words",
    r"\bwhoever\b|\bwhosoever\b": "a user who",
    r"\bhereby\b|\bthereof\b|\bwherein\b|\bwhereof\b|\bthereby\b|\bhenceforth\b|\bnought\b": "modern English",
    r"\blikeness\b|\bof like mass\b": "similarity, similar",
    r"\bmade-up\b": "simulated",
    r"\bhow many of the most\b": "keep the N most",
    r"\b(train|validation|test|val) parts?\b": "split",
    r"\bso are the next\b|\bof one that also\b": "plain words",
    r"\bare what they say\b|\b(is|'s) to say\b": "plain words",
    r"\blearnt\b": "learned, trained",
    r"\b(held|told) (against|from|apart)\b|\bof mine\b": "is compared with, is distinguished from",
    r"\b(no|possible|whose|their|its) answers?\b|\banswers the pointer\b": "prediction, result, response",
    r"(?<!in )(?<!its )\bplaces? (in a|of a|of that)\b": "position",
    r"(?<!there )\b(is|are) no (molecule|residue|formula|number|key|resample|checkpoint|adduct)s?\b": "is not a",
    r"\b(charge|site|modifications?|isotope|time)(, as .{1,9},)? behind\b|\bbehind (it|them)\b": "after",
    r"\bat home\b|\b(its|their) own words\b|\bper cent\b": "plain words, percent",
    r"\b(no|every|some|any)body\b": "no user, no one",
    r"\b(understood|known|read|accepted) are (the|ids|\d|\.)|\b(is|are|were) looked for\b": "reads, accepts, searches",
    r"\btells (which|the|whether|nothing)\b|\bmodel tells\b": "determines, predicts",
}
PATTERNS = [(re.compile(pattern, re.IGNORECASE), usual) for pattern, usual in WORDS.items()]


# Names of variables, arguments and functions that do not say what they hold.
VAGUE = {"found", "said", "told", "own", "one", "thing", "learnt"}


def texts_of_python(path: Path) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and string literals of a module with their lines."""
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """What a reader of a file sees: (line or cell, text)."""
    if path.suffix == ".py":
        yield from texts_of_python(path)
    elif path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], 1):
            yield number, "".join(cell["source"])
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
        of_yaml = path.suffix in (".yaml", ".yml")
        yield from ((n, line.partition("#")[2] if of_yaml else line) for n, line in enumerate(lines, 1))


def files() -> list[Path]:
    found = [*ROOT.glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "benchmarks/README.md"]
    for folder, pattern in {"docs": "*.md", "conf": "*.yaml", "src": "*.py", "experiments": "*.md"}.items():
        found += (ROOT / folder).rglob(pattern)
    return sorted(path for path in found if not {"_build", "generated"} & set(path.parts))


def complaints(path: Path) -> list[str]:
    """The lines of a file that use one of the words, each with the usual term."""
    return [
        f"{path.relative_to(ROOT)}, line {line}: write '{usual}', not '{match[0]}'"
        for line, text in texts_of(path)
        for pattern, usual in PATTERNS
        if (match := pattern.search(text))
    ]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_text_has_no_private_words(path):
    assert complaints(path) == []


def names_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names of variables, arguments, attributes, functions and classes with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_names_say_what_they_hold():
    vague = [
        f"{path.relative_to(ROOT)}, line {line}: {name}"
        for folder in ("src", "benchmarks", "experiments", "docs")
        for path in (ROOT / folder).rglob("*.py")
        for line, name in names_of(ast.parse(path.read_text(encoding="utf-8")))
        if name.strip("_") in VAGUE
    ]
    assert not vague, f"{vague}: name what each holds, such as formula_matches"
