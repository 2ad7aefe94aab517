"""What the machine of a benchmark can do: its CPU, its peaks in matrix products, and the precision that Trimer chooses.

python benchmarks/machine.py
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from pathlib import Path

import torch
from rich.console import Console

from trimer.accelerators.cpu_speed import cpu_precision

# Rows, width in and width out of a product. The first is a layer of ESM2 8M, the second is square.
SHAPES = ((2048, 320, 1280), (1024, 1024, 1024))
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Variables that hide instructions of the CPU from the libraries of torch, from ctranslate2 and from esm-cpp.
MASKS = (
    "ONEDNN_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "ATEN_CPU_CAPABILITY",
    "CT2_FORCE_CPU_ISA",
    "ESM_FORCE_ISA",
)


def cpu_name(cpuinfo: str = "/proc/cpuinfo") -> str:
    """Model name, family and model of the CPU; virtual machines often hide the name, not the numbers."""
    try:
        text = Path(cpuinfo).read_text()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    matches = [
        re.search(rf"^{key}\s*:\s*(.+)$", text, flags=re.MULTILINE) for key in ("model name", "cpu family", "model")
    ]
    name, family, model = (match.group(1).strip() if match else "unknown" for match in matches)
    kinds = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16", "amx_int8") if re.search(rf"\b{flag}\b", text)]
    return f"{name}, family {family}, model {model}, {' '.join(kinds) or 'no AVX-512'}"


@torch.inference_mode()
def product_peaks(repeats: int = 10, calls: int = 4) -> dict[str, float]:
    """Peak of matrix products in GFLOP per CPU-second, "fp32" and "bf16": the best of all shapes and repeats."""
    peaks = dict.fromkeys(DTYPES, 0.0)
    for name, dtype in DTYPES.items():
        for rows, width_in, width_out in SHAPES:
            x, weight = torch.randn(rows, width_in, dtype=dtype), torch.randn(width_out, width_in, dtype=dtype)
            for _ in range(repeats + 1):
                started = time.process_time()
                for _ in range(calls):
                    torch.nn.functional.linear(x, weight)
                taken = time.process_time() - started
                peaks[name] = max(peaks[name], calls * 2 * rows * width_in * width_out / taken / 1e9)
    return peaks


def chosen_precision() -> str:
    """ "bf16" or "fp32": the precision of `trimer train` on this CPU when none is given."""
    return "bf16" if cpu_precision().startswith("bf16") else "fp32"


def versions(*packages: str) -> str:
    """Names and versions of those packages that are installed."""
    installed = []
    for package in packages:
        try:
            installed.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(installed)


def print_machine(*packages: str) -> dict[str, float]:
    """Print CPU, threads, peaks, chosen precision and versions; returns the peaks."""
    peaks = product_peaks()
    masks = "".join(f", {name}={os.environ[name]}" for name in MASKS if name in os.environ)
    shown = ", ".join(f"{name} {peak:,.0f}" for name, peak in peaks.items())
    lines = [
        f"CPU: {cpu_name()}; {torch.get_num_threads()} thread(s){masks}",
        f"peak of matrix products (GFLOP/CPU-s): {shown}; bf16 to fp32 {peaks['bf16'] / peaks['fp32']:.2f}",
        f"precision chosen by Trimer: {chosen_precision()}",
        f"Python {platform.python_version()}, {versions('torch', *packages)}",
    ]
    Console(soft_wrap=True, highlight=False).print("\n".join(lines), markup=False)
    return peaks


if __name__ == "__main__":
    torch.set_num_threads(1)
    print_machine()
