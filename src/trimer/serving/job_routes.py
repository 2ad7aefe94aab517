"""Routes of jobs: submit, state, result, cancel."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from trimer.prediction.embedder import Embedder
from trimer.prediction.predictor import Predictor
from trimer.serving import parameters
from trimer.serving.answers import MEDIA, chosen_format, headers, origin_of, write_answer
from trimer.serving.job_store import DONE
from trimer.serving.jobs import Jobs, unknown_job
from trimer.serving.limits import Refusal
from trimer.serving.plain_json import Json
from trimer.serving.requests import Body, Threads, body_of
from trimer.serving.rest import ANSWER, BODY, REFUSALS, kind_of
from trimer.serving.rows import Answer
from trimer.serving.service import Service, refusals
from trimer.serving.vectors import EMBEDDING_COLUMNS, write_vectors

NO_PARAMETERS = ("model", "operation")  # of the URL
MODEL = {"name": "model", "in": "query", "required": True, "schema": {"type": "string"}}
OPERATION = {
    "name": "operation",
    "in": "query",
    "required": False,
    "schema": {"type": "string", "enum": ["predict", "embed"]},
}
SUBMIT: dict[str, Any] = {**BODY, "parameters": [MODEL, OPERATION]}
STREAMED = ("csv", "parquet")  # embeddings are written row by row
FORMAT: dict[str, Any] = {"parameters": BODY["parameters"]}


def router(service: Service, threads: Threads, jobs: Jobs) -> APIRouter:
    """The routes of jobs."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    @routes.post("", status_code=202, summary="Submit a file", openapi_extra=SUBMIT, responses=REFUSALS)
    async def submit(request: Request) -> Json:
        model = service.model(request.query_params.get("model") or only(service))
        operation = request.query_params.get("operation") or model.operations[0]
        jobs.check_room()
        model.check_operation(operation)
        limits, kind = jobs.limits, kind_of(model, operation)
        async with (
            threads.admitted(),
            body_of(request, kind, limits.unpacked_mib, "jobs.unpacked_mib", jobs.store.folder) as body,
        ):
            values = body.parameters
            if isinstance(values, dict):
                values = {name: value for name, value in values.items() if name not in NO_PARAMETERS}
            settings = parameters.checked(values, model.study, operation, service.limits)

            def add(cancelled: threading.Event) -> dict[str, Any]:
                with refusals(model):
                    model.computer(operation, settings)  # a wrong setting is reported now
                return jobs.submit(model.name, operation, settings, file_of(body))

            state = await threads.run(request, add)
        return Json(state, 202, {"Location": f"/v1/jobs/{state['id']}"})

    @routes.get("/{job}", summary="State, progress and expected end", responses=REFUSALS)
    def state(job: str) -> dict[str, Any]:
        return jobs.state(job)

    @routes.get(
        "/{job}/result",
        summary="The rows, also those of an unfinished job",
        responses={200: ANSWER, **REFUSALS},
        openapi_extra=FORMAT,
        response_class=Response,
    )
    async def result(job: str, request: Request) -> Response:
        wanted = chosen_format(request.headers.get("accept"), request.query_params.get("format"))
        async with threads.admitted():
            return await threads.run(request, lambda cancelled: rows_of(service, jobs, job, wanted))

    @routes.delete("/{job}", summary="Cancel a job, or delete one that has ended", responses=REFUSALS)
    def cancel(job: str) -> dict[str, Any]:
        return jobs.cancel(job)

    return routes


def only(service: Service) -> str:
    """The name of the only model; Refusal if there are several."""
    if service.ready and len(service.models) > 1:
        raise Refusal(422, "no_model", f"name the model in the URL, ?model=<name>: one of {', '.join(service.models)}")
    return next(iter(service.models), "")


def file_of(body: Body) -> Path:
    """The file of a body; Refusal for a JSON list, which POST /v1/models/{model}/predict takes."""
    if isinstance(body.records, Path):
        return body.records
    raise Refusal(415, "unsupported_format", "a job takes a file, raw or in a form; send lists to .../predict")


def rows_of(service: Service, jobs: Jobs, job: str, wanted: str) -> Response:
    """The response with the complete rows of a job so far."""
    values, path = jobs.known(job), jobs.rows_file(job)
    complete = {"Trimer-Complete": str(values["state"] == DONE).lower(), "Trimer-State": values["state"]}
    folder = Path(mkdtemp(prefix="trimer-"))
    task = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        if wanted == "ndjson":
            file = folder / "rows.ndjson"
            copy_lines(path, file)
            return FileResponse(file, media_type=MEDIA[wanted], headers=complete, background=task)
        service.check_ready()
        if (model := jobs.model_of(values)) is None:
            message = "the model of this job is not served any more: its rows can still be read with format=ndjson"
            raise Refusal(406, "unknown_format", message)
        computer = model.computer(values["operation"], values["settings"])
        if isinstance(computer, Embedder) and wanted in STREAMED:
            file = folder / f"rows.{wanted}"
            rows = (row for prediction in predictions_of(path) for row in prediction)
            write_vectors(wanted, rows, file, computer.per_position)
            return FileResponse(file, media_type=MEDIA[wanted], headers=complete, background=task)
        answer = answer_of(computer, path, model.seed(values["settings"]), service)
        file = write_answer(wanted, model, answer, folder)
    except FileNotFoundError as error:  # the job was deleted in the meantime
        shutil.rmtree(folder, ignore_errors=True)
        raise unknown_job() from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        file, media_type=MEDIA[wanted], headers=headers(origin_of(model, answer)) | complete, background=task
    )


def answer_of(computer: Predictor | Embedder, path: Path, seed: int | None, service: Service) -> Answer:
    """The rows of a job in memory; Refusal for more numbers of embeddings than a response may have."""
    if not isinstance(computer, Embedder):
        return Answer(list(computer.columns), list(predictions_of(path)), computer, seed)
    rows, numbers = [], 0
    for prediction in predictions_of(path):
        numbers += np.size(prediction[0]["embedding"] or ())
        service.limits.check_numbers(numbers)
        rows.append(prediction)
    return Answer(list(EMBEDDING_COLUMNS), rows, computer)


def copy_lines(source: Path, target: Path) -> None:
    """Copy the complete lines of a file that is being written."""
    with source.open("rb") as rows, target.open("wb") as copy:
        shutil.copyfileobj(rows, copy)
        end = copy.tell()
    with target.open("rb+") as copy:
        while end:
            copy.seek(end - 1)
            if copy.read(1) == b"\n":
                break
            end -= 1
        os.ftruncate(copy.fileno(), end)


def predictions_of(path: Path) -> Iterator[list[dict]]:
    """The rows of each record, from the complete lines of a file."""
    with path.open(encoding="utf-8") as stream:
        rows = (json.loads(line) for line in stream if line.endswith("\n"))
        for _, group in itertools.groupby(rows, itemgetter("row")):
            yield list(group)
