"""The load process of benchmarks/serving.py: clients that send request after request over connections that stay open.

python benchmarks/serving_load.py SPECIFICATION.json

The specification has port, path, clients, seconds and bodies. Each client sends the bodies in turn until the time is
over; the times of all requests are printed as JSON. It imports nothing that takes long.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving_process import Client


async def one_client(specification: dict[str, Any], bodies: Iterator[bytes], end: float, taken: list[float]) -> None:
    """Requests of one client until the end; a status other than 200 ends the benchmark."""
    client = Client(specification["port"])
    while (started := time.monotonic()) < end:
        status, answer = await client.request("POST", specification["path"], next(bodies))
        if status != 200:
            raise SystemExit(f"{status} {answer[:300]!r}")
        taken.append(time.monotonic() - started)
    client.close()


async def run(specification: dict[str, Any]) -> dict[str, Any]:
    """Seconds of all requests, and of the whole run."""
    bodies = itertools.cycle([body.encode() for body in specification["bodies"]])
    taken: list[float] = []
    started = time.monotonic()
    end = started + specification["seconds"]
    await asyncio.gather(*(one_client(specification, bodies, end, taken) for _ in range(specification["clients"])))
    return {"seconds": time.monotonic() - started, "requests": taken}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))))
