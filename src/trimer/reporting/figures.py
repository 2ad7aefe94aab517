"""Figures for papers and RESULTS.md: training curves, Tanimoto histogram, spectra with true and written molecules.

Each function writes one file, PNG or SVG or PDF by its suffix, and returns its path. Okabe-Ito colours on white; no
display and no global state of matplotlib are touched.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import MaxNLocator

from trimer.metrics.molecule_properties import candidate_facts, flaw, molecule_facts, same_molecule, tanimoto
from trimer.reporting.charts import BLUE, COLOURS, GREEN, GREY, PRECURSOR_WINDOW, SERIES, VERMILION
from trimer.reporting.curves import Curve, panels
from trimer.reporting.drawing import INK, molecule_png
from trimer.reporting.table import column

STYLE = {
    "font.family": "sans-serif", "font.sans-serif": ["Inter", "Helvetica Neue", "Arial", "DejaVu Sans"], "font.size": 9,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.labelcolor": INK,
    "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": "#e3e7ec", "grid.linewidth": 0.7,
    "xtick.color": "#5d6b79", "ytick.color": "#5d6b79", "text.color": INK, "axes.titlecolor": INK,
    "legend.frameon": False, "savefig.dpi": 170, "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in a name is no formula
}  # fmt: skip


def training_curves(curves: Mapping[str, Curve], path: str | Path, most: int = 6) -> Path:
    """Loss and validation metrics over steps, one panel each; training loss as a running mean over its raw values."""
    shown = panels(curves, most)
    with rc_context(STYLE):
        columns = min(3, max(1, len(shown)))
        lines = math.ceil(len(shown) / columns) or 1
        figure = Figure(figsize=(3.3 * columns, 2.5 * lines), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False)
        for axis, (metric, series) in zip(axes.flat, shown.items(), strict=False):
            unit = column(metric)
            for name, curve in series.items():
                colour, curve = COLOURS.get(name, BLUE), curve.scaled(unit.scale)
                if name == "train":
                    axis.plot(curve.steps, curve.values, color=colour, alpha=0.3, linewidth=0.6)
                    axis.plot(curve.smoothed().steps, curve.smoothed().values, color=colour, linewidth=1.4, label=name)
                else:
                    mark = "o" if len(curve.steps) <= 60 else None
                    axis.plot(curve.steps, curve.values, color=colour, linewidth=1.6, marker=mark, ms=2.6, label=name)
            axis.set_title(unit.label)
            axis.set_xlabel("step")
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
            if len(series) > 1:
                axis.legend(loc="best", handlelength=1.2)
        for axis in list(axes.flat)[len(shown) :]:
            axis.remove()
        return save_figure(figure, path)


def residue_bars(residues: Sequence[Mapping], path: str | Path) -> Path:
    """Perplexity and share found of each residue when it is masked, the easiest first.

    residues: mappings with `residue`, `perplexity` and `token_accuracy`.
    """
    ordered = sorted(residues, key=lambda row: row["perplexity"])
    names = [row["residue"] for row in ordered]
    with rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.bar(names, [row["perplexity"] for row in ordered], color=BLUE, width=0.7)
        upper.set_title("Perplexity of a masked residue")
        lower.bar(names, [100 * row["token_accuracy"] for row in ordered], color=GREEN, width=0.7)
        lower.set_title("Found at first guess (%)")
        return save_figure(figure, path)


def tanimoto_histogram(groups: Mapping[str, Sequence[float]], path: str | Path, bins: int = 40) -> Path:
    """Distribution of Tanimoto similarities to the true molecule, one outline per method, its mean as a dashed line."""
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axis = figure.subplots()
        for (name, values), colour in zip(groups.items(), SERIES * 3, strict=False):
            values = [value for value in values if math.isfinite(value)]
            weights = [100 / max(1, len(values))] * len(values)
            mean = sum(values) / max(1, len(values))
            label = f"{name}, mean {mean:.3f}"
            axis.hist(values, bins=bins, range=(0, 1), weights=weights, color=colour, alpha=0.13)
            axis.hist(
                values,
                bins=bins,
                range=(0, 1),
                weights=weights,
                histtype="step",
                color=colour,
                linewidth=1.5,
                label=label,
            )
            axis.axvline(mean, color=colour, linewidth=1.1, linestyle=(0, (3, 3)))
        axis.set(xlim=(0, 1), xlabel="Tanimoto similarity to the true molecule", ylabel="spectra (%)")
        axis.legend(loc="upper right", handlelength=1.2)
        return save_figure(figure, path)


def spectra_grid(predictions: Sequence[Mapping], path: str | Path, candidates: int = 3) -> Path:
    """One line per spectrum: its sticks with the precursor marked, the true molecule, and the first candidates.

    predictions: as for `trimer.reporting.page.write_page`; unlabelled spectra have no true molecule.
    """
    with rc_context(STYLE):
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
        axes[-1, 0].set_xlabel("m/z", fontsize=8, style="italic")
        return save_figure(figure, path)


def draw_spectrum(axis: Axes, record: Mapping) -> None:
    """Sticks of relative intensity in %, the precursor in vermilion under a triangle, the strongest peaks named."""
    base = max(record["intensity"], default=0) or 1.0
    peaks = [(m, 100 * i / base) for m, i in zip(record["mz"], record["intensity"], strict=True)]
    precursor = record.get("precursor_mz")
    known = precursor is not None and math.isfinite(precursor) and precursor > 0
    own = [peak for peak in peaks if known and abs(peak[0] - precursor) <= PRECURSOR_WINDOW]
    rest = [peak for peak in peaks if peak not in own]
    for colour, sticks, width in ((INK, rest, 1.0), (VERMILION, own, 1.4)):
        axis.vlines([m for m, _ in sticks], 0, [i for _, i in sticks], color=colour, linewidth=width)
    if known:
        axis.axvline(precursor, color=VERMILION, linewidth=0.7, linestyle=(0, (1, 2)))
        axis.plot(precursor, 112, marker="v", color=VERMILION, ms=5, clip_on=False)
    spots = [m for m, _ in peaks] + ([precursor] if known else [])
    low, high = (min(spots), max(spots)) if spots else (0, 1)
    room = 0.06 * max(high - low, 20)
    named: list[float] = []
    for m, i in sorted(rest, key=lambda peak: -peak[1]):
        if len(named) == 4 or i < 5:
            break
        width = high - low + 2 * room
        clear = all(abs(m - other) > 0.16 * width for other in named)
        if clear and not (known and abs(m - precursor) < 0.05 * width):
            axis.annotate(f"{m:.2f}", (m, i), (0, 1.5), textcoords="offset points", ha="center", fontsize=6.5)
            named.append(m)
    axis.set(xlim=(low - room, high + room), ylim=(0, 118), yticks=[0, 50, 100])
    axis.tick_params(labelsize=7, length=2)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    ion = f"{record.get('adduct') or ''}  m/z {precursor:.4f}" if known else record.get("adduct") or ""
    name = str(record.get("name") or record["id"])
    axis.set_title(f"{name if len(name) <= 38 else name[:37] + '…'}   {ion}", fontsize=8, fontweight="normal", pad=6)


def _draw_molecule(axis: Axes, smiles: str, shared_with: str | None, title: str, colour: str) -> None:
    picture = molecule_png(smiles, 330, 250, shared_with=shared_with)
    axis.imshow(imread(io.BytesIO(picture), format="png"), interpolation="antialiased")
    axis.set_title(title, fontsize=8, color=colour, loc="center", pad=3, fontweight="normal")
    axis.axis("off")


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure, its folder made; PNG, SVG or PDF by the suffix."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
