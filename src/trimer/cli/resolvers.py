"""Config values that depend on the time, the CPU or the run folder.

`${trimer.stamp:}` is date, time and six random characters, the same within a process: two runs that start in the same
second get two folders. `${trimer.cpu_precision:<accelerator>,<run to resume>}` is the fastest precision of this CPU, or
that of the run to resume (`trimer.accelerators.cpu_speed`). `${trimer.run_id:<folder>}` is the id of a run for
trackers; a resumed run keeps it, and a run of a W&B agent has the id that the agent gives it.
"""

from __future__ import annotations

import functools
import json
import os
import re
from datetime import datetime
from pathlib import Path


@functools.cache
def stamp() -> str:
    """Name of a new run folder, such as `2025-03-01_14-05-59-a3f09c`."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.urandom(3).hex()}"


def run_id(folder: str) -> str:
    """The id in `run.json` of the folder, or that of a W&B agent, or one made from the folder's name."""
    path = Path(folder)
    try:
        stored = json.loads((path / "run.json").read_text()).get("id")
    except (OSError, ValueError):
        stored = None
    if os.environ.get("WANDB_SWEEP_ID"):
        stored = stored or os.environ.get("WANDB_RUN_ID")
    # The folder of a sweep's job is only a number: its parent makes the id unique.
    parts = path.absolute().parts[-3:] if path.name.isdigit() else path.absolute().parts[-2:]
    return stored or re.sub(r"[^\w.-]", "-", "-".join(parts).strip("/"))[-120:]


def register() -> None:
    """Register the three resolvers with OmegaConf; safe to call again."""
    from omegaconf import OmegaConf

    from trimer.accelerators.cpu_speed import cpu_precision

    for name, function in (("stamp", stamp), ("cpu_precision", cpu_precision), ("run_id", run_id)):
        OmegaConf.register_new_resolver(f"trimer.{name}", function, replace=True)
