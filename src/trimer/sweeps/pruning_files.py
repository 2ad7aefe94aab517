"""How a search and its jobs agree on ending a job early: two files in the folder of the job.

    pruning.jsonl   the job: a line {"step": 3, "value": 1.25} after each validation
    pruning.json    the search: {"step": 3, "prune": false}, its answer to the last report; the file exists before the
                    job starts, which tells the job that somebody answers

Files work on every launcher whose jobs share a file system with the search, and the job needs no Optuna.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from trimer.files import write_text

REPORTS, ANSWER = "pruning.jsonl", "pruning.json"


def open_for_answers(folder: Path) -> None:
    """Tell the job in this folder that its reports are answered."""
    if not listens(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / ANSWER, json.dumps({"step": 0, "prune": False}))


def listens(folder: Path) -> bool:
    """Whether a search answers the reports of this job."""
    return (folder / ANSWER).is_file()


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


def answer(folder: Path, step: int, prune: bool) -> None:
    """Answer the report of a step."""
    write_text(folder / ANSWER, json.dumps({"step": step, "prune": prune}))


def wait_for_answer(folder: Path, step: int, seconds: float) -> bool:
    """Whether the job is to end, as soon as this step is answered; False if nobody answers within these seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        last = _read(folder / ANSWER)
        if last.get("step", 0) >= step:
            return bool(last.get("prune"))
        time.sleep(0.05)
    return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
