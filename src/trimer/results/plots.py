"""Plots of predictions and embeddings with matplotlib; each function returns the axes.

The plot depends on the columns: `smiles` (molecules), `probability of <class>` (probabilities), else numbers.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.errors import InputError
from trimer.reporting.colours import BLUE, GREY
from trimer.reporting.style import panel_grid, styled
from trimer.suggestions import did_you_mean

if TYPE_CHECKING:
    from trimer.data.spectra.spectrum_record import Spectrum
    from trimer.data.spectra.spectrum_table import SpectrumTable
    from trimer.peptides.channels import Channel
    from trimer.reporting.table import ResultTable
    from trimer.results.predictions import Predictions

PROBABILITY = "probability of "
MOLECULES, SPECTRA = 12, 12  # drawn at most
RECORDS, CLASSES = 30, 20  # of probabilities
GROUPS = 10  # with a separate colour
ABOUT = (
    "row",
    "rank",
    "candidates",
    "agreeing",
    "count",
    "precursor_mz",
    "probability",
    "charge",
    "energy",
)  # columns that are not predictions


def plot_predictions(predictions: Predictions, ax: Any = None) -> Any:
    """Plot molecules, class probabilities or numbers. ax: axes, for a single plot.

    Probabilities of one record are bars, of several records a heat map; those of positions are curves for the first
    record.
    """
    with styled():
        return _plot_predictions(predictions, ax)


def plot_fragments(predictions: Predictions, ax: Any = None, *, channels: Sequence[Channel]) -> Any:
    """Plot the predicted fragment spectra of the first peptides. ax: axes, for the first peptide only.

    channels: of the columns of `intensities`.
    """
    from trimer.reporting.fragment_figures import draw_fragments
    from trimer.reporting.peptide_cards import fragment_annotations

    rows = _predicted(predictions)
    with styled():
        axes = np.array([ax], object) if ax is not None else _panels(min(len(rows), SPECTRA), 4.4, 2.2)
        for row, axis in zip(rows, axes, strict=False):
            mz, heights, notes = fragment_annotations(row["peptide"], row["intensities"], channels)
            draw_fragments(axis, [(x, y, notes[x].name) for x, y in zip(mz, heights, strict=True)])
            axis.set(xlabel="m/z (Th)", ylabel="intensity (%)", ylim=(0, 1.3))
            axis.set_yticks([0, 0.5, 1], ["0", "50", "100"])
            axis.set_title(f"{_short(row['peptide'])}   charge {row['charge']}", fontsize=8, parse_math=False)
    return axes[0] if len(axes) == 1 else axes


def _predicted(predictions: Predictions) -> list[dict[str, Any]]:
    """The rows with a prediction; InputError if there is none."""
    rows = [row for row in predictions.rows if not row.get("reason")]
    if not rows:
        raise InputError("no record has a prediction, so there is nothing to plot; see the column 'reason'")
    return rows


def _plot_predictions(predictions: Predictions, ax: Any) -> Any:
    rows = _predicted(predictions)
    names = [name for name in predictions.columns if name.startswith(PROBABILITY)]
    if any(row.get("smiles") for row in rows) and not names:
        return _molecules([row for row in rows if row.get("smiles")][:MOLECULES])
    if names and isinstance(rows[0][names[0]], list):
        return _positions(rows[0], names, ax)
    if names:
        return _probabilities(rows, names, ax)
    numbers = [name for name in predictions.columns if name not in ABOUT and _is_numeric(rows, name)]
    if not numbers:
        raise InputError(
            f"none of the columns {', '.join(predictions.columns)} has molecules, probabilities or numbers to plot"
        )
    return _numbers(rows, numbers, ax)


def plot_spectra(spectra: SpectrumTable | Sequence[Spectrum], ax: Any = None) -> Any:
    """Plot sticks of relative intensity in %, with the precursor. ax: axes, for the first spectrum only."""
    from trimer.reporting.figures import draw_spectrum

    if not len(spectra):
        raise InputError("the table has no spectra, so there is nothing to plot")
    with styled():
        axes = np.array([ax], object) if ax is not None else _panels(min(len(spectra), SPECTRA), 4.4, 2.2)
        for row, axis in enumerate(axes):
            shown = spectra[row]
            draw_spectrum(axis, {"id": row + 1, **shown.fields, "mz": shown.mz, "intensity": shown.intensity})
            axis.set(xlabel="m/z (Th)", ylabel="intensity (%)")
    return axes[0] if len(axes) == 1 else axes


def plot_components(matrix: np.ndarray, labels: Sequence[Any] | None = None, ax: Any = None) -> Any:
    """Plot the first two principal components of (n, D) vectors, with their fractions of the variance."""
    centred = np.asarray(matrix, np.float64) - np.mean(matrix, axis=0, dtype=np.float64)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    share = scale**2 / max(float((scale**2).sum()), np.finfo(float).tiny)
    points = np.zeros((len(matrix), 2))
    points[:, : min(2, len(scale))] = (left * scale)[:, :2]
    with styled():
        ax = ax if ax is not None else _axes((5, 4.2))
        _scatter(ax, points, labels)
        for setter, number in ((ax.set_xlabel, 0), (ax.set_ylabel, 1)):
            setter(f"principal component {number + 1} ({share[number] if number < len(share) else 0:.0%} of variance)")
    return ax


def plot_metric(table: ResultTable, metric: str | None = None, ax: Any = None) -> Any:
    """Plot a metric of all methods as bars, with standard errors. metric: by default the first one of the table."""
    from trimer.reporting.table import ERROR, column

    records = table.records()
    metric = metric or next(iter(table.columns), "")
    rows = [record for record in records if record.get(metric) is not None]
    if not rows:
        known = [name for name in (records[0] if records else ()) if name not in ("method", "kind")]
        raise InputError(f"no method has the metric {metric}{did_you_mean(metric, known)}")
    with styled():
        ax = ax if ax is not None else _axes((5, 1 + 0.3 * len(rows)))
        shown = column(metric)
        values, errors = (
            np.array([record.get(name) or 0.0 for record in rows]) * shown.scale
            for name in (metric, f"{metric}{ERROR}")
        )
        colours = [BLUE if record["kind"] == "method" else GREY for record in rows]
        ax.barh(range(len(rows)), values, xerr=errors, color=colours)
        ax.set_yticks(range(len(rows)), [_short(record["method"], 40) for record in rows], parse_math=False)
        ax.invert_yaxis()
        ax.set_xlabel(shown.label, parse_math=False)
    return ax


def _scatter(ax: Any, points: np.ndarray, labels: Sequence[Any] | None) -> None:
    if labels is None:
        ax.scatter(*points.T, s=14)
        return
    if all(isinstance(label, int | float | np.number) for label in labels):
        ax.figure.colorbar(ax.scatter(*points.T, s=14, c=np.asarray(labels, np.float64)), ax=ax)
        return
    texts = ["missing" if label is None else str(label) for label in labels]
    frequent = sorted(dict.fromkeys(texts), key=lambda text: -texts.count(text))[: GROUPS - 1]
    groups = [text if text in frequent else "other" for text in texts]
    for group in dict.fromkeys([*frequent, *groups]):
        chosen = np.array([text == group for text in groups])
        ax.scatter(*points[chosen].T, s=14, label=group)
    legend = ax.legend(frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _axes(size: tuple[float, float]) -> Any:
    return _panels(1, *size)[0]


def _panels(count: int, width: float, height: float, columns: int = 3) -> np.ndarray:
    """(count,) axes of one figure of pyplot, which notebooks show; width and height in inches of each."""
    from matplotlib import pyplot

    return np.array(panel_grid(count, width, height, columns=columns, make=pyplot.figure)[1], object)


def _molecules(rows: Sequence[dict]) -> Any:
    from matplotlib.image import imread

    from trimer.reporting.drawing import molecule_png

    axes = _panels(len(rows), 2.6, 2.2, columns=4)
    for axis, row in zip(axes, rows, strict=True):
        axis.imshow(imread(io.BytesIO(molecule_png(row["smiles"]))))
        axis.set_axis_off()
        rank = f", rank {row['rank']}" if row.get("rank") is not None else ""
        axis.set_title(f"{_short(row.get('id'))}{rank}", fontsize=8, parse_math=False)
    return axes


def _probabilities(rows: Sequence[dict], names: Sequence[str], ax: Any) -> Any:
    values = np.array([[row[name] for name in names] for row in rows[:RECORDS]], np.float64)
    chosen = np.sort(np.argsort(-values.mean(axis=0), kind="stable")[:CLASSES])
    classes = [_short(names[index].removeprefix(PROBABILITY)) for index in chosen]
    values = values[:, chosen]
    height = 1.2 + 0.22 * (len(classes) if len(values) == 1 else len(values))
    ax = ax if ax is not None else _axes((1.6 + 0.3 * max(12, len(classes)), height))
    if len(values) == 1:
        ax.barh(range(len(classes)), values[0])
        ax.set(xlim=(0, 1), xlabel="probability")
        ax.set_yticks(range(len(classes)), classes, parse_math=False)
        ax.invert_yaxis()
        ax.set_title(_short(rows[0].get("id")), fontsize=9, parse_math=False)
        return ax
    image = ax.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    ax.grid(False)
    ax.set_xticks(range(len(classes)), classes, rotation=60, ha="right", fontsize=8, parse_math=False)
    names_of_rows = [_short(row.get("id")) for row in rows[:RECORDS]]
    ax.set_yticks(range(len(values)), names_of_rows, fontsize=8, parse_math=False)
    ax.figure.colorbar(image, ax=ax, label="probability")
    return ax


def _positions(row: dict, names: Sequence[str], ax: Any) -> Any:
    ax = ax if ax is not None else _axes((7, 3))
    for name in names[:GROUPS]:
        ax.plot(range(1, len(row[name]) + 1), row[name], label=_short(name.removeprefix(PROBABILITY)), linewidth=1)
    ax.set(xlabel="position", ylabel="probability", ylim=(0, 1))
    ax.set_title(_short(row.get("id")), fontsize=9, parse_math=False)
    for text in ax.legend(frameon=False, fontsize=8).get_texts():
        text.set_parse_math(False)
    return ax


def _numbers(rows: Sequence[dict], names: Sequence[str], ax: Any) -> Any:
    if ax is not None or len(names) == 1:
        ax = ax if ax is not None else _axes((4, 3))
        _histogram(ax, rows, names[0])
        return ax
    axes = _panels(min(len(names), MOLECULES), 3.2, 2.4)
    for axis, name in zip(axes, names, strict=False):
        _histogram(axis, rows, name)
    return axes


def _histogram(ax: Any, rows: Sequence[dict], name: str) -> None:
    ax.hist([row[name] for row in rows if is_known(row[name])], bins="auto")
    ax.set_xlabel(name, parse_math=False)
    ax.set_ylabel("records")


def _is_numeric(rows: Sequence[dict], name: str) -> bool:
    values = [row[name] for row in rows if is_known(row[name])]
    return bool(values) and all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in values)


def is_known(value: Any) -> bool:
    """Whether a cell has a value: it is neither None nor NaN."""
    return value is not None and value == value


def _short(value: Any, letters: int = 30) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= letters else text[: letters - 3] + "..."
