"""Rare classes from training to the table: calibrated probabilities and intervals that include the class."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from trimer.cli.main import main

CASES = Path(__file__).parents[1] / "cases" / "molecules"


def trained(folder: Path, case: str, label: str, *words: str) -> tuple[dict, list[dict]]:
    """The metrics of a short training on a case, and its predictions for the whole file."""
    common = [
        "data=labelled_molecules", f"data.source.paths={CASES / case}", f"data.source.labels={label}",
        "data.target=single", "task=classification", "model=smiles_nano", "trainer.enable_progress_bar=false",
        "trainer.precision=32-true", f"hydra.run.dir={folder / 'run'}", f"paths.cache={folder / 'cache'}",
    ]  # fmt: skip
    assert main(["train", *common, *words]) == 0
    predict = [f"ckpt={folder / 'run'}", f"input={CASES / case}", f"output={folder / 'out.csv'}"]
    assert main(["predict", *predict]) == 0
    with open(folder / "out.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["reason"]]
    return json.loads((folder / "run" / "result.json").read_text())["metrics"], rows


@pytest.mark.parametrize("weights", ["null", "balanced"])
def test_mean_probability_is_near_the_class_frequency_with_and_without_class_weights(tmp_path, weights):
    """tox.csv: 5 % of the labels are positive; without correction, balanced weights give a mean near 0.5."""
    words = [f"task.class_weights={weights}", "trainer.max_steps=30", "trainer.val_check_interval=30", "test=false"]
    _, rows = trained(tmp_path, "tox.csv", "toxic", *words, "optimizer.lr=0.003")
    mean = sum(float(row["probability of yes"]) for row in rows) / len(rows)
    with open(CASES / "tox.csv", newline="") as file:
        labels = [row["toxic"] for row in csv.DictReader(file)]
    share = labels.count("yes") / len(labels)
    assert 0.2 * share < mean < 2.5 * share


def test_a_class_with_one_row_has_no_interval_and_the_page_says_why(tmp_path):
    """imbalanced.csv: one row of the rare class in the test split cannot show how far balanced accuracy varies."""
    words = ["trainer.max_steps=2", "trainer.val_check_interval=2", "baselines=false", "optimizer.lr=1e-9"]
    metrics, _ = trained(tmp_path, "imbalanced.csv", "y", *words)
    assert metrics["test/balanced_accuracy"] == pytest.approx(0.5)
    page = (tmp_path / "run" / "test" / "page.html").read_text()
    assert "test/balanced_accuracy_std_error" not in metrics
    cells = ("train", "Balanced accuracy (%)", "no interval: there is only one row of 1")
    assert "".join(f"<td>{cell}</td>" for cell in cells) in re.sub(r"<td [^>]*>", "<td>", page)
