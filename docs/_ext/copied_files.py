"""Copies the notebooks into the documentation tree before the build, so that each of them is stored once."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]


def copy_notebooks(app: Sphinx) -> None:
    """notebooks/*.ipynb -> docs/tutorials/notebooks/*.ipynb; unchanged files keep their time, so nothing is rebuilt."""
    folder = Path(app.srcdir) / "tutorials" / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    sources = {path.name: path for path in (ROOT / "notebooks").glob("*.ipynb")}
    for stale in set(folder.glob("*.ipynb")) - {folder / name for name in sources}:
        stale.unlink()
    for name, source in sources.items():
        target = folder / name
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", copy_notebooks)
    return {"parallel_read_safe": True}
