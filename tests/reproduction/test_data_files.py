"""The files of a training: which are recorded, and how changes are reported."""

from __future__ import annotations

from pathlib import Path

from trimer.reproduction.data_files import changed_files, used_files


def file(path: str, sha256: str, size: int = 3) -> dict:
    return {"path": path, "bytes": size, "sha256": sha256 * 64}


def test_files_are_compared_by_content():
    recorded = [file("data/a.csv", "a"), file("data/b.csv", "b", 1234), file("data/c.csv", "c")]
    moved = [file("elsewhere/a.csv", "a"), file("elsewhere/b.csv", "b"), file("elsewhere/c.csv", "c")]
    assert changed_files(recorded, moved) == []
    present = [file("data/a.csv", "a"), file("elsewhere/b.csv", "d", 1300), file("new.csv", "e")]
    assert changed_files(recorded, present) == [
        "elsewhere/b.csv has changed: 1,234 bytes with sha256 bbbbbbbbbbbb in the run, now 1,300 bytes with "
        "dddddddddddd",
        "data/c.csv of the run (3 bytes) is not used any more",
        "new.csv was not used by the run",
    ]


def test_files_of_the_config_and_initial_weights_are_recorded(tmp_path):
    """A source of the user may hash its files without us; the files that its config names are recorded all the same."""
    for name in ("a.jsonl", "b.tsv", "weights/config.json", "weights/model.safetensors", "one.ckpt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    data = {"source": {"path": str(tmp_path / "a.jsonl"), "more": [str(tmp_path / "b.tsv"), 3], "label": "kind"}}
    found = used_files(object(), {"data": data, "ckpt": str(tmp_path / "weights")})
    names = ["a.jsonl", "b.tsv", "weights/config.json", "weights/model.safetensors"]
    assert [Path(one["path"]).relative_to(tmp_path).as_posix() for one in found] == names
    assert [one["bytes"] for one in found] == [len(name) for name in names]
    (only,) = used_files(object(), {"data": {}, "ckpt": str(tmp_path / "one.ckpt")})
    assert only["path"].endswith("one.ckpt")
