"""Two runs side by side: what is compared, and how it is shown within 80 columns, as CSV and as Markdown."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trimer.cli.main import main
from trimer.reproduction.comparison import SECTIONS, Row, compare
from trimer.reproduction.side_by_side import as_text, collapsed, short_names, wrap
from trimer.run import RunFolder


def run(folder: Path, lr: float, torch: str, loss: float, sha: str) -> RunFolder:
    (folder / "test").mkdir(parents=True)
    config = {"optimizer": {"lr": lr}, "paths": {"run": str(folder)}, "best": f"{folder}/checkpoints", "seed": 1}
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    OmegaConf.save(OmegaConf.create([f"optimizer.lr={lr}", f"hydra.run.dir={folder}"]), folder / "overrides.yaml")
    (folder / "packages.txt").write_text(f"numpy==2.4.0\ntorch=={torch}\n")
    untracked = [{"path": "own/parts.py", "bytes": 3, "sha256": sha * 64}]
    record = {
        "command": "train", "trimer": "0.2.0", "data": "pairs-1", "python": "3.11.7",
        "git": {"sha": "c" * 40, "dirty": True, "untracked_files": untracked},
        "files": [{"path": "my.mgf", "bytes": 1234, "sha256": "f" * 64}],
        "device": {"cpu": "a CPU", "threads": 2, "cpu_gflops": {"fp32": loss}}, "environment": {"OMP_NUM_THREADS": sha},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "git.diff").write_text("diff --git a/x b/x\n")
    (folder / "split.json").write_text(json.dumps({"sha256": "e" * 64, "sizes": {"train": 1000}}))
    (folder / "result.json").write_text(json.dumps({"status": "ok", "metrics": {"val/loss": loss, "same": 0.5}}))
    return RunFolder(folder)


@pytest.fixture
def runs(tmp_path):
    return [
        run(tmp_path / "2026-01-01_10-00-00-abcdef" / "0", 0.001, "2.12.0", 1.25, "1"),
        run(tmp_path / "2026-01-01_10-00-00-abcdef" / "1", 0.003, "2.13.0", 1.5, "2"),
    ]


def test_every_section_names_what_differs(runs):
    rows = compare(*runs)
    differing = {(row.section, row.key): (row.left, row.right) for row in rows if not row.equal}
    assert differing == {
        ("config", "optimizer.lr"): ("0.001", "0.003"),
        ("overrides", "optimizer.lr"): ("0.001", "0.003"),
        ("code", "git, untracked own/parts.py"): ("1" * 12, "2" * 12),
        ("packages", "torch"): ("2.12.0", "2.13.0"),
        ("device", "OMP_NUM_THREADS"): ("1", "2"),
        ("results", "val/loss"): ("1.25", "1.5 (+0.25)"),
    }
    equal = {(row.section, row.key): row.left for row in rows if row.equal}
    assert equal["config", "best"] == "<run>/checkpoints"
    assert equal["data", "my.mgf"] == "1,234 bytes, ffffffffffff"
    assert equal["data", "rows of train"] == "1,000"
    assert equal["code", "git.diff"].startswith("1 changed file, ")


@pytest.mark.parametrize("width", [80, 60])
def test_the_comparison_fits_the_width(runs, width):
    rows, names = compare(*runs), short_names(runs[0].path, runs[1].path)
    assert names == ("0", "1")
    text = as_text(rows, names, width)
    assert max(map(len, text.splitlines())) <= width
    lines = text.splitlines()
    assert [line.partition(":")[0] for line in lines if line and line[0] != " "] == list(SECTIONS)
    assert "data: no difference" in lines
    assert "numpy" not in text and "numpy" in as_text(rows, names, width, all_rows=True)


def test_the_command_prints_the_comparison_and_writes_tables(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [str(one.path) for one in runs]
    assert main(["diff", *folders, "output=out/diff.csv"]) == 0
    printed = capsys.readouterr().out
    assert "1.5 (+0.25)" in printed and max(map(len, printed.splitlines())) <= 80
    rows = list(csv.DictReader(Path("out/diff.csv").read_text().splitlines()))
    assert {"section": "packages", "key": "torch", "0": "2.12.0", "1": "2.13.0"} in rows
    assert main(["diff", *folders, "output=diff.md", "all=true"]) == 0
    assert "| numpy | 2.4.0 | 2.4.0 |" in Path("diff.md").read_text()
    assert main(["diff", *folders, "output=diff.xlsx"]) == 1
    assert "must end with .csv or .md" in capsys.readouterr().err
    assert main(["diff", folders[0], str(tmp_path)]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_a_subtree_of_one_run_is_one_row():
    keys = [f"data.exclude.unmod.{name}" for name in "abcd"]
    rows = [Row("config", key, "1", None) for key in keys]
    rows += [Row("config", "data.path", "x", "y"), Row("config", "data.split.names", None, "z")]
    assert collapsed(rows) == [Row("config", "data.exclude", "4 keys", None), *rows[4:]]
    assert collapsed(rows[3:]) == rows[3:], "few keys are listed"


def test_long_names_are_broken_after_their_signs():
    assert wrap("data.exclude.data.unmod", 14) == ["data.exclude.", "data.unmod"]
    assert wrap("a" * 7, 3) == ["aaa", "aaa", "a"]
    assert wrap("0.00796 (-0.00188)", 14) == ["0.00796", "(-0.00188)"]  # numbers stay whole
    assert wrap("2 changed files", 10) == ["2 changed", "files"]
    assert wrap("", 5) == [""]


def test_a_value_and_a_subtree_of_the_same_name_are_both_shown():
    rows = [Row("config", "split.names", None, "null"), Row("config", "split.names.a", "train", None)]
    assert collapsed(rows) == rows
