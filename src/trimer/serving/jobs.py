"""Jobs: predictions and embeddings of large files in the background, which survive a restart and a killed process.

One thread works through the queue. `rows.partial` in the folder of a job keeps the computed chunks, so that a job that
was interrupted continues; `rows.ndjson` has the rows so far. The input is deleted when a job ends, the result after
`jobs.keep_hours`.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from trimer.counts import counted
from trimer.errors import ConfigError, TrimerError
from trimer.locks import FolderLock
from trimer.serving.answers import lines
from trimer.serving.batching import Cancelled, Ticket
from trimer.serving.job_store import CANCELLED, DONE, ENDED, FAILED, QUEUED, RUNNING, STATES, JobStore, sync
from trimer.serving.limits import JobLimits, Refusal
from trimer.serving.models import ServedModel, collected_warnings
from trimer.serving.service import Service, reason_row

log = logging.getLogger(__name__)

ROWS = "rows.ndjson"
SECONDS = 1.0  # between two updates of the progress
POLL = 30.0  # seconds between two searches for expired results


class Jobs:
    """The queue of jobs and the thread that computes them. folder: is created; one process at a time uses it."""

    def __init__(self, service: Service, folder: Path, limits: JobLimits):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"jobs.folder={folder} cannot be created ({error.strerror}): name another") from error
        self.service, self.limits = service, limits
        service.job_limits = limits.facts()
        self._folder_lock = FolderLock(folder).require()
        self.store = JobStore(folder)
        self.store.remove_unknown_folders()
        for path in (path for path in folder.glob("trimer-*") if path.is_dir()):  # uploads of a killed process
            shutil.rmtree(path, ignore_errors=True)
        self._adding = threading.Lock()
        self._changed = threading.Event()
        self._closing = False
        self._running: tuple[str, Ticket] | None = None
        self._speed: float | None = None  # records per second of the running job
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        for state in STATES:
            service.metrics.jobs.labels(state).set_function(partial(self.store.count, state))

    def start(self) -> None:
        """Start the thread, after the models are loaded."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; the running job continues when a server is started again."""
        self._closing = True
        if self._running is not None:
            self._running[1].cancelled.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        for state in STATES:
            self.service.metrics.jobs.labels(state).set_function(lambda: 0)
        self.store.close()
        self._folder_lock.release()

    # ---------------------------------------------------------------- called by the routes

    def submit(self, model: str, operation: str, settings: dict[str, Any], input_file: Path) -> dict[str, Any]:
        """Add a job; Refusal if too many wait. operation: "predict" or "embed"."""
        with self._adding:
            self.check_room()
            job = self.store.add(model, self.service.models[model].version, operation, settings, input_file)
        self._changed.set()
        return self.state(job)

    def check_room(self) -> None:
        """Refusal if too many jobs wait."""
        if self.store.count(QUEUED) >= self.limits.waiting:
            message = f"{counted(self.limits.waiting, 'jobs', 'wait')}, the limit jobs.waiting: try again later"
            raise Refusal(429, "too_many_jobs", message, retry_after=60)

    def known(self, job: str) -> dict[str, Any]:
        """The values of a job; Refusal for an unknown id."""
        values = self.store.get(job)
        if values is None:
            raise unknown_job()
        return values

    def state(self, job: str) -> dict[str, Any]:
        """State, progress and expected end of a job, for its client."""
        values = self.known(job)
        shown = {
            name: values[name] for name in ("id", "model", "operation", "state", "done", "total", "without", "message")
        }
        shown |= {name: values[name] for name in ("created", "started", "ended")}
        if values["state"] == QUEUED:
            shown["position"] = self.store.ahead(values["number"]) + 1
        if values["state"] == RUNNING and self._speed and values["total"] is not None:
            shown["eta_seconds"] = round((values["total"] - values["done"]) / self._speed, 1)
        return shown | {"result": f"/v1/jobs/{job}/result"}

    def model_of(self, values: dict[str, Any]) -> ServedModel | None:
        """The model of a job, which may have another name since a restart; None if these weights are not served."""
        same = [model for model in self.service.models.values() if model.version == values["version"]]
        return next((model for model in same if model.name == values["model"]), next(iter(same), None))

    def cancel(self, job: str) -> dict[str, Any]:
        """Cancel a job, keeping the rows so far; a job that has ended is deleted with its result."""
        values = self.known(job)
        if values["state"] in ENDED:
            self.store.forget(job)
            running = self._running
            if running is None or running[0] != job:  # else the thread removes the folder in which it still writes
                self.store.remove_folder(job)
            return {"id": job, "state": "deleted"}
        self.store.update(job, (QUEUED, RUNNING), state=CANCELLED, ended=time.time(), message="cancelled by the client")
        running = self._running
        if running is not None and running[0] == job:
            running[1].cancelled.set()
        else:
            self._remove_input(values)
        return self.state(job)

    def rows_file(self, job: str) -> Path:
        """The rows so far; Refusal if there are none yet."""
        path = self.store.folder_of(self.known(job)["id"]) / ROWS
        if not path.is_file():
            raise Refusal(404, "no_result_yet", "the job has no rows yet: ask again later", retry_after=5)
        return path

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        while not self._closing:
            self._changed.clear()
            for job in self.store.ended_before(time.time() - self.limits.keep_hours * 3600):
                self.store.forget(job)
                self.store.remove_folder(job)
            values = self.store.next()
            if values is None:
                self._changed.wait(POLL)
                continue
            ticket = Ticket(str if values["operation"] == "embed" else reason_row, background=True)
            self._running, self._speed = (values["id"], ticket), None
            try:
                self._compute(values, ticket)
            except Exception:  # the next job has to run
                log.exception("job %s failed", values["id"])
                self._end(values, FAILED, "an unexpected error; the log of the server has its cause")
            finally:
                self._running = None
                if self.store.get(values["id"]) is None:  # deleted in the meantime
                    self.store.remove_folder(values["id"])

    def _compute(self, values: dict[str, Any], ticket: Ticket) -> None:
        """Predict the file of a job, and end the job unless the server ends."""
        folder = self.store.folder_of(values["id"])
        model = self.model_of(values)
        if model is None:
            self._end(values, FAILED, "the server no longer has the model of this job: submit it again")
            return
        if not self.store.update(values["id"], (QUEUED,), state=RUNNING, started=time.time(), done=0, without=0):
            return
        path = folder / values["input"]
        try:
            with collected_warnings():
                self._write_rows(values, model, path, ticket)
        except Cancelled:
            if self._closing:  # the job continues from rows.partial when a server is started again
                return
            self._remove_input(values)
        except TrimerError as error:
            self._end(values, FAILED, model.public(str(error), path))
        else:
            self._end(values, DONE, None)

    def _write_rows(self, values: dict[str, Any], model: Any, path: Path, ticket: Ticket) -> None:
        folder, limits, operation = path.parent, self.limits.reading(self.service.limits), values["operation"]
        total, predictions = model.file_rows(
            operation, path, values["settings"], folder / "rows", ticket, self.service.batcher, limits
        )
        self.store.update(values["id"], (RUNNING,), total=total)
        started = saved = time.monotonic()
        done = without = 0
        with closing(predictions), (folder / ROWS).open("w", encoding="utf-8") as stream:
            for prediction in predictions:
                ticket.check()
                stream.writelines(lines(prediction))
                done += 1
                without += prediction[0]["reason"] is not None
                if time.monotonic() - saved > SECONDS:
                    stream.flush()
                    saved = time.monotonic()
                    self._speed = done / max(saved - started, 1e-6)
                    self.store.update(values["id"], (RUNNING,), done=done, without=without)
            sync(stream)
        self.store.update(values["id"], (RUNNING,), done=done, without=without)
        for outcome, number in (("predicted", done - without), ("reason", without)):
            self.service.metrics.records.labels(model.name, "job", outcome).inc(number)

    def _end(self, values: dict[str, Any], state: str, message: str | None) -> None:
        self.store.update(values["id"], (QUEUED, RUNNING), state=state, ended=time.time(), message=message)
        self._remove_input(values)

    def _remove_input(self, values: dict[str, Any]) -> None:
        """Delete the uploaded file and the computed chunks: only the rows are kept."""
        folder = self.store.folder_of(values["id"])
        for name in (values["input"], "rows.partial"):
            (folder / name).unlink(missing_ok=True)


def unknown_job() -> Refusal:
    """The refusal of an id that no job has."""
    message = "there is no such job: its id is wrong, or its result was deleted or has expired"
    return Refusal(404, "unknown_job", message)
