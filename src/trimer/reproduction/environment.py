"""The environment of a run: packages, device and driver, threads, and environment variables that change results.

Values of variables whose name looks like a secret are never recorded.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from trimer.accelerators.cpu_speed import cores, cpu_name, speeds

PACKAGES_FILE = "packages.txt"
# Shown on result pages; packages.txt has all.
PACKAGES = ("torch", "lightning", "hydra-core", "omegaconf", "numpy", "rdkit", "pyarrow", "torchmetrics", "wandb")
VARIABLES = re.compile(
    r"\w+_NUM_THREADS|CUDA_\w+|CUBLAS_\w+|CUDNN_\w+|NVIDIA_TF32_OVERRIDE|NCCL_\w+|PYTHONHASHSEED|TORCH_\w+|PYTORCH_\w+|"
    r"TORCHINDUCTOR_\w+|TRIMER_\w+|OMP_\w+|MKL_\w+|KMP_\w+|GOMP_\w+|OPENBLAS_\w+|ONEDNN_\w+|DNNL_\w+|XLA_\w+|PJRT_\w+|"
    r"TPU_\w+|WORLD_SIZE|SLURM_NTASKS|SLURM_JOB_NUM_NODES"
)
# Folders do not change results, and name the user; the others are set by Trimer and Lightning themselves.
NOT_RECORDED = re.compile(
    r"\w+_(DIR|PATH|HOME|CACHE)|TRIMER_(DATA|CPU_PRECISION|PARENT|VERBOSITY)|PYTORCH_NVML_BASED_CUDA_CHECK"
)
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
LONGEST = 1000  # characters of a value


def environment() -> dict[str, str]:
    """The environment variables that are set and may change a result, without paths of the config and secrets."""
    return {
        name: value[:LONGEST]
        for name, value in sorted(os.environ.items())
        if VARIABLES.fullmatch(name) and not NOT_RECORDED.fullmatch(name) and not SECRET.search(name)
    }


@functools.cache
def installed() -> dict[str, str]:
    """Name and version of all installed packages, sorted by name; it takes about 0.3 s."""
    versions: dict[str, str] = {}
    for distribution in distributions():
        metadata: Any = distribution.metadata  # None for a damaged installation
        if metadata is not None and (name := metadata["Name"]):
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), metadata["Version"] or "unknown")
    return dict(sorted(versions.items()))


def package_lines(packages: dict[str, str]) -> str:
    """The packages as `name==version` lines, which pip reads."""
    return "".join(f"{name}=={version}\n" for name, version in packages.items())


def read_packages(folder: Path, record: dict[str, Any]) -> dict[str, str]:
    """The packages of a run: those of packages.txt, else the few that an earlier version wrote to run.json."""
    path = folder / PACKAGES_FILE
    if not path.is_file():
        return dict(record.get("packages") or {})
    lines = [line.strip().partition("==") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: version for name, equals, version in lines if equals}


def device() -> dict[str, Any]:
    """CPU model, number of cores, GFLOP/s of the CPU if measured, threads, GPUs with driver; not the host name."""
    facts: dict[str, Any] = {"cpu": cpu_name(), "cores": cores()}
    if speeds.cache_info().currsize:
        facts["cpu_gflops"] = speeds()
    torch = sys.modules.get("torch")  # imported by every training, not by every test
    if torch is not None:
        facts["threads"] = torch.get_num_threads()
        facts["interop_threads"] = torch.get_num_interop_threads()
        if torch.cuda.is_available():
            numbers = range(torch.cuda.device_count())
            facts["gpus"] = [torch.cuda.get_device_name(number) for number in numbers]
            memory = [torch.cuda.get_device_properties(number).total_memory for number in numbers]
            facts["gpu_memory_gb"] = [round(size / 1e9) for size in memory]
            facts |= {"driver": driver(), "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return facts


def driver() -> str | None:
    """The version of the NVIDIA driver, None if the system does not state it."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    match = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return match[1] if match else None


def machine() -> dict[str, str]:
    """Version of Python, and operating system with architecture."""
    return {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
