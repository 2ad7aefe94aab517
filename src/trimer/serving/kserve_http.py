"""Routes of KServe's protocol version 2 with JSON tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from trimer import __version__
from trimer.counts import counted
from trimer.serving.health import readiness
from trimer.serving.kserve import DTYPES, TensorModel, Tensors
from trimer.serving.limits import Refusal
from trimer.serving.plain_json import Json
from trimer.serving.requests import Threads, json_of
from trimer.serving.rest import REFUSALS, json_body
from trimer.serving.service import Service

VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}  # each model has one
BINARY = "inference-header-content-length"
MOST_DIMENSIONS = 8  # of a tensor
TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string", "enum": list(DTYPES)},
        "data": {"type": "array", "items": {}},
    },
}
BODY = json_body(
    "inputs",
    {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": TENSOR},
        "outputs": {"type": "array", "items": {"type": "object"}},
    },
)


def router(service: Service, threads: Threads) -> APIRouter:
    """The routes below /v2."""
    routes = APIRouter(prefix="/v2", tags=["KServe"])

    @routes.get("", summary="Name and version of the server")
    async def server() -> dict[str, Any]:
        return {"name": "trimer", "version": __version__, "extensions": ["model_configuration"]}

    @routes.get("/health/live", summary="Whether the server lives")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/health/ready", summary="Whether the server is ready", responses={503: {}})
    async def ready() -> Response:
        _, status = readiness(service)
        return Json({"ready": status == 200}, status)

    async def metadata(model: str) -> dict[str, Any]:
        return TensorModel(service.model(model)).metadata()

    async def model_ready(model: str) -> dict[str, Any]:
        return {"name": service.model(model).name, "ready": True}

    async def config(model: str) -> dict[str, Any]:
        return TensorModel(service.model(model)).config(service)

    async def infer(model: str, request: Request) -> Json:
        tensors = TensorModel(service.model(model))
        if BINARY in request.headers:
            raise Refusal(415, "unsupported_format", "binary tensors are not read over HTTP: send JSON, or use gRPC")
        async with threads.admitted(), json_of(request, service.limits.unpacked_mib) as document:
            inputs, wanted = read_inputs(document)
            outputs = await threads.run(request, lambda cancelled: tensors.infer(service, inputs, wanted, cancelled))
        body = {"model_name": tensors.model.name, "model_version": tensors.model.version}
        body |= {"id": document["id"]} if isinstance(document.get("id"), str) else {}
        return Json({**body, "outputs": [as_json(name, value) for name, value in outputs.items()]})

    of_version: dict[str, Any] = {"parameters": [VERSION]}
    for path, given in {"/models/{model}": {}, "/models/{model}/versions/{version}": of_version}.items():
        options: dict[str, Any] = {"responses": REFUSALS, "openapi_extra": given}
        routes.get(path, summary="Inputs and outputs", **options)(metadata)
        routes.get(f"{path}/ready", summary="Whether a model is ready", **options)(model_ready)
        routes.get(f"{path}/config", summary="Largest batch", **options)(config)
        options["openapi_extra"] = BODY | given
        routes.post(f"{path}/infer", summary="Predict tensors", **options)(infer)
    return routes


def read_inputs(document: Mapping[str, Any]) -> tuple[Tensors, list[str]]:
    """The tensors of a request and the names of the wanted outputs; Refusal for another form."""
    form = '{"inputs": [{"name": ..., "shape": [n, 1], "datatype": ..., "data": [...]}]}'
    inputs, outputs = document.get("inputs"), document.get("outputs") or []
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise Refusal(422, "no_inputs", f"the JSON must be {form}")
    tensors: Tensors = {}
    for entry in inputs:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("data"), list):
            raise Refusal(422, "no_inputs", f"the JSON must be {form}")
        name, datatype = str(entry.get("name")), str(entry.get("datatype"))
        tensors[name] = tensor_of(name, datatype, flattened(name, entry["data"]))
        check_shape(name, entry.get("shape"), tensors[name].size)
    names = [str(entry.get("name")) for entry in outputs if isinstance(entry, Mapping)]
    return tensors, names


def flattened(name: str, data: list) -> list:
    """The values of data that are nested by rows, or flat; Refusal for deeper ones."""
    values = [value for part in data for value in (part if isinstance(part, list) else [part])]
    if any(isinstance(value, list | Mapping) for value in values):
        message = f"the data of {name[:40]} must be texts or numbers, flat or one list a row"
        raise Refusal(422, "invalid_tensor", message)
    return values


def check_shape(name: str, shape: Any, size: int) -> None:
    """Refusal if a tensor has another number of values than its shape."""
    if not shape:
        return  # some clients send none
    whole = isinstance(shape, list) and len(shape) <= MOST_DIMENSIONS
    whole = whole and all(isinstance(part, int) and 0 <= part < 1 << 40 for part in shape)
    if not whole or math.prod(shape) != size:
        message = f"the shape of {name[:40]} is {str(shape)[:40]}, and it has {counted(size, 'values')}"
        raise Refusal(422, "invalid_shape", message)


def tensor_of(name: str, datatype: str, values: list) -> np.ndarray:
    """The values as an array; Refusal for an unknown or wrong type."""
    if datatype not in DTYPES:
        raise Refusal(422, "unknown_datatype", f"the datatype of {name[:40]} must be one of {', '.join(DTYPES)}")
    if datatype == "BYTES":
        array = np.empty(len(values), object)
        array[:] = ["" if value is None else str(value) for value in values]
        return array
    try:
        array = np.array(values, DTYPES[datatype])
        if array.dtype.kind == "i" and (array != np.array(values, np.float64)).any():
            raise ValueError("not whole numbers")  # numpy cuts them
    except (TypeError, ValueError, OverflowError) as error:
        raise Refusal(422, "invalid_tensor", f"the data of {name[:40]} are not {datatype}") from error
    return array


def as_json(name: str, values: np.ndarray) -> dict[str, Any]:
    """An output tensor; NaN becomes null, which JSON has."""
    datatype = next(kind for kind, dtype in DTYPES.items() if dtype == values.dtype)
    flat = values.ravel().tolist()
    if datatype != "BYTES":
        flat = [value if math.isfinite(value) else None for value in flat]
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": flat}
