"""Faults of clients for benchmarks/serving_soak.py: each returns the status of the response, if there is one, and
which statuses are right."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from serving_process import Client, head

BODY_MIB, UNPACKED_MIB, UPLOAD_SECONDS = 1, 4, 10
BOMB = gzip.compress(bytes(64 << 20), 9)
Outcome = tuple[int | None, tuple[int | None, ...]]
Fault = Callable[[int, Any, list], Awaitable[Outcome]]
CONNECTION_ERRORS = (OSError, EOFError)


def body_of(task: Any, records: list) -> bytes:
    """The JSON of a request."""
    return json.dumps({"records": records, "parameters": task.parameters}).encode()


def path_of(task: Any) -> str:
    """The path of a request."""
    return f"/v1/models/{task.model}/predict"


async def sent(port: int, data: bytes, wait: bool = True, receive_buffer: int | None = None) -> int | None:
    """The status after these bytes on a new connection; None if the server closed it. wait: for the response."""
    client = Client(port, receive_buffer)
    try:
        _, writer = await client.open()
        writer.write(data)
        try:
            await writer.drain()
            return (await client.response())[0] if wait else None
        except CONNECTION_ERRORS:
            return None  # the server may close a connection before it has read all of a refused body
    finally:
        client.close()


async def broken_body(port: int, task: Any, records: list) -> Outcome:
    """The connection ends in the middle of the body."""
    body = body_of(task, records)
    data = head("POST", path_of(task), len(body)) + body[: len(body) // 2]
    return await sent(port, data, wait=False), (None,)


async def broken_response(port: int, task: Any, records: list) -> Outcome:
    """The connection ends after the body, before or during the response."""
    client = Client(port, receive_buffer=4096)
    reader, writer = await client.open()
    body = body_of(task, records)
    writer.write(head("POST", path_of(task), len(body)) + body)
    await writer.drain()
    if random.random() < 0.5:
        await reader.read(1)
    if writer.transport is not None:
        writer.transport.abort()
    return None, (None,)


async def slow_body(port: int, task: Any, records: list) -> Outcome:
    """The body arrives in four pieces."""
    client = Client(port)
    try:
        _, writer = await client.open()
        body = body_of(task, records)
        writer.write(head("POST", path_of(task), len(body)))
        step = len(body) // 4 + 1
        for start in range(0, len(body), step):
            writer.write(body[start : start + step])
            await writer.drain()
            await asyncio.sleep(0.2)
        return (await client.response())[0], (200, 408)
    finally:
        client.close()


async def stopped_body(port: int, task: Any, records: list) -> Outcome:
    """The body never ends."""
    body = body_of(task, records)
    return await sent(port, head("POST", path_of(task), len(body) + 10) + body), (408, None)


async def stopped_head(port: int, task: Any, records: list) -> Outcome:
    """The head never ends."""
    return await sent(port, head("POST", path_of(task), 10)[:-4]), (None, 408, 400)


async def slow_reader(port: int, task: Any, records: list) -> Outcome:
    """The response is read in pieces, over a small buffer."""
    client = Client(port, receive_buffer=4096)
    try:
        _, writer = await client.open()
        body = body_of(task, records)
        writer.write(head("POST", path_of(task), len(body)) + body)
        await writer.drain()
        return (await client.response(pause=0.1))[0], (200,)
    finally:
        client.close()


async def no_json(port: int, task: Any, records: list) -> Outcome:
    """The body is not JSON."""
    body = body_of(task, records)[:-2]
    return await sent(port, head("POST", path_of(task), len(body)) + body), (400,)


async def wrong_parameter(port: int, task: Any, records: list) -> Outcome:
    """A parameter that no model has."""
    body = json.dumps({"records": records, "parameters": {"ckpt": "/etc/passwd"}}).encode()
    return await sent(port, head("POST", path_of(task), len(body)) + body), (422,)


async def unknown_model(port: int, task: Any, records: list) -> Outcome:
    """A model that the server has not."""
    body = body_of(task, records)
    return await sent(port, head("POST", "/v1/models/..%2F..%2Fetc/predict", len(body)) + body), (404,)


async def declared_too_large(port: int, task: Any, records: list) -> Outcome:
    """The head announces a body above the limit."""
    return await sent(port, head("POST", path_of(task), (BODY_MIB << 20) + 1) + b"{"), (413, None)


async def chunked_too_large(port: int, task: Any, records: list) -> Outcome:
    """A body in chunks grows above the limit."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    data = head("POST", path_of(task), None) + chunk * ((BODY_MIB << 4) + 2) + b"0\r\n\r\n"
    return await sent(port, data), (413, None)


async def bomb(port: int, task: Any, records: list) -> Outcome:
    """A small body that unpacks to much."""
    fields = {"Content-Encoding": "gzip", "Content-Type": random.choice(("application/json", "text/csv"))}
    return await sent(port, head("POST", path_of(task), len(BOMB), fields) + BOMB), (413,)


FAULTS: dict[str, Fault] = {
    "broken bodies": broken_body,
    "broken responses": broken_response,
    "slow bodies": slow_body,
    "bodies that never end": stopped_body,
    "heads that never end": stopped_head,
    "slow readers": slow_reader,
    "bodies that are not JSON": no_json,
    "wrong parameters": wrong_parameter,
    "unknown models": unknown_model,
    "bodies declared too large": declared_too_large,
    "chunked bodies too large": chunked_too_large,
    "gzip bombs": bomb,
}
SHARE = 0.2  # of the requests that are faults
RARE = {"bodies that never end": 0.2, "heads that never end": 0.2, "gzip bombs": 0.3}  # they take long


def choose(rng: random.Random) -> tuple[str, Fault | None]:
    """The next action of a client: a usual request or a fault."""
    if rng.random() >= SHARE:
        return "usual requests", None
    name = rng.choices(list(FAULTS), [RARE.get(name, 1.0) for name in FAULTS])[0]
    return name, FAULTS[name]
