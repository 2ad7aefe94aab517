"""Generates the reference of commands and config keys from the comments of the YAML files in conf/.

Writes docs/reference/generated/commands.md and one page per config group. A key without a comment gets the comment of
the same key in another file of its group, so that shared keys are described once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sphinx.application import Sphinx

CONF = Path(__file__).resolve().parents[2] / "conf"
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w@/.+-]+):(?: +(?P<value>.*?))?(?: +# (?P<comment>.*))?$")
COMMANDS = (
    "train",
    "evaluate",
    "predict",
    "embed",
    "serve",
    "prepare",
    "report",
    "dashboard",
    "models",
    "demo",
    "pack",
    "export",
    "reproduce",
    "diff",
    "init",
)
EVERYWHERE = {"_target_": "class or function to build", "_partial_": "true: Trimer adds the remaining arguments"}
OTHER_GROUPS = ("hydra",)  # Hydra's own settings, set by us


@dataclass(frozen=True)
class Key:
    """A key of a YAML file: its dotted path, its value as written, and the comment beside it."""

    path: str
    value: str
    comment: str


def headline(text: str) -> str:
    """The comment lines at the top of a file, without the package directive."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.lstrip("# "))
    return " ".join(lines)


def inherited(text: str) -> list[str]:
    """The entries of the defaults list, as written."""
    block = re.search(r"^defaults:\n((?:  - .*\n)+)", text, flags=re.MULTILINE)
    entries = re.findall(r"  - (.*)", block[1]) if block else []
    return [entry.partition(" #")[0] for entry in entries if entry != "_self_" and not entry.endswith("_schema")]


def keys_of(text: str) -> list[Key]:
    """The keys of a file in their order, without the defaults list and the items of lists."""
    keys: list[Key] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        indent = len(match["indent"])
        parents = [parent for parent in parents if parent[0] < indent]
        path = ".".join([*(name for _, name in parents), match["key"]])
        parents.append((indent, match["key"]))
        if path.split(".")[0] == "defaults":
            continue
        value, comment = (match["value"] or "").strip(), match["comment"] or ""
        if value.startswith("# "):
            value, comment = "", value[2:]
        if value or comment:
            keys.append(Key(path, value, comment))
    return keys


def shared_comments(files: dict[str, str]) -> dict[str, str]:
    """Key -> the first comment that a file of the group gives it."""
    comments: dict[str, str] = {}
    for text in files.values():
        for key in keys_of(text):
            if key.comment:
                comments.setdefault(key.path, key.comment)
    return comments


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*").replace("_", "\\_")


def code(text: str) -> str:
    """A value as code in a cell, or nothing."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def meaning(key: Key, comments: dict[str, str]) -> str:
    """The comment of a key, or that of the same key elsewhere."""
    return key.comment or comments.get(key.path, "") or EVERYWHERE.get(key.path.rpartition(".")[2], "")


def key_table(text: str, comments: dict[str, str]) -> list[str]:
    rows = [f"| {code(key.path)} | {code(key.value)} | {cell(meaning(key, comments))} |" for key in keys_of(text)]
    return ["| key | default | meaning |", "| :-- | :-- | :-- |", *rows, ""] if rows else []


def group_page(group: str) -> str:
    """The page of a config group: its choices, what each inherits, and its keys."""
    files = {
        str(path.relative_to(CONF / group).with_suffix("")): path.read_text(encoding="utf-8")
        for path in sorted((CONF / group).rglob("*.yaml"))
    }
    comments = shared_comments(files)
    lines = [f"# `{group}`", "", "| choice | what it is |", "| :-- | :-- |"]
    lines += [f"| {code(name)} | {cell(headline(text))} |" for name, text in files.items()] + [""]
    for name, text in files.items():
        lines += [f"## `{group}: {name}`" if "/" not in name else f"## `{group}/{name}`", "", cell(headline(text)), ""]
        if entries := inherited(text):
            lines += ["Starts from: " + ", ".join(map(code, entries)) + ".", ""]
        lines += key_table(text, comments)
    return "\n".join(lines) + "\n"


def command_page() -> str:
    """The page of all commands: what each does, its own keys, and its config groups."""
    lines = ["# Commands", "", "Every command has the form `trimer <command> [group=choice] [key=value] [flags]`.", ""]
    for command in COMMANDS:
        text = (CONF / f"{command}.yaml").read_text(encoding="utf-8")
        lines += [f"## `trimer {command}`", "", cell(headline(text)), ""]
        lines += key_table(text, {})
        groups = [entry for entry in inherited(text) if entry.partition(":")[0] not in ("hydra", "train")]
        groups = [entry for entry in groups if not entry.startswith("override")]
        if groups:
            lines += ["Groups and their default choice: " + ", ".join(map(code, groups)) + ".", ""]
        elif command == "prepare":
            lines += ["The keys and groups are those of `trimer train`.", ""]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Write a file only if it changes, so that Sphinx does not read it again."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    groups = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in OTHER_GROUPS)
    index = ["# Config groups", "", "Choose with `group=choice`, change any value with `group.key=value`.", ""]
    index += ["```{toctree}", ":maxdepth: 1", "", *(f"group_{group}" for group in groups), "```", ""]
    return {
        "commands.md": command_page(),
        "config.md": "\n".join(index),
        **{f"group_{group}.md": group_page(group) for group in groups},
    }


def generate(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    texts = pages()
    for stale in {path.name for path in folder.glob("*.md")} - texts.keys():
        (folder / stale).unlink()
    for name, text in texts.items():
        write(folder / name, text)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True}
