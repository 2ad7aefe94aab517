"""Figures of the learning rate and of early stopping: what was planned, what happened, and why a run stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from trimer.errors import InputError
from trimer.reporting.colours import BLUE, GREEN, GREY, VERMILION
from trimer.reporting.curves import RATE, Curve, read_curves
from trimer.reporting.style import panel_grid, save_figure, styled
from trimer.reporting.table import Column, column
from trimer.run import run_config
from trimer.stopping_rule import StoppingTrace, rule_of, trace_of

PLAN = "schedule.csv"  # written by trimer.callbacks.schedule
SHADE = 0.12  # opacity of the validations that the patience counts


def read_plan(folder: Path) -> Curve | None:
    """The planned learning rate over the steps of a run, None if its folder has none."""
    path = folder / PLAN
    if not path.is_file():
        return None
    plan = read_curves(path).get("learning_rate")
    if plan is None:
        raise InputError(f"{path} has no column 'learning_rate'; delete the file")
    return plan


def read_stopping(folder: Path, curves: dict[str, Curve]) -> StoppingTrace | None:
    """What early stopping has seen of a run; None if the run has none, or fewer than two validations."""
    rule = rule_of(run_config(folder))
    curve = None if rule is None else curves.get(rule.monitor)
    return None if rule is None or curve is None else trace_of(rule, curve.steps, curve.values)


def write_schedule(folder: Path) -> Path:
    """Draw `schedule.svg` of a run folder: the learning rate, and early stopping if the run has it."""
    metrics = folder / "metrics.csv"
    curves = read_curves(metrics) if metrics.is_file() else {}
    plan, trace = read_plan(folder), read_stopping(folder, curves)
    with styled():
        figure, axes = panel_grid(1 if trace is None else 2, 4.4, 3.0)
        draw_schedule(axes[0], curves.get(RATE), plan)
        if trace is not None:
            draw_stopping(axes[1], trace)
        return save_figure(figure, folder / "schedule.svg")


def draw_schedule(axis: Axes, real: Curve | None, plan: Curve | None = None) -> None:
    """The learning rate over steps: planned, with the end of the warm-up, and as it was."""
    if plan is not None:
        last, peak = plan.steps[-1], plan.values.index(max(plan.values))
        axis.plot(plan.steps, plan.values, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)), label="planned")
        axis.axvline(last, color=GREY, linewidth=0.8, linestyle=":", label=f"planned end: {last + 1:,}")
        if peak > 0:
            end = plan.steps[peak]
            axis.plot(end, plan.values[peak], "^", color=GREY, ms=5, label=f"end of warm-up: {end:,}")
    if real is not None:
        axis.plot(real.steps, real.values, color=GREEN, linewidth=1.6, label="training")
    axis.set_title("Learning rate")
    axis.set_ylabel("learning rate")
    axis.set_xlabel("optimizer step")
    axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    if plan is not None:
        axis.legend(loc="best", handlelength=1.6)


def draw_stopping(axis: Axes, trace: StoppingTrace, headings: Mapping[str, Column] | None = None) -> None:
    """The monitored metric with its best value, the validations that the patience counts, and the stop."""
    unit = column(trace.monitor, headings)
    scaled = [value * unit.scale for value in trace.values]
    last = trace.steps[-1]
    axis.plot(trace.steps, scaled, color=BLUE, marker="o", ms=2.6, linewidth=1.4)
    step, value = trace.best
    axis.plot(step, value * unit.scale, "D", color=GREEN, ms=5, label=f"best: {unit.show(value)} at step {step:,}")
    if trace.bad:
        label = f"without improvement: {trace.bad} of {trace.patience}"
        axis.axvspan(trace.since, last, color=VERMILION, alpha=SHADE, linewidth=0, label=label)
        axis.axhline(trace.needed * unit.scale, color=GREY, linestyle="--", linewidth=1, label="would count as better")
    if trace.reason:
        axis.plot(last, scaled[-1], "X", color=VERMILION, ms=8, label=f"stopped at step {last:,}: {trace.reason}")
    axis.set_title("Early stopping")
    axis.set_ylabel(unit.label)
    axis.set_xlabel("optimizer step")
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axis.legend(loc="best", handlelength=1.6)
