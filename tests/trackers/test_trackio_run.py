"""A training in Trackio, read back from its database; runs in a separate environment: `make test-trackers`."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_trainings import TINY

from trimer.cli.main import main
from trimer.errors import ConfigError, TrimerError
from trimer.loggers import open_loggers
from trimer.trackers import trackio_run
from trimer.trackers.trackio_run import NAME, TrackioRun, name_of

pytestmark = pytest.mark.usefixtures("rough_figures")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(trackio_run, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'trimer\[trackio\]'"):
        TrackioRun(str(tmp_path), "trimer", "demo", None)


def test_names_differ_between_runs(tmp_path):
    assert name_of("demo", str(tmp_path / "2026-01-02_03-04-05")) == "demo 2026-01-02_03-04-05"
    assert name_of("demo", str(tmp_path / "multirun-1" / "3")) == "demo multirun-1/3"


def test_a_failure_at_the_start_is_a_sentence(tmp_path, monkeypatch):
    def init(**settings) -> None:
        raise ValueError("no token\nwas found")

    monkeypatch.setattr(trackio_run, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=init))
    with (
        pytest.raises(TrimerError, match=r"Trackio cannot be used \(no token was found\): log in"),
        open_loggers([TrackioRun(str(tmp_path), "trimer", "demo", "me/space")], {}),
    ):
        pass


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[Path]:
    """The database of the project `trimer`; Trackio reads the folder from the environment when it is imported."""
    folder = tmp_path_factory.mktemp("trackio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        pytest.importorskip("trackio", reason="needs trackio: make test-trackers")
        yield folder / "trimer.db"


def rows_of(database: Path, query: str, *values: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, values).fetchall()


def test_a_training_is_in_the_database_and_a_resumed_one_continues_there(database, tmp_path):
    words = [
        "experiment=demo",
        *TINY,
        "callbacks=default",
        "trainer.val_check_interval=2",
        "trainer.log_every_n_steps=1",
    ]
    words += ["logger=trackio", "seed=3", "test=false", "trainer.limit_val_batches=1", "trainer.max_steps=4"]
    first, second = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    for folder in (first, second):
        assert main(["train", *words, f"hydra.run.dir={folder}"]) == 0
    assert main(["train", f"resume={first}", "trainer.max_steps=8"]) == 0
    name = (first / NAME).read_text().strip()
    assert name.startswith("demo ") and "seed=3" in name and name.endswith(" first")
    names = [row[0] for row in rows_of(database, "SELECT run_name FROM configs")]
    assert len(names) == 2 and name in names, "the same command again is another run, a resumed run is not"
    found = rows_of(database, "SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY id", name)
    logged = [(step, json.loads(metrics)) for step, metrics in found]
    curve = [(step, values["val/loss"]) for step, values in logged if "val/loss" in values]
    with (first / "metrics.csv").open() as stream:
        kept = {int(row["step"]): float(row["val/loss"]) for row in csv.DictReader(stream) if row["val/loss"]}
    assert len(curve) == 4 and dict(curve) == pytest.approx(kept)
    assert not any(key in values for _, values in logged for key in ("epoch", "real_tokens"))
    ((config,),) = rows_of(database, "SELECT config FROM configs WHERE run_name = ?", name)
    assert json.loads(config)["seed"] == 3
