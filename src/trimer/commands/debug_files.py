"""What a run with debug=<choice> leaves to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trimer.commands.next_steps import word
from trimer.reporting.attempts import attempt

FILES = ("fit-profile.txt", "curves.png", "metrics.csv", "result.json")  # the most telling first


def debug_choice() -> str | None:
    """The choice of the group `debug` on the command line; None without one."""
    from hydra.core.hydra_config import HydraConfig

    choices: Any = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return choices.get("debug")


def next_reading(trainer: Any, run: Path) -> list[str]:
    """What to read after a run for debugging: of its callbacks, else of its files; empty for other runs."""
    steps = [text for callback in trainer.callbacks for text in getattr(callback, "next_steps", ())]
    steps = [text.replace(str(run), word(run)) for text in steps]
    if steps or debug_choice() is None:
        return steps
    metrics = run / "metrics.csv"
    if metrics.is_file():
        from trimer.reporting.curves import read_curves
        from trimer.reporting.figures import training_curves

        attempt("curves.png", lambda: training_curves(read_curves(metrics), run / "curves.png"))
    return [f"read {word(run / name)}" for name in FILES if (run / name).is_file()][:2]
