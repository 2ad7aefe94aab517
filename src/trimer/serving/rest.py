"""REST: models, cards, predictions and embeddings."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from trimer.serving.answers import (
    MEDIA,
    check_format,
    chosen_format,
    document,
    headers,
    origin,
    origin_of,
    write_answer,
)
from trimer.serving.models import ServedModel
from trimer.serving.plain_json import json_bytes
from trimer.serving.requests import Body, Threads, body_of
from trimer.serving.rows import without
from trimer.serving.service import Service
from trimer.serving.streams import StreamResponse, text_of

STREAMED = "ndjson"  # the format that begins before the computation ends
IN_MEMORY = 256  # records of an answer that is sent without a file
ERROR = {
    "type": "object",
    "properties": {
        "error": {"type": "object", "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}
    },
}


def json_body(required: str, properties: dict[str, Any], **others: Any) -> dict[str, Any]:
    """The body of requests for OpenAPI: a JSON object with one required key. others: media type -> its schema."""
    schema = {"type": "object", "required": [required], "properties": properties}
    content = {"application/json": {"schema": schema}} | {
        media: {"schema": of_media} for media, of_media in others.items()
    }
    return {"requestBody": {"required": True, "content": content}}


# The bodies of predictions, for OpenAPI; they are read as a stream and not by FastAPI.
BINARY = {"type": "string", "format": "binary"}
BODY: dict[str, Any] = {
    **json_body(
        "records",
        {
            "records": {"type": "array", "minItems": 1, "items": {}},
            "parameters": {"type": "object", "additionalProperties": True},
        },
        **{
            "multipart/form-data": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": BINARY, "parameters": {"type": "string", "description": "JSON object"}},
            },
            "application/x-ndjson": BINARY,
            "application/octet-stream": BINARY,
        },
    ),
    "parameters": [
        {"name": "format", "in": "query", "required": False, "schema": {"type": "string", "enum": list(MEDIA)}}
    ],
}
# Read from the path without the checks of FastAPI, which cost more than those of a name.
MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {"schema": ERROR}}}
    for status, text in {
        400: "The body cannot be read",
        401: "Token missing",
        404: "Unknown model",
        406: "Unknown format",
        408: "Upload too slow",
        413: "Too large",
        415: "Unsupported format",
        422: "Unusable records or parameters",
        429: "Busy; see Retry-After",
        503: "Models are being loaded",
    }.items()
}
ANSWER: dict[str, Any] = {
    "description": "A row, or several, for each record in the order of the input; a row has values or a reason",
    "content": {media: {"schema": {}} for media in MEDIA.values()},
}


class PlainRoute(APIRoute):
    """A route whose function takes the request and returns the response, without the checks of FastAPI."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def router(service: Service, threads: Threads) -> APIRouter:
    """The routes of models."""
    routes = APIRouter(prefix="/v1", tags=["models"])
    options: dict[str, Any] = {
        "openapi_extra": {**BODY, "parameters": [MODEL, *BODY["parameters"]]},
        "responses": {200: ANSWER, **REFUSALS},
        "response_class": Response,
    }

    @routes.get("/models", summary="The served models", responses=REFUSALS)
    async def models() -> dict[str, Any]:
        return {"models": [summary_of(service, name) for name in service.models]}

    @routes.get("/models/{model}", summary="The card of a model", responses=REFUSALS)
    async def card(model: str) -> dict[str, Any]:
        return service.cards[service.model(model).name]

    routes.route_class = PlainRoute  # of the following routes

    @routes.post("/models/{model}/predict", summary="Predict records or a file", **options)
    async def predict(request: Request) -> Response:
        return await respond(service, threads, request, service.model(request.path_params["model"]), "predict")

    @routes.post("/models/{model}/embed", summary="Embed sequences or a file", **options)
    async def embed(request: Request) -> Response:
        return await respond(service, threads, request, service.model(request.path_params["model"]), "embed")

    return routes


def summary_of(service: Service, name: str) -> dict[str, Any]:
    """The entry of a model in the list."""
    card = service.cards[name]
    return {key: card[key] for key in ("name", "task", "version")} | {
        "kind": card["input"]["kind"],
        "operations": list(card["operations"]),
        "card": f"/v1/models/{name}",
    }


async def respond(service: Service, threads: Threads, request: Request, model: ServedModel, operation: str) -> Response:
    """The response to a request with records."""
    wanted = chosen_format(request.headers.get("accept"), request.query_params.get("format"))
    kind = kind_of(model, operation)
    if wanted == STREAMED:
        return await streamed(service, threads, request, model, operation)
    async with threads.admitted(), body_of(request, kind, service.limits.unpacked_mib) as body:
        return await threads.run(
            request, lambda cancelled: answered(service, model, operation, body, wanted, cancelled)
        )


async def streamed(
    service: Service, threads: Threads, request: Request, model: ServedModel, operation: str
) -> Response:
    """The response in lines, which begins when the first piece of the rows is computed."""
    async with AsyncExitStack() as kept:
        await kept.enter_async_context(threads.admitted())
        body = await kept.enter_async_context(body_of(request, kind_of(model, operation), service.limits.unpacked_mib))
        stream = await threads.run(
            request,
            lambda cancelled: service.stream(model, operation, body.records, body.parameters, cancelled),
        )
        rows, media = stream.rows, MEDIA[STREAMED]
        if stream.complete:
            facts = origin(model, rows.seed, rows.total, without(stream.first))
            return Response(text_of(stream.first), media_type=media, headers=headers(facts))
        facts = origin(model, rows.seed, rows.total)
        return StreamResponse(stream, threads.pool, media, headers(facts), kept.pop_all())


def kind_of(model: ServedModel, operation: str) -> str:
    """The kind of records that an operation reads."""
    return model.study.example if operation == "predict" else model.study.entity


def answered(
    service: Service, model: ServedModel, operation: str, body: Body, wanted: str, cancelled: threading.Event
) -> Response:
    """The response with an answer; a large one is a file that is removed when it was sent. Runs in a thread."""
    answer = service.answer(model, operation, body.records, body.parameters, cancelled)
    answer.warnings[:0] = body.warnings
    check_format(wanted, answer)
    if wanted == "json" and len(answer.predictions) <= IN_MEMORY and operation == "predict":
        content = json_bytes(document(model, answer))
        return Response(content, media_type=MEDIA[wanted], headers=headers(origin_of(model, answer)))
    folder = Path(mkdtemp(prefix="trimer-"))
    try:
        path = write_answer(wanted, model, answer, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    task = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, media_type=MEDIA[wanted], headers=headers(origin_of(model, answer)), background=task)
