"""The server process: models loaded in a thread, uvicorn with bounded connections, an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trimer.accelerators.free_memory import share_arena
from trimer.api import load
from trimer.checkpoint import checkpoint_path
from trimer.errors import ConfigError, TrimerError
from trimer.pretrained import registry
from trimer.progress import no_displays
from trimer.public import is_public
from trimer.serving.app import create_app
from trimer.serving.guards import Message, Receive, Send, refuse
from trimer.serving.limits import JobLimits, Limits, Refusal, limits_of
from trimer.serving.models import ServedModel, named_models, not_collected
from trimer.serving.service import Service
from trimer.studies.settings import KINDS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.serving.grpc_server import GrpcServer

log = logging.getLogger(__name__)

TOKEN = "TRIMER_SERVE_TOKEN"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEAD_SECONDS = 10.0  # longest time until the head of a request has arrived
IDLE_SECONDS = 5  # a connection without a request is closed
SEND_SECONDS = 30.0  # longest time until a client has taken what was sent to it
HEAD_BYTES = 1 << 16  # longest head of a request; the parser has none


class BoundedProtocol(HttpToolsProtocol):
    """HTTP of uvicorn that closes connections whose clients send a head too slowly or too long, or take no response.

    A closed transport keeps what it has not sent, so such a connection is aborted.
    """

    _head: asyncio.TimerHandle | None = None
    _untaken: asyncio.TimerHandle | None = None
    _unfinished = 0  # bytes since the last end of a head or part of a body: of a head, chunk extensions or trailers

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        # uvicorn's own refusal is a 503 without a sentence.
        self._most_connections, self.limit_concurrency = self.limit_concurrency, None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of the request is longer than {HEAD_BYTES} bytes.")
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        elif self._head is not None:
            self._head.cancel()
            self._head = None

    def on_headers_complete(self) -> None:
        self._unfinished = 0
        if self._most_connections is not None and len(self.connections) > self._most_connections:
            self.app = too_many_connections
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unfinished = 0
        super().on_body(body)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_taken()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None
        self._expect_end()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_end()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._expect_end()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head, self._untaken):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _expect_end(self) -> None:
        """Expect that the client takes the rest of a connection that is being closed."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._expect_taken()

    def _expect_taken(self) -> None:
        if self._untaken is None:
            self._untaken = self.loop.call_later(SEND_SECONDS, self._give_up)

    def _give_up(self) -> None:
        log.info("a client did not take its response within %g s", SEND_SECONDS)
        self.transport.abort()

    def _expect_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self._close_if_waiting)

    def _close_if_waiting(self) -> None:
        self._head = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
            self._expect_end()


async def too_many_connections(scope: Message, receive: Receive, send: Send) -> None:
    """Ask a client above the limit of connections to try again later, and close its connection."""
    message = "the server has as many connections as its limit limits.connections: try again later"
    await refuse(send, Refusal(429, "too_many_connections", message, retry_after=IDLE_SECONDS))


class Server(uvicorn.Server):
    """uvicorn that ends with exit code 0 after SIGTERM, since everything accepted was finished.

    on_exit: called in a thread when the end begins, while HTTP requests are finished.
    """

    on_exit: Callable[[], object] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.on_exit is not None and not self.should_exit:
            threading.Thread(target=self.on_exit, name="end", daemon=True).start()
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # else uvicorn raises them again after its end


def serve(cfg: DictConfig) -> None:
    """Serve the models of a config until SIGTERM or Ctrl-C; TrimerError if they cannot be loaded."""
    from trimer.resuming import plain_dict

    share_arena()
    limits = limits_of(Limits, plain_dict(cfg.limits), "limits")
    job_limits = limits_of(JobLimits, plain_dict(cfg.jobs), "jobs")
    host, port, paths = address_and_models(cfg)
    for path in paths:
        if not is_public(path):
            checkpoint_path(path)  # a wrong name is reported before the server starts
    service = Service(limits, cfg.tokens_per_batch)
    jobs = None
    if job_limits.folder:
        from trimer.serving.jobs import Jobs

        jobs = Jobs(service, Path(job_limits.folder).expanduser(), job_limits)
    server: Server | None = None
    failed: list[BaseException] = []

    token = os.environ.get(TOKEN) or None
    grpc_server = grpc_server_of(service, cfg, host, token)

    def begin() -> None:
        try:
            service.start(lambda: loaded(paths, cfg))
            if jobs is not None:
                jobs.start()
        except BaseException as error:
            failed.append(error)
            assert server is not None
            server.should_exit = True

    def on_start() -> None:
        threading.Thread(target=begin, name="loading", daemon=True).start()
        if grpc_server is not None:
            grpc_server.start()

    def on_stop() -> None:
        if grpc_server is not None:
            grpc_server.close(cfg.shutdown_seconds)

    only_here = host in LOOPBACK and token is None
    app = create_app(service, token, jobs, on_start, on_stop, LOOPBACK if only_here else None)
    if host not in LOOPBACK and token is None:
        log.warning("other machines can use this server at %s: set %s to require a token", host, TOKEN)
    for handler in logging.getLogger().handlers:
        handler.addFilter(not_collected)
    server = Server(uvicorn_config(app, host, port, limits, cfg.shutdown_seconds))
    if grpc_server is not None:
        server.on_exit = partial(grpc_server.stop, cfg.shutdown_seconds)  # the same seconds as for HTTP
    log.info("serving at http://%s:%s; Ctrl-C ends", f"[{host}]" if ":" in host else host, port)
    with no_displays():
        server.run()
    if failed:
        raise failed[0]
    if not server.started:
        raise ConfigError(f"host={host} port={port} cannot be used: choose another port, or end the other server")


def grpc_server_of(service: Service, cfg: DictConfig, host: str, token: str | None) -> GrpcServer | None:
    """The gRPC server, if the config has a port for it."""
    if cfg.grpc_port is None:
        return None
    try:
        from trimer.serving.grpc_server import GrpcServer
    except ModuleNotFoundError as error:
        raise ConfigError(f"grpc_port={cfg.grpc_port} needs {error.name}: pip install 'trimer[grpc]'") from error
    address = f"[{host}]" if ":" in host else host
    return GrpcServer(service, f"{address}:{cfg.grpc_port}", token)


def uvicorn_config(app: Any, host: str, port: int, limits: Limits, shutdown_seconds: int) -> uvicorn.Config:
    """The settings of uvicorn."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=shutdown_seconds,
    )


def address_and_models(cfg: DictConfig) -> tuple[str, int, list[str]]:
    """Host, port and checkpoints; those of SageMaker if its folder of weights exists and no ckpt is given."""
    from trimer.serving.sagemaker import models_in

    in_sagemaker = cfg.ckpt is None and bool(cfg.model_folder) and Path(cfg.model_folder).is_dir()
    if in_sagemaker:
        paths = models_in(Path(cfg.model_folder))
    elif cfg.ckpt is None:
        paths = registry.names()
        if not paths:
            raise ConfigError("this installation holds no models: name a checkpoint or run folder with ckpt=...")
    else:
        paths = [str(cfg.ckpt)] if isinstance(cfg.ckpt, str | int) else [str(path) for path in cfg.ckpt]
    default_port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080) if in_sagemaker else 8000
    host = cfg.host or ("0.0.0.0" if in_sagemaker else LOOPBACK[0])
    if not paths:
        raise ConfigError(f"ckpt={cfg.ckpt} names no model: name a checkpoint, a run folder or a shipped model")
    return host, default_port if cfg.port is None else cfg.port, paths


def loaded(paths: list[str], cfg: DictConfig) -> dict[str, ServedModel]:
    """The served models by name; those that neither predict nor embed are left out."""
    served: dict[str, ServedModel] = {}
    for name, model in named_models(paths, load).items():
        libraries = "retention" in {key for kind in model.loaded.study.predict_settings for key in KINDS[kind]}
        fixed = {"retention": cfg.retention} if libraries and cfg.retention else {}
        served_model = ServedModel(name, model, cfg.trainer, fixed)
        if served_model.operations:
            served[name] = served_model
        else:
            log.warning("%s is not served: it neither predicts nor embeds", name)
    if not served:
        raise TrimerError("none of the models predicts or embeds: name another checkpoint with ckpt=...")
    return served
