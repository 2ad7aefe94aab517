"""The project that `trimer init` writes: the files of `template/`, which run as they are."""

from __future__ import annotations

from pathlib import Path

from trimer.errors import ConfigError

TEMPLATE = Path(__file__).parent / "template"
RENAMED = {"gitignore": ".gitignore"}  # a .gitignore in the package would hide files of the package


def write_project(folder: Path) -> list[Path]:
    """Write the files of the template to a new or empty folder; returns their paths in it."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(f"folder={folder} exists and is not empty: name a new folder")
    written = []
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        relative = source.relative_to(TEMPLATE)
        relative = relative.with_name(RENAMED.get(relative.name, relative.name))
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        written.append(relative)
    return written
