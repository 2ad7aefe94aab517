"""The list of `trimer models`."""

from __future__ import annotations

import textwrap

from trimer.pretrained import registry

WIDTH = 80  # characters of a line


def listing() -> list[str]:
    """The lines of the list: a line of facts for each model, and below it what the model does."""
    names = registry.names()
    if not names:
        return ["this installation holds no models; make models trains and packs them"]
    wide = max(len(name) for name in names)
    lines = [f"{'Name':<{wide}}  {'MB':>5}  {'Date':<10}  Test split"]
    for name in names:
        folder = registry.FOLDER / name
        facts = registry.facts(folder)
        metric = facts.get("metric")
        result = f"{metric['label']} {metric['shown']}" if metric else "not evaluated"
        line = f"{name:<{wide}}  {registry.size(folder) / 1e6:5.1f}  {facts.get('date') or '-':<10}  {result}"
        lines.append(textwrap.shorten(line, WIDTH, placeholder="...") if len(line) > WIDTH else line)
        lines += textwrap.wrap(facts["does"], WIDTH, initial_indent="  ", subsequent_indent="  ")
    return [*lines, "", "next: trimer models name=<name> prints a card and how the model is used"]
