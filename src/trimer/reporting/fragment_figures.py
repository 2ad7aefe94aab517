"""Figures of fragment intensities: similarity of predicted and measured spectra, and mirror plots of some of them.

Each function writes one file, PNG or SVG or PDF by its suffix, and returns its path.

Why not `spectrum_utils`: our peaks are already assigned to their fragments, so drawing them is what remains. Version
0.5.0 imports pyplot, with its global state, and numba (3.2 s on one core), compiles for 12 s when it annotates its
first spectrum, and downloads the vocabulary for a peptide with `[UNIMOD:4]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimer.peptides.channels import channels_of
from trimer.peptides.fragment_ions import fragment_mz
from trimer.peptides.proforma import read_proforma
from trimer.reporting.colours import BLUE, GREY, VERMILION
from trimer.reporting.peaks import place_labels
from trimer.reporting.style import save_figure, styled

if TYPE_CHECKING:
    from trimer.evaluation.fragment_evaluation import FragmentEvaluation

SHOWN = {"cos": "Cosine", "sa": "Spectral angle", "pcc": "Pearson", "spc": "Spearman"}
LABELLED = 0.2  # of the highest peak; lower peaks get no label
LETTER, LINE = 0.0075, 0.17  # size of a label: width of a letter as a share of the axis, height in relative intensity


def similarity_histograms(evaluation: FragmentEvaluation, path: str | Path) -> Path:
    """Distribution of each similarity of predicted to measured spectra over a split, with its median."""
    with styled():
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        for axis, (name, label) in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN.items(), strict=True):
            values = evaluation.values[name]
            values = values[~np.isnan(values)]
            axis.hist(values, bins=list(np.linspace(min(0.0, float(values.min(initial=0))), 1, 41)), color=BLUE)
            if len(values):
                axis.axvline(float(np.median(values)), color=VERMILION, linewidth=1.5)
                axis.set_title(f"{label}: median {np.median(values):.3f}", fontsize=9)
            axis.set_xlabel(label)
        figure.axes[0].set_ylabel("number of spectra")
        return save_figure(figure, path)


def mirror_spectra(evaluation: FragmentEvaluation, path: str | Path, count: int = 4) -> Path:
    """Mirror plots of spectra from the 10th to the 90th percentile of the cosine: predicted above, measured below."""
    order = np.argsort(evaluation.values["cos"])
    chosen = order[np.linspace(0.1 * (len(order) - 1), 0.9 * (len(order) - 1), count).astype(int)]
    bounds = np.cumsum([0, *evaluation.sizes])
    with styled():
        figure = Figure(figsize=(9, 2.1 * count), layout="constrained")
        for axis, row in zip(np.atleast_1d(figure.subplots(count, 1)), chosen, strict=True):
            sites = slice(bounds[row], bounds[row + 1])
            _mirror(axis, evaluation, int(row), evaluation.predictions[sites], evaluation.labels[sites])
        figure.axes[-1].set_xlabel("m/z (Th)")
        return save_figure(figure, path)


def _mirror(axis: Axes, evaluation: FragmentEvaluation, row: int, predicted: np.ndarray, measured: np.ndarray) -> None:
    peptide = read_proforma(evaluation.texts[row])
    sites = len(peptide.letters) - 1
    peaks: list[tuple[float, float, str, str]] = []  # m/z, intensity (measured below 0), label, colour
    for column, channel in enumerate(channels_of(evaluation.channels)):
        colour = BLUE if channel.series == "b" else VERMILION
        for site in np.flatnonzero(measured[:, column] >= 0):
            number = site + 1 if channel.series == "b" else sites - site
            mz = fragment_mz(peptide, channel.series, int(number), channel.charge, channel.loss)
            for value, sign in ((predicted[site, column], 1), (measured[site, column], -1)):
                if value <= 0.01:
                    continue
                axis.vlines(mz, 0, sign * value, color=colour, linewidth=1.2)
                lost = f" -{channel.loss}" if channel.loss else ""
                label = f"{channel.series}{number}{'+' * channel.charge}{lost}"
                peaks.append((mz, sign * float(value), label, colour))
    _label(axis, [peak for peak in peaks if peak[1] > 0], 1)
    _label(axis, [peak for peak in peaks if peak[1] < 0], -1)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_ylim(-1.3, 1.3)
    axis.set_yticks([-1, 0, 1], ["1", "0", "1"])
    axis.set_ylabel("measured | predicted", fontsize=7)
    cosine = evaluation.values["cos"][row]
    axis.set_title(f"{evaluation.texts[row]}   cosine {cosine:.3f}", fontsize=8, loc="left")


def _label(axis: Axes, peaks: list[tuple[float, float, str, str]], sign: int) -> None:
    """Names of fragments above the predicted peaks (sign 1) or below the measured ones (sign -1)."""
    low, high = axis.get_xlim()
    half_widths = [(high - low) * LETTER * len(label) / 2 for _, _, label, _ in peaks]
    for index in place_labels([(mz, sign * value) for mz, value, *_ in peaks], half_widths, LINE, LABELLED):
        mz, value, label, colour = peaks[index]
        side = "bottom" if sign > 0 else "top"
        axis.text(mz, value + sign * 0.03, label, ha="center", va=side, fontsize=6, color=colour)
