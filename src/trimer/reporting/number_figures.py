"""Figures of predicted numbers. Shapes: n rows, K labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from trimer.metrics.label_metrics import regression
from trimer.reporting.colours import BLUE, GREEN, GREY, ORANGE
from trimer.reporting.style import save_figure, styled


def predicted_against_observed(
    predictions: Mapping[str, np.ndarray | None],
    observed: np.ndarray,
    names: Sequence[str],
    path: str | Path,
    most: int = 4,
) -> Path:
    """Predicted against observed numbers, side by side for each set of predictions; the dashed line is equality.

    predictions: title -> (n, K) numbers; None is left out. observed: (n, K), NaN where unknown. names: of the K labels,
    a row of panels each.
    """
    shown = {title: values for title, values in predictions.items() if values is not None}
    with styled({"axes.grid.axis": "both"}):
        lines = min(len(names), most)
        figure = Figure(figsize=(4.1 * len(shown), 4.8 * lines), layout="constrained")
        axes = figure.subplots(lines, len(shown), squeeze=False, sharex="row", sharey="row")
        for label, name in enumerate(names[:lines]):
            known = np.isfinite(observed[:, label])
            true = observed[known, label]
            everything = np.concatenate([true, *(values[known, label] for values in shown.values())])
            low, high = (float(v) for v in np.percentile(everything, (0.2, 99.8))) if len(everything) else (0.0, 1.0)
            low, high = min([low, *true]), max([high, *true])
            margin = 0.04 * (high - low) or 0.5
            limits = (low - margin, high + margin)
            size = float(np.clip(4000 / max(1, len(true)), 3, 22))
            for axis, (title, values), colour in zip(axes[label], shown.items(), (ORANGE, BLUE, GREEN), strict=False):
                axis.plot(limits, limits, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
                axis.scatter(true, values[known, label], s=size, color=colour, alpha=0.6, linewidths=0, zorder=2)
                axis.set(xlim=limits, ylim=limits, box_aspect=1, xlabel=f"observed: {name}")
                axis.set_title(f"{title}\n")
                axis.text(0, 1.02, _errors(values[known, label], true), transform=axis.transAxes, fontsize=8)
            axes[label, 0].set_ylabel(f"predicted: {name}")
        return save_figure(figure, path)


def _errors(predicted: np.ndarray, true: np.ndarray) -> str:
    """Errors and correlation in one line."""
    values = regression(predicted[:, None], true[:, None], bootstrap=0).defined
    labels = {"mae": "MAE", "rmse": "RMSE", "r2": "R²", "spearman": "Spearman"}
    shown = [f"{label} {values[name]:.3g}" for name, label in labels.items() if name in values]
    return ", ".join([*shown, f"n = {len(true):,}"])
