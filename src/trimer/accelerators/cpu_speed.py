"""How fast this processor multiplies in fp32 and in bf16, measured once, and the precision that follows from it.

Flags do not tell: of two processors with `avx512_bf16` one multiplies in bf16 four times as fast as in fp32, the other
at 0.6 of that speed. A measurement takes some tens of milliseconds and is kept in the cache folder for each processor,
number of threads and version of torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import re
import time
from importlib.metadata import version
from pathlib import Path

log = logging.getLogger(__name__)

BF16, FP32 = "bf16-mixed", "32-true"  # Lightning's names
WORTH_IT = 1.3  # how much faster bf16 products must be: rounding what enters them costs about a tenth of a step
SIZE = 768  # rows, columns and depth of the product: 0.9 GFLOP
REPEATS = 5
CHOICE = "TRIMER_CPU_PRECISION"  # in the environment: what the first process chose for those that it starts
ISA = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")  # variables that hide instructions from the libraries


def cpu_precision(accelerator: str = "cpu", resume: str | None = None) -> str:
    """Lightning's name of the fastest safe precision: on a processor as measured, elsewhere bf16-mixed.

    A run that is resumed keeps the precision with which it began; all processes of a run have that of the first.
    """
    from trimer.run import first_process

    if resume and (recorded := recorded_precision(resume, accelerator)):
        return recorded
    if accelerator != "cpu" and not (accelerator == "auto" and not has_accelerator()):
        return BF16
    if not first_process() and (chosen := os.environ.get(CHOICE)):
        return chosen
    os.environ[CHOICE] = choice()
    return os.environ[CHOICE]


def recorded_precision(folder: str, accelerator: str) -> str | None:
    """The precision of a run on the same kind of device."""
    from trimer.run import RunFolder

    run = RunFolder(Path(folder).expanduser())
    trainer = run.config.get("trainer", {}) if run.started else {}
    return str(trainer["precision"]) if trainer.get("accelerator") == accelerator and "precision" in trainer else None


def has_accelerator() -> bool:
    """Whether there is a GPU that torch can use."""
    import torch

    return torch.cuda.is_available()


@functools.cache
def choice() -> str:
    """bf16-mixed where its products are faster by enough, else 32-true."""
    speed = speeds()
    return BF16 if speed["bf16"] >= WORTH_IT * speed["fp32"] else FP32


def log_choice(precision: str) -> None:
    """Say why a training computes in this precision, where that was chosen here."""
    if choice.cache_info().currsize and precision == choice():
        speed = speeds()
        log.info(
            "precision %s: this processor multiplies at %.0f GFLOP/s in fp32 and %.0f in bf16 (measured; another one "
            "with trainer.precision=)",
            precision,
            speed["fp32"],
            speed["bf16"],
        )


@functools.cache
def speeds() -> dict[str, float]:
    """GFLOP/s of matrix products in fp32 and bf16 on this processor, from the cache or measured now."""
    hidden = [f"{name}={os.environ[name]}" for name in ISA if name in os.environ]
    key = ", ".join(
        [processor(), instructions(), f"{threads()} threads", f"torch {version('torch')}", platform.machine(), *hidden]
    )
    path = cache_folder() / f"cpu-speed-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    try:
        stored = json.loads(path.read_text())
        return {name: float(stored[name]) for name in ("fp32", "bf16")}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or not readable: measured again
        found = measured()
    from trimer.files import write_text

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"processor": key, **found}) + "\n")
    except OSError as error:
        log.debug("%s: %s", path, error)
    return found


def measured() -> dict[str, float]:
    """GFLOP/s of products in both types: the best of some, taken in turns, so that other work disturbs both alike."""
    import torch
    import torch.nn.functional as F

    fastest = {"fp32": float("inf"), "bf16": float("inf")}
    matrices = {"fp32": torch.ones(SIZE, SIZE), "bf16": torch.ones(SIZE, SIZE, dtype=torch.bfloat16)}
    with torch.inference_mode():
        for repeat in range(REPEATS + 1):  # the first one warms up
            for name, matrix in matrices.items():
                started = time.perf_counter()
                F.linear(matrix, matrix)
                if repeat:
                    fastest[name] = min(fastest[name], time.perf_counter() - started)
    return {name: round(2 * SIZE**3 / seconds / 1e9, 1) for name, seconds in fastest.items()}


def cache_folder() -> Path:
    """As `paths.cache`."""
    return Path(os.environ.get("TRIMER_CACHE") or Path(os.environ.get("HOME", "."), ".cache", "trimer"))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """How many torch computes with by default, without importing it."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(given) if given.isdigit() and int(given) else cores()


def processor() -> str:
    """Model name of the processor."""
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo(), flags=re.MULTILINE)
    return named.group(1) if named else platform.processor() or platform.machine()


def instructions() -> str:
    """A digest of what the processor can do: virtual machines give one name to processors that differ in it."""
    named = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo(), flags=re.MULTILINE)
    return hashlib.sha256(" ".join(sorted(named.group(1).split())).encode()).hexdigest()[:8] if named else ""


def cpuinfo() -> str:
    """/proc/cpuinfo, or nothing where there is none."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
