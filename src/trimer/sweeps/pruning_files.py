"""How a search and its jobs agree on ending a job early: two files in the folder of the job.

    pruning.jsonl   the job: a line {"step": 3, "value": 1.25} after each validation
    pruning.json    the search: {"step": 3, "prune": false}, the decision after the last report; it exists before the
                    job starts if the search expects reports

Files work on every launcher whose jobs share a file system with the search, and the job needs no Optuna.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from trimer.files import write_text

REPORTS, DECISION = "pruning.jsonl", "pruning.json"


def expect_reports(folder: Path) -> None:
    """Let the job in this folder report its validations."""
    if not is_expected(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / DECISION, json.dumps({"step": 0, "prune": False}))


def is_expected(folder: Path) -> bool:
    """Whether a search expects reports of this job."""
    return (folder / DECISION).is_file()


def report(folder: Path, step: int, value: float) -> None:
    """Write the value of a step, counted from 1."""
    with (folder / REPORTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "value": value}) + "\n")


def reports(folder: Path) -> list[tuple[int, float]]:
    """The steps and values that the job has written; a line that is still being written is left out."""
    try:
        lines = (folder / REPORTS).read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    rows = [json.loads(line) for line in lines]
    return [(int(row["step"]), float(row["value"])) for row in rows]


def decide(folder: Path, step: int, prune: bool) -> None:
    """Write the decision after the report of a step."""
    write_text(folder / DECISION, json.dumps({"step": step, "prune": prune}))


def wait_for_decision(folder: Path, step: int, seconds: float) -> bool:
    """Whether the job is to end, as soon as the search has decided; False if it has not within these seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        last = _read(folder / DECISION)
        if last.get("step", 0) >= step:
            return bool(last.get("prune"))
        time.sleep(0.05)
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
