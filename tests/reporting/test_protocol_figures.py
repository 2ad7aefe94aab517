"""Figures of a fine-tuning."""

from __future__ import annotations

import math

import pytest
from matplotlib.figure import Figure

from trimer.reporting import protocol_figures
from trimer.reporting.protocol_figures import metric_curves


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The saved figures."""
    found: list[Figure] = []
    save = protocol_figures.save_figure
    monkeypatch.setattr(
        protocol_figures, "save_figure", lambda figure, path: found.append(figure) or save(figure, path)
    )
    return found


def rows_of(epochs: int, before: float) -> list[dict]:
    rows: list[dict] = []

    def add(split: str, epoch: int, **metrics: float) -> None:
        rows.extend(
            {"property": "iRT", "split": split, "epoch": epoch, "metric": m, "value": v} for m, v in metrics.items()
        )

    add("all", -1, loss=before, mae=75.3, labels_seen=9)
    for epoch in range(epochs):
        fall = math.exp(-epoch / 8)
        add("train", epoch, loss=1.2 * fall, lr=1e-4)
        add("validation", epoch, loss=1.1 * fall, mae=20 * fall + 4, labels_seen=3)
    add("test", epochs - 1, loss=0.1, mae=4.3, labels_seen=3)
    return rows


@pytest.mark.parametrize(("epochs", "before"), [(1, 2.0), (20, 1.5), (20, 1e6), (20, -1e6)])
def test_protocol_curves_are_drawn(tmp_path, drawn, epochs, before):
    assert metric_curves(rows_of(epochs, before), tmp_path / "protocol.png").stat().st_size > 10_000
    axes = drawn[0].axes
    assert [axis.get_title("left") for axis in axes] == ["Loss", "MAE", "Learning rate"]
    assert axes[0].get_ylim()[1] < 4, "one value far out does not flatten the others"
    notes = [text.get_text() for text in axes[0].texts]
    assert notes == {1e6: ["↑ 1,000,000.000"], -1e6: ["↓ -1,000,000.000"]}.get(before, notes and notes[:1])
