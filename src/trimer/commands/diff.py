"""`trimer diff`: two runs side by side, by default only what differs."""

from __future__ import annotations

import shutil
from pathlib import Path

from omegaconf import DictConfig

NARROWEST = 60  # characters of a line


def main(cfg: DictConfig) -> None:
    from trimer.reproduction.comparison import compare
    from trimer.reproduction.side_by_side import as_text, check_suffix, save, short_names
    from trimer.reproduction.start_config import recorded_run

    output = Path(cfg.output).expanduser() if cfg.output else None
    if output is not None:
        check_suffix(output)
    left, right = recorded_run(cfg.run), recorded_run(cfg.other)
    rows, names = compare(left, right, weights=cfg.weights), short_names(left.path, right.path)
    width = max(shutil.get_terminal_size((80, 24)).columns, NARROWEST)
    print(as_text(rows, names, width, cfg.all))
    if output is not None:
        save(rows, names, output, cfg.all)
        print(f"\n{output}")
