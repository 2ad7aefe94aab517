"""The pages about classes of your own: their files are written and their commands run as they stand."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trimer import plugins
from trimer.cli.main import main

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "extend"
BLOCK = re.compile(r"```\{code-block\} \w+\n:caption: (\S+)\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^\$ trimer (.*)$", re.MULTILINE)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Writes the files of a page into an empty working directory, and runs its commands there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIMER_CONF", raising=False)
    monkeypatch.delenv("TRIMER_PLUGINS", raising=False)

    def run(name: str) -> list[str]:
        text = (FOLDER / name).read_text()
        for path, content in BLOCK.findall(text):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(content)
        commands = COMMAND.findall(text)
        for command in commands:
            words = shlex.split(command)
            if "-m" in words:  # its jobs repeat the command line of their process
                path = {"PYTHONPATH": str(FOLDER.parents[1] / "src")}
                done = subprocess.run([sys.executable, "-m", "trimer", *words], env=os.environ | path, check=False)
                assert done.returncode == 0, command
                continue
            monkeypatch.setattr(sys, "argv", ["trimer", *words])
            assert main() == 0, command
        return commands

    yield run
    for name in list(plugins._loaded):
        del plugins._loaded[name]
        sys.modules.pop(name, None)


def result(folder: str) -> dict:
    return json.loads(Path("runs", folder, "result.json").read_text())


def test_every_page_has_a_test():
    tested = Path(__file__).read_text()
    assert all(f'page("{path.name}")' in tested for path in FOLDER.glob("own_*.md"))
    assert len(list(FOLDER.glob("own_*.md"))) == 6


def test_own_encoder(page):
    page("own_encoder.md")
    trained, again = result("own_encoder"), result("own_encoder_again")
    assert trained["metrics"]["test/rmse"] == pytest.approx(again["metrics"]["test/rmse"], rel=1e-5)
    record = json.loads(Path("runs/own_encoder/run.json").read_text())["plugins"]
    assert [Path(plugin["path"]).name for plugin in record] == ["my_encoder.py"]
    assert Path("runs/own_encoder/plugins/my_encoder.py").read_text() == Path("my_encoder.py").read_text()


def test_own_source(page):
    page("own_source.md")
    assert result("own_source")["status"] == "ok"
    drops = json.loads(Path("runs/own_source/drops.json").read_text())
    assert {row["rule"]: row["dropped"] for row in drops["rules"]}["record without smiles"] == 1


def test_own_metric(page):
    page("own_metric.md")
    metrics = result("own_metric")["metrics"]
    assert 0 <= metrics["val/within_5"] <= 1 and result("own_metric")["objective"] == metrics["val/within_5"]
    assert metrics["val/mae_again"] == pytest.approx(metrics["val/mae"], rel=1e-4)


def test_own_callback(page):
    page("own_callback.md")
    rows = [json.loads(line) for line in Path("runs/own_callback/losses.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30]


def test_own_study(page):
    page("own_study.md")
    assert result("own_study")["status"] == "ok"
    table = json.loads(Path("runs/own_study/test/table.json").read_text())
    rows = {row["method"]: row["values"] for row in table["rows"]}
    assert rows.keys() == {"pairs of residues", "train"}
    assert all(0 <= values["auroc_shuffled"] <= 1 and values["score"] < 0 for values in rows.values())
    assert table["columns"]["score"]["label"] == "Mean score (nats)"
    assert "AUROC against shuffled" in Path("runs/own_study/test/page.html").read_text()
    again = json.loads(Path("runs/own_study_again/val/table.json").read_text())
    assert len(again["rows"]) == 2
    predicted = list(csv.DictReader(Path("scores.csv").read_text().splitlines()))
    assert predicted and all(float(row["score"]) < 0 and not row["reason"] for row in predicted)


def test_own_task(page):
    page("own_task.md")
    assert "test/rmse" in result("own_task")["metrics"]
    jobs = [json.loads(Path("runs/own_sweep", job, "run.json").read_text()) for job in "01"]
    assert all(job["plugins"][0]["copy"] == "plugins/my_task.py" for job in jobs)
