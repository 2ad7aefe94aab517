"""How fast an MGF file is read: this package beside matchms and pyteomics, interleaved in one process.

    python benchmarks/mgf_reading.py --spectra 20000 --repeats 5

Writes an MGF of that many spectra (or repeats the records of --library until there are enough), reads it with each
reader in turn, checks that m/z, intensity and precursor m/z are equal, and prints the medians and the ratio of the
paired runs. Each reader is timed until its spectra, with peaks as arrays, are all in memory.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from trimer.data.spectra.readers import read_spectra


def write_fabricated(path: Path, spectra: int, seed: int = 0) -> None:
    """Spectra of the size that libraries have: a median of 14 peaks, and the fields of a labelled record."""
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.lognormal(np.log(14), 1.1, spectra), 1, 150).astype(int)
    with path.open("w") as file:
        for i, count in enumerate(counts):
            precursor = rng.uniform(100, 1000)
            mz = np.sort(rng.uniform(40, precursor, count))
            intensity = rng.exponential(100, count) + 1
            file.write(
                f"BEGIN IONS\nTITLE=spectrum-{i}\nPEPMASS={precursor:.5f}\nCHARGE=1+\nIONMODE=positive\nMSLEVEL=2\n"
                "ADDUCT=[M+H]+\nSMILES=CN1C=NC2=C1C(=O)N(C)C(=O)N2C\nINSTRUMENT_TYPE=LC-ESI-QTOF\n"
                f"COLLISION_ENERGY={rng.integers(5, 90)} eV\n"
                + "".join(f"{m:.5f} {x:.2f}\n" for m, x in zip(mz, intensity, strict=True))
                + "END IONS\n\n"
            )


def write_repeated(path: Path, spectra: int, library: Path) -> None:
    """The records of a library, over and over until there are enough."""
    records = library.read_text().split("BEGIN IONS\n")[1:]
    with path.open("w") as file:
        for i in range(spectra):
            file.write("BEGIN IONS\n" + records[i % len(records)])


def read_trimer(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = read_spectra(path)
    return table.mz, table.intensity, table["precursor_mz"]


def read_matchms(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from matchms.importing import load_from_mgf

    spectra = list(load_from_mgf(str(path)))
    return (
        np.concatenate([s.peaks.mz for s in spectra]),
        np.concatenate([s.peaks.intensities for s in spectra]).astype(np.float32),
        np.array([s.get("precursor_mz") for s in spectra]),
    )


def read_pyteomics(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from pyteomics import mgf

    with mgf.read(str(path), use_index=False, convert_arrays=1, read_charges=False) as reader:
        spectra = list(reader)
    return (
        np.concatenate([s["m/z array"] for s in spectra]),
        np.concatenate([s["intensity array"] for s in spectra]).astype(np.float32),
        np.array([s["params"]["pepmass"][0] for s in spectra]),
    )


READERS: dict[str, Callable] = {"trimer": read_trimer, "matchms": read_matchms, "pyteomics": read_pyteomics}


def paired_ratio(runs: list[float], base: list[float]) -> float:
    """Median of the ratios of runs that stood side by side."""
    return statistics.median(run / ours for run, ours in zip(runs, base, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectra", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--library", type=Path, help="an MGF whose records are repeated instead of fabricated ones")
    arguments = parser.parse_args()
    logging.getLogger("matchms").setLevel(logging.ERROR)  # its warnings on metadata would be timed with it

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spectra.mgf"
        if arguments.library:
            write_repeated(path, arguments.spectra, arguments.library)
        else:
            write_fabricated(path, arguments.spectra)
        size = path.stat().st_size / 1e6
        seconds: dict[str, list[float]] = {name: [] for name in READERS}
        processor: dict[str, list[float]] = {name: [] for name in READERS}
        results = {name: read(path) for name, read in READERS.items()}  # warm: imports and the file cache
        for name, result in results.items():
            for ours, theirs, field in zip(
                results["trimer"], result, ("m/z", "intensity", "precursor m/z"), strict=True
            ):
                if not np.array_equal(ours, theirs):
                    raise SystemExit(f"{name} and trimer differ in {field}")
        del results
        for _ in range(arguments.repeats):
            for name, read in READERS.items():
                start, start_processor = time.perf_counter(), time.process_time()
                read(path)
                seconds[name].append(time.perf_counter() - start)
                processor[name].append(time.process_time() - start_processor)

    table = Table(title=f"Reading an MGF of {arguments.spectra:,} spectra, {size:.1f} MB, {arguments.repeats} repeats")
    for column in (
        "reader",
        "seconds",
        "CPU seconds",
        "spectra/s",
        "times the seconds of trimer",
        "of its CPU seconds",
    ):
        table.add_column(column, justify="left" if column == "reader" else "right")
    for name in READERS:
        median = statistics.median(seconds[name])
        table.add_row(
            name,
            f"{median:.3f}",
            f"{statistics.median(processor[name]):.3f}",
            f"{arguments.spectra / median:,.0f}",
            *(f"{paired_ratio(runs[name], runs['trimer']):.2f}" for runs in (seconds, processor)),
        )
    Console(width=100).print(table)
    print("m/z, intensity and precursor m/z are equal in all three")


if __name__ == "__main__":
    main()
