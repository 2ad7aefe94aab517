"""Values that a config cannot state, because they depend on the moment, the processor or the run folder.

`${trimer.stamp:}` is date, time and six random characters, the same for a whole process, so that two runs started in
the same second get two folders. `${trimer.cpu_precision:<accelerator>,<run to resume>}` is the precision that is the
fastest on this processor, or that of the run (`trimer.accelerators.cpu_speed`).
`${trimer.run_id:<folder>}` is the identity of a run for trackers, kept when the run is resumed.
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
    """Name of a new run folder, `2025-03-01_14-05-59-a3f09c`."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.urandom(3).hex()}"


def run_id(folder: str) -> str:
    """The identity stored in `run.json` of the folder, or one made of the folder's own name."""
    path = Path(folder)
    try:
        stored = json.loads((path / "run.json").read_text()).get("id")
    except (OSError, ValueError):
        stored = None
    # A job of a sweep is called by its number: the folder above makes it unique.
    parts = path.absolute().parts[-3:] if path.name.isdigit() else path.absolute().parts[-2:]
    return stored or re.sub(r"[^\w.-]", "-", "-".join(parts).strip("/"))[-120:]


def register() -> None:
    """Make the three known to OmegaConf; may be called again."""
    from omegaconf import OmegaConf

    from trimer.accelerators.cpu_speed import cpu_precision

    for name, function in (("stamp", stamp), ("cpu_precision", cpu_precision), ("run_id", run_id)):
        OmegaConf.register_new_resolver(f"trimer.{name}", function, replace=True)
