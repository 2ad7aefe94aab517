"""Predictions as a table, a file, HTML and plots."""

from __future__ import annotations

import csv

import matplotlib
import numpy as np
import pytest

from trimer.errors import InputError
from trimer.results import Predictions

matplotlib.use("Agg")

EVIL = "<script>alert('x')</script>&\""
MOLECULES = [
    {"row": 1, "id": EVIL, "rank": 1, "smiles": "CCO", "reason": None},
    {"row": 1, "id": EVIL, "rank": 2, "smiles": "C<C", "reason": None},
    {"row": 2, "id": "b", "reason": "input, spectrum 2: no peaks"},
]
CLASSES = [
    {"id": f"$p_{number}", "label": "x", "probability of x": 0.75, "probability of $y": 0.25, "reason": None}
    for number in range(3)
]


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def drawn(axes):
    """The figure of axes, after it has been drawn."""
    figure = np.atleast_1d(axes).flat[0].figure
    figure.canvas.draw()
    return figure


def test_rows_and_columns():
    predictions = Predictions(MOLECULES, what="spectra")
    assert predictions.columns == ["row", "id", "rank", "smiles", "reason"]
    assert len(predictions) == 3
    assert [row["rank"] for row in predictions] == [1, 2, None]
    assert predictions[2] == {
        "row": 2,
        "id": "b",
        "rank": None,
        "smiles": None,
        "reason": "input, spectrum 2: no peaks",
    }
    assert predictions["smiles"] == ["CCO", "C<C", None]
    assert len(predictions[:2]) == 2
    assert predictions.reasons == ["input, spectrum 2: no peaks"]
    assert repr(predictions).startswith("Predictions: 3 rows for spectra, 1 without a prediction (column 'reason')")
    with pytest.raises(KeyError, match="no column 'mass'; there are row, id, rank, smiles, reason"):
        predictions["mass"]


def test_pandas_arrow_and_csv(tmp_path):
    rows = [*MOLECULES, {"id": 7, "smiles": "C", "rank": 1}]
    predictions = Predictions(rows, ["id", "rank", "smiles"])
    assert predictions.to_pandas()["smiles"].tolist()[:2] == ["CCO", "C<C"]
    assert list(predictions.to_pandas().columns) == ["id", "rank", "smiles"]
    table = predictions.to_arrow()
    assert table["rank"].to_pylist() == [1, 2, None, 1]
    assert table["id"].to_pylist() == [EVIL, EVIL, "b", "7"], "mixed types become text"
    path = predictions.to_csv(tmp_path / "a.csv")
    with path.open(newline="") as stream:
        assert next(iter(csv.DictReader(stream))) == {"id": EVIL, "rank": "1", "smiles": "CCO"}
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
    with pytest.raises(InputError, match=r"the folder .*none does not exist; create it first"):
        predictions.to_csv(tmp_path / "none" / "a.csv")


def test_html_escapes_texts_and_draws_molecules():
    html = Predictions(MOLECULES, what="<spectra>")._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "<spectra>" not in html
    assert html.count("<svg") == 2, "a molecule, and a box for the text that is none"
    assert 'title="C&lt;C"' in html and "C<C" not in html
    assert "input, spectrum 2: no peaks" in html


def test_html_is_short():
    rows = [{"id": f"r{number}", "text": "m" * 500, "values": list(range(100))} for number in range(100)]
    html = Predictions(rows)._repr_html_()
    assert html.count("<tr>") == 21
    assert "100 rows for records, the first 20 shown" in html
    assert "[0, 1, 2, 3, ...]" in html
    assert "99" not in html.replace("100", "")
    wide = Predictions([{f"column {number}": number for number in range(40)}])._repr_html_()
    assert "24 more columns" in wide


def test_molecules_are_plotted():
    axes = Predictions(MOLECULES).plot()
    assert axes.size == 2
    assert drawn(axes)
    assert axes.flat[1].get_title(loc="left").endswith("rank 2")


def test_class_probabilities_are_plotted():
    several = Predictions(CLASSES).plot()
    assert drawn(several)
    assert [label.get_text() for label in several.get_xticklabels()] == ["x", "$y"]
    assert several.images[0].get_array().shape == (3, 2)
    single = Predictions(CLASSES[:1]).plot()
    assert drawn(single)
    assert [patch.get_width() for patch in single.patches] == [0.75, 0.25]


def test_probabilities_of_positions_are_curves():
    row = {"id": "p", "labels": "HHE", "probability": [0.9, 0.8, 0.7]}
    row |= {"probability of H": [0.9, 0.8, 0.3], "probability of E": [0.1, 0.2, 0.7]}
    axes = Predictions([row]).plot()
    assert drawn(axes)
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.9, 0.8, 0.3], [0.1, 0.2, 0.7]]


def test_numbers_are_histograms():
    rows = [{"row": number, "id": "a", "logS": number / 2, "mass": 10.0} for number in range(10)]
    axes = Predictions(rows).plot()
    assert drawn(axes)
    assert [axis.get_xlabel() for axis in axes.flat] == ["logS", "mass"]
    assert sum(patch.get_height() for patch in axes.flat[0].patches) == 10


def test_missing_numbers_are_left_out_of_histograms():
    rows = [{"logS": number, "retention": float("nan")} for number in (0.5, float("nan"), None, 1.5)]
    axes = Predictions(rows).plot()
    assert drawn(axes) and axes.get_xlabel() == "logS"
    assert sum(patch.get_height() for patch in axes.patches) == 2


def test_a_folder_is_not_overwritten_by_a_csv_file(tmp_path):
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        Predictions(MOLECULES).to_csv(tmp_path)


def test_what_cannot_be_plotted_is_told():
    with pytest.raises(InputError, match="no record has a prediction"):
        Predictions(MOLECULES[2:]).plot()
    with pytest.raises(InputError, match="none of the columns id has molecules, probabilities or numbers"):
        Predictions([{"id": "a"}]).plot()
