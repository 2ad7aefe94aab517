"""`trimer init`: writes a project with the user's own configs, data source, encoder, first experiment and test."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word


def main(cfg: DictConfig) -> None:
    from trimer.project import write_project

    folder = Path(cfg.folder).expanduser()
    for path in write_project(folder):
        print(folder / path)
    suggest(f"cd {word(folder)} && trimer train --plugin my_parts.py experiment=first")
