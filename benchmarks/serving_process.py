"""What the benchmarks of the server share: a server process, its CPU-seconds and memory, and HTTP with keep-alive."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
SOURCE = Path(__file__).resolve().parents[1] / "src"
START_SECONDS = 900.0


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        return int(unused.getsockname()[1])


def trimer(*words: str) -> list[str]:
    """A command of Trimer, as a new process of this Python."""
    return [sys.executable, "-m", "trimer", *words]


def environment(folder: Path) -> dict[str, str]:
    """The environment of processes: one thread, and temporary files and cache in a folder."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    variables = {"OMP_NUM_THREADS": "1", "TRIMER_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp")}
    return {**os.environ, "PYTHONPATH": str(SOURCE), **variables}


class ServerProcess:
    """A server as a process. command: that starts it; ready: the path that returns 200 when the server can predict."""

    def __init__(self, command: Sequence[str], port: int, folder: Path, ready: str = "/readyz"):
        self.command, self.port, self.folder, self.ready = list(command), port, folder, ready
        self.process: subprocess.Popen | None = None
        self.log = folder / "server.log"

    def start(self) -> None:
        """Start the process and wait until it can predict."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=environment(self.folder), stdout=log, stderr=log
            )
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the server does not start: see {self.log}\n{self.log.read_text()[-2000:]}")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        """Whether the server answers that it can predict."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{self.ready}", timeout=30) as response:
                return response.status == 200
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self.process is not None
        return self.process.pid

    def cpu_seconds(self) -> float:
        """CPU-seconds of all threads of the process since it was started."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """Resident memory of the process in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def kill(self) -> None:
        """End the process at once, as kill -9 does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End the process in order; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


class Client:
    """An HTTP client with one connection, which is kept open between requests."""

    def __init__(self, port: int, receive_buffer: int | None = None):
        self.port, self.receive_buffer = port, receive_buffer
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection; it is opened if there is none."""
        if self.reader is None or self.writer is None or self.writer.is_closing() or self.reader.at_eof():
            connection = socket.socket()
            if self.receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, (HOST, self.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.reader, self.writer = await asyncio.open_connection(sock=connection)
        return self.reader, self.writer

    def close(self) -> None:
        """Close the connection, whatever its state is."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of a response.

        A server closes connections that are not used for some seconds, perhaps at the moment of the next request; as
        other clients do, that request is sent again on a new connection.
        """
        kept = self.writer
        for attempt in range(2):
            try:
                _, writer = await self.open()
                writer.write(head(method, path, len(body), headers) + body)
                await writer.drain()
                return await self.response()
            except (OSError, EOFError):
                reused = kept is not None and self.writer is kept
                self.close()
                if attempt or not reused:
                    raise
        raise AssertionError

    async def response(self, pause: float = 0.0) -> tuple[int, bytes]:
        """Status and body of the next response. pause: seconds between two parts of the body."""
        reader, _ = await self.open()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length, body = int(fields.get("content-length", 0)), b""
        while len(body) < length:
            part = await reader.read(min(length - len(body), 1 << 16 if not pause else 1 << 13))
            if not part:
                raise ConnectionResetError("the connection ended within a response")
            body += part
            await asyncio.sleep(pause) if pause else None
        if fields.get("connection", "").lower() == "close":
            self.close()
        return status, body


def head(method: str, path: str, length: int | None, headers: Mapping[str, str] | None = None) -> bytes:
    """The head of a request. length: of the body; None: in chunks."""
    size = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    fields = {"Host": HOST, "Content-Type": "application/json", **size, **(headers or {})}
    return (f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode()
