"""The outer layer of the HTTP server: token, name of the server, size and time of bodies, HEAD requests."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from typing import Any

from trimer.serving.limits import MIB, Limits, Refusal, too_large

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = {"/", "/docs", "/healthz", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"}  # they need no token


@dataclass(eq=False)
class Guard:
    """ASGI middleware that refuses what exceeds the limits before it reaches a route.

    HEAD, which load balancers send, is answered as GET; the server leaves out the body. token: that clients have to
    send as `Authorization: Bearer <token>`; None for no token. names: those of the server in the header Host; None for
    any. body_limits: path -> MiB, name of the limit and seconds of the upload, where they differ from `limits`.
    """

    app: App
    limits: Limits
    token: str | None
    names: Collection[str] | None
    observe: Callable[[str, int, float], None]
    body_limits: dict[str, tuple[float, str, float]]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        started, status = time.monotonic(), [0]

        async def bounded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            self.check_name(scope)
            self.check_token(scope)
            await self.app(scope, self.bounded(scope, receive), bounded_send)
        except Refusal as refusal:
            if not status[0]:
                await refuse(bounded_send, refusal)
        except asyncio.CancelledError:  # by the server, which ends and has waited long enough
            if status[0]:
                raise
            await refuse(bounded_send, Refusal(429, "shutting_down", "the server ends: try again", retry_after=5))
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self.observe(route, status[0] or 500, time.monotonic() - started)

    def check_name(self, scope: MutableMapping[str, Any]) -> None:
        """Refusal of a request to another name.

        A page of another server could give its own name the address of this machine, and its scripts could then read
        what a server without a token answers (DNS rebinding).
        """
        name = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
        if self.names is None or not name or re.sub(r":\d*$", "", name).strip("[]") in self.names:
            return
        raise Refusal(
            403,
            "unknown_host",
            "the header Host has a name that is not of this machine: use http://127.0.0.1, or start the server with a "
            "token (TRIMER_SERVE_TOKEN)",
        )

    def check_token(self, scope: MutableMapping[str, Any]) -> None:
        """Refusal without the token of the server."""
        if self.token is None or scope["path"] in OPEN:
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            raise Refusal(
                401, "no_token", "send the header Authorization: Bearer <token> with the token of this server"
            )

    def bounded(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        """`receive` that raises a Refusal for a body that is too large or too slow."""
        headers = dict(scope["headers"])
        mib, name, seconds = self.body_limits.get(
            scope["path"], (self.limits.body_mib, "limits.body_mib", self.limits.upload_seconds)
        )
        try:
            length = int(headers.get(b"content-length", b"0"))
        except ValueError:
            raise Refusal(400, "invalid_header", "Content-Length must be a whole number") from None
        if length > mib * MIB:
            raise too_large("the body", name, mib)
        deadline, total, complete = time.monotonic() + seconds, 0, False

        async def bounded_receive() -> Message:
            nonlocal total, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(max(0.001, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                limit = name.replace("body_mib", "upload_seconds")
                raise Refusal(
                    408, "upload_too_slow", f"the body did not arrive within the limit {limit} of {seconds:g} s"
                ) from None
            total += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if total > mib * MIB:
                raise too_large("the body", name, mib)
            return message

        return bounded_receive


async def refuse(send: Send, refusal: Refusal) -> None:
    """Send a refusal as JSON and close the connection, since the body may not have been read."""
    body = json.dumps(refusal.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
