"""A request with records as its body: JSON, or a file, raw or in a form; and the threads that compute."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from trimer.data.text.compression import format_of
from trimer.serving.limits import Refusal
from trimer.serving.parameters import of_query
from trimer.serving.plain_json import read_json
from trimer.serving.service import Service
from trimer.serving.uploads import has_one_line, prepared, private_folder, save, unpacked

Result = TypeVar("Result")

JSON = re.compile(r"application/(?:[\w.-]+\+)?json\b")
JSON_LINES = re.compile(r"application/(?:x-)?(?:jsonlines|jsonl|ndjson)\b")  # a record in each line
FORM = "multipart/form-data"
REQUEST = re.compile(rb"\s*\{\s*\"(?:records|parameters)\"\s*:")  # the start of a JSON request
URL_KEYS = ("format",)  # of the query, which are not parameters
FORM_MIB = 1  # largest field of a form that is not a file
IN_MEMORY = 1 << 18  # bytes of a JSON body that is read without a file
OF_TABLES = ("column", "id_column")  # parameters that only tables have
URL_FORM = "application/x-www-form-urlencoded"  # what curl sends with -d
JOINED = "the body is one line: if its file has several, curl -d removed the line ends; send files with --data-binary"
LISTS = (".smi", ".smiles", ".fasta", ".fa", ".faa")  # formats of which one line can be a record
IN_ONE_LINE = (".json", ".jsonl", ".ndjson", ".mzml", ".mzxml", ".parquet", ".xml")  # formats that need no line ends
NO_OBJECT = 'parameters must be a JSON object, such as {"seed": 1}'
UNWATCHED = 1.0  # seconds of a computation after which a closed connection is noticed; most end before
# Media type of a raw body -> the name that tells its format where the content fits several.
NAMES = {
    "text/csv": "body.csv",
    "text/tab-separated-values": "body.tsv",
    "chemical/x-daylight-smiles": "body.smi",
    "chemical/x-mdl-sdfile": "body.sdf",
    "text/x-fasta": "body.fasta",
    "chemical/seq-aa-fasta": "body.fasta",
}


@dataclass
class Body:
    """The records of a request: a list, or a file in its private folder; and its parameters, not checked yet.

    warnings: about its form, for the response.
    """

    records: list | Path
    parameters: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


@asynccontextmanager
async def body_of(
    request: Request, kind: str, limit_mib: float, limit: str = "limits.unpacked_mib", parent: Path | None = None
) -> AsyncIterator[Body]:
    """The body of a request; its files are removed at the end. kind: of records that the model reads."""
    media = request.headers.get("content-type", "").lower()
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Refusal(415, "unsupported_encoding", f"Content-Encoding {encoding[:40]} is not read: use gzip")
    parameters = of_query({k: v for k, v in request.query_params.items() if k not in URL_KEYS})
    if JSON.match(media):
        async with json_of(request, limit_mib, limit, parent) as document:
            if not isinstance(document.get("records"), list):
                example = '{"records": [...], "parameters": {...}}'
                raise Refusal(422, "no_records", f"the JSON must be an object with a list of records: {example}")
            given = document.get("parameters") or {}
            if not isinstance(given, dict):
                raise Refusal(422, "invalid_parameters", NO_OBJECT)
            yield Body(document["records"], parameters | given)
        return
    with private_folder(parent) as folder:
        if JSON_LINES.match(media):
            await _saved(_parts(request), folder / "raw")
            yield Body(await asyncio.to_thread(_lines_in, folder / "raw", limit_mib, limit), parameters)
            return
        if media.startswith(FORM):
            name, fields = await _saved_form(request, folder / "raw")
            parameters |= fields
        else:
            name = NAMES.get(media.partition(";")[0].strip(), "")
            await _saved(_parts(request), folder / "raw")
            if is_request(folder / "raw"):
                message = "the body is a JSON request: send it with the header Content-Type: application/json"
                raise Refusal(415, "unsupported_format", message)
        if not name and any(parameters.get(key) for key in OF_TABLES):
            name = NAMES["text/csv"]
        path = await asyncio.to_thread(prepared, folder / "raw", name, kind, limit_mib, limit)
        yield Body(path, parameters, await asyncio.to_thread(joined, path, media))


def joined(path: Path, media: str) -> list[str]:
    """A warning if a client seems to have removed the line ends of a file; Refusal if it cannot be read so."""
    if not media.startswith(URL_FORM) or path.suffix in IN_ONE_LINE or not has_one_line(path):
        return []
    with path.open("rb") as file:
        is_fasta = file.read(1) == b">"
    if path.suffix not in LISTS or is_fasta:
        raise Refusal(422, "one_line", JOINED)
    return [JOINED]


def is_request(path: Path) -> bool:
    """Whether a body is a JSON request and not a file."""
    with path.open("rb") as file:
        return REQUEST.match(file.read(1000)) is not None


@asynccontextmanager
async def json_of(
    request: Request, limit_mib: float, limit: str = "limits.unpacked_mib", parent: Path | None = None
) -> AsyncIterator[dict[str, Any]]:
    """The JSON object that is the body of a request; a large or compressed body is written to a file first."""
    start, parts = bytearray(), _parts(request)
    async for part in parts:
        start += part
        if len(start) > IN_MEMORY:
            break
    if len(start) <= IN_MEMORY and format_of(bytes(start[:6])) is None:
        yield _object(start)
        return
    with private_folder(parent) as folder:
        await _saved(parts, folder / "raw", start)
        yield await asyncio.to_thread(_object_in, folder / "raw", limit_mib, limit)


async def _parts(request: Request) -> AsyncIterator[bytes]:
    """The body of a request as it arrives."""
    try:
        async for part in request.stream():
            if part:
                yield part
    except ClientDisconnect:
        raise Refusal(400, "incomplete", "the connection ended before the body was complete") from None


async def _saved(parts: AsyncIterator[bytes], target: Path, start: bytes | bytearray = b"") -> None:
    append = save(target)
    if start:
        append(bytes(start))
    async for part in parts:
        append(part)


async def _saved_form(request: Request, target: Path) -> tuple[str, dict[str, Any]]:
    """Save the file of a form; returns the name that the client gives it, and the parameters of the form."""
    append = save(target)
    async with request.form(max_files=1, max_fields=32, max_part_size=FORM_MIB << 20) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise Refusal(422, "no_file", "the form has no file: add one, as in curl -F file=@spectra.mgf")
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
        while chunk := await files[0].read(1 << 20):
            append(chunk)
        name = files[0].filename or ""
    given = texts.pop("parameters", None)
    fields = of_query(texts)
    if given is not None:
        value = of_query({"parameters": given})["parameters"]
        if not isinstance(value, dict):
            raise Refusal(422, "invalid_parameters", NO_OBJECT)
        fields |= value
    return name, fields


def _object_in(raw: Path, limit_mib: float, limit: str) -> dict[str, Any]:
    plain, _ = unpacked(raw, "", limit_mib, limit)
    return _object(plain.read_bytes())


def _lines_in(raw: Path, limit_mib: float, limit: str) -> list[Any]:
    plain, _ = unpacked(raw, "", limit_mib, limit)
    records = []
    for number, line in enumerate(plain.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                records.append(read_json(line))
            except ValueError as error:
                raise Refusal(400, "invalid_json", f"line {number} is not JSON ({str(error)[:100]})") from error
    return records


def _object(body: bytes | bytearray) -> dict[str, Any]:
    try:
        document = read_json(body)
    except ValueError as error:
        raise Refusal(400, "invalid_json", f"the body is not JSON ({str(error)[:100]})") from error
    if not isinstance(document, dict):
        what = {list: "a list", str: "a text", type(None): "null"}.get(type(document), "a value")
        raise Refusal(422, "no_object", f'the JSON is {what} and must be an object, such as {{"records": [...]}}')
    return document


class Threads:
    """Threads that compute the responses; a request whose client disconnects is cancelled."""

    def __init__(self, service: Service):
        self.service = service
        self.pool = ThreadPoolExecutor(max(1, service.limits.requests), thread_name_prefix="request")

    async def run(self, request: Request, work: Callable[[threading.Event], Result]) -> Result:
        """The result of `work`, which gets an event that says that the client has gone."""
        cancelled, loop = threading.Event(), asyncio.get_running_loop()
        future = loop.run_in_executor(self.pool, work, cancelled)
        watches: list[asyncio.Task[None]] = []
        # A timer costs less than a task for each request; few requests take so long.
        timer = loop.call_later(UNWATCHED, lambda: watches.append(loop.create_task(_watched(request, cancelled))))
        try:
            return await future
        finally:
            timer.cancel()
            for watch in watches:
                watch.cancel()
            if not future.done():  # this request was cancelled; no one takes the result
                cancelled.set()
                future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Count a request while it is in progress; Refusal if there are too many."""
        self.service.admit()
        started = time.monotonic()
        try:
            yield
        finally:
            self.service.leave(time.monotonic() - started)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)


async def _watched(request: Request, cancelled: threading.Event) -> None:
    """Set an event when the client has closed the connection; only after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    cancelled.set()
