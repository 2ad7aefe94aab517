"""Figures of predicted numbers."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from trimer.reporting import number_figures
from trimer.reporting.number_figures import predicted_against_observed


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The saved figures."""
    found: list[Figure] = []
    save = number_figures.save_figure
    monkeypatch.setattr(number_figures, "save_figure", lambda figure, path: found.append(figure) or save(figure, path))
    return found


def test_predictions_before_and_after_fine_tuning_are_drawn(tmp_path, drawn):
    observed = np.arange(20.0)[:, None] * [1, -10]
    observed[3, 0] = np.nan
    predictions = {"Before": None, "After": observed.copy()}
    predictions["After"][3, 0] = 1.0
    predicted_against_observed(predictions, observed, ["iRT (min)", "$charge_$"], tmp_path / "one.png")
    predictions["Before"] = np.zeros_like(observed)
    predicted_against_observed(predictions, observed, ["iRT (min)", "$charge_$"], tmp_path / "two.png")
    assert [len(figure.axes) for figure in drawn] == [2, 4]
    first = drawn[0].axes[0]
    assert "MAE 0, RMSE 0, R² 1" in first.texts[0].get_text() and "n = 19" in first.texts[0].get_text()
    assert first.get_xlabel() == "observed: iRT (min)" and first.get_ylabel() == "predicted: iRT (min)"
