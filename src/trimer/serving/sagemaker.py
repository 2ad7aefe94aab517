"""SageMaker: `GET /ping`, `POST /invocations`, and the models in its folder of weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from trimer.checkpoint import checkpoint_path
from trimer.errors import CheckpointError, ConfigError
from trimer.serving.health import readiness
from trimer.serving.limits import Refusal
from trimer.serving.plain_json import Json
from trimer.serving.requests import Threads
from trimer.serving.rest import ANSWER, BODY, REFUSALS, respond
from trimer.serving.service import Service

ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
OPTION = re.compile(r"(?:^|[,;\s])(model|operation)=([\w.-]+)")


def router(service: Service, threads: Threads) -> APIRouter:
    """The routes that SageMaker calls."""
    routes = APIRouter(tags=["SageMaker"])

    @routes.get("/ping", summary="Whether the models are ready", responses={503: {}})
    async def ping() -> Response:
        return Json(*readiness(service))

    options: dict[str, Any] = {"openapi_extra": BODY, "responses": {200: ANSWER, **REFUSALS}}

    @routes.post("/invocations", summary="Predict with the only model", response_class=Response, **options)
    async def invocations(request: Request) -> Response:
        chosen = dict(OPTION.findall(request.headers.get(ATTRIBUTES, "")))
        names = list(service.models)
        if "model" not in chosen and len(names) > 1:
            raise Refusal(422, "no_model", f"name one of {', '.join(names)} in {ATTRIBUTES.title()}: model=<name>")
        model = service.model(chosen.get("model") or (names[0] if names else ""))
        operation = chosen.get("operation") or model.operations[0]
        return await respond(service, threads, request, model, operation)

    return routes


def models_in(folder: Path) -> list[str]:
    """The checkpoint that a folder is, or those of its subfolders; ConfigError if there is none."""
    paths = []
    for path in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        try:
            checkpoint_path(path)
        except CheckpointError:
            continue
        if path == folder:
            return [str(folder)]
        paths.append(str(path))
    if not paths:
        raise ConfigError(
            f"model_folder={folder} holds no run folder and no packed model: put model.tar.gz of one there"
        )
    return paths
