"""What a dashboard would send to W&B names only keys that the runs have; nothing is sent."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from trimer.commands import dashboard
from trimer.errors import ConfigError
from trimer.reporting.runs import read_runs, summarise
from trimer.trackers import wandb_dashboard
from trimer.trackers.dashboard_plan import plan_of
from trimer.trackers.descriptions import panel_name

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the checkout")
SUMMARY = ("summary:", "summary_metrics.")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "multirun-a"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        importlib.import_module("sweep_report").make_runs(folder, 24, 40)
    return folder


def texts(spec: Any) -> Iterator[str]:
    """All texts of a specification."""
    if isinstance(spec, dict):
        for value in spec.values():
            yield from texts(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from texts(value)
    elif isinstance(spec, str):
        yield spec


def test_the_plan_holds_what_the_runs_logged(sweep):
    plan = plan_of(summarise(read_runs(sweep)), "a study")
    assert plan.groups == ["multirun-a"] and plan.objective == "val/loss" and plan.best == "val/loss.min"
    assert list(plan.curves) == ["val", "train", "optimizer", "speed"] and plan.curves["val"][0] == "val/loss"
    assert {s.key: (s.numbers, s.logarithmic) for s in plan.settings} == {
        "optimizer.lr": (True, True),
        "model.layers": (True, False),
    }
    assert plan.media == ["test/page"] and plan.tables == []


def test_every_key_of_the_specification_is_one_of_the_runs(sweep, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is missing: pip install 'trimer[dashboards]'")
    output = tmp_path / "spec.json"
    settings = {"input": str(sweep), "title": None, "project": "p", "entity": None, "objective": None}
    dashboard.main(OmegaConf.create(settings | {"output": str(output)}))
    spec = json.loads(output.read_text())
    assert set(spec) == {"workspace", "report"}
    run = sweep / "0"
    logged = {panel_name(name) for name in (run / "metrics.csv").read_text().splitlines()[0].split(",")} - {
        None,
        "step",
    }
    config = OmegaConf.load(run / "config.yaml")
    for name, view in spec.items():
        found = set(texts(view))
        metrics = {text for text in found if re.fullmatch(r"(train|val|test|optimizer|speed)/[\w@.]+", text)}
        of_report = {metric for metric in logged if metric.startswith(("val/", "train/"))}
        assert metrics - {"test/page", "val/loss.min"} == (logged if name == "workspace" else of_report), name
        configs = {text for text in found if re.match(r"config[:.]", text)}
        assert len(configs) >= 2
        for text in configs:
            key = re.sub(r"^config[:.]", "", text).replace(".value", "")
            assert OmegaConf.select(config, key) is not None, f"{name}: {text} is no key of the config"
        for text in (text for text in found if text.startswith(SUMMARY)):
            assert re.sub(r"^summary(:|_metrics\.)", "", text) == "val/loss.min", f"{name}: {text}"
        assert "multirun-a" in json.dumps(view), "only the runs of this study are shown"


def test_a_missing_package_is_named(sweep, monkeypatch):
    monkeypatch.setattr(wandb_dashboard, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'trimer\[dashboards\]'"):
        wandb_dashboard.WandbDashboard(plan_of(summarise(read_runs(sweep)), "x"), "p")
