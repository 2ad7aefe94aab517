"""The server under 32 clients with faults: what fails, whether an answer is ever that of another row, and its memory.

python benchmarks/serving_soak.py --minutes 60

Clients send records of four models, of which the prediction of each row alone was computed before, and compare every
row. Between, they break off bodies and responses, send slowly, send unusable rows and bodies, bodies that are too large
and gzip bombs. The server is killed (kill -9) several times in the first half, each time with jobs in progress, and
restarted; in the second half it runs without an interruption, which shows its memory. Its limits of bodies are small,
so that refusals are cheap.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import serving_faults
import serving_records
from machine import cpu_name
from serving_process import HOST, Client, ServerProcess, free_port, trimer

import trimer as library

CLIENTS, BAD_ROWS = 32, 0.05
JOB_ROWS, JOBS_OPEN = 3_000, 4
POOL, SPECTRA = 100, 16  # different records of a model
MODELS = ["peptide-rt", "peptide-charge", "kinds", "spectrums"]  # the first has the jobs
SAMPLING = {"seed": 1, "generator": {"num_samples": 2, "max_length": 40}}
TOLERANCE = 1e-4  # of numbers, relative and absolute: batches differ by rounding, other rows by far more
LIMITS = {
    "limits.body_mib": serving_faults.BODY_MIB, "limits.unpacked_mib": serving_faults.UNPACKED_MIB,
    "limits.upload_seconds": serving_faults.UPLOAD_SECONDS,
}  # fmt: skip


@dataclass
class Task:
    """A model with its records, the row that each has alone, and records that have a reason."""

    model: str
    records: list
    rows: list[dict]
    bad: list
    parameters: dict[str, Any]
    largest: int  # records of a request


@dataclass
class Soak:
    """What all clients share: the server, the tasks, the counts."""

    server: ServerProcess
    tasks: list[Task]
    pause: float
    kills: int
    end: float
    counts: Counter = field(default_factory=Counter)
    statuses: Counter = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds of the run, MiB
    jobs: dict[str, float] = field(default_factory=dict)  # open jobs and the time of their submission
    up: asyncio.Event = field(default_factory=asyncio.Event)
    life: int = 0  # number of starts of the server

    def report(self, sentence: str) -> None:
        """Keep a sentence on what should not happen."""
        if len(self.unexpected) < 100:
            self.unexpected.append(sentence)


def tasks_of(folder: Path, models: list[str]) -> tuple[list[Task], list[str]]:
    """The tasks of some models with their offline predictions, and the checkpoints of the server."""
    kinds = serving_records.molecule_classifier(folder)
    peptides, spectra = serving_records.peptides(POOL), serving_records.spectra(SPECTRA)
    given = [
        ("peptide-rt", "peptide-rt", peptides, ["PEPTIDEU1", "", "B[999]"], {}, 64),
        ("peptide-charge", "peptide-charge", peptides, ["PEP TIDE?", "[UNIMOD:0"], {}, 64),
        ("kinds", str(kinds), serving_records.molecules(POOL), ["C1CC", "no molecule", ""], {}, 64),
        ("spectrums", "spectrums", spectra, [{"id": "none", "mz": [], "intensity": []}], SAMPLING, 2),
    ]
    tasks, given = [], [case for case in given if case[0] in models]
    for name, path, records, bad, parameters, largest in given:
        rows = offline_rows(folder / f"offline-{name}.json", path, [*records, *bad], parameters)
        unusable = [record for record, row in zip(bad, rows[len(records) :], strict=True) if row["reason"] is not None]
        tasks.append(Task(name, records, rows[: len(records)], unusable, parameters, largest))
    return tasks, [path for _, path, *_ in given]


def offline_rows(file: Path, path: str, records: list, parameters: dict[str, Any]) -> list[dict]:
    """The row of each record, without the server. file: keeps them for the next soak in this folder."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if kept.get("records") != records or kept.get("parameters") != parameters:
        rows = library.load(path).predict(records, trainer="cpu", **{"trainer.precision": "32-true", **parameters}).rows
        kept = {"records": records, "parameters": parameters, "rows": rows}
        file.write_text(json.dumps(kept), encoding="utf-8")
    return kept["rows"]


def same(row: dict, expected: dict) -> bool:
    """Whether a row is that of its record; its number is that of the request."""
    for name, value in expected.items():
        other = row.get(name)
        if name in ("row", "id", "in_training"):
            continue
        if isinstance(value, float) and isinstance(other, float):
            if not np.isclose(value, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                return False
        elif isinstance(value, float) and value != value:
            continue  # NaN is null in JSON
        elif value != other:
            return False
    return True


def drawn(task: Task, rng: random.Random, size: int) -> tuple[list, list[dict | None]]:
    """Records of a request and their rows; None for a record without a prediction."""
    records, rows = [], []
    for _ in range(size):
        if rng.random() < BAD_ROWS:
            records.append(rng.choice(task.bad))
            rows.append(None)
        else:
            number = rng.randrange(len(task.records))
            records.append(task.records[number])
            rows.append(task.rows[number])
    return records, rows


def check_rows(soak: Soak, task: Task, rows: list[dict], expected: list[dict | None], where: str) -> None:
    """Count the rows of an answer that are not those of their records."""
    if len(rows) != len(expected):
        soak.counts["mixed rows"] += max(len(rows), len(expected))
        soak.report(f"{where} of {task.model}: {len(rows)} rows for {len(expected)} records")
        return
    for row, wanted in zip(rows, expected, strict=True):
        right = row["reason"] is not None if wanted is None else same(row, wanted)
        soak.counts["rows compared"] += 1
        if not right:
            soak.counts["mixed rows"] += 1
            soak.report(f"{where} of {task.model}: {json.dumps(row)[:300]} in place of {json.dumps(wanted)[:300]}")


async def predict(soak: Soak, client: Client, rng: random.Random) -> None:
    """A usual request; every row of the answer is compared."""
    task = rng.choice(soak.tasks)
    records, expected = drawn(task, rng, rng.randint(1, task.largest))
    body = json.dumps({"records": records, "parameters": task.parameters}).encode()
    status, answer = await client.request("POST", f"/v1/models/{task.model}/predict", body)
    soak.statuses[status] += 1
    if status == 200:
        check_rows(soak, task, json.loads(answer)["rows"], expected, "an answer")
    elif status != 429:
        soak.report(f"a usual request for {task.model}: {status} {answer[:200]!r}")


async def client_loop(soak: Soak, number: int) -> None:
    """One client until the end: mostly usual requests, between them faults."""
    rng, client = random.Random(number), Client(soak.server.port)
    while time.monotonic() < soak.end:
        await soak.up.wait()
        life = soak.life
        name, fault = serving_faults.choose(rng)
        try:
            if fault is None:
                await predict(soak, client, rng)
            else:
                task = rng.choice(soak.tasks)
                status, allowed = await fault(soak.server.port, task, drawn(task, rng, task.largest)[0])
                soak.statuses[status] += status is not None
                killed = status is None and (soak.life != life or not soak.up.is_set())
                if status not in (*allowed, 429) and not killed:
                    soak.report(f"{name}: {status} in place of {allowed}")
            soak.counts[name] += 1
        except (OSError, EOFError) as error:
            client.close()
            lost = soak.life != life or not soak.up.is_set()
            soak.counts["requests lost with a killed server" if lost else "connections lost otherwise"] += 1
            if not lost:
                soak.report(f"{name}: {type(error).__name__}: {error}")
        await asyncio.sleep(rng.expovariate(1 / soak.pause) if soak.pause else 0)
    client.close()


async def submit_job(soak: Soak, client: Client) -> None:
    """Submit a file of peptides as a job."""
    task = soak.tasks[0]
    lines = [task.records[number % len(task.records)] for number in range(JOB_ROWS)]
    body = "\n".join(["sequence", *lines]).encode()
    path = f"/v1/jobs?model={task.model}&fixed=%22%22"
    status, answer = await client.request("POST", path, body, {"Content-Type": "text/csv"})
    soak.statuses[status] += 1
    if status == 202:
        soak.jobs[json.loads(answer)["id"]] = time.monotonic()
        soak.counts["jobs submitted"] += 1
    elif status != 429:
        soak.report(f"a job: {status} {answer[:200]!r}")


async def watch_jobs(soak: Soak, client: Client) -> None:
    """Compare the results of the jobs that have ended."""
    task = soak.tasks[0]
    for job in list(soak.jobs):
        status, answer = await client.request("GET", f"/v1/jobs/{job}")
        soak.statuses[status] += 1
        state = json.loads(answer).get("state") if status == 200 else str(status)
        if state in ("queued", "running"):
            continue
        del soak.jobs[job]
        if state != "done":
            soak.counts["jobs failed"] += 1
            soak.report(f"job {job}: {answer[:200]!r}")
            continue
        status, answer = await client.request("GET", f"/v1/jobs/{job}/result?format=ndjson")
        soak.statuses[status] += 1
        expected: list[dict | None] = [task.rows[number % len(task.rows)] for number in range(JOB_ROWS)]
        check_rows(soak, task, [json.loads(line) for line in answer.splitlines()], expected, "a job")
        soak.counts["jobs done"] += 1
        soak.statuses[(await client.request("DELETE", f"/v1/jobs/{job}"))[0]] += 1


async def supervise(soak: Soak, minutes: float) -> None:
    """Start and kill the server, submit jobs, sample the memory."""
    started, client = time.monotonic(), Client(soak.server.port)
    kills = [started + minutes * 60 * (number + 1) / (2 * soak.kills) for number in range(soak.kills)]
    while time.monotonic() < soak.end or (soak.jobs and time.monotonic() < soak.end + 300):
        try:
            if len(soak.jobs) < JOBS_OPEN and time.monotonic() < soak.end and random.random() < 0.3:
                await submit_job(soak, client)
            if kills and time.monotonic() > kills[0]:
                kills.pop(0)
                while len(soak.jobs) < 2:
                    await submit_job(soak, client)
                soak.counts["kills"] += 1
                soak.counts["jobs in progress at a kill"] += len(soak.jobs)
                await restart(soak)
                client.close()
            await watch_jobs(soak, client)
            soak.memory.append((time.monotonic() - started, soak.server.memory_mib()))
        except (OSError, EOFError) as error:
            client.close()
            soak.counts["connections lost otherwise"] += 1
            soak.report(f"a request on jobs: {type(error).__name__}: {error}")
        await asyncio.sleep(5)
        if len(soak.memory) % 12 == 0:
            print(f"{(time.monotonic() - started) / 60:.1f} min, {figures(soak)}", flush=True)
    for job in soak.jobs:
        soak.counts["jobs lost"] += 1
        soak.report(f"job {job} has not ended")


async def restart(soak: Soak) -> None:
    """Kill the server and start it; clients wait meanwhile."""
    soak.up.clear()
    soak.life += 1
    soak.server.kill()
    await asyncio.to_thread(soak.server.start)
    soak.memory.clear()  # of the last life only
    soak.up.set()


def figures(soak: Soak) -> dict[str, Any]:
    """All counts, and the memory in the last life of the server."""
    errors = sum(count for status, count in soak.statuses.items() if status is not None and status >= 500)
    seen = np.array(soak.memory or [(0.0, 0.0)])
    settled = seen[len(seen) // 4 :]
    slope = float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0]) * 3600 if len(settled) > 10 else None
    memory = {"minutes": (seen[-1, 0] - seen[0, 0]) / 60, "after a quarter": settled[0, 1], "end": settled[-1, 1]}
    return {
        "responses": sum(count for status, count in soak.statuses.items() if status),
        "5xx": errors,
        "mixed rows": soak.counts["mixed rows"],
        "statuses": {str(status): count for status, count in sorted(soak.statuses.items(), key=str) if status},
        "counts": dict(sorted(soak.counts.items())),
        "memory of the last life (MiB)": {name: round(float(value), 1) for name, value in memory.items()},
        "MiB per hour": slope and round(slope, 1),
        "unexpected": len(soak.unexpected),
    }


async def run(soak: Soak, minutes: float) -> None:
    """Clients and supervisor until the end."""
    soak.up.set()
    await asyncio.gather(supervise(soak, minutes), *(client_loop(soak, number) for number in range(CLIENTS)))


def main() -> None:
    """Run the soak and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--pause", type=float, default=0.2, help="mean seconds between two requests of a client")
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--kills", type=int, default=6, help="of the server, in the first half")
    parser.add_argument("--folder", type=Path, help="of models, jobs and logs; by default a temporary one")
    arguments = parser.parse_args()
    print(f"CPU: {cpu_name()}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        tasks, checkpoints = tasks_of(folder, arguments.models)
        port = free_port()
        words = ["serve", f"ckpt=[{','.join(checkpoints)}]", f"host={HOST}", f"port={port}"]
        words += [f"jobs.folder={folder / 'jobs'}", "trainer.precision=32-true"]
        server = ServerProcess(trimer(*words, *(f"{k}={v}" for k, v in LIMITS.items())), port, folder)
        server.start()
        print("the server is ready", flush=True)
        soak = Soak(server, tasks, arguments.pause, arguments.kills, time.monotonic() + arguments.minutes * 60)
        asyncio.run(run(soak, arguments.minutes))
        result = figures(soak) | {"exit code after SIGTERM": server.stop()}
        result["temporary files left"] = len(list((folder / "tmp").iterdir()))
        print(json.dumps(result, indent=2))
        print("\n".join(soak.unexpected))


if __name__ == "__main__":
    main()
