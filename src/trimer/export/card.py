"""The model card of an export: `README.md` with the header that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.files import write_text

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

LICENCES = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0", "MIT": "mit"}  # start of a licence -> name on the Hub


def facts_for_card(loaded: Loaded, folder: Path) -> dict[str, Any]:
    """The facts of a packed model, or those of a run; the name is that of the model, or of the folder."""
    from trimer.pretrained import registry
    from trimer.pretrained.cards import facts_of
    from trimer.pretrained.packed import is_packed
    from trimer.public import is_public

    if is_packed(loaded.path):
        return registry.facts(loaded.path)
    facts = facts_of(folder.absolute().name, loaded, loaded.run / "test")
    return facts | {"licence": "that of the public weights"} if is_public(loaded.path) else facts


def write_card(path: Path, loaded: Loaded, facts: Mapping[str, Any], usage: str, pipeline: str | None = None) -> None:
    """Write the card.

    usage: section on how to load the model. pipeline: task of a Hugging Face pipeline, "other" for a model of
    transformers without one, None for another format.
    """
    from trimer.pretrained.cards import markdown
    from trimer.run import read_json

    table = next(
        (read_json(file) for file in (loaded.run / "table.json", loaded.run / "test" / "table.json") if file.is_file()),
        None,
    )
    files = {file.name: file.stat().st_size for file in path.parent.rglob("*") if file.is_file() and file != path}
    licence = next((name for start, name in LICENCES.items() if str(facts["licence"]).startswith(start)), "other")
    header = [f"license: {licence}", f"tags: [trimer, {loaded.study.entity}]"]
    if pipeline is not None:
        header += ["library_name: transformers", f"pipeline_tag: {pipeline}"]
    text = markdown(facts, table, files)
    title, _, rest = text.partition("\n\n")
    description, _, others = rest.partition("\n\n")
    write_text(path, "\n".join(["---", *header, "---", "", title, "", description, "", usage, others]))
