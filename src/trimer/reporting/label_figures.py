"""Figures of classified sequences: which classes are confused, whether confidence is earned, embeddings on a plane.

Each function writes one file, PNG or SVG or PDF by its suffix, and returns its path.
Shapes: n rows, C classes, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from trimer.errors import ConfigError
from trimer.metrics.temperature import BINS, bin_of, confidences, error_of_bins
from trimer.reporting.charts import BLUE, GREY, SERIES, VERMILION
from trimer.reporting.drawing import INK
from trimer.reporting.figures import STYLE, save_figure

# Okabe and Ito's first, then Tol's for what is left: classes beyond are grey together.
COLOURS_OF_CLASSES = (*SERIES, "#CC79A7", "#332288", "#7a6a00", "#882255", "#44AA99")
REST = "other classes"
MISSING = "#c9cfd6"  # the colour of a row without a number
ROOMY = 12  # classes up to which the cells of a confusion matrix have room for a share
PROJECTIONS = ("pca", "umap")
NO_UMAP = "projection=umap needs a package: pip install 'trimer[umap]'"


def confusion_matrix(counts: np.ndarray, classes: Sequence[str], path: str | Path) -> Path:
    """Rows of each true class (down) by what they were taken for (across): (C, C) counts.

    The shade is the share of the true class, blue where it is right and vermilion where it is not.
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
    style = {**STYLE, "axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False}
    with rc_context(style):
        figure = Figure(figsize=(size * count + room + 0.3, size * count + 0.62 * room + 0.7), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
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
            written = "<1%" if share < 0.01 else f"{share:.0%}"
            text = f"{counts[row, column]:,}" + (f"\n{written}" if count <= ROOMY else "")
            colour = "white" if share > 0.55 else INK
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour, linespacing=1.25)
        right = np.trace(counts) / max(1, counts.sum())
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class, and its rows")
        title = f"{right:.1%} of {counts.sum():,} rows are right"
        figure.suptitle(title, x=0.02, ha="left", fontsize=10, fontweight="bold", color=INK)
        return save_figure(figure, path)


def reliability(
    probabilities: np.ndarray | Mapping[str, np.ndarray], labels: np.ndarray, path: str | Path, bins: int = BINS
) -> Path:
    """How often something is so against its probability, in bins of equal width, above how often each is given.

    Of two classes that of class 1, of more that of the likeliest class.

    probabilities (n, C) with labels (n,), or both (n, K) with NaN for missing labels (see
    `trimer.metrics.temperature.confidences`); or several under their names, as before and after a temperature. A dot
    is the larger the more lies in its bin; its bar is Wilson's interval of one standard error.
    """
    named = probabilities if isinstance(probabilities, Mapping) else {"": probabilities}
    shape = next(iter(named.values())).shape
    yes_or_no, two = shape == np.shape(labels), shape[-1] == 2
    of_one, of_what = (yes_or_no or two), "of “yes”" if yes_or_no else "of the second class"
    with rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.9), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for (name, said), colour in zip(named.items(), SERIES * 3, strict=False):
            confidence, right = confidences(said, labels)
            found = _bins(confidence, right, bins)
            error = ("ECE" if of_one else "top-label ECE") + f" {error_of_bins(confidence, right, bins):.3f}"
            label = f"{name}, {error}" if name else error
            spread = np.abs(_wilson(found.share, found.count) - found.share)
            upper.errorbar(found.confidence, found.share, spread, color=colour, fmt="none", linewidth=0.9, alpha=0.7)
            upper.plot(found.confidence, found.share, color=colour, linewidth=1.2, alpha=0.6)
            sizes = 8 + 110 * found.count / found.count.sum()
            upper.scatter(found.confidence, found.share, sizes, color=colour, label=label, clip_on=False, zorder=3)
            edges = np.linspace(0, 1, bins + 1)
            weights = np.full(len(confidence), 100 / max(1, len(confidence)))
            lower.hist(confidence, edges, weights=weights, color=colour, alpha=0.15)
            lower.hist(confidence, edges, weights=weights, color=colour, histtype="step", linewidth=1.2)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"share {of_what}" if of_one else "share that is right")
        figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left", handletextpad=0.2)
        upper.text(0.03, 0.96, "more often than said", ha="left", va="top", fontsize=7.5, color="#5d6b79")
        upper.text(0.97, 0.04, "less often than said", ha="right", va="bottom", fontsize=7.5, color="#5d6b79")
        lower.set(ylabel="labels (%)", xlabel=f"probability {of_what}" if of_one else "confidence in the answer")
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
    """Embeddings before and after fine-tuning, side by side on their first two principal components, or by UMAP.

    before, after: (n, D). labels: (n,) classes, as ints that `classes` names, or floats, shown as a scale (`name`).
    train: (n,) bool, the rows that the components are fitted on, all by default; they are pale, the others are not.
    """
    labels = np.asarray(labels)
    train = np.ones(len(labels), bool) if train is None else np.asarray(train, bool)
    numbers = np.issubdtype(labels.dtype, np.floating)
    shown = None if numbers else Classes.of(labels, classes)
    with rc_context({**STYLE, "axes.grid": False, "axes.spines.left": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        axes = figure.subplots(1, 2)
        for axis, title, vectors in zip(
            axes, ("Before fine-tuning", "After fine-tuning"), (before, after), strict=True
        ):
            points, explained = project(vectors, train, projection)
            axis.set_title(f"{title}\n")
            axis.text(0, 1.02, explained_text(explained), transform=axis.transAxes, fontsize=8, color="#5d6b79")
            colours = labels if numbers else np.array(shown.colours)[shown.of_row]
            _scatter(axis, points, colours, train, numbers)
            axis.set(xticks=[], yticks=[])
            if projection == "pca":
                axis.set(xlabel="first component", ylabel="second component")
        if numbers:
            figure.colorbar(axes[1].collections[-1], ax=axes, label=name, shrink=0.7, aspect=30)
        else:
            handles = [axes[1].scatter([], [], s=22, color=colour) for colour in shown.colours]
            figure.legend(handles, shown.names, loc="outside right center", handletextpad=0.2, fontsize=8)
        if not train.all():
            note = "Fitted on the train rows (pale); the others (outlined) are placed among them."
            figure.supxlabel(note, fontsize=8, color="#5d6b79", x=0.01, ha="left")
        return save_figure(figure, path)


def project(vectors: np.ndarray, train: np.ndarray, projection: str = "pca") -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) places of (n, D) vectors on the first two principal components of the train rows.

    Also the share of the train rows' variance that each explains, (2,). A component that does not exist is 0.
    projection: "umap" places them by UMAP (McInnes et al. 2018) instead, fitted on the train rows with a fixed seed;
    it explains no share, and needs the extra `umap`.
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
    """The shares of the variance as a line under a title; there are none of a UMAP."""
    if not np.isfinite(explained).all():
        return "UMAP"
    return f"variance explained: {explained[0]:.1%} + {explained[1]:.1%}"


@dataclass
class Classes:
    """Which colour each row has: the most frequent classes have their own, the rest share a grey.

    of_row: (n,) places in `names` and `colours`.
    """

    names: list[str]
    colours: list[str]
    of_row: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, classes: Sequence[str] | None = None) -> Classes:
        """labels: (n,) ints that `classes` names, else anything that can be written."""
        found, which, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
        names = [str(label) if classes is None else str(classes[label]) for label in found]
        room = len(COLOURS_OF_CLASSES)
        order = np.argsort(-counts, kind="stable")
        place = np.empty(len(found), np.int64)
        place[order] = np.minimum(np.arange(len(found)), room)
        shown = [names[index] for index in order[:room]]
        rest = len(found) > room
        colours = [*COLOURS_OF_CLASSES[: len(shown)], *[GREY] * rest]
        return cls([*shown, *[REST] * rest], colours, place[which])


@dataclass
class _Bins:
    confidence: np.ndarray
    share: np.ndarray
    count: np.ndarray


def _bins(confidence: np.ndarray, right: np.ndarray, bins: int) -> _Bins:
    """Mean confidence, share that is right and count of each bin that is not empty."""
    where = bin_of(confidence, bins)
    count = np.bincount(where, minlength=bins)
    kept = count > 0
    mean, share = (np.bincount(where, values, bins)[kept] / count[kept] for values in (confidence, right))
    return _Bins(mean, share, count[kept])


def _wilson(share: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(2, bins) ends of Wilson's interval of one standard error; not of no width where all or none are right."""
    middle, half = share + 1 / (2 * count), np.sqrt(share * (1 - share) / count + 1 / (4 * count**2))
    return np.stack([middle - half, middle + half]) / (1 + 1 / count)


def _scatter(axis: Axes, points: np.ndarray, colours: np.ndarray, train: np.ndarray, numbers: bool) -> None:
    """Train rows below and pale, the others above and outlined; in an order of chance, so that no class lies on top."""
    order = np.random.default_rng(0).permutation(len(points))
    size = float(np.clip(9000 / max(1, len(points)), 4, 22))
    scale = {}
    if numbers:
        known = colours[np.isfinite(colours)]
        scale = {"plotnonfinite": True, "cmap": colormaps["viridis"].with_extremes(bad=MISSING)}
        scale |= {"vmin": known.min(), "vmax": known.max()} if len(known) else {}
    both = not train.all()
    for rows, style in (
        (order[train[order]], {"s": size, "alpha": 0.3 if both else 0.75, "linewidths": 0}),
        (order[~train[order]], {"s": 2.5 * size, "alpha": 1.0, "linewidths": 0.6, "edgecolors": "white"}),
    ):
        if len(rows):
            axis.scatter(*points[rows].T, c=colours[rows], **scale, **style)


def _short(name: str, most: int = 36) -> str:
    name = str(name)
    return name if len(name) <= most else name[: most - 1] + "…"
