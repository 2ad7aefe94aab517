"""Figures of runs: training curves, Tanimoto similarities, residues, spectra with true and generated molecules.

A function `draw_...` draws on one pair of axes, for a file and for a page. Every other public function writes one file,
PNG or SVG or PDF by its suffix, and returns its path.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import MaxNLocator

from trimer.metrics.molecule_properties import candidate_facts, flaw, molecule_facts, same_molecule, tanimoto
from trimer.reporting.colours import BLUE, COLOURS, GREEN, INK, SERIES, VERMILION
from trimer.reporting.curves import PLANNED, RATE, Curve, panels
from trimer.reporting.drawing import molecule_png
from trimer.reporting.labelled_peaks import RelativeSpectrum, place_labels
from trimer.reporting.schedule_figures import draw_schedule
from trimer.reporting.style import panel_grid, save_figure, styled
from trimer.reporting.table import Column, column

# The background of a legend covers what lies behind its text.
LEGEND_LINE = 0.19  # inches of a line of a legend
LEGEND: dict[str, Any] = {"handlelength": 1.2, "frameon": True, "framealpha": 0.85, "edgecolor": "none"}
LABELS = 4  # labelled peaks of a spectrum in a grid
MANY = 60  # points of a curve above which they have no marks
SPLITS = {"train": "training", "val": "validation", "test": "test"}


def training_curves(
    curves: Mapping[str, Curve], path: str | Path, headings: Mapping[str, Column] | None = None
) -> Path:
    """Loss and validation metrics over optimizer steps, one panel each. headings: as for `column`."""
    shown = panels(curves, headings or ())
    with styled():
        figure, axes = panel_grid(len(shown), 3.3, 2.5)
        for axis, (metric, series) in zip(axes, shown.items(), strict=True):
            draw_curves(axis, metric, series, headings=headings)
        return save_figure(figure, path)


def unit_of_loss(curves: Mapping[str, Curve]) -> str:
    """The unit of the loss of a run, "" where it is that of its task: a mean over tokens has metrics of tokens."""
    of_tokens = any(name.rpartition("/")[2] in ("token_accuracy", "perplexity") for name in curves)
    return "nats per token" if of_tokens else ""


def draw_curves(
    axis: Axes,
    metric: str,
    series: Mapping[str, Curve],
    loss_unit: str = "",
    headings: Mapping[str, Column] | None = None,
) -> None:
    """One metric over steps by split; the training curve is a running mean over its raw values, which are pale."""
    if metric == RATE:
        draw_schedule(axis, series[RATE], series.get(PLANNED))
        return
    unit = column(metric, headings)
    for name, curve in series.items():
        colour, curve, label = COLOURS.get(name, BLUE), curve.scaled(unit.scale), SPLITS.get(name, name)
        if name == "train":
            smooth = curve.smoothed()
            axis.plot(curve.steps, curve.values, color=colour, alpha=0.3, linewidth=0.6)
            axis.plot(smooth.steps, smooth.values, color=colour, linewidth=1.4, label=label)
        else:
            mark = "o" if len(curve.steps) <= MANY else None
            axis.plot(curve.steps, curve.values, color=colour, linewidth=1.6, marker=mark, ms=2.6, label=label)
    axis.set_title(unit.label.partition(" (")[0])
    suffix = loss_unit if metric == "loss" else "unit of the label" if metric in ("rmse", "mae") else ""
    axis.set_ylabel(f"{unit.label} ({suffix})" if suffix else unit.label)
    axis.set_xlabel("optimizer step")
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axis.legend(loc="best", **LEGEND)


def residue_bars(residues: Sequence[Mapping], path: str | Path) -> Path:
    """Perplexity and accuracy of each residue when it is masked, the easiest first.

    residues: mappings with `residue`, `perplexity` and `token_accuracy`.
    """
    ordered = sorted(residues, key=lambda row: row["perplexity"])
    names = [row["residue"] for row in ordered]
    with styled():
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.bar(names, [row["perplexity"] for row in ordered], color=BLUE, width=0.7)
        upper.set_title("Perplexity of a masked residue")
        lower.bar(names, [100 * row["token_accuracy"] for row in ordered], color=GREEN, width=0.7)
        lower.set_title("Accuracy for a masked residue (%)")
        lower.set_xlabel("residue")
        return save_figure(figure, path)


def similarity_distribution(groups: Mapping[str, Sequence[float]], path: str | Path) -> Path:
    """Distribution of Tanimoto similarities to the true molecule by method."""
    with styled():
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        draw_similarities(figure.subplots(), groups)
        return save_figure(figure, path)


def draw_similarities(axis: Axes, groups: Mapping[str, Sequence[float]]) -> None:
    """The share of spectra with at least a Tanimoto similarity: one line per group, on which NaN is left out.

    Lines of many methods stay apart where histograms cover each other; the higher line is the better method.
    """
    for number, (name, values) in enumerate(groups.items()):
        kept = sorted(value for value in values if math.isfinite(value))
        mean = sum(kept) / max(1, len(kept))
        share = [100 * (len(kept) - i) / len(kept) for i in range(len(kept))]
        style = "-" if number < len(SERIES) else (0, (4, 2))
        axis.step([0.0, *kept, 1.0], [100.0, *share, 0.0] if kept else [math.nan] * 2, where="pre", linewidth=1.5,
                  color=SERIES[number % len(SERIES)], linestyle=style, label=f"{name}, mean {mean:.3f}")  # fmt: skip
    axis.set_title("Similarity to the true molecule")
    axis.set(xlim=(0, 1), ylim=(0, 100), xlabel="Tanimoto similarity, at least", ylabel="spectra (%)")
    figure = axis.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * len(groups))  # below the panel: it hides no bar
    figure.legend(loc="outside lower center", handlelength=1.2, frameon=False)


def spectra_grid(predictions: Sequence[Mapping], path: str | Path, candidates: int = 3) -> Path:
    """One line per spectrum: its sticks with the precursor marked, the true molecule, and the first candidates.

    predictions: as for `trimer.reporting.page.write_page`; unlabelled spectra have no true molecule.
    """
    with styled():
        figure = Figure(figsize=(11, max(1, len(predictions)) * 1.95), layout="constrained")
        if not predictions:
            return save_figure(figure, path)
        axes = figure.subplots(
            len(predictions), 2 + candidates, width_ratios=[2.3] + [1] * (1 + candidates), squeeze=False
        )
        for line, record in zip(axes, predictions, strict=True):
            draw_spectrum(line[0], record)
            line[0].set_ylabel("intensity (%)", fontsize=7)
            target = molecule_facts(record.get("smiles"))
            if target is not None:
                _draw_molecule(line[1], record["smiles"], None, "true molecule", GREEN)
            else:
                line[1].axis("off")
            for rank, axis in enumerate(line[2:], 1):
                ranked = record["candidates"][rank - 1 : rank]
                smiles = ranked[0] if ranked and isinstance(ranked[0], str) else ranked[0]["smiles"] if ranked else None
                if smiles is None:
                    axis.axis("off")
                    continue
                facts, wrong = candidate_facts(smiles, record.get("adduct")), flaw(smiles, record.get("adduct"))
                score = f"  Tanimoto {tanimoto(facts, target):.2f}" if target is not None else ""
                score = f"  no molecule: {wrong}" if wrong else score
                hit = same_molecule(facts, target)
                _draw_molecule(axis, smiles, record.get("smiles"), f"#{rank}{score}", GREEN if hit else INK)
        axes[-1, 0].set_xlabel("m/z (Th)", fontsize=8)
        return save_figure(figure, path)


def draw_spectrum(axis: Axes, record: Mapping) -> None:
    """Sticks of relative intensity in %, the precursor in vermilion under a triangle, the highest peaks labelled."""
    spectrum = RelativeSpectrum.of(record["mz"], record["intensity"], record.get("precursor_mz"))
    low, high = spectrum.limits or (0, 1)
    for of_precursor, colour, width in ((False, INK, 1.0), (True, VERMILION, 1.4)):
        sticks = [(mz, 100 * share) for mz, share in spectrum.peaks if spectrum.is_precursor(mz) == of_precursor]
        axis.vlines([mz for mz, _ in sticks], 0, [tip for _, tip in sticks], color=colour, linewidth=width)
    if spectrum.precursor is not None:
        axis.axvline(spectrum.precursor, color=VERMILION, linewidth=0.7, linestyle=(0, (1, 2)))
        axis.plot(spectrum.precursor, 112, marker="v", color=VERMILION, ms=5, clip_on=False)
    line = math.inf if spectrum.precursor is None else spectrum.precursor
    free = [peak for peak in spectrum.peaks if abs(peak[0] - line) > 0.05 * (high - low)]
    for index in place_labels(free, [0.08 * (high - low)] * len(free), math.inf, 0.05)[:LABELS]:
        mz, share = free[index]
        axis.annotate(f"{mz:.2f}", (mz, 100 * share), (0, 1.5), textcoords="offset points", ha="center", fontsize=6.5)
    axis.set(xlim=(low, high), ylim=(0, 118), yticks=[0, 50, 100])
    axis.tick_params(labelsize=7, length=2)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    adduct = record.get("adduct") or ""
    ion = adduct if spectrum.precursor is None else f"{adduct}  m/z {spectrum.precursor:.4f}"
    name = str(record.get("name") or record["id"])
    axis.set_title(f"{name if len(name) <= 38 else name[:37] + '…'}   {ion}", fontsize=8, fontweight="normal", pad=6)


def _draw_molecule(axis: Axes, smiles: str, shared_with: str | None, title: str, colour: str) -> None:
    picture = molecule_png(smiles, 330, 250, shared_with=shared_with)
    axis.imshow(imread(io.BytesIO(picture), format="png"), interpolation="antialiased")
    axis.set_title(title, fontsize=8, color=colour, loc="center", pad=3, fontweight="normal")
    axis.axis("off")
