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
from trimer.reporting.labelled_peaks import place_labels
from trimer.reporting.style import save_figure, styled

if TYPE_CHECKING:
    from trimer.evaluation.fragment_evaluation import FragmentEvaluation

SHOWN = {"cos": "Cosine", "sa": "Spectral angle", "pcc": "Pearson", "spc": "Spearman"}
LEAST = 0.01  # of the highest peak; lower peaks are not drawn
LABELLED = 0.2  # of the highest peak; lower peaks get no label
Peak = tuple[float, float, str]
LETTER, LINE = 0.0075, 0.17  # size of a label: width of a letter as a share of the axis, height in relative intensity


def similarity_distributions(evaluation: FragmentEvaluation, path: str | Path) -> Path:
    """Distribution of each similarity of predicted to measured spectra over a split, with its median."""
    with styled():
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        for axis, (name, label) in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN.items(), strict=True):
            draw_distribution(axis, evaluation.values[name], label)
        return save_figure(figure, path)


def draw_distribution(axis: Axes, values: np.ndarray, label: str) -> None:
    """The share of spectra with at least a similarity, and the median; NaN is left out."""
    kept = np.sort(values[~np.isnan(values)])
    if len(kept):
        share = 100 * (len(kept) - np.arange(len(kept))) / len(kept)
        axis.step([*kept, 1.0], [*share, 0.0], where="pre", color=BLUE, linewidth=1.6)
        axis.plot([np.median(kept)], [50], marker="o", color=VERMILION, ms=4)
        axis.set_title(f"{label}: median {np.median(kept):.3f}", fontsize=9)
    axis.set(xlim=(min(0.0, *kept[:1]) if len(kept) else 0.0, 1), ylim=(0, 101))
    axis.set(xlabel=f"{label.lower()}, at least", ylabel="spectra (%)")


def mirror_spectra(evaluation: FragmentEvaluation, path: str | Path, count: int = 4) -> Path:
    """Mirror plots of spectra from the 10th to the 90th percentile of the cosine: predicted above, measured below."""
    order = np.argsort(evaluation.values["cos"])
    chosen = order[np.linspace(0.1 * (len(order) - 1), 0.9 * (len(order) - 1), count).astype(int)]
    with styled():
        figure = Figure(figsize=(9, 2.1 * count), layout="constrained")
        for axis, row in zip(np.atleast_1d(figure.subplots(count, 1)), chosen, strict=True):
            _mirror(axis, evaluation, int(row))
        figure.axes[-1].set_xlabel("m/z (Th)")
        return save_figure(figure, path)


def fragment_peaks(evaluation: FragmentEvaluation, row: int) -> tuple[list[Peak], list[Peak]]:
    """Predicted and measured peaks of a spectrum: m/z in Th, intensity relative to the highest, ion such as `y5^2`."""
    start = int(sum(evaluation.sizes[:row]))
    sites = slice(start, start + evaluation.sizes[row])
    peptide = read_proforma(evaluation.texts[row])
    count = len(peptide.letters) - 1
    both: tuple[list[Peak], list[Peak]] = [], []
    for column, channel in enumerate(channels_of(evaluation.channels)):
        for site in np.flatnonzero(evaluation.labels[sites][:, column] >= 0):
            number = channel.number(int(site), count)
            mz = fragment_mz(peptide, channel.series, number, channel.charge, channel.loss)
            for peaks, values in zip(both, (evaluation.predictions, evaluation.labels), strict=True):
                value = float(values[sites][site, column])
                if value > LEAST:
                    peaks.append((mz, value, channel.ion(number)))
    return both


def _mirror(axis: Axes, evaluation: FragmentEvaluation, row: int) -> None:
    for peaks, sign in zip(fragment_peaks(evaluation, row), (1, -1), strict=True):
        draw_fragments(axis, peaks, sign)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_ylim(-1.3, 1.3)
    axis.set_yticks([-1, 0, 1], ["100", "0", "100"])
    axis.set_ylabel("measured | predicted (%)", fontsize=7)
    cosine = evaluation.values["cos"][row]
    axis.set_title(f"{evaluation.texts[row]}   cosine {cosine:.3f}", fontsize=8, loc="left")


def draw_fragments(axis: Axes, peaks: list[Peak], sign: int = 1) -> None:
    """Sticks of fragments with their names, b ions blue and y ions red; downwards with sign -1."""
    drawn = [(mz, sign * value, ion, BLUE if ion[0] == "b" else VERMILION) for mz, value, ion in peaks]
    for mz, value, _, colour in drawn:
        axis.vlines(mz, 0, value, color=colour, linewidth=1.2)
    _label(axis, drawn, sign)


def _label(axis: Axes, peaks: list[tuple[float, float, str, str]], sign: int) -> None:
    """Names of fragments above the predicted peaks (sign 1) or below the measured ones (sign -1)."""
    low, high = axis.get_xlim()
    half_widths = [(high - low) * LETTER * len(label) / 2 for _, _, label, _ in peaks]
    for index in place_labels([(mz, sign * value) for mz, value, *_ in peaks], half_widths, LINE, LABELLED):
        mz, value, label, colour = peaks[index]
        side = "bottom" if sign > 0 else "top"
        axis.text(mz, value + sign * 0.03, label, ha="center", va=side, fontsize=6, color=colour)
