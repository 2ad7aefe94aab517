"""`<output>.partial`: what `trimer predict` has computed, so that the same command continues where it was stopped.

The rule, for molecules, labels and libraries alike:
- While a prediction runs, `<output>.partial` stands beside the output. Its first line says what was asked; every
  further line is a chunk of records, whole. A chunk is on disk before the next one begins, so a kill loses one chunk.
- The same command, given again, takes the chunks that are there and computes the others. Chunks are cut alike, so the
  output is that of an uninterrupted run, bit for bit, on the same machine.
- A file of another command (other checkpoint, input, settings or version of Trimer) is never continued or overwritten:
  the error names what differs.
- When the output is written, the file is removed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trimer import __version__
from trimer.errors import ConfigError
from trimer.locks import lock_file

NO_SETTINGS = ("name", "paths", "ckpt", "input", "output", "hydra")  # content counts, not where it lies


class Partial:
    """A file of computed values by key. asked: what the values depend on, as texts by name; see `asked_of`."""

    def __init__(self, output: str | Path, asked: Mapping[str, str]):
        output = Path(output).expanduser()
        self.path = output.with_name(output.name + ".partial")
        self.asked = dict(asked)
        self._places: dict[str, tuple[int, int]] = {}  # key -> where its JSON begins and how long it is

    def __enter__(self) -> Partial:
        self._stream = self.path.open("a+b")
        try:
            self._open()
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stream.close()
        if kind is None or not self._places:
            self.path.unlink()
        else:
            print(f"trimer: {self.path} keeps what was computed; the same command continues from it", file=sys.stderr)

    def once(self, key: str, compute: Callable, *arguments: Any) -> Any:
        """compute(*arguments), plain JSON: as it was computed under this key before the stop, or computed now."""
        if key not in self._places:
            text = json.dumps(compute(*arguments)).encode()
            self._places[key] = self._stream.seek(0, 2) + len(key) + 1, len(text)
            self._stream.write(key.encode() + b"\t" + text + b"\n")
            self._stream.flush()
        start, length = self._places[key]
        self._stream.seek(start)
        return json.loads(self._stream.read(length))

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def _open(self) -> None:
        """Take what is there; a last line that was cut off goes."""
        if not lock_file(self._stream):
            raise ConfigError(f"another process is writing {self.path}; wait for it, or name another output")
        self._stream.seek(0)
        head, end = self._stream.readline(), 0
        if head.endswith(b"\n"):
            self._check(head)
            end = len(head)
            for line in self._stream:
                if not line.endswith(b"\n"):
                    break
                key, _, text = line.partition(b"\t")
                self._places[key.decode()] = end + len(key) + 1, len(text) - 1
                end += len(line)
            print(f"trimer: continuing from {self.path}, which holds {len(self._places):,} chunks", file=sys.stderr)
        self._stream.truncate(end)
        if not end:
            self._stream.write(json.dumps(self.asked).encode() + b"\n")
            self._stream.flush()

    def _check(self, head: bytes) -> None:
        try:
            theirs = dict(json.loads(head))
        except (ValueError, TypeError):
            raise ConfigError(f"{self.path} is not a partial result of this version: {_REMEDY}") from None
        names = sorted(name for name in theirs.keys() | self.asked.keys() if theirs.get(name) != self.asked.get(name))
        if names:
            shown = [n if n in _CONTENTS else f"{n}={theirs.get(n)} (now {self.asked.get(n)})" for n in names]
            raise ConfigError(
                f"{self.path} was begun with another {', '.join(shown)}: repeat that command to continue it, "
                f"or {_REMEDY}"
            )


_REMEDY = "delete the file to start anew, or name another output"
_CONTENTS = ("checkpoint", "input")


def asked_of(cfg: DictConfig, checkpoints: Sequence[Path], inputs: Sequence[Path]) -> dict[str, str]:
    """What a prediction depends on: version, settings, and the contents of checkpoint and input files."""
    settings = OmegaConf.to_container(cfg, resolve=True)
    return {
        "version": __version__,
        "checkpoint": _digest(checkpoints),
        "input": _digest(inputs),
        **_dotted({name: value for name, value in settings.items() if name not in NO_SETTINGS}),
    }


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def _dotted(settings: Mapping, above: str = "") -> dict[str, str]:
    """Nested settings as texts under dotted names."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        found |= _dotted(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": str(value)}
    return found
