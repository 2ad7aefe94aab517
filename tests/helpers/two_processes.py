"""Two processes that train together: commands one after the other, since the imports take most of a short training."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

RANK = """
import json, os, sys

import torch.distributed as dist
from trimer.cli.main import main

{setup}
for line in sys.stdin:
    port, words = json.loads(line)
    os.environ["MASTER_PORT"] = port
    code = main(words)
    if dist.is_initialized():
        dist.destroy_process_group()
    sys.stderr.flush()
    print("exit", code, flush=True)
"""


class Pair:
    """The ranks 0 and 1, with `folder` as working directory: called with the words of a command, returns exit codes.

    setup: Python code that both processes run first. errors: the files of what they print to standard error.
    """

    def __init__(self, folder: Path, setup: str = "") -> None:
        self.errors = [folder / f"rank{rank}.txt" for rank in (0, 1)]
        self.ranks = [
            subprocess.Popen(
                [sys.executable, "-c", RANK.format(setup=setup)], cwd=folder, text=True,
                env={**os.environ, "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors[rank].open("w"),
            )
            for rank in (0, 1)
        ]  # fmt: skip

    def __call__(self, *words: str) -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        for rank in self.ranks:
            print(json.dumps([port, words]), file=rank.stdin, flush=True)
        return [self._code(rank) for rank in self.ranks]

    def text(self) -> str:
        """All that both processes have printed to standard error."""
        return "\n".join(path.read_text() for path in self.errors)

    @staticmethod
    def _code(rank: subprocess.Popen[str]) -> int:
        """The exit code of the command; -1 if the process has ended."""
        lines = iter(rank.stdout.readline, "")
        return next((int(line.split()[1]) for line in lines if line.startswith("exit ")), -1)

    def close(self) -> None:
        for rank in self.ranks:
            rank.kill()
            rank.communicate()
