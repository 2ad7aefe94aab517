"""The embedding page: a single file without external references, with every row in both figures."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from trimer.reporting.embedding_page import GRID, SHADES, embedding_page
from trimer.reporting.label_figures import project

RANDOM = np.random.default_rng(0)
BEFORE, AFTER = RANDOM.normal(size=(20, 5)), RANDOM.normal(size=(20, 8))
TRAIN = np.arange(20) < 15
IDS = [f"protein {number}" for number in range(19)] + ["</script><b>$data"]


def data_of(text: str) -> dict:
    scripts = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert len(scripts) == 1
    return json.loads(scripts[0])


def test_the_page_is_a_single_file_with_all_rows(tmp_path):
    labels = np.arange(20) % 2
    path = embedding_page(BEFORE, AFTER, labels, IDS, tmp_path / "new/e.html", TRAIN, ["soluble", "membrane"])
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|src=|@import|href=", text)
    assert "$" not in re.sub(r"\$\{", "", text.replace("$data", ""))  # every placeholder of the template is filled
    data = data_of(text)
    assert data["ids"] == IDS
    assert data["train"] == TRAIN.astype(int).tolist()
    assert [data["names"][number] for number in data["of_row"]] == data["texts"] == ["soluble", "membrane"] * 10
    for side, vectors in (("before", BEFORE), ("after", AFTER)):
        points, explained = project(vectors, TRAIN)
        for axis in (0, 1):
            values = np.array(data[side][axis])
            assert (values.min(), values.max()) == (0, GRID)
            assert np.corrcoef(values, points[:, axis])[0, 1] == pytest.approx(1, abs=1e-5)
        assert f"{explained[0]:.1%} + {explained[1]:.1%}" in text
    assert "click a class to hide it" in text


def test_numeric_labels_have_a_colour_scale(tmp_path):
    labels = np.linspace(-1, 3, 20)
    labels[4] = np.nan
    text = embedding_page(BEFORE, AFTER, labels, IDS, tmp_path / "e.html", name="logD").read_text(encoding="utf-8")
    data = data_of(text)
    assert data["scale"] == {"name": "logD", "low": "-1", "high": "3"}
    assert (data["of_row"][0], data["of_row"][-1], data["of_row"][4]) == (0, SHADES - 1, SHADES)
    assert len(data["colours"]) == SHADES + 1
    assert (data["texts"][-1], data["texts"][4]) == ("logD 3", "no label")
    assert "click a class" not in text and "train rows" not in text


def test_unusual_input_gives_a_page_or_an_error(tmp_path):
    same = np.ones((3, 4))
    page = embedding_page(same, same, np.full(3, np.nan), ["a", "b", "c"], tmp_path / "e.html")
    assert data_of(page.read_text(encoding="utf-8"))["before"] == [[0] * 3] * 2
    empty = embedding_page(same[:0], same[:0], np.zeros(0, int), [], tmp_path / "e.html")
    assert data_of(empty.read_text(encoding="utf-8"))["ids"] == []
    with pytest.raises(ValueError, match="not of the same rows"):
        embedding_page(same, same, np.zeros(3, int), ["a"], tmp_path / "e.html")
