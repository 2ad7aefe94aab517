"""JSON of requests and responses: what other programs can read, and nothing else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import JSONResponse

DEEPEST = 50  # levels of nested values
SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: str | bytes | bytearray) -> Any:
    """The value of a JSON text; ValueError if it is not JSON, is nested too deep, or holds half a character.

    JSON can escape one half of a pair of surrogates alone, which is no text that a file or a response can hold.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    suspect = b"\\ud" in raw.lower() or b"\xed" in raw  # escaped, or as bytes
    if suspect and SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise ValueError("a text holds half a character (an unpaired surrogate)")
    return value


def finite(value: Any) -> Any:
    """Nested values with None for numbers that JSON does not have (NaN, infinite)."""
    if isinstance(value, Mapping):
        return {str(name): finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any) -> str:
    """JSON of plain values in ASCII; null for numbers that JSON does not have."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), allow_nan=False)


def json_bytes(value: Any) -> bytes:
    """JSON of plain values in UTF-8, for responses; null for numbers that JSON does not have.

    What orjson does not write (halves of characters, numbers above 64 bits) is escaped, or written, by `json_text`.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json_text(value).encode()


class Json(JSONResponse):
    """A response that can hold any text of a client."""

    def render(self, content: Any) -> bytes:
        return json_bytes(content)
