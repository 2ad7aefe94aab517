"""The HTTP application: all routes over one service, inside the guard of limits and token."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from trimer import __version__
from trimer.serving import api_page, explanations, health, kserve_http, page_routes, rest, sagemaker
from trimer.serving.batching import Cancelled
from trimer.serving.guards import Guard
from trimer.serving.limits import Refusal
from trimer.serving.plain_json import Json
from trimer.serving.requests import Threads
from trimer.serving.service import Service

if TYPE_CHECKING:
    from trimer.serving.jobs import Jobs

log = logging.getLogger(__name__)

METHODS = ("GET", "POST", "DELETE")  # of all routes; HEAD is answered as GET
LONGEST_PATH = 80  # characters of an unknown path that its refusal repeats
DESCRIPTION = (
    "Predictions and embeddings by trained models of mass spectra, molecules, proteins and peptides. Each record gets "
    'a prediction or a reason. Errors are JSON: {"error": {"code": ..., "message": ...}}.'
)


def create_app(
    service: Service,
    token: str | None = None,
    jobs: Jobs | None = None,
    on_start: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
    names: Collection[str] | None = None,
) -> FastAPI:
    """The application. token: that clients have to send; None for none. names: of the server, in the header Host.

    on_start: called when the server starts; on_stop: when all HTTP requests have ended.
    """
    threads = Threads(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        on_start()
        yield
        on_stop()
        if jobs is not None:
            jobs.close()
        threads.close()
        service.close()

    app = FastAPI(
        title="Trimer",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        default_response_class=Json,
        docs_url=None,  # their pages load scripts from other servers; `api_page` has /docs
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(rest.router(service, threads))  # first, since routes are tried in order
    app.include_router(page_routes.router(threads))
    app.include_router(explanations.router(threads))
    app.include_router(api_page.router(app))
    app.include_router(health.router(service))
    app.include_router(kserve_http.router(service, threads))
    app.include_router(sagemaker.router(service, threads))
    body_limits: dict[str, tuple[float, str, float]] = {}
    if jobs is not None:
        from trimer.serving import job_routes

        app.include_router(job_routes.router(service, threads, jobs))
        body_limits["/v1/jobs"] = (jobs.limits.body_mib, "jobs.body_mib", jobs.limits.upload_seconds)
    add_error_handlers(app)

    def observe(route: str, status: int, seconds: float) -> None:
        service.metrics.requests.labels(route, str(status)).inc()
        service.metrics.seconds.labels(route).observe(seconds)

    app.add_middleware(Guard, limits=service.limits, token=token, names=names, observe=observe, body_limits=body_limits)
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Every error is JSON with a code and a sentence."""

    async def refused(request: Request, error: Any) -> Response:
        return Json(error.body(), error.status, error.headers | closing(error))

    async def gone(request: Request, error: Any) -> Response:
        return Json({"error": {"code": "cancelled", "message": "the client closed the connection"}}, 400)

    async def http_error(request: Request, error: Any) -> Response:
        refusal = no_route(app, request) if error.status_code in (404, 405) else None
        refusal = refusal or Refusal(error.status_code, "http", str(error.detail))
        allowed = {"Allow": ", ".join(methods_of(app, request))} if refusal.status == 405 else error.headers
        return Json(refusal.body(), refusal.status, allowed)

    async def invalid(request: Request, error: Any) -> Response:
        first = error.errors()[0] if error.errors() else {}
        where = ".".join(str(part) for part in first.get("loc", ()))
        return Json(Refusal(422, "invalid_request", f"{where}: {first.get('msg', 'invalid')}").body(), 422)

    async def unexpected(request: Request, error: Exception) -> Response:
        log.exception("an unexpected error in %s", request.url.path, exc_info=error)
        sentence = "an unexpected error; the log of the server has its cause"
        return Json({"error": {"code": "internal", "message": sentence}}, 500)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(Cancelled, gone)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def no_route(app: FastAPI, request: Request) -> Refusal:
    """The refusal of a path that is not served, or not with this method."""
    path, methods = request.url.path[:LONGEST_PATH], methods_of(app, request)
    lists = "/docs lists the routes, /v1/models the models"
    if methods:
        return Refusal(
            405, "method_not_allowed", f"{path} takes {' and '.join(methods)}, not {request.method}; {lists}"
        )
    return Refusal(404, "unknown_route", f"there is no route {path}; {lists}")


def methods_of(app: FastAPI, request: Request) -> list[str]:
    """The methods of the routes with the path of a request."""
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]


def closing(error: Refusal) -> dict[str, str]:
    """Close the connection after a body that was not read to its end."""
    return {"Connection": "close"} if error.status in (408, 413) else {}
