"""The server under load: requests per second, latency and CPU-seconds, beside other ways to the same predictions.

python benchmarks/serving.py --rounds 3 --seconds 5

Server and load are two processes; 1, 8 and 32 clients keep their connections open. In every round each way runs once:
- trimer serve: as it is;
- unbatched: the same server with `tokens_per_batch=1`, which computes every row alone;
- FastAPI + transformers (proteins only): benchmarks/serving_peer.py.
Rows per CPU-second count the CPU time of the server alone, without the load process and without the loading of models.
They are compared with `trimer predict` (proteins: `trimer embed`) on the same rows: the CPU-seconds of two sizes are
subtracted, so that imports and the loading of the model do not count. All ways compute in fp32 with one thread.

Peptides: `peptide-rt`; molecules: `superclass`; spectra: `spectrums` with few samples; proteins: embeddings of a model
of the shape of ESM2 8M with random weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import serving_records
from machine import cpu_name, versions
from rich.console import Console
from rich.table import Table
from serving_process import HOST, ServerProcess, environment, free_port, trimer

CLIENTS = (1, 8, 32)
SAMPLING = {"seed": 1, "generator": {"num_samples": 4}}
OURS, UNBATCHED, PEER = "trimer serve", "unbatched", "FastAPI + transformers"
HERE = Path(__file__).resolve().parent
# Runs a command twice in one process, with few and with many records, and prints the CPU-seconds of both.
DIFFERENCE = """
import sys, time
from trimer.cli.main import main
for words in (sys.argv[1].split(chr(10)), sys.argv[2].split(chr(10)), sys.argv[1].split(chr(10))):
    started = time.process_time()
    assert main(words) == 0
    print("CPU-seconds", time.process_time() - started)
"""


@dataclass
class Case:
    """A kind of records. ckpt: of the command; operation: "predict" or "embed"; sizes: few and many records of it."""

    name: str
    model: str
    ckpt: str
    records: list
    operation: str = "predict"
    parameters: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()  # the same for the command
    sizes: tuple[int, int] = (64, 1024)
    rows: tuple[int, ...] = (1, 64)  # records of a request
    suffix: str = ".csv"

    @property
    def path(self) -> str:
        """The path of requests."""
        return f"/v1/models/{self.model}/{self.operation}"

    def bodies(self, rows: int) -> list[str]:
        """The bodies of requests with this number of records; all records, in order."""
        starts = range(0, len(self.records) - rows + 1, rows)
        some = [self.records[start : start + rows] for start in starts]
        return [json.dumps({"records": records, "parameters": self.parameters}) for records in some]

    def file(self, folder: Path, count: int) -> Path:
        """A file of the first records, repeated, as the command reads it."""
        records = [self.records[number % len(self.records)] for number in range(count)]
        path = folder / f"{self.model}-{count}{self.suffix}"
        path.write_text(WRITERS[self.suffix](records), encoding="utf-8")
        return path


def as_mgf(records: Sequence[dict]) -> str:
    """Spectra as MGF."""
    blocks = []
    for number, spectrum in enumerate(records):
        peaks = "\n".join(f"{mz} {height}" for mz, height in zip(spectrum["mz"], spectrum["intensity"], strict=True))
        head = f"TITLE={number}\nPEPMASS={spectrum['precursor_mz']}\nADDUCT={spectrum['adduct']}"
        blocks.append(f"BEGIN IONS\n{head}\n{peaks}\nEND IONS\n")
    return "\n".join(blocks)


WRITERS: dict[str, Callable[[Sequence], str]] = {
    ".csv": lambda records: "\n".join(["sequence", *records]) + "\n",
    ".smi": lambda records: "\n".join(records) + "\n",
    ".fasta": lambda records: "".join(f">{number}\n{text}\n" for number, text in enumerate(records)),
    ".mgf": as_mgf,
}


def cases_in(folder: Path, residues: int | None = None) -> list[Case]:
    """All cases, with their models in a folder. residues: to which proteins are cut; None: whole proteins."""
    encoder = serving_records.protein_encoder(folder)
    records = serving_records
    proteins = [text[:residues] for text in records.proteins(64)]
    sampling = ("seed=1", f"generator.num_samples={SAMPLING['generator']['num_samples']}")  # type: ignore[index]
    return [
        Case("peptides", "peptide-rt", "peptide-rt", records.peptides(2048), words=("fixed=''",), sizes=(512, 8192),
             rows=(1, 64, 512)),
        Case("molecules", "superclass", "superclass", records.molecules(512), sizes=(64, 1024), suffix=".smi"),
        Case(
            "spectra", "spectrums", "spectrums", records.spectra(96), "predict", SAMPLING, sampling, (4, 68), (1, 16),
            ".mgf",
        ),
        Case("proteins", encoder.name, str(encoder), proteins, "embed", sizes=(4, 68), rows=(1, 16),
             suffix=".fasta"),
    ]  # fmt: skip


@dataclass
class Measured:
    """One run of the load. cpu: seconds of the server."""

    seconds: float
    rows: int
    requests: list[float]
    cpu: float

    @property
    def rate(self) -> float:
        return self.rows / self.seconds

    @property
    def cost(self) -> float:
        """CPU-seconds of the server for a row."""
        return self.cpu / self.rows


def load(server: ServerProcess, path: str, bodies: list[str], rows: int, clients: int, seconds: float) -> Measured:
    """Load a server from another process."""
    values = {"port": server.port, "path": path, "clients": clients, "seconds": seconds, "bodies": bodies}
    specification = server.folder / "load.json"
    specification.write_text(json.dumps(values), encoding="utf-8")
    before = server.cpu_seconds()
    command = [sys.executable, str(HERE / "serving_load.py"), str(specification)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result = json.loads(output)
    cpu = server.cpu_seconds() - before
    return Measured(result["seconds"], rows * len(result["requests"]), result["requests"], cpu)


def command_cost(case: Case, folder: Path) -> float:
    """CPU-seconds of the command for a row, without imports and the loading of the model."""
    words = []
    for count in case.sizes:
        output = folder / f"out-{case.model}-{count}{'.parquet' if case.operation == 'embed' else '.csv'}"
        given = [f"ckpt={case.ckpt}", f"input={case.file(folder, count)}", f"output={output}", *case.words]
        words.append("\n".join([case.operation, *given, "trainer.precision=32-true"]))
    command = [sys.executable, "-c", DIFFERENCE, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(folder), cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    lines = [line for line in done.stdout.splitlines() if line.startswith("CPU-seconds")]
    _, many, few = (float(line.split()[1]) for line in lines)
    return (many - few) / (case.sizes[1] - case.sizes[0])


def servers_in(stack: ExitStack, folder: Path, cases: list[Case]) -> dict[str, ServerProcess]:
    """The servers by name, ready; they end with the stack."""
    ckpt = f"ckpt=[{','.join(case.ckpt for case in cases)}]"
    common = ["serve", ckpt, f"host={HOST}", "trainer.precision=32-true", "jobs.folder=null", "limits.seconds=600"]
    ways: dict[str, tuple[str, ...]] = {OURS: (), UNBATCHED: ("tokens_per_batch=1",)}
    servers = {}
    for name, words in ways.items():
        port, run_folder = free_port(), folder / name.split()[-1]
        run_folder.mkdir()
        servers[name] = ServerProcess(trimer(*common, f"port={port}", *words), port, run_folder)
    if any(case.operation == "embed" for case in cases):
        port, run_folder = free_port(), folder / "peer"
        run_folder.mkdir()
        ckpt = next(case.ckpt for case in cases if case.operation == "embed")
        peer = [sys.executable, str(HERE / "serving_peer.py"), ckpt, str(port)]
        servers[PEER] = ServerProcess(peer, port, run_folder)
    for server in servers.values():
        server.start()
        stack.callback(server.stop)
    return servers


def measure(
    case: Case,
    servers: dict[str, ServerProcess],
    rounds: int,
    seconds: float,
    folder: Path,
    numbers: Sequence[int] = CLIENTS,
) -> dict:
    """(way, rows of a request, clients) -> the runs of the rounds; "command" -> CPU-seconds for a row.

    numbers: of clients, ascending.
    """
    runs: dict[Any, list] = {"command": []}
    for round_ in range(rounds):
        runs["command"].append(command_cost(case, folder))
        for rows in case.rows:
            bodies = case.bodies(rows)
            for clients in numbers if rows == 1 else numbers[-1:]:
                for name, server in servers.items():
                    if (name == PEER and case.operation != "embed") or (name == UNBATCHED and rows > 1):
                        continue
                    path = "/embed" if name == PEER else case.path
                    if not round_:
                        load(server, path, bodies, rows, clients, min(1.0, seconds))  # warm-up
                    run = load(server, path, bodies, rows, clients, seconds)
                    runs.setdefault((name, rows, clients), []).append(run)
    return runs


def table_of(case: Case, runs: dict) -> Table:
    """The table of a case: medians of the rounds, ratios of paired rounds."""
    columns = ("rows a request", "clients", "rows/s", "p50 (ms)", "p99 (ms)", "rows/CPU-s", f"rate to {UNBATCHED}")
    columns = (*columns, f"rate to {PEER}", "CPU-s to the command")
    table = Table("", *columns, title=f"{case.name}: {case.model}, {case.operation}")
    for key, measured in runs.items():
        if key == "command":
            command = "trimer embed" if case.operation == "embed" else "trimer predict"
            table.add_row(command, "", "", "", "", "", f"{1 / statistics.median(measured):,.1f}", "", "", "1.00")
            continue
        name, rows, clients = key
        times = np.concatenate([run.requests for run in measured]) * 1000
        ratios = [
            ratio(measured, runs.get((other, rows, clients))) if name == OURS else "" for other in (UNBATCHED, PEER)
        ]
        costs = [run.cost / cost for run, cost in zip(measured, runs["command"], strict=True)]
        table.add_row(
            name, str(rows), str(clients), f"{statistics.median(run.rate for run in measured):,.1f}",
            f"{np.percentile(times, 50):,.1f}", f"{np.percentile(times, 99):,.1f}",
            f"{statistics.median(1 / run.cost for run in measured):,.1f}", *ratios,
            f"{statistics.median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f})",
        )  # fmt: skip
    return table


def ratio(ours: list[Measured], others: list[Measured] | None) -> str:
    """How many times the rate of the other: median, smallest and largest of the rounds."""
    if others is None:
        return ""
    ratios = [mine.rate / other.rate for mine, other in zip(ours, others, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Run the cases and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each run of the load")
    parser.add_argument("--cases", nargs="*", default=["peptides", "molecules", "spectra", "proteins"])
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS, help="numbers of clients, ascending")
    parser.add_argument("--residues", type=int, help="cut proteins to this length, for a short run")
    parser.add_argument("--models", type=Path, help="folder that keeps the models; by default a temporary one")
    arguments = parser.parse_args()
    console = Console(width=max(170, Console().width))
    packages = versions("torch", "transformers", "fastapi", "uvicorn", "httptools", "uvloop")
    console.print(f"CPU: {cpu_name()}; {packages}", highlight=False, markup=False)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        models = (arguments.models or folder / "models").resolve()
        models.mkdir(parents=True, exist_ok=True)
        cases = [case for case in cases_in(models, arguments.residues) if case.name in arguments.cases]
        servers = servers_in(stack, folder, cases)
        for case in cases:
            runs = measure(case, servers, arguments.rounds, arguments.seconds, folder, arguments.clients)
            console.print(table_of(case, runs))


if __name__ == "__main__":
    main()
