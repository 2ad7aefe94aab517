"""Values that a config cannot state, because they depend on the moment, the processor or the run folder.

`${trimer.stamp:}` is date, time and six random characters, the same for a whole process, so that two runs started in
the same second get two folders. `${trimer.cpu_precision:}` is bf16-mixed where the processor multiplies in bf16.
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


@functools.cache
def cpu_has_bf16(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether the processor has bf16 products of its own; without them bf16 is slower than fp32, not faster."""
    try:
        text = Path(cpuinfo).read_text()
    except OSError:  # not Linux: unknown, and fp32 is always right
        return False
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, flags=re.MULTILINE)
    return bool(flags and {"avx512_bf16", "amx_bf16", "bf16"} & set(flags.group(1).split()))


def cpu_precision() -> str:
    """Lightning's name of the fastest safe precision of this processor."""
    return "bf16-mixed" if cpu_has_bf16() else "32-true"


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

    for name, function in (("stamp", stamp), ("cpu_precision", cpu_precision), ("run_id", run_id)):
        OmegaConf.register_new_resolver(f"trimer.{name}", function, replace=True)
