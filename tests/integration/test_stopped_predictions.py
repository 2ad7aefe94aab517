"""Labels and libraries: a stopped or killed prediction continues and gives the output of an uninterrupted one."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stopping import stop_at_second_chunk

from trimer.cli.main import main

STEPS = ["trainer.enable_progress_bar=false", "trainer.precision=32-true", "data.tokens_per_batch=1000", "test=false",
         "trainer.max_steps=4", "trainer.val_check_interval=2", "optimizer.lr=0.01", "model=peptides_nano"]  # fmt: skip
LIBRARIES = ("tsv", "csv", "parquet", "msp", "hdf")
PEPTIDES = ["LAGVSEK", "TIDPKQNFYR", "MHWCLLLK", "PEPTIDEK", "AAAAGGGK", "VVSTEPLR", "NQFYAAK"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peptides")
    (folder / "mine.csv").write_text("sequence,charge\n" + "".join(f"{text},2\n" for text in PEPTIDES) + "PEPTIDEK,2\n")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """kind -> folder of its run, trained on first use."""
    settings = {
        "retention": ["data=simulated_peptides", "data.source.count=200", "task=regression"],
        "fragments": ["data=simulated_fragments", "data.source.count=200", "task=fragments"],
    }

    def trained(kind: str) -> Path:
        path = folder / kind
        if not path.exists():
            words = [*settings[kind], *STEPS, f"hydra.run.dir={path}", f"paths.cache={folder / 'cache'}"]
            assert main(["train", *words]) == 0
        return path

    return trained


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [*(("retention", suffix) for suffix in ("csv", "parquet")), *(("fragments", suffix) for suffix in LIBRARIES)],
)
def test_a_stopped_prediction_continues_and_gives_the_same_bytes(run, folder, tmp_path, monkeypatch, kind, suffix):
    if suffix == "hdf":
        pytest.importorskip("h5py")
    monkeypatch.setattr("trimer.prediction.predictor.CHUNK", 3)
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    words = ["predict", f"ckpt={run(kind)}", f"input={folder / 'mine.csv'}"]
    words += [f"retention={run('retention')}"] if kind == "fragments" else []
    assert main([*words, f"output={whole}"]) == 0
    computed = stop_at_second_chunk(monkeypatch)
    assert main([*words, f"output={output}"]) == 130
    assert not output.exists()
    assert main([*words, f"output={output}"]) == 0
    assert len(computed) == len(set(computed)) + 1, "only the chunk that was stopped is computed twice"
    assert output.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} <= {
        whole.name, output.name, "whole.reasons.csv", "out.reasons.csv", "whole.in_training.csv", "out.in_training.csv",
    }  # fmt: skip
    if kind == "fragments":
        assert (tmp_path / "out.reasons.csv").read_bytes() == (tmp_path / "whole.reasons.csv").read_bytes()
    if suffix == "tsv":
        assert len({row["ModifiedPeptide"] for row in csv.DictReader(output.open(), delimiter="\t")}) == len(PEPTIDES)


KILLED = """
import os, signal, sys
import trimer.prediction.predictor as predictor
from trimer.cli.main import main
from trimer.prediction.partial import Partial
predictor.CHUNK = 3
once, keys = Partial.once, []
def killing(self, key, compute, *arguments):
    keys.append(key)
    if len(keys) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return once(self, key, compute, *arguments)
Partial.once = killing
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_prediction_continues(run, folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("trimer.prediction.predictor.CHUNK", 3)
    words = ["predict", f"ckpt={run('retention')}", f"input={folder / 'mine.csv'}"]
    assert main([*words, f"output={tmp_path / 'whole.csv'}"]) == 0
    command = [sys.executable, "-c", KILLED, *words, f"output={tmp_path / 'out.csv'}"]
    assert subprocess.run(command, timeout=300, check=False).returncode == -signal.SIGKILL
    assert main([*words, f"output={tmp_path / 'out.csv'}"]) == 0
    assert "out.csv.partial, which holds 2 chunks" in capfd.readouterr().err
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
