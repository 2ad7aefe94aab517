"""The database of jobs: a SQLite file in the folder of jobs, and a folder with input and result of each job.

A job is written to disk before its id is returned. Times are seconds since 1970.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from trimer.files import sync_folder

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
STATES = (QUEUED, RUNNING, DONE, FAILED, CANCELLED)
ENDED = (DONE, FAILED, CANCELLED)
ID = re.compile(r"[0-9a-f]{32}")
OPERATION = "operation TEXT NOT NULL DEFAULT 'predict'"
TABLE = f"""
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
    settings TEXT NOT NULL, input TEXT NOT NULL, state TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0, total INTEGER,
    without INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, started REAL, ended REAL, message TEXT,
    {OPERATION}
)
"""


class JobStore:
    """Jobs by id. folder: exists and belongs to this process alone."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = threading.Lock()
        self._database = sqlite3.connect(folder / "jobs.sqlite", check_same_thread=False, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(TABLE)
        if "operation" not in {row["name"] for row in self._database.execute("PRAGMA table_info(jobs)")}:
            self._database.execute(f"ALTER TABLE jobs ADD COLUMN {OPERATION}")  # a folder of an earlier version
        self._database.execute("UPDATE jobs SET state=? WHERE state=?", (QUEUED, RUNNING))  # of a process that ended

    def folder_of(self, job: str) -> Path:
        """The folder of a job; ValueError for text that is not an id."""
        if not ID.fullmatch(job):
            raise ValueError(f"{job[:40]!r} is not the id of a job")
        return self.folder / job

    def add(self, model: str, version: str, operation: str, settings: dict[str, Any], input_file: Path) -> str:
        """Add a job with its input, which is moved; returns its id. operation: "predict" or "embed"."""
        job = uuid.uuid4().hex
        folder = self.folder_of(job)
        folder.mkdir(mode=0o700)
        with input_file.open("rb+") as file:
            sync(file)
        input_file.rename(folder / input_file.name)
        sync_folder(folder)
        values = (job, model, version, operation, json.dumps(settings), input_file.name, QUEUED, time.time())
        names = "id, model, version, operation, settings, input, state, created"
        self._run(f"INSERT INTO jobs ({names}) VALUES (?,?,?,?,?,?,?,?)", values)
        return job

    def get(self, job: str) -> dict[str, Any] | None:
        """The values of a job, None for an unknown id."""
        if not ID.fullmatch(job):
            return None
        rows = self._run("SELECT * FROM jobs WHERE id=?", (job,))
        return None if not rows else dict(rows[0]) | {"settings": json.loads(rows[0]["settings"])}

    def next(self) -> dict[str, Any] | None:
        """The oldest job that waits."""
        rows = self._run("SELECT id FROM jobs WHERE state=? ORDER BY number LIMIT 1", (QUEUED,))
        return None if not rows else self.get(rows[0]["id"])

    def ahead(self, number: int) -> int:
        """How many jobs come before the job of this number."""
        query = "SELECT COUNT(*) FROM jobs WHERE state IN (?,?) AND number<?"
        return int(self._run(query, (QUEUED, RUNNING, number))[0][0])

    def count(self, state: str) -> int:
        """The number of jobs in a state."""
        return int(self._run("SELECT COUNT(*) FROM jobs WHERE state=?", (state,))[0][0])

    def update(self, job: str, expected: tuple[str, ...], **values: Any) -> bool:
        """Set values of a job that is in one of the expected states; returns whether it was."""
        names, marks = ", ".join(f"{name}=?" for name in values), ",".join("?" * len(expected))
        query = f"UPDATE jobs SET {names} WHERE id=? AND state IN ({marks}) RETURNING id"
        return bool(self._run(query, (*values.values(), job, *expected)))

    def forget(self, job: str) -> None:
        """Remove a job from the database; its folder is removed apart."""
        self._run("DELETE FROM jobs WHERE id=?", (job,))

    def remove_folder(self, job: str) -> None:
        """Remove the files of a job."""
        shutil.rmtree(self.folder_of(job), ignore_errors=True)

    def ended_before(self, moment: float) -> list[str]:
        """The jobs that ended before a time."""
        marks = ",".join("?" * len(ENDED))
        return [
            row["id"]
            for row in self._run(f"SELECT id FROM jobs WHERE state IN ({marks}) AND ended<?", (*ENDED, moment))
        ]

    def remove_unknown_folders(self) -> None:
        """Remove folders of jobs that are not in the database: the process ended before it returned their ids."""
        for folder in self.folder.iterdir():
            if ID.fullmatch(folder.name) and self.get(folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def _run(self, query: str, values: tuple) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(query, values).fetchall()


def sync(file: Any) -> None:
    """Write a file to disk."""
    file.flush()
    os.fsync(file.fileno())
