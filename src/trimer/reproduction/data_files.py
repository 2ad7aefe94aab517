"""The files that a training reads: data and initial weights, with size and hash.

Hashing costs about a second for each gigabyte when a file is first used; large files that have not changed since are
not read again (`trimer.data.text.content`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trimer.data.text.content import file_digest, hashed_files
from trimer.errors import CheckpointError
from trimer.resuming import dotted_values

MOST = 10_000  # files that are listed


def used_files(data: Any, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`path`, `bytes` and `sha256` of the files of a data module, and of the initial weights (`ckpt`) of the config.

    The files of the data are those that the name of the prepared data depends on, and those that the config names.
    Files of simulated data do not exist: their settings and seed define them.
    """
    with hashed_files() as files:
        _ = getattr(data, "folder", None)  # its name is made from the hashes
        for path in (*named_files(config.get("data")), *weight_files(config.get("ckpt"))):
            if str(path) not in files:
                file_digest(path)
    return [asdict(file) for file in list(files.values())[:MOST]]


def named_files(node: Any) -> Iterator[Path]:
    """The existing files that a config node names, for sources of the user that hash their files themselves."""
    values = dotted_values(node) if isinstance(node, Mapping) else {}
    texts = [text for value in values.values() for text in (value if isinstance(value, list) else [value])]
    for text in texts:
        if isinstance(text, str) and ("/" in text or "." in text) and len(text) < 1000:
            path = Path(text).expanduser()
            if path.is_file():
                yield path


def weight_files(ckpt: str | None) -> list[Path]:
    """The files of the initial weights: a checkpoint, or all files of a folder of weights."""
    if not ckpt:
        return []
    from trimer.checkpoint import checkpoint_path

    try:
        path = checkpoint_path(ckpt)
    except CheckpointError:  # public weights, which are not a checkpoint of ours
        path = Path(ckpt).expanduser()
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path] * path.is_file()


def changed_files(recorded: Sequence[Mapping[str, Any]], present: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between the recorded and the present files, as sentences; files are compared by content."""
    left = {file["sha256"] for file in present}
    known = {file["sha256"] for file in recorded}
    new = [file for file in present if file["sha256"] not in known]
    sentences = []
    for file in (file for file in recorded if file["sha256"] not in left):
        same = [entry for entry in new if entry["path"] == file["path"]] or [
            entry for entry in new if Path(entry["path"]).name == Path(file["path"]).name
        ]
        if same:
            new.remove(same[0])
            sentences.append(
                f"{same[0]['path']} has changed: {file['bytes']:,} bytes with sha256 {file['sha256'][:12]} in the run, "
                f"now {same[0]['bytes']:,} bytes with {same[0]['sha256'][:12]}"
            )
        else:
            sentences.append(f"{file['path']} of the run ({file['bytes']:,} bytes) is not used any more")
    return [*sentences, *(f"{file['path']} was not used by the run" for file in new)]


def missing_files(recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """The recorded paths that do not exist."""
    return [file["path"] for file in recorded if not Path(file["path"]).expanduser().is_file()]
