"""Embeddings before and after fine-tuning as one interactive HTML file: pointing at a sequence shows it in both maps.

Self-contained: points, style and a short script are in the file, and it loads nothing from elsewhere.
Shapes: n rows, D width of an embedding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex

from trimer.counts import counted
from trimer.files import write_text
from trimer.reporting.label_figures import MISSING, Classes, explained_text, project
from trimer.reporting.templates import render

SHADES = 32  # colours of the scale of numbers
GRID = 1000  # steps of a coordinate, which is finer than a dot


def embedding_page(
    before: np.ndarray,
    after: np.ndarray,
    labels: np.ndarray,
    ids: Sequence[str],
    path: str | Path,
    train: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    name: str = "",
    title: str = "Embeddings before and after fine-tuning",
    projection: str = "pca",
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write the page and return its path. `ids` are n texts to show; the rest as for `label_figures.embedding_map`.

    links: label -> address, relative to the page, of other pages of the run.
    """
    labels = np.asarray(labels)
    train = np.ones(len(labels), bool) if train is None else np.asarray(train, bool)
    if not len(before) == len(after) == len(labels) == len(ids) == len(train):
        raise ValueError(
            f"{len(before)} and {len(after)} embeddings, {len(labels)} labels, {len(ids)} ids and {len(train)} marks "
            "of training rows are not of the same rows"
        )
    data: dict[str, Any]
    data = _numbers(labels, name) if np.issubdtype(labels.dtype, np.floating) else _classes(labels, classes)
    data |= {"ids": [str(text) for text in ids], "train": train.astype(int).tolist()}
    explained = {}
    for moment, vectors in (("before", before), ("after", after)):
        points, share = project(vectors, train, projection)
        span = np.ptp(points, axis=0) if len(points) else np.ones(2)
        low = points.min(0, initial=np.inf)
        data[moment] = np.rint((points - low) / np.where(span > 0, span, 1) * GRID).astype(int).T.tolist()
        explained[moment] = explained_text(share)
    method = "the first two principal components" if projection == "pca" else "a UMAP"
    about = f"{counted(len(labels), 'sequences')} on {method}"
    about += "." if train.all() else f" of the {train.sum():,} training sequences (pale); the others are outlined."
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = {"title": title, "about": about, "scale": "scale" in data, "links": links or {}, "data": Markup(text)}
    page = render("embeddings.html", **explained, **shown)
    write_text(path, page)
    return path


def _classes(labels: np.ndarray, classes: Sequence[str] | None) -> dict:
    shown = Classes.of(labels, classes)
    texts = [str(label) if classes is None else str(classes[label]) for label in labels]
    return {"names": shown.names, "colours": shown.colours, "of_row": shown.of_row.tolist(), "texts": texts}


def _numbers(labels: np.ndarray, name: str) -> dict:
    """A colour for each label, and a last one for missing labels."""
    known = labels[np.isfinite(labels)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    shade = np.nan_to_num((labels - low) / ((high - low) or 1.0) * (SHADES - 1), nan=SHADES)
    colours = [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 1, SHADES))]
    texts = [f"{name} {label:.4g}".strip() if np.isfinite(label) else "no label" for label in labels]
    scale = {"name": name, "low": f"{low:.4g}", "high": f"{high:.4g}"}
    return {
        "colours": [*colours, MISSING],
        "of_row": np.rint(shade).astype(int).tolist(),
        "texts": texts,
        "scale": scale,
    }
