"""Time of `trimer report` for a sweep of many runs, whose folders this script writes.

python benchmarks/sweep_report.py [--runs 100] [--rows 2000] [--folder <folder to keep>]
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEEDS = 4
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
LAYERS = (2, 4, 6, 8, 10)
ABOVE_CHANCE = 0.9  # of the accuracy at a loss of 0


def make_runs(folder: Path, runs: int, rows: int) -> None:
    """A sweep of learning rate, layers and seeds as `trimer train -m` leaves it, with simulated curves and results."""
    for number in range(runs):
        source = random.Random(number)
        seed, rate = number % SEEDS, RATES[number // SEEDS % len(RATES)]
        layers = LAYERS[number // (SEEDS * len(RATES)) % len(LAYERS)]
        words = [f"optimizer.lr={rate:g}", f"model.layers={layers}", f"seed={seed}", "data=simulated_spectra"]
        settings = {f"key{i}": {f"value{j}": source.random() for j in range(10)} for i in range(15)}
        config = {
            "name": "train", "seed": seed, "objective": "val/loss", "optimizer": {"lr": rate},
            "model": {"layers": layers}, "data": {"shuffle": True}, "paths": {"run": f"runs/{number}"}, "other": {},
        }  # fmt: skip
        config["other"] = {key: dict.fromkeys(values, 0.5) for key, values in settings.items()}
        where = folder / str(number)
        (where / "test").mkdir(parents=True)
        (where / "run.json").write_text(json.dumps({"command": "train", "trimer": "0.2.0", "data": "store-1",
                                                    "seeds": {"seed": seed, "keys": []}, "git": None}))  # fmt: skip
        (where / "overrides.yaml").write_text("".join(f"- {word}\n" for word in words))
        (where / "config.yaml").write_text(yaml_text(config))
        if number % 25 == 24:
            reason = "the training loss is nan at step 120: lower optimizer.lr"
            (where / "result.json").write_text(json.dumps({"status": "failed", "error": reason}))
            write_metrics(where / "metrics.csv", rows // 10, 2.0, source)
            continue
        best = 0.6 + 0.25 * abs(math.log10(rate / 1e-3)) + 0.8 / layers + source.gauss(0, 0.03)
        write_metrics(where / "metrics.csv", rows, best, source)
        accuracy = ABOVE_CHANCE * math.exp(-best)
        metrics = {"val/loss": best, "val/accuracy": accuracy, "test/accuracy": accuracy - 0.01,
                   "test/auroc": 0.5 + accuracy / 2}  # fmt: skip
        result = {"status": "ok", "metrics": metrics, "seconds": 60.0 + 20 * layers + source.random(),
                  "memory_mb": 300 + 40 * layers, "objective": best}  # fmt: skip
        (where / "result.json").write_text(json.dumps(result))
        table = {"k": [1, 5, 10], "metrics": ["accuracy", "auroc"], "rows": [
            {"method": "random forest", "kind": "baseline", "values": {"accuracy": 0.29, "auroc": 0.66}},
            {"method": "most frequent class", "kind": "baseline", "values": {"accuracy": 0.12, "auroc": 0.5}},
            {"method": f"train, seed {seed}", "kind": "method", "values": {"accuracy": accuracy - 0.01}},
        ]}  # fmt: skip
        (where / "test" / "table.json").write_text(json.dumps(table))
        (where / "test" / "page.html").write_text("<!doctype html><title>page</title>")


def write_metrics(path: Path, rows: int, best: float, source: random.Random) -> None:
    """metrics.csv: a falling training loss at each row, a validation at each twentieth."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        columns = ["epoch", "step", "lr", "train/loss", "tokens_per_second", "real_tokens", "val/loss", "val/accuracy"]
        writer.writerow([*columns, *(f"val/top{k}_accuracy" for k in range(1, 7))])
        for row in range(rows):
            step = 10 * (row + 1)
            falling = best + 2.5 * math.exp(-4 * (row + 1) / rows)
            cells = [row * 10 // rows, step, 1e-3, falling + source.gauss(0, 0.08), 9e4, 512 * step]
            writer.writerow([*cells, *[""] * 8])
            if row % 20 == 19:
                loss = falling + 0.1 + source.gauss(0, 0.01)
                accuracy = ABOVE_CHANCE * math.exp(-loss)
                writer.writerow([row * 10 // rows, step, *[""] * 4, loss, accuracy, *[accuracy] * 6])


def yaml_text(tree: dict, indent: int = 0) -> str:
    """Nested dicts as YAML."""
    lines = []
    for key, value in tree.items():
        inner = f"\n{yaml_text(value, indent + 2)}" if isinstance(value, dict) and value else f" {json.dumps(value)}\n"
        lines.append(f"{' ' * indent}{key}:{inner}")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=2000, help="rows of each metrics.csv")
    parser.add_argument("--folder", type=Path, help="where the runs are kept; by default they are deleted")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not (folder / "0").exists():
            make_runs(folder, args.runs, args.rows)
        output = folder / "report.html"
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "trimer", "report", str(folder), f"output={output}"], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{args.runs} runs of {args.rows:,} rows: {seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of CPU, "
              f"{used.ru_maxrss / 1024:.0f} MB), page of {output.stat().st_size / 1e6:.2f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
