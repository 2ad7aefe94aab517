"""Whether the server lives and is ready, its versions and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from trimer.serving.plain_json import Json
from trimer.serving.service import Service

METRICS = "text/plain; version=0.0.4; charset=utf-8"


def router(service: Service) -> APIRouter:
    """The routes that monitors call."""
    routes = APIRouter(tags=["server"])

    @routes.get("/healthz", summary="Whether the server lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/readyz", summary="Whether models are loaded and a warm-up prediction ran", responses={503: {}})
    async def readyz() -> Response:
        return Json(*readiness(service))

    @routes.get("/version", summary="Versions of Trimer, PyTorch and the models")
    async def version() -> dict[str, Any]:
        return service.facts()

    @routes.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=METRICS)

    return routes


def readiness(service: Service) -> tuple[dict[str, Any], int]:
    """The body and the status of a readiness check."""
    if service.ready:
        return {"status": "ready", "models": list(service.models)}, 200
    if service.failure:
        return {"status": "failed"}, 503
    return {"status": "loading"}, 503
