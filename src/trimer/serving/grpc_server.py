"""KServe's protocol version 2 over gRPC, as koinapy and Triton's clients speak it. Needs the extra `trimer[grpc]`."""

from __future__ import annotations

import hmac
import logging
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from trimer import __version__
from trimer.errors import ConfigError
from trimer.serving.batching import Cancelled
from trimer.serving.grpc_messages import PACKAGE, classes
from trimer.serving.kserve import DTYPES, TensorModel, Tensors
from trimer.serving.kserve_http import check_shape, tensor_of
from trimer.serving.limits import MIB, Refusal
from trimer.serving.service import Service

log = logging.getLogger(__name__)

SERVICE = f"{PACKAGE}.GRPCInferenceService"
OPEN = ("ServerLive", "ServerReady")  # need no token
CONTENTS = {"BYTES": "bytes", "FP32": "fp32", "FP64": "fp64", "INT16": "int", "INT32": "int", "INT64": "int64"}
LENGTH = struct.Struct("<I")  # of an element of BYTES in raw contents
CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}


class GrpcServer:
    """The server. address: such as 127.0.0.1:8500; port 0 chooses a free one, see `port`."""

    def __init__(self, service: Service, address: str, token: str | None):
        self.service, self.token, self.messages = service, token, classes()
        size = int(service.limits.body_mib * MIB)
        options = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", -1)]
        options += [("grpc.max_concurrent_streams", service.limits.requests), ("grpc.so_reuseport", 0)]
        pool = ThreadPoolExecutor(service.limits.requests, thread_name_prefix="grpc")
        self._server = grpc.server(pool, options=options, maximum_concurrent_rpcs=service.limits.connections)
        methods = {name: self._handler(name, method) for name, method in self._methods().items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(f"grpc_port: {address} cannot be used; choose another port") from error

    def start(self) -> None:
        """Accept requests."""
        self._server.start()

    def stop(self, seconds: float) -> threading.Event:
        """Accept no more requests and finish those that are in progress within some seconds; the event is their end."""
        return self._server.stop(seconds)

    def close(self, seconds: float) -> None:
        """Finish accepted requests within some seconds."""
        self.stop(seconds).wait()

    def _methods(self) -> dict[str, Callable[[Any, threading.Event], dict[str, Any]]]:
        service = self.service

        def model_of(name: str) -> TensorModel:
            return TensorModel(service.model(name))

        def is_ready(request: Any) -> bool:
            return service.ready and request.name in service.models

        return {
            "ServerLive": lambda request, cancelled: {"live": True},
            "ServerReady": lambda request, cancelled: {"ready": service.ready},
            "ServerMetadata": lambda request, cancelled: {"name": "trimer", "version": __version__},
            "ModelReady": lambda request, cancelled: {"ready": is_ready(request)},
            "ModelMetadata": lambda request, cancelled: model_of(request.name).metadata(),
            "ModelConfig": lambda request, cancelled: {"config": model_of(request.name).config(service)},
            "ModelInfer": lambda request, cancelled: self._infer(model_of(request.model_name), request, cancelled),
        }

    def _handler(self, name: str, method: Callable[[Any, threading.Event], dict[str, Any]]) -> Any:
        request_class, response_class = (self.messages[f"{name}{end}"] for end in ("Request", "Response"))

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            cancelled, started = threading.Event(), time.monotonic()
            context.add_callback(cancelled.set)
            try:
                self._check_token(name, context)
                response = response_class(**method(request, cancelled))
                self.service.metrics.requests.labels(f"grpc {name}", "200").inc()
                return response
            except Refusal as error:
                refusal = error
            except Cancelled:
                refusal = Refusal(499, "cancelled", "the client has gone")
            except Exception:
                log.exception("an unexpected error in %s", name)
                refusal = Refusal(500, "internal", "an unexpected error; the log of the server has its cause")
            finally:
                seconds = time.monotonic() - started
                self.service.metrics.seconds.labels(f"grpc {name}").observe(seconds)
            self.service.metrics.requests.labels(f"grpc {name}", str(refusal.status)).inc()
            context.abort(CODES.get(refusal.status, grpc.StatusCode.INVALID_ARGUMENT), str(refusal))

        return grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=request_class.FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )

    def _check_token(self, name: str, context: grpc.ServicerContext) -> None:
        if self.token is None or name in OPEN:
            return
        given = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(str(given).encode(), f"Bearer {self.token}".encode()):
            raise Refusal(
                401, "no_token", "send the metadata authorization: Bearer <token> with the token of the server"
            )

    def _infer(self, model: TensorModel, request: Any, cancelled: threading.Event) -> dict[str, Any]:
        self.service.admit()
        started = time.monotonic()
        try:
            outputs = model.infer(
                self.service, inputs_of(request), [output.name for output in request.outputs], cancelled
            )
        finally:
            self.service.leave(time.monotonic() - started)
        tensors = [
            {"name": name, "datatype": datatype_of(value), "shape": list(value.shape)}
            for name, value in outputs.items()
        ]
        return {
            "model_name": model.model.name,
            "model_version": model.model.version,
            "id": request.id,
            "outputs": tensors,
            "raw_output_contents": [raw_of(value) for value in outputs.values()],
        }


def datatype_of(values: np.ndarray) -> str:
    """The name of the type of an array."""
    return next(name for name, dtype in DTYPES.items() if dtype == values.dtype)


def inputs_of(request: Any) -> Tensors:
    """The tensors of a request, from raw or typed contents; Refusal for contents that do not fit."""
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise Refusal(422, "invalid_tensor", f"{len(request.inputs)} inputs have {len(raw)} raw contents")
    tensors: Tensors = {}
    for number, tensor in enumerate(request.inputs):
        if tensor.datatype not in DTYPES:
            raise Refusal(
                422, "unknown_datatype", f"the datatype of {tensor.name[:40]} must be one of {', '.join(DTYPES)}"
            )
        if raw:
            tensors[tensor.name] = array_of(tensor.name, tensor.datatype, raw[number])
        else:
            values = list(getattr(tensor.contents, f"{CONTENTS[tensor.datatype]}_contents"))
            texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
            tensors[tensor.name] = tensor_of(tensor.name, tensor.datatype, texts)
        check_shape(tensor.name, list(tensor.shape), tensors[tensor.name].size)
    return tensors


def array_of(name: str, datatype: str, raw: bytes) -> np.ndarray:
    """The array of raw contents."""
    if datatype != "BYTES":
        dtype = DTYPES[datatype]
        if len(raw) % dtype.itemsize:
            raise Refusal(422, "invalid_tensor", f"the data of {name[:40]} are not {datatype}")
        return np.frombuffer(raw, dtype)
    values, position = [], 0
    while position < len(raw):
        end = position + LENGTH.size
        size = LENGTH.unpack(raw[position:end])[0] if end <= len(raw) else len(raw)
        if end + size > len(raw):
            raise Refusal(422, "invalid_tensor", f"the data of {name[:40]} end early")
        values.append(raw[end : end + size].decode("utf-8", "replace"))
        position = end + size
    return tensor_of(name, datatype, values)


def raw_of(values: np.ndarray) -> bytes:
    """An array as raw contents, in the order of rows."""
    if values.dtype != DTYPES["BYTES"]:
        return np.ascontiguousarray(values).tobytes()
    encoded = [str(value).encode() for value in values.ravel()]
    return b"".join(part for text in encoded for part in (LENGTH.pack(len(text)), text))
