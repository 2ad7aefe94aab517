"""`<output>.partial`: finished chunks of `trimer predict`, from which the same command continues after an interruption.

For molecules, labels and libraries:
- During a prediction, `<output>.partial` is in the folder of the output. Its first line holds the dependencies of the
  prediction; every further line is a complete chunk of records. A chunk is written to disk before the next one starts,
  so a killed process loses at most one chunk.
- The same command reuses the stored chunks and computes the others. Chunks have the same boundaries, so on the same
  machine the output is identical to that of an uninterrupted run.
- A file of another command (other checkpoint, input, settings or version of Trimer) is never continued or overwritten:
  the error names the differences.
- The file is removed after the output is written.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from trimer import __version__
from trimer.counts import counted
from trimer.errors import ConfigError
from trimer.locks import lock_file
from trimer.resuming import plain_dict

# Settings that do not change the predictions: of files the content is compared, not the location.
NO_SETTINGS = ("name", "paths", "ckpt", "input", "output", "hydra", "cards")


class Partial:
    """A file of computed values by key. dependencies: name -> text; see `dependencies_of`.

    announced: print that stored chunks are reused, and how an interrupted command continues.
    """

    def __init__(self, output: str | Path, dependencies: Mapping[str, str], announced: bool = True):
        output = Path(output).expanduser()
        self.path = output.with_name(output.name + ".partial")
        self.dependencies, self._announced = dict(dependencies), announced
        self._spans: dict[str, tuple[int, int]] = {}  # key -> offset and length of its JSON in bytes

    def __enter__(self) -> Partial:
        self._stream = self.path.open("a+b")
        try:
            self._open()
        except BaseException:  # Ctrl-C too: an open file would stay locked
            self._stream.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stream.close()
        if kind is None or not self._spans:
            self.path.unlink()
        elif self._announced:
            print(f"trimer: {self.path} keeps the finished chunks; run the same command to continue", file=sys.stderr)

    def once(self, key: str, compute: Callable, *arguments: Any) -> Any:
        """The value of this key: the stored one, else compute(*arguments), which must be plain JSON."""
        if key not in self._spans:
            text = json.dumps(compute(*arguments)).encode()
            self._spans[key] = self._stream.seek(0, 2) + len(key) + 1, len(text)
            self._stream.write(key.encode() + b"\t" + text + b"\n")
            self._stream.flush()
        start, length = self._spans[key]
        self._stream.seek(start)
        return json.loads(self._stream.read(length))

    def __contains__(self, key: str) -> bool:
        return key in self._spans

    def _open(self) -> None:
        """Read the stored chunks; an incomplete last line is removed."""
        if not lock_file(self._stream):
            raise ConfigError(f"another process is writing {self.path}; wait until it ends, or name another output")
        self._stream.seek(0)
        head, end = self._stream.readline(), 0
        if head.endswith(b"\n"):
            self._check(head)
            end = len(head)
            for line in self._stream:
                if not line.endswith(b"\n"):
                    break
                key, _, text = line.partition(b"\t")
                self._spans[key.decode()] = end + len(key) + 1, len(text) - 1
                end += len(line)
            if self._announced:
                chunks = counted(len(self._spans), "chunks")
                print(f"trimer: continuing from {self.path}, which holds {chunks}", file=sys.stderr)
        self._stream.truncate(end)
        if not end:
            self._stream.write(json.dumps(self.dependencies).encode() + b"\n")
            self._stream.flush()

    def _check(self, head: bytes) -> None:
        try:
            stored = dict(json.loads(head))
        except (ValueError, TypeError):
            raise ConfigError(f"{self.path} is not a partial result of this version: {_REMEDY}") from None
        current = self.dependencies
        names = sorted(name for name in stored.keys() | current.keys() if stored.get(name) != current.get(name))
        if names:
            shown = [n if n in _CONTENTS else f"{n}={stored.get(n)} (now {current.get(n)})" for n in names]
            raise ConfigError(
                f"{self.path} is from a command with another {', '.join(shown)}: repeat that command to continue it, "
                f"or {_REMEDY}"
            )


_REMEDY = "delete the file to start again, or name another output"
_CONTENTS = ("checkpoint", "input")


def dependencies_of(cfg: DictConfig, checkpoints: Sequence[Path], inputs: Sequence[Path]) -> dict[str, str]:
    """The dependencies of a prediction: version, settings, and digests of checkpoint and input files."""
    settings = plain_dict(cfg)
    return {
        "version": __version__,
        "checkpoint": digest_of(checkpoints),
        "input": digest_of(inputs),
        **_dotted({name: value for name, value in settings.items() if name not in NO_SETTINGS}),
    }


def digest_of(files: Sequence[Path]) -> str:
    """sha256 of the contents of files and of the files of folders, in this order."""
    digest = hashlib.sha256()
    for file in (
        part for path in files for part in (sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else [path])
    ):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _dotted(settings: Mapping, prefix: str = "") -> dict[str, str]:
    """Nested settings as texts under dotted names."""
    texts: dict[str, str] = {}
    for name, value in settings.items():
        texts |= _dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return texts
