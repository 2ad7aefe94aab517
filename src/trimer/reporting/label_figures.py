"""Figures of predicted classes: confusion matrix, calibration of probabilities, embeddings in two dimensions.

Each function writes one file, PNG or SVG or PDF by its suffix, and returns its path.
Shapes: n rows, C classes, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from trimer.errors import ConfigError
from trimer.metrics.temperature import BINS, bin_of, confidences, error_of_bins
from trimer.reporting.colours import BLUE, GREY, INK, SERIES, SOFT, VERMILION
from trimer.reporting.style import NO_AXES, save_figure, styled

# First the colours of Okabe and Ito, then those of Tol; further classes share a grey.
COLOURS_OF_CLASSES = (*SERIES, "#CC79A7", "#332288", "#7a6a00", "#882255", "#44AA99")
REST = "other classes"
MISSING = "#c9cfd6"  # the colour of a row without a number
ROOMY = 12  # classes up to which the cells of a confusion matrix have room for a percentage
PROJECTIONS = ("pca", "umap")
YES_NO = ("yes", "no", "unknown")
COLOURS_OF_YES_NO = (VERMILION, BLUE, MISSING)
NO_UMAP = "projection=umap needs a package: pip install 'trimer[umap]'"


def confusion_matrix(counts: np.ndarray, classes: Sequence[str], path: str | Path) -> Path:
    """Confusion matrix of (C, C) counts: true classes down, predicted classes across.

    The shade is the fraction of the true class, blue for correct predictions and vermilion for wrong ones.
    """
    counts = np.asarray(counts)
    count = len(classes)
    if counts.shape != (count, count):
        raise ValueError(f"counts of shape {counts.shape} for {count} classes")
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    picture = np.empty((count, count, 3))
    for row, column in np.ndindex(count, count):
        colour = np.array(to_rgb(BLUE if row == column else VERMILION))
        picture[row, column] = 1 - shares[row, column] * (1 - colour)
    names = [_short(name) for name in classes]
    size = min(0.62, max(0.34, 6.5 / max(1, count))) if count > 2 else 1.0  # inches of a cell
    room = 0.08 * max(map(len, names), default=0) + 1.1
    with styled(NO_AXES):
        figure = Figure(figsize=(size * count + room + 0.3, size * count + 0.62 * room + 0.7))
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
        axis = figure.subplots()
        axis.imshow(picture, aspect="equal")
        axis.set_xticks(range(count), names, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(count), [f"{name}  {total:,}" for name, total in zip(names, counts.sum(1), strict=True)])
        axis.set_xticks(np.arange(1, count) - 0.5, minor=True)
        axis.set_yticks(np.arange(1, count) - 0.5, minor=True)
        axis.grid(which="minor", color="#e3e7ec", linewidth=0.7)
        axis.tick_params(which="both", length=0)
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = shares[row, column]
            percent = "<1%" if share < 0.01 else f"{share:.0%}"
            text = f"{counts[row, column]:,}" + (f"\n{percent}" if count <= ROOMY else "")
            shade = "white" if share > 0.55 else INK
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=shade, linespacing=1.25)
        accuracy = np.trace(counts) / max(1, counts.sum())
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class, number of rows")
        title = f"Accuracy {accuracy:.1%} (n = {counts.sum():,})"
        figure.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold", color=INK)
        return save_figure(figure, path)


def reliability(
    probabilities: np.ndarray | Mapping[str, np.ndarray], labels: np.ndarray, path: str | Path, bins: int = BINS
) -> Path:
    """Reliability diagram: observed frequency against predicted probability in bins of equal width, with a histogram.

    The probability is that of class 1 for two classes, and that of the predicted class for more.

    probabilities (n, C) with labels (n,), or both (n, K) with NaN for missing labels (see
    `trimer.metrics.temperature.confidences`); or several under their names, as before and after a temperature. The size
    of a dot shows how many labels its bin holds; its bar is Wilson's interval of one standard error.
    """
    named = probabilities if isinstance(probabilities, Mapping) else {"": probabilities}
    shape = next(iter(named.values())).shape
    yes_or_no, two = shape == np.shape(labels), shape[-1] == 2
    of_one, of_what = (yes_or_no or two), "“yes”" if yes_or_no else "the second class"
    with styled():
        figure = Figure(figsize=(4.4, 4.9), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for (name, values), colour in zip(named.items(), SERIES * 3, strict=False):
            confidence, right = confidences(values, labels)
            filled = filled_bins(confidence, right, bins)
            error = ("ECE" if of_one else "top-label ECE") + f" {error_of_bins(confidence, right, bins):.3f}"
            label = f"{name}, {error}" if name else error
            spread = np.abs(_wilson(filled.share, filled.counts) - filled.share)
            upper.errorbar(filled.confidence, filled.share, spread, color=colour, fmt="none", linewidth=0.9, alpha=0.7)
            upper.plot(filled.confidence, filled.share, color=colour, linewidth=1.2, alpha=0.6)
            sizes = 8 + 110 * filled.counts / filled.counts.sum()
            upper.scatter(filled.confidence, filled.share, sizes, color=colour, label=label, clip_on=False, zorder=3)
            edges = list(np.linspace(0, 1, bins + 1))
            weights = np.full(len(confidence), 100 / max(1, len(confidence)))
            lower.hist(confidence, edges, weights=weights, color=colour, alpha=0.15)
            lower.hist(confidence, edges, weights=weights, color=colour, histtype="step", linewidth=1.2)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"observed frequency of {of_what}" if of_one else "accuracy")
        figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left", handletextpad=0.2)
        upper.text(0.03, 0.96, "probability too low", ha="left", va="top", fontsize=7.5, color=SOFT)
        upper.text(0.97, 0.04, "probability too high", ha="right", va="bottom", fontsize=7.5, color=SOFT)
        what = f"predicted probability of {of_what}" if of_one else "probability of the predicted class"
        lower.set(ylabel="labels (%)", xlabel=what)
        return save_figure(figure, path)


def embedding_map(
    before: np.ndarray,
    after: np.ndarray,
    labels: np.ndarray,
    path: str | Path,
    train: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    name: str = "",
    projection: str = "pca",
) -> Path:
    """Embeddings before and after fine-tuning side by side, on their first two principal components or by UMAP.

    before, after: (n, D). labels: (n,) classes, as ints that `classes` names, or floats, shown as a scale (`name`).
    train: (n,) bool, the rows that the projection is fitted on, all by default; they are drawn pale.
    """
    labels = np.asarray(labels)
    train = np.ones(len(labels), bool) if train is None else np.asarray(train, bool)
    numbers = np.issubdtype(labels.dtype, np.floating)
    shown = None if numbers else Classes.of(labels, classes)
    with styled(NO_AXES):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        axes = figure.subplots(1, 2)
        for axis, title, vectors in zip(
            axes, ("Before fine-tuning", "After fine-tuning"), (before, after), strict=True
        ):
            points, explained = project(vectors, train, projection)
            axis.set_title(f"{title}\n")
            axis.text(0, 1.02, explained_text(explained), transform=axis.transAxes, fontsize=8, color=SOFT)
            colours = labels if shown is None else np.array(shown.colours)[shown.of_row]
            _scatter(axis, points, colours, train, numbers)
            axis.set(xticks=[], yticks=[])
            if projection == "pca":
                axis.set(xlabel="first principal component", ylabel="second principal component")
        if shown is None:
            figure.colorbar(axes[1].collections[-1], ax=axes, label=name, shrink=0.7, aspect=30)
        else:
            handles = [axes[1].scatter([], [], s=22, color=colour) for colour in shown.colours]
            figure.legend(handles, shown.names, loc="outside right center", handletextpad=0.2, fontsize=8)
        if not train.all():
            note = "The projection is fitted on the training rows (pale) and applied to the others (outlined)."
            figure.supxlabel(note, fontsize=8, color=SOFT, x=0.01, ha="left")
        return save_figure(figure, path)


def embedding_maps(
    before: np.ndarray,
    after: np.ndarray,
    labels: Mapping[str, np.ndarray],
    path: str | Path,
    train: np.ndarray | None = None,
    projection: str = "pca",
) -> Path:
    """The same maps as `embedding_map`, coloured by each of several yes-or-no labels, a row of two maps for each.

    labels: name -> (n,) 1 for yes, 0 for no, NaN for unknown.
    """
    train = np.ones(len(before), bool) if train is None else np.asarray(train, bool)
    maps = [project(vectors, train, projection) for vectors in (before, after)]
    with styled(NO_AXES):
        figure = Figure(figsize=(8.2, 3.0 * len(labels) + 0.7))
        figure.set_layout_engine("constrained", wspace=0.12, hspace=0.06)
        axes = figure.subplots(len(labels), 2, squeeze=False)
        for line, (name, values) in zip(axes, labels.items(), strict=True):
            colours = np.array(COLOURS_OF_YES_NO)[yes_or_no(values)]
            counts = f"{np.nansum(values):,.0f} yes of {np.isfinite(values).sum():,} known"
            for axis, (points, explained) in zip(line, maps, strict=True):
                _scatter(axis, points, colours, train, numbers=False)
                axis.set(xticks=[], yticks=[])
                axis.text(0, -0.02, explained_text(explained), transform=axis.transAxes, fontsize=7.5, color=SOFT,
                          va="top")  # fmt: skip
            line[0].set_title(f"{_short(name, 44)}\nbefore fine-tuning, {counts}", fontsize=9)
            line[1].set_title("\nafter fine-tuning", fontsize=9)
        handles = [axes[0, 0].scatter([], [], s=22, color=colour) for colour in COLOURS_OF_YES_NO]
        figure.legend(handles, YES_NO, loc="outside upper right", ncols=len(YES_NO), handletextpad=0.2, fontsize=8)
        if not train.all():
            note = "The projection is fitted on the training rows (pale) and applied to the others (outlined)."
            figure.supxlabel(note, fontsize=8, color=SOFT, x=0.01, ha="left")
        return save_figure(figure, path)


def yes_or_no(values: np.ndarray) -> np.ndarray:
    """(n,) indices into `YES_NO` of labels that are 1, 0 or NaN."""
    values = np.asarray(values, float)
    return np.where(np.isnan(values), 2, np.where(values > 0.5, 0, 1))


def project(vectors: np.ndarray, train: np.ndarray, projection: str = "pca") -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) coordinates of (n, D) vectors on the first two principal components of the training rows.

    Also the fraction of the training rows' variance that each explains, (2,). A component that does not exist is 0.
    projection: "umap" uses UMAP (McInnes et al. 2018) instead, fitted on the training rows with a fixed seed; the
    explained variance is NaN then, and the extra `umap` must be installed.
    """
    if projection not in PROJECTIONS:
        raise ConfigError(f"projection={projection} must be one of {', '.join(PROJECTIONS)}")
    vectors = np.asarray(vectors, float)
    if not np.isfinite(vectors).all():
        raise ValueError(f"row {np.argwhere(~np.isfinite(vectors))[0][0]} of the embeddings is NaN or infinite")
    if projection == "umap":
        try:
            from umap import UMAP
        except ImportError as error:
            raise ConfigError(NO_UMAP) from error
        return np.asarray(UMAP(random_state=0, n_jobs=1).fit(vectors[train]).transform(vectors)), np.full(2, np.nan)
    count = min(2, int(np.sum(train)), vectors.shape[1])
    points, explained = np.zeros((len(vectors), 2)), np.zeros(2)
    if count and vectors[train].std(0).any():
        fitted = PCA(count, random_state=0).fit(vectors[train])
        points[:, :count], explained[:count] = fitted.transform(vectors), fitted.explained_variance_ratio_
    return points, explained


def explained_text(explained: np.ndarray) -> str:
    """The explained variance as a line under a title; UMAP explains none."""
    if not np.isfinite(explained).all():
        return "UMAP"
    return f"variance explained: {explained[0]:.1%} + {explained[1]:.1%}"


@dataclass
class Classes:
    """The colour of each row: the most frequent classes have their own, the others share a grey.

    of_row: (n,) indices into `names` and `colours`.
    """

    names: list[str]
    colours: list[str]
    of_row: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, classes: Sequence[str] | None = None) -> Classes:
        """labels: (n,) ints that `classes` names, or values with a text."""
        values, which, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
        names = [str(label) if classes is None else str(classes[label]) for label in values]
        room = len(COLOURS_OF_CLASSES)
        order = np.argsort(-counts, kind="stable")
        index = np.empty(len(values), np.int64)
        index[order] = np.minimum(np.arange(len(values)), room)
        shown = [names[position] for position in order[:room]]
        rest = len(values) > room
        colours = [*COLOURS_OF_CLASSES[: len(shown)], *[GREY] * rest]
        return cls([*shown, *[REST] * rest], colours, index[which])


class Bins(NamedTuple):
    """Mean probability, fraction of what came true, and count of each bin that is not empty."""

    confidence: np.ndarray
    share: np.ndarray
    counts: np.ndarray


def filled_bins(confidence: np.ndarray, right: np.ndarray, bins: int) -> Bins:
    """The bins of equal width of (m,) probabilities of what came true, (m,) 0 or 1, or not."""
    where = bin_of(confidence, bins)
    count = np.bincount(where, minlength=bins)
    kept = count > 0
    mean, share = (np.bincount(where, values, bins)[kept] / count[kept] for values in (confidence, right))
    return Bins(mean, share, count[kept])


def _wilson(share: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(2, bins) ends of Wilson's interval of one standard error, whose width is not 0 for fractions of 0 and 1."""
    middle, half = share + 1 / (2 * count), np.sqrt(share * (1 - share) / count + 1 / (4 * count**2))
    return np.stack([middle - half, middle + half]) / (1 + 1 / count)


def _scatter(axis: Axes, points: np.ndarray, colours: np.ndarray, train: np.ndarray, numbers: bool) -> None:
    """Training rows pale, the others above them and outlined; in random order, so that no class covers another."""
    order = np.random.default_rng(0).permutation(len(points))
    size = float(np.clip(9000 / max(1, len(points)), 4, 22))
    scale: dict[str, Any] = {}
    if numbers:
        known = colours[np.isfinite(colours)]
        scale = {"plotnonfinite": True, "cmap": colormaps["viridis"].with_extremes(bad=MISSING)}
        scale |= {"vmin": known.min(), "vmax": known.max()} if len(known) else {}
    both = not train.all()
    pale: dict[str, Any] = {"s": size, "alpha": 0.3 if both else 0.75, "linewidths": 0}
    outlined: dict[str, Any] = {"s": 2.5 * size, "alpha": 1.0, "linewidths": 0.6, "edgecolors": "white"}
    for rows, style in ((order[train[order]], pale), (order[~train[order]], outlined)):
        if len(rows):
            axis.scatter(points[rows, 0], points[rows, 1], c=colours[rows], **scale, **style)


def _short(name: str, most: int = 36) -> str:
    name = str(name)
    return name if len(name) <= most else name[: most - 1] + "…"
