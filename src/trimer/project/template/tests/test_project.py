"""The tests of this project: `python -m pytest` in its folder."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import trimer
from trimer.cli.main import main

PROJECT = Path(__file__).resolve().parents[1]


def test_the_source_reads_every_record() -> None:
    trimer.load_plugin(PROJECT / "my_parts.py")
    records = PROJECT / "data" / "molecules.jsonl"
    (table,) = sys.modules["my_parts"].JsonLines(str(records), "kind").chunks()
    assert len(table.texts) == len(records.read_text().splitlines())
    assert not table.problems
    assert set(table.labels["kind"]) == {"alcohol", "amine", "acid"}


def test_the_first_experiment_trains(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(PROJECT)
    short = ["trainer.max_steps=2", "trainer.val_check_interval=2", "baselines=false"]
    words = ["train", "--plugin", "my_parts.py", "experiment=first", *short, f"paths.cache={tmp_path / 'cache'}"]
    assert main([*words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "ok"
    assert math.isfinite(result["metrics"]["val/loss"])
