"""The speed of matrix products in fp32 and bf16 on this CPU, measured once, and the precision chosen by it.

Likewise the faster kernel of attention in bf16.

The instruction set does not predict the speed: of two CPUs with `avx512_bf16`, one multiplies in bf16 four times as
fast as in fp32, the other at 0.6 of the fp32 speed. A measurement takes some tens of milliseconds. Its result is cached
for each CPU, number of threads and version of torch.
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
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

log = logging.getLogger(__name__)

BF16, FP32 = "bf16-mixed", "32-true"  # Lightning's names
WORTH_IT = 1.3  # bf16 products must be this much faster: rounding their inputs takes about a tenth of a step
SIZE = 768  # rows, columns and depth of the product: 0.9 GFLOP
ATTENTION = (8, 256, 32)  # heads, tokens and width of a head of a measured attention
REPEATS = 5
CLEARLY_SLOWER = 3  # more than what other load does to a single product
CHOICE = "TRIMER_CPU_PRECISION"  # environment variable: the choice of the first process, for those that it starts
ISA = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")  # environment variables that disable CPU instructions


def cpu_precision(accelerator: str = "cpu", resume: str | None = None) -> str:
    """Lightning's name of the fastest safe precision: measured on a CPU, bf16-mixed elsewhere.

    A resumed run keeps its precision. All processes of a run use that of the first process.
    """
    from trimer.run import first_process

    if resume and (recorded := recorded_precision(resume, accelerator)):
        return recorded
    if accelerator != "cpu" and not (accelerator == "auto" and not has_accelerator()):
        return BF16
    if not first_process() and (chosen := os.environ.get(CHOICE)):
        return chosen
    os.environ[CHOICE] = faster_precision()
    return os.environ[CHOICE]


def recorded_precision(folder: str, accelerator: str) -> str | None:
    """The precision of a run, if it used the same kind of accelerator."""
    from trimer.run import RunFolder

    run = RunFolder(Path(folder).expanduser())
    trainer = run.config.get("trainer", {}) if run.started else {}
    return str(trainer["precision"]) if trainer.get("accelerator") == accelerator and "precision" in trainer else None


def has_accelerator() -> bool:
    """Whether torch can use a GPU."""
    import torch

    return torch.cuda.is_available()


@functools.cache
def faster_precision() -> str:
    """bf16-mixed if its products are faster by the factor WORTH_IT, else 32-true."""
    speed = speeds()
    return BF16 if speed["bf16"] >= WORTH_IT * speed["fp32"] else FP32


def log_choice(precision: str) -> None:
    """Log why this precision was chosen, if `cpu_precision` has chosen it by measurement."""
    if faster_precision.cache_info().currsize and precision == faster_precision():
        speed = speeds()
        log.info(
            "precision %s: this CPU computes matrix products at %.0f GFLOP/s in fp32 and %.0f in bf16 (measured; "
            "trainer.precision= sets another precision)",
            precision,
            speed["fp32"],
            speed["bf16"],
        )


@functools.cache
def speeds() -> dict[str, float]:
    """GFLOP/s of matrix products in fp32 and bf16 on this CPU, from the cache or measured now."""
    return _stored("cpu-speed", ("fp32", "bf16"), measure_speeds)


@functools.cache
def flash_is_faster_in_bf16() -> bool:
    """Whether torch's flash attention is faster in bf16 on this CPU than two products with a softmax between.

    On an AMD EPYC it is hardly faster in bf16 than in fp32. This decides how attention is computed where no gradients
    are needed, so weights do not depend on it.
    """
    seconds = _stored("cpu-attention", ("flash", "products"), measure_attention)
    return seconds["flash"] < seconds["products"]


def _stored(kind: str, names: Sequence[str], measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What was measured on this CPU before, from the cache folder, or what is measured now."""
    hidden = [f"{name}={os.environ[name]}" for name in ISA if name in os.environ]
    key = ", ".join(
        [
            cpu_name(),
            instructions_digest(),
            f"{threads()} threads",
            f"torch {version('torch')}",
            "CPU time",  # earlier versions measured seconds, which other load falsified
            platform.machine(),
            *hidden,
        ]
    )
    path = cache_folder() / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    try:
        stored = json.loads(path.read_text())
        return {name: float(stored[name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError):  # no cache file yet, or a damaged one
        measured = measure()
    from trimer.files import write_text

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"cpu": key, **measured}) + "\n")
    except OSError as error:
        log.debug("%s: %s", path, error)
    return measured


def measure_speeds() -> dict[str, float]:
    """GFLOP/s of products in both types: the best of several, alternating.

    CPU time is measured: other processes that use the cores would slow down one type and not the other by chance.
    Where bf16 is clearly slower, one product of each is enough: a CPU without such instructions takes seconds for more.
    """
    import torch
    import torch.nn.functional as F

    fastest = {"fp32": float("inf"), "bf16": float("inf")}
    matrices = {"fp32": torch.ones(SIZE, SIZE), "bf16": torch.ones(SIZE, SIZE, dtype=torch.bfloat16)}
    with torch.inference_mode():
        for repeat in range(REPEATS + 1):  # the first repeat warms up
            for name, matrix in matrices.items():
                started = time.process_time()
                F.linear(matrix, matrix)
                if repeat:
                    taken = (time.process_time() - started) / torch.get_num_threads()
                    fastest[name] = min(fastest[name], taken)
            if fastest["bf16"] > CLEARLY_SLOWER * fastest["fp32"]:
                break
    return {name: round(2 * SIZE**3 / seconds / 1e9, 1) for name, seconds in fastest.items()}


def measure_attention() -> dict[str, float]:
    """CPU-seconds of attention in bf16 by torch's flash kernel and by products: the best of several, alternating."""
    import torch

    with torch.inference_mode():
        q = torch.ones(ATTENTION, dtype=torch.bfloat16)

        def flash() -> None:
            torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q[None], q[None], q[None])

        def products() -> None:
            weights = torch.bmm(q, q.transpose(1, 2))
            torch.bmm(torch.softmax(weights, -1, out=weights), q)

        fastest = {"flash": float("inf"), "products": float("inf")}
        for repeat in range(REPEATS + 1):  # the first repeat warms up
            for kernel in (flash, products):
                started = time.process_time()
                kernel()
                if repeat:
                    fastest[kernel.__name__] = min(fastest[kernel.__name__], time.process_time() - started)
    return fastest


def cache_folder() -> Path:
    """The cache folder, the same as `paths.cache`."""
    return Path(os.environ.get("TRIMER_CACHE") or Path(os.environ.get("HOME", "."), ".cache", "trimer"))


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Number of threads that torch uses by default, without importing it."""
    variable = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(variable) if variable.isdigit() and int(variable) else cores()


def cpu_name() -> str:
    """Model name of the CPU."""
    line = re.search(r"^model name\s*:\s*(.+)$", cpuinfo(), flags=re.MULTILINE)
    return line.group(1) if line else platform.processor() or platform.machine()


def instructions_digest() -> str:
    """A digest of the instruction set: in virtual machines, CPUs of one name differ in it."""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo(), flags=re.MULTILINE)
    return hashlib.sha256(" ".join(sorted(line.group(1).split())).encode()).hexdigest()[:8] if line else ""


def cpuinfo() -> str:
    """The content of /proc/cpuinfo, empty on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
