"""The order of an epoch of a very large corpus: seconds, and memory of a rank.

    python benchmarks/epoch_plan.py --rows 120000000 --ranks 1 8

The store is simulated: lengths of sequences as offsets in a mapped file, as in a store, and the code of a split for
each row. Measured is what the first rank of several does: take the rows of the training split and their lengths, plan
the batches, and begin an epoch. `--in-memory` does the same without files. Anonymous memory is what a process cannot
give back; pages of mapped files are dropped when memory is short.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console

from trimer.data.core.mapped import collected, ranges, row_type
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import EpochPlan
from trimer.data.core.splits import Split
from trimer.data.core.store import BATCH_ROWS
from trimer.data.core.stored_ragged import StoredRagged

GIB = 2**30
console = Console(soft_wrap=True, highlight=False)


def memory() -> dict[str, int]:
    """Resident memory of this process, anonymous and of mapped files, bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile")}


@contextmanager
def measured(what: str, before: int, rows: int) -> Iterator[None]:
    """Print seconds, and anonymous memory above `before`: its peak, and what is left."""
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[0] = max(peak[0], memory()["RssAnon"])

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ended.set()
    thread.join()
    now = memory()
    top, held = (max(value - before, 0) for value in (max(peak[0], now["RssAnon"]), now["RssAnon"]))
    console.print(
        f"  {what}: {cpu:,.1f} CPU-s ({wall:,.1f} s); anonymous memory: peak {top / GIB:.2f} GiB "
        f"({top / rows:.1f} bytes a row), held {held / GIB:.2f} GiB ({held / rows:.1f}); "
        f"mapped pages {now['RssFile'] / GIB:.2f} GiB"
    )


def simulated_store(rows: int, folder: Path) -> tuple[StoredRagged, Split]:
    """Lengths of 20 to 80 tokens, and a split with 98 % of the rows in train."""
    rng = np.random.default_rng(0)

    def offsets() -> Iterator[np.ndarray]:
        last = 0
        yield np.zeros(1, np.int64)
        for part in ranges(rows):
            ends = last + np.cumsum(rng.integers(20, 81, len(part)))
            last = int(ends[-1])
            yield ends

    bounds = collected(offsets(), np.int64, folder)
    codes = collected(((rng.random(len(part)) > 0.98).astype(np.uint8) for part in ranges(rows)), np.uint8, folder)
    column = StoredRagged([])
    nothing = np.zeros(0, np.uint8)
    column._record_batches = [Ragged(nothing, bounds[at : at + BATCH_ROWS + 1]) for at in range(0, rows, BATCH_ROWS)]
    column._batch_rows = BATCH_ROWS
    return column, Split(codes, ("train", "val"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=120_000_000)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=65_536, help="of a batch")
    parser.add_argument("--in-memory", action="store_true", help="without files")
    parser.add_argument("--folder", type=Path, default=None, help="of the files, as data.cache")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = None if options.in_memory else Path(name)
        column, split = simulated_store(options.rows, Path(name))
        before = memory()["RssAnon"]
        console.print(f"{options.rows:,} rows, {'in memory' if options.in_memory else 'in mapped files'}")
        with measured("rows and lengths of the training split", before, options.rows):
            rows = collected(split.rows_in_parts("train"), row_type(len(split)), folder)
            parts = (column.lengths_at(rows[part.start : part.stop]) for part in ranges(len(rows)))
            lengths = collected(parts, np.int32, folder)
        for ranks in options.ranks:
            with measured(f"plan for {ranks} ranks", before, options.rows):
                plan = EpochPlan(lengths, options.tokens, rows=rows, multiple=ranks, folder=folder)
            with measured(f"an epoch begins on one of {ranks} ranks", before, options.rows):
                batches = plan.epoch(1, 0, ranks)
                next(batches)
            with measured("100 batches", before, options.rows):
                for _ in range(100):
                    next(batches)
            del batches, plan


if __name__ == "__main__":
    main()
