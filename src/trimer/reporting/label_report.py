"""Figures and tables on the page of predicted labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from trimer.reporting.attempts import attempt
from trimer.targets import target_of

if TYPE_CHECKING:
    import numpy as np

    from trimer.evaluation.label_evaluation import LabelEvaluation
    from trimer.reporting.page import Detail

POOR = "A mean probability far from the frequency of the class is a sign of poor calibration."


def label_pictures(evaluation: LabelEvaluation, data: Any, name: str, out: Path) -> list[Path | None]:
    """The figures of predicted labels: None for one that could not be made."""
    from trimer.metrics.label_metrics import confusion
    from trimer.reporting.label_figures import confusion_matrix, reliability
    from trimer.reporting.number_figures import predicted_against_observed

    predictions, labels = evaluation.predictions, evaluation.labels
    if evaluation.kind.numbers:
        path = out / "predicted.png"
        return [attempt(path.name, predicted_against_observed, {name: predictions}, labels, data.classes, path)]
    pictures = [attempt("reliability.png", reliability, predictions, labels, out / "reliability.png")]
    if evaluation.kind.has_classes:
        path = out / "confusion.png"

        def matrix() -> Path:
            return confusion_matrix(confusion(predictions, labels, evaluation.thresholds), evaluation.classes, path)

        pictures.insert(0, attempt(path.name, matrix))
    return pictures


def label_details(evaluation: LabelEvaluation, data: Any) -> list[Detail]:
    """Additional tables of the page: each class, probabilities, largest errors, undefined metrics."""
    from trimer.evaluation.largest_errors import mistakes
    from trimer.metrics.label_metrics import per_class
    from trimer.reporting.page import Detail

    predictions = evaluation.predictions, evaluation.labels, evaluation.classes, evaluation.thresholds
    record = data.sequences.plural.removesuffix("s")
    drawn = record if record == "molecule" else None
    return [
        Detail("Classes", per_class(*predictions) if evaluation.kind.has_classes else []),
        Detail("Probabilities", evaluation.probabilities(), f"{POOR} {evaluation.kind.decision}"),
        Detail("Largest errors", mistakes(evaluation, record), "The largest error first.", drawn),
        Detail("Undefined metrics", evaluation.reasons()),
    ]


def draw_embeddings(trained: Path, out: Path, net: nn.Module, data: Any, name: str) -> list[Path]:
    """The embeddings before and after fine-tuning, as a figure and a page, where those before were kept."""
    import numpy as np

    from trimer.callbacks.embeddings import NAME, vectors_of
    from trimer.reporting.embedding_page import embedding_page
    from trimer.reporting.label_figures import embedding_map, embedding_maps

    path = trained / NAME
    kind = target_of(data.target)
    if not path.is_file() or kind.by_residue or "train" not in data.split.names:
        return []
    kept = np.load(path)
    if kept["store"] != data.folder.name:
        return []  # of other data
    rows, before = kept["rows"], kept["vectors"]
    after = vectors_of(net, data, rows)
    shown: dict[str, Any] = {
        "train": np.isin(rows, data.split.rows("train")),
        "projection": str(kept["projection"]),
    }
    picture = out / "embeddings.png"
    title = f"{name}: embeddings before and after fine-tuning"
    if kind.yes_or_no:
        names = [str(label) for label in kept["labels"]] if "labels" in kept else []
        values = {label: data.labels[rows, list(data.classes).index(label)].astype(float) for label in names}
        if not values:
            return []
        embedding_maps(before, after, values, picture, **shown)
        label_pages(before, after, values, data.ids(rows), out, title, **shown)
        return [picture]
    labels = data.labels[rows] if kind.has_classes else data.labels[rows, 0].astype(float)
    shown |= {"classes": data.classes, "name": ""} if kind.has_classes else {"classes": None, "name": data.classes[0]}
    embedding_map(before, after, labels, picture, **shown)
    shown |= {"links": {"Result page": "page.html"}, "title": title}
    embedding_page(before, after, labels, data.ids(rows), out / "embeddings.html", **shown)
    return [picture]


def label_pages(
    before: np.ndarray,
    after: np.ndarray,
    labels: Mapping[str, np.ndarray],
    ids: Sequence[str],
    out: Path,
    title: str,
    **shown: Any,
) -> None:
    """An interactive page for each yes-or-no label, `embeddings.html`, `embeddings_2.html`, ..., with links between."""
    from trimer.reporting.embedding_page import embedding_page
    from trimer.reporting.label_figures import YES_NO, yes_or_no

    files = {label: f"embeddings{f'_{number}' if number > 1 else ''}.html" for number, label in enumerate(labels, 1)}
    for label, values in labels.items():
        links = {"Result page": "page.html"} | {other: file for other, file in files.items() if other != label}
        of_label: dict[str, Any] = {"classes": YES_NO, "title": f"{title}: {label}", "links": links}
        embedding_page(before, after, yes_or_no(values), ids, out / files[label], **of_label, **shown)
