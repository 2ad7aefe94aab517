"""Figure of a learning-rate finder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from trimer.reporting.colours import BLUE, GREY, VERMILION
from trimer.reporting.style import save_figure, styled


def rate_figure(
    rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], suggestion: float | None, path: Path
) -> Path:
    """Loss and smoothed loss over the learning rate, with the suggested rate."""
    with styled():
        figure = Figure(figsize=(5.2, 3.2), layout="constrained")
        axis = figure.subplots()
        axis.plot(rates, losses, color=GREY, linewidth=0.8, label="loss of a step")
        axis.plot(rates, smooth, color=BLUE, linewidth=1.8, label="smoothed")
        if suggestion is not None:
            axis.axvline(
                suggestion, color=VERMILION, linestyle="--", linewidth=1.2, label=f"suggested: {suggestion:.2g}"
            )
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(
            lambda rate, _: f"{rate:g}"
        )  # the default is a formula, which STYLE does not parse
        axis.set_title("Learning-rate finder")
        axis.set_xlabel("learning rate")
        axis.set_ylabel("training loss")
        axis.legend(loc="best")
        return save_figure(figure, path)
