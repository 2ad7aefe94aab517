"""Figures of fragment intensities: how alike spectra are, and some of them as mirrors, predicted above measured.

Each function writes one file, PNG or SVG or PDF by its suffix, and returns its path.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimer.peptides.channels import channels_of
from trimer.peptides.fragment_ions import fragment_mz
from trimer.peptides.proforma import read_proforma
from trimer.reporting.charts import BLUE, GREY, VERMILION
from trimer.reporting.figures import STYLE, save_figure

if TYPE_CHECKING:
    from trimer.evaluation.fragment_evaluation import FragmentEvaluation

SHOWN = {"cos": "Cosine", "sa": "Spectral angle", "pcc": "Pearson", "spc": "Spearman"}
LABELLED = 0.2  # of the highest; lower peaks have no name in a picture
LETTER, LINE = 0.0075, 0.17  # what a name takes: of the width of the picture by letter, and of its intensities


def similarity_histograms(evaluation: FragmentEvaluation, path: str | Path) -> Path:
    """How the spectra of a split are spread over each likeness, the median as a line."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        for axis, (name, label) in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN.items(), strict=True):
            found = evaluation.values[name]
            found = found[~np.isnan(found)]
            axis.hist(found, bins=np.linspace(min(0.0, float(found.min(initial=0))), 1, 41), color=BLUE)
            if len(found):
                axis.axvline(np.median(found), color=VERMILION, linewidth=1.5)
                axis.set_title(f"{label}: median {np.median(found):.3f}", fontsize=9)
            axis.set_xlabel(label)
        figure.axes[0].set_ylabel("spectra")
        return save_figure(figure, path)


def mirror_spectra(evaluation: FragmentEvaluation, path: str | Path, count: int = 4) -> Path:
    """Spectra from the worst to the best tenth by cosine, predicted upwards and measured downwards, by m/z."""
    order = np.argsort(evaluation.values["cos"])
    chosen = order[np.linspace(0.1 * (len(order) - 1), 0.9 * (len(order) - 1), count).astype(int)]
    bounds = np.cumsum([0, *evaluation.sizes])
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 2.1 * count), layout="constrained")
        for axis, row in zip(np.atleast_1d(figure.subplots(count, 1)), chosen, strict=True):
            own = slice(bounds[row], bounds[row + 1])
            _mirror(axis, evaluation, int(row), evaluation.answers[own], evaluation.labels[own])
        figure.axes[-1].set_xlabel("m/z (Th)")
        return save_figure(figure, path)


def _mirror(axis: Axes, evaluation: FragmentEvaluation, row: int, said: np.ndarray, measured: np.ndarray) -> None:
    peptide = read_proforma(evaluation.texts[row])
    sites = len(peptide.letters) - 1
    names: list[tuple[float, float, str, str]] = []  # m/z, intensity (measured below 0), name, colour
    for column, channel in enumerate(channels_of(evaluation.channels)):
        colour = BLUE if channel.series == "b" else VERMILION
        for site in np.flatnonzero(measured[:, column] >= 0):
            number = site + 1 if channel.series == "b" else sites - site
            place = fragment_mz(peptide, channel.series, int(number), channel.charge, channel.loss)
            for value, sign in ((said[site, column], 1), (measured[site, column], -1)):
                if value <= 0.01:
                    continue
                axis.vlines(place, 0, sign * value, color=colour, linewidth=1.2)
                lost = f" -{channel.loss}" if channel.loss else ""
                name = f"{channel.series}{number}{'+' * channel.charge}{lost}"
                names.append((place, sign * float(value), name, colour))
    low, high = axis.get_xlim()
    for place, value, name, colour in readable(names, (high - low) * LETTER):
        text = {"ha": "center", "va": "bottom" if value > 0 else "top", "fontsize": 6, "color": colour}
        axis.text(place, value + np.sign(value) * 0.03, name, **text)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_ylim(-1.3, 1.3)
    axis.set_yticks([-1, 0, 1], ["1", "0", "1"])
    axis.set_ylabel("measured | predicted", fontsize=7)
    cosine = evaluation.values["cos"][row]
    axis.set_title(f"{evaluation.texts[row]}   cosine {cosine:.3f}", fontsize=8, loc="left")


def readable(peaks: list[tuple[float, float, str, str]], letter: float) -> list[tuple[float, float, str, str]]:
    """The peaks whose name lies over no higher peak and no name of one; letter: width of one, in Th."""
    shown: list[tuple[float, float, str, str]] = []
    for peak in sorted(peaks, key=lambda one: -abs(one[1])):
        place, value, name, _ = peak
        if abs(value) < LABELLED:
            break
        half = letter * len(name) / 2
        same = [one for one in peaks if one[1] * value > 0 and one is not peak]
        crossed = any(abs(at - place) < half and abs(high) > abs(value) for at, high, *_ in same)
        near = (one for one in shown if one[1] * value > 0 and abs(abs(one[1]) - abs(value)) < LINE)
        if not crossed and not any(abs(one[0] - place) < half + letter * len(one[2]) / 2 for one in near):
            shown.append(peak)
    return shown
