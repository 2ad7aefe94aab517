"""The page of a sweep: what it holds, what bounds it, and its colours, filters and ranges in headless Chromium."""

from __future__ import annotations

import csv
import importlib
import json
import math
import re
import shutil
from pathlib import Path

import pytest
from browser import CONTRAST, CUT, SMALLEST, chromium, opened
from omegaconf import OmegaConf

from trimer.commands import report
from trimer.errors import InputError
from trimer.reporting import shown_runs, sweep_page
from trimer.reporting.runs import read_runs, summarise
from trimer.reporting.spread import interval
from trimer.reporting.sweep_page import write_sweep_page

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the checkout")
RUNS = 40  # five learning rates, two numbers of layers, four seeds


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        importlib.import_module("sweep_report").make_runs(folder, RUNS, 60)
    result = json.loads((folder / "24" / "result.json").read_text())
    (folder / "24" / "result.json").write_text(json.dumps(result | {"error": "</script><b>lost</b>"}))
    return folder


@pytest.fixture(scope="module")
def page(sweep) -> Path:
    return write_sweep_page(summarise(read_runs(sweep)), sweep / "report.html", "My <sweep>")


def test_the_page_has_every_section_and_no_outside_asset(page):
    text = page.read_text()
    for heading in ("Means over seeds", "Baselines", "Learning curves", "Settings and result", "Runs"):
        assert f"<h2>{heading}</h2>" in text
    assert not re.search(r'(?:src|href)="(?:https?:)?//|url\(|@import', text)
    assert "<title>My &lt;sweep&gt;</title>" in text and "<b>lost</b>" not in text
    assert text.count("</script>") == 2
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])
    assert len(facts["names"]) == RUNS and [colour["name"] for colour in facts["colours"]] == [
        "val Loss", "optimizer.lr", "model.layers", "seed",
    ]  # fmt: skip
    curves = re.search(r"<section><h2>Learning curves</h2>.*?</section>", text, re.DOTALL)[0]
    assert curves.count('class="run') == 3 * (RUNS - 1) + 1, "a line for each run with two validations"
    assert "random forest" in text and "29.0" in text


def test_baselines_have_the_columns_of_the_means(sweep, tmp_path):
    summary = summarise(read_runs(sweep), ["val/loss", "test/accuracy"])
    text = write_sweep_page(summary, tmp_path / "report.html").read_text()
    heads = re.search(r"<h2>Baselines</h2>.*?</thead>", text, re.DOTALL)[0]
    assert re.findall(r'"col">(.*?)<', heads) == ["Method", "Accuracy (%)"]


def test_links_lead_to_the_pages_of_the_runs(page, tmp_path):
    links = re.findall(r'<td class="head" data-label="Run"><a href="([^"]+)"', page.read_text())
    assert len(links) == RUNS - 1, "the failed run has no page"
    assert all((page.parent / link).is_file() for link in links)
    elsewhere = write_sweep_page(summarise(read_runs(page.parent)), tmp_path / "far" / "report.html")
    link = re.search(r'<td class="head" data-label="Run"><a href="([^"]+)"', elsewhere.read_text())[1]
    assert (elsewhere.parent / link).is_file()


def test_the_interval_of_a_mean_is_that_of_students_t(sweep):
    group = next(group for group in summarise(read_runs(sweep)).groups if len(group.runs) == 4 and group.seeds == "4/4")
    mean, deviation, count = group.metrics["val/loss"]
    low, high = interval(mean, deviation, count)
    assert (low + high) / 2 == pytest.approx(mean) and count == 4
    assert (high - low) / 2 == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert interval(1.0, math.nan, 1) is None


def test_large_sweeps_are_bounded_and_keep_the_best_runs(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr(shown_runs, "DRAWN", 10)
    monkeypatch.setattr(sweep_page, "LISTED", 20)
    text = write_sweep_page(summarise(read_runs(sweep)), tmp_path / "r.html").read_text()
    assert "10 runs are drawn, those with the best result; 30 are only in the table" in text
    assert f"20 of {RUNS} runs; output=runs.csv writes all" in text
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text)[1])
    losses = {run.folder: run.metrics.get("val/loss", 9e9) for run in read_runs(sweep)}
    assert set(facts["names"]) == set(sorted(losses, key=losses.get)[:10])


def test_the_folder_that_all_runs_share_is_named_once(sweep, tmp_path):
    for name in ("0", "1"):
        shutil.copytree(sweep / name, tmp_path / "read" / "sweep-of-today" / name)
    text = write_sweep_page(summarise(read_runs(tmp_path / "read")), tmp_path / "r.html").read_text()
    assert "All runs are in sweep-of-today." in text
    assert '"names":["0","1"]' in text


def test_a_folder_of_runs_without_results_has_a_page(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text(json.dumps({"command": "train"}))
    text = write_sweep_page(summarise(read_runs(tmp_path)), tmp_path / "r.html").read_text()
    assert "no reason was recorded" in text and "Learning curves" not in text


@pytest.mark.parametrize("name", ["report.html", "report.md", "report.csv", ""])
def test_the_suffix_of_the_output_chooses_the_file(sweep, tmp_path, name, capsys):
    settings = {"input": [str(sweep / "0"), str(sweep / "1")], "output": str(tmp_path / name), "metrics": ["val/loss"]}
    report.main(OmegaConf.create(settings))
    files = {path.name for path in tmp_path.iterdir()}
    assert files == ({name} if name else {"report.html", "runs.csv", "groups.csv", "baselines.csv", "summary.md"})
    assert str(tmp_path / (name or "report.html")) in capsys.readouterr().out
    if name == "report.csv":
        rows = list(csv.DictReader((tmp_path / name).open()))
        assert [row["folder"] for row in rows[:2]] == ["0", "1"]
        low, mean, high = (
            next(float(row["val/loss"]) for row in rows if row["status"] == status)
            for status in ("ci95_low", "mean", "ci95_high")
        )
        assert low < mean < high and mean == pytest.approx(
            (float(rows[0]["val/loss"]) + float(rows[1]["val/loss"])) / 2
        )
        forest = next(row for row in rows if row["folder"] == "random forest")
        assert forest["status"] == "baseline" and 0 < float(forest["test/accuracy"]) < 1
    if name == "report.md":
        text = (tmp_path / name).read_text().replace("**", "")
        assert "| 2/2 |" in text and "## 95 % intervals" in text
        assert "| random forest |" in text.partition("## Baselines")[2].partition("## Runs")[0]
    if not name:
        methods = [row["method"] for row in csv.DictReader((tmp_path / "baselines.csv").open())]
        assert "random forest" in methods


def test_a_file_that_is_no_report_is_kept(sweep, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is a file; name a folder, or a file that ends with \.html"):
        report.main(OmegaConf.create({"input": str(sweep), "output": str(tmp_path / "notes.txt"), "metrics": []}))
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_page_is_coloured_filtered_and_legible_in_a_browser(page):
    visible = "[...document.querySelectorAll('.all-runs tbody tr:not([hidden])')]"
    lines = "document.querySelectorAll('#curves .run:not(.out)').length"
    with chromium() as browser:
        tab = opened(browser, page, color_scheme="dark")
        assert tab.evaluate(CONTRAST)[0] >= 4.5, tab.evaluate(CONTRAST)
        tab.get_by_label("Colour the runs by").select_option("model.layers")
        assert tab.locator(".legend-of-runs > span").all_text_contents() == ["2", "4"]
        losses = f"{visible}.map(row => parseFloat(row.dataset.value)).filter(value => !Number.isNaN(value))"
        assert tab.evaluate(losses) == sorted(tab.evaluate(losses)), "the best run first"
        tab.locator(".all-runs th", has_text="test Accuracy").get_by_role("button").press("Enter")
        shown = tab.evaluate(f"{visible}.map(row => parseFloat(row.cells[6].textContent)).filter(v => !isNaN(v))")
        assert shown == sorted(shown) and len(shown) == RUNS - 1, "sorted by accuracy"
        tab.get_by_label("val Loss, at most").fill("1")
        few = tab.evaluate(losses)
        assert 0 < len(few) < RUNS and max(few) <= 1 and tab.evaluate(lines) == 3 * len(few)
        tab.locator(".all-runs form [type=reset]").click()
        tab.wait_for_function(f"{visible}.length === {RUNS}")
        tab.get_by_label("Status").select_option("failed")
        assert tab.evaluate(f"{visible}.length") == 1
        tab.get_by_role("button", name="Show all runs").click()
        tab.wait_for_function(f"{visible}.length === {RUNS}")
        axis = tab.locator(".brush").nth(1)  # layers: 2 below, 4 above
        axis.evaluate("element => element.scrollIntoView({block: 'center'})")
        box = axis.bounding_box()
        middle = box["x"] + box["width"] / 2
        tab.mouse.move(middle, box["y"] + 2)
        tab.mouse.down()
        tab.mouse.move(middle, box["y"] + box["height"] / 2, steps=3)
        tab.mouse.up()
        shown = tab.evaluate(f"{visible}.map(row => row.cells[2].textContent)")
        assert set(shown) == {"4"} and len(shown) == RUNS // 2
        line = tab.locator("#curves .run:not(.out)").first.bounding_box()
        tab.mouse.move(line["x"] + line["width"] - 1, line["y"] + line["height"] - 1)
        tab.mouse.move(line["x"] + line["width"] - 2, line["y"] + line["height"] - 2)
        assert tab.locator("#tip").is_visible() and "val Loss" in tab.locator("#tip").text_content()
        assert tab.errors == []
        tab.close()
        for width in (390, 1280):
            tab = opened(browser, page, width)
            tab.add_style_tag(content=".scrolls .chart { width: 100% !important; }")  # its panel scrolls on phones
            assert tab.evaluate(CUT) == []
            tab.close()
        tab = opened(browser, page)
        assert tab.evaluate(CONTRAST)[0] >= 4.5, tab.evaluate(CONTRAST)
        assert tab.evaluate(SMALLEST) >= 8
        tab.close()
