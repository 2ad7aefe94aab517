"""Packs a trained model: the checkpoint without the state of its training, its results and its card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from trimer.checkpoint import checkpoint_path, load, read
from trimer.errors import CheckpointError
from trimer.files import write_text
from trimer.pretrained.cards import facts_of, markdown, write_results
from trimer.pretrained.packed import is_packed, paths_here, write_packed
from trimer.pretrained.registry import MODEL
from trimer.pretrained.rounding_changes import largest_change
from trimer.run import RunFolder


def pack(
    ckpt: str | Path, folder: Path, results: Path | None = None, weights: str = "float16", base: str | None = None
) -> dict[str, int]:
    """Pack a run folder or checkpoint into a folder; returns the size in bytes of each of its files.

    The name of the folder is that of the model in `about.yaml`. results: folder of the test results; by default
    `<run>/test`. weights: their number format; unless it is float32, the card names the largest change of a prediction.
    base: name of a packed model beside the folder; equal weights are not stored again.
    """
    path = checkpoint_path(ckpt)
    if is_packed(path):
        raise CheckpointError(f"ckpt={ckpt} is packed already: copy the folder, or pack the run that it was made from")
    loaded = load(path)
    results = results or loaded.run / "test"
    stored = RunFolder(loaded.run).config.get("paths") or {}
    paths = paths_here() | {name: str(value) for name, value in stored.items() if value}
    facts = facts_of(folder.absolute().name, loaded, results)
    checkpoint = read(path)
    write_packed(folder, checkpoint, paths, weights, facts, base)
    if weights != "float32":
        facts["precision"] = f"{weights} {largest_change(loaded, load(folder))}"
        write_packed(folder, checkpoint, paths, weights, facts, base)
    table = write_results(folder, loaded.run, results)
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != "card.md"}
    write_text(folder / "card.md", markdown(facts, table, files))
    return files | {"card.md": (folder / "card.md").stat().st_size}


def copy_packed(source: Path, folder: Path) -> None:
    """Copy a packed model; weights that it shares with another model are stored in the copy too."""
    content = json.loads((source / MODEL).read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    if content.get("base"):
        write_packed(folder, read(source), paths_here(), content.get("weights", "float16"), content["facts"])
    for file in sorted(source.iterdir()):
        if file.is_file() and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
