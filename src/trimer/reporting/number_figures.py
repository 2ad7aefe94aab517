"""Figures of predicted numbers. Shapes: n rows, K labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from trimer.metrics.label_metrics import regression
from trimer.reporting.charts import BLUE, GREEN, GREY, ORANGE
from trimer.reporting.figures import STYLE, save_figure


def predicted_against_observed(
    said: Mapping[str, np.ndarray | None], observed: np.ndarray, names: Sequence[str], path: str | Path, most: int = 4
) -> Path:
    """What was said of each row against what is so, side by side before and after the training; on the line is right.

    said: title -> (n, K) numbers; None is left out. observed: (n, K), NaN where it is not known. names: of the K
    labels, a line of panels each.
    """
    said = {title: answers for title, answers in said.items() if answers is not None}
    with rc_context({**STYLE, "axes.grid.axis": "both"}):
        lines = min(len(names), most)
        figure = Figure(figsize=(4.1 * len(said), 4.8 * lines), layout="constrained")
        axes = figure.subplots(lines, len(said), squeeze=False, sharex="row", sharey="row")
        for place, name in enumerate(names[:lines]):
            known = np.isfinite(observed[:, place])
            true = observed[known, place]
            everything = np.concatenate([true, *(answers[known, place] for answers in said.values())])
            low, high = (float(v) for v in np.percentile(everything, (0.2, 99.8))) if len(everything) else (0.0, 1.0)
            low, high = min([low, *true]), max([high, *true])
            room = 0.04 * (high - low) or 0.5
            limits = (low - room, high + room)
            size = float(np.clip(4000 / max(1, len(true)), 3, 22))
            for axis, (title, answers), colour in zip(axes[place], said.items(), (ORANGE, BLUE, GREEN), strict=False):
                axis.plot(limits, limits, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
                axis.scatter(true, answers[known, place], s=size, color=colour, alpha=0.6, linewidths=0, zorder=2)
                axis.set(xlim=limits, ylim=limits, box_aspect=1, xlabel=f"observed: {name}")
                axis.set_title(f"{title}\n")
                axis.text(0, 1.02, _words(answers[known, place], true), transform=axis.transAxes, fontsize=8)
            axes[place, 0].set_ylabel(f"predicted: {name}")
        return save_figure(figure, path)


def _words(answers: np.ndarray, true: np.ndarray) -> str:
    """The errors in one line."""
    found = regression(answers[:, None], true[:, None], bootstrap=0).defined
    shown = {"mae": "MAE", "rmse": "RMSE", "r2": "R²", "spearman": "Spearman"}
    said = [f"{label} {found[name]:.3g}" for name, label in shown.items() if name in found]
    return ", ".join([*said, f"n = {len(true):,}"])
