"""Faults of the machine: a full disk, a read-only folder, two runs that prepare one cache. A sentence, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from trimer.cli.main import main
from trimer.data.core.store import Store, cached_store
from trimer.errors import InputError
from trimer.loggers import CSV

SMALL = [
    "data.source.molecules=30",
    "data.tokens_per_batch=700",
    "model.d_model=16",
    "model.encoder_ffn=16",
    "model.decoder_ffn=16",
    "trainer.enable_progress_bar=false",
    "trainer.max_steps=3",
    "trainer.limit_val_batches=0",
    "trainer.log_every_n_steps=1",
    "callbacks.last.every_n_train_steps=1",
    "test=false",
]


@pytest.fixture
def read_only(monkeypatch, tmp_path):
    """A folder in which nothing can be created; permissions do not stop the superuser, so the system call does."""
    folder = tmp_path / "read_only"
    folder.mkdir()
    mkdir, os_open = os.mkdir, os.open

    def refuse(path) -> None:
        if folder in Path(os.fsdecode(path)).absolute().parents:
            raise OSError(errno.EROFS, "Read-only file system", os.fsdecode(path))

    def refused_mkdir(path, *args, **named) -> None:
        refuse(path)
        mkdir(path, *args, **named)

    def refused_open(path, flags, *args, **named) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return os_open(path, flags, *args, **named)

    def lock() -> Path:
        monkeypatch.setattr(os, "mkdir", refused_mkdir)
        monkeypatch.setattr(os, "open", refused_open)
        return folder

    lock.folder = folder
    return lock


def test_a_full_disk_keeps_the_metrics_and_the_checkpoint_and_the_run_resumes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    folder, log_metrics = tmp_path / "run", CSV.log_metrics

    def full(self, metrics, step=None) -> None:
        log_metrics(self, metrics, step)
        self.save()
        if self.rows >= 2:
            with self.path.open("a") as file:
                file.write("0,2,0.")  # what still fits
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))

    monkeypatch.setattr(CSV, "log_metrics", full)
    assert main(["train", *SMALL, f"hydra.run.dir={folder}"]) == 1
    assert f"the disk is full in {folder}" in capsys.readouterr().err
    assert "disk is full" in json.loads((folder / "result.json").read_text())["error"]
    monkeypatch.setattr(CSV, "log_metrics", log_metrics)
    assert main(["train", f"resume={folder}"]) == 0
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["step", "0", "1", "2", "2"]  # the last is of the epoch
    assert all(line.count(",") == lines[0].count(",") for line in lines)
    assert json.loads((folder / "result.json").read_text())["status"] == "ok"


def test_a_read_only_folder_of_runs_is_named(trimer, read_only, capsys):
    folder = read_only()
    assert trimer("train", f"hydra.run.dir={folder / 'run'}") == 1
    assert f"{folder / 'run'}: Read-only file system; choose another path" in capsys.readouterr().err


def test_a_read_only_cache_is_named_and_its_stores_are_used(read_only):
    def build(writer) -> None:
        writer.append({"x": np.arange(5)})

    cached_store(read_only.folder / "prepared", build)
    folder = read_only()
    assert len(cached_store(folder / "prepared", build)) == 5
    with pytest.raises(InputError, match=r"new cannot be written \(Read-only file system\).*paths.cache="):
        cached_store(folder / "new", build)


@pytest.mark.parametrize("damaged", [False, True], ids=["none yet", "a damaged one"])
def test_two_runs_that_prepare_one_store_at_once_both_get_it(tmp_path, damaged):
    script = """
        import sys, time
        from pathlib import Path
        import numpy as np
        from trimer.data.core.store import cached_store
        folder = Path(sys.argv[1])
        def build(writer):
            (folder.parent / sys.argv[2]).touch()
            end = time.monotonic() + 20
            while len(list(folder.parent.glob("ready*"))) < 2 and time.monotonic() < end:
                time.sleep(0.01)
            writer.append({"x": np.arange(200_000)})
        print(int(cached_store(folder, build).array("x").sum()))
    """
    folder = tmp_path / "store-0123456789abcdef"
    if damaged:
        cached_store(folder, lambda writer: writer.append({"x": np.arange(200_000)}))
        columns = folder / "columns.arrow"
        content = bytearray(columns.read_bytes())
        content[len(content) // 2] ^= 255
        columns.write_bytes(content)
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    runs = [
        subprocess.Popen([*command, f"ready{number}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    for run in runs:
        output, messages = run.communicate(timeout=60)
        assert run.returncode == 0, messages
        assert int(output) == sum(range(200_000))
    assert len(Store(folder)) == 200_000
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "ready0", "ready1"}
