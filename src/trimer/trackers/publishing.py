"""What a training sends to its W&B runs besides metrics: data, tables, curves, figures, the page, checkpoints.

MLflow gets the files alone: config, data, tables, figures, pages. Every part is optional: one that cannot be made is
reported, and the run continues. Nothing here runs during a training step.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trimer.reporting.attempts import attempt
from trimer.targets import Target
from trimer.trackers.descriptions import read_record
from trimer.trackers.mlflow_run import mlflow_runs
from trimer.trackers.wandb_run import wandb_runs

LARGEST_PAGE = 20_000_000  # bytes of a page that is sent
ROWS = 1000  # of a table
POINTS = 100  # of a curve
CURVES = 12  # classes or labels with a curve
TABLES = ("table", "classes", "probabilities", "residues")  # CSV files of a result
DATA = ("split.json", "split.npz", "split_overlap.json", "drops.json", "labels.json")
RESULTS = ("predictions.parquet", "table.csv", "confusion.csv", "classes.csv", "page.html")


def log_data(trainer: Any, folder: Path) -> None:
    """Store the split and the report of dropped records as an artifact, named by the split."""
    for tracked in mlflow_runs(trainer):
        tracked.log_files(None, [folder / name for name in ("config.yaml", *DATA)])
    runs = wandb_runs(trainer)
    if not runs:
        return
    split, record, drops = (read_record(folder, name) for name in ("split.json", "run.json", "drops.json"))
    digest = str(split.get("sha256") or record.get("data") or runs[0].experiment.id)
    sizes = {f"data/{name}": size for name, size in (split.get("sizes") or {}).items()}
    facts = {"data": record.get("data"), "split": split.get("sha256"), "method": split.get("method"), **sizes}
    facts["dropped"] = {rule["rule"]: rule["dropped"] for rule in drops.get("rules", []) if rule.get("dropped")}
    for run in runs:
        run.log_facts(record)  # the data are known by now
        run.summarise(sizes)
        run.log_files(f"split-{digest[:16]}", "dataset", {name: folder / name for name in DATA}, facts)


def log_results(trainer: Any, folder: Path, split: str, evaluation: Any) -> None:
    """Send tables, curves, figures and the page of a split, and store predictions as an artifact."""
    for tracked in mlflow_runs(trainer):
        files = [folder / split / name for name in RESULTS]
        tracked.log_files(split, [*files, *sorted((folder / split).glob("*.png")), folder / split / "embeddings.html"])
    for run in wandb_runs(trainer):
        import wandb  # not at all for other trackers

        out = folder / split
        objects: dict[str, Any] = {}
        for name in TABLES:
            objects |= _made(f"{split}/{name}", table_of_file, out / f"{name}.csv")
        objects |= attempt("the curves of the tracker", curves_of, split, evaluation) or {}
        for path in sorted(out.glob("*.png")):
            objects |= _made(f"{split}/{path.stem}", lambda path: wandb.Image(str(path)), path)
        for path in (out / "page.html", out / "embeddings.html"):
            if path.is_file() and path.stat().st_size <= LARGEST_PAGE:
                name = "page" if path.stem == "page" else f"{path.stem} page"
                objects |= _made(f"{split}/{name}", lambda path: wandb.Html(str(path), inject=False), path)
        for name, value in objects.items():
            run.log_objects({name: value})  # one by one: a failed one does not stop the others
        run_id = run.experiment.id
        manifest = read_record(folder, "split.json")
        facts = {"split": manifest.get("sha256"), "model": f"model-{run_id}", "evaluated": split}
        run.log_files(f"predictions-{run_id}", "predictions", {name: out / name for name in RESULTS}, facts)


def log_checkpoint(trainer: Any, folder: Path, result: Mapping[str, Any]) -> None:
    """Store the best checkpoint as an artifact if `log_model` is set, and its origin, steps and score in any case."""
    path, manifest, record = (
        folder / "checkpoints" / "best.ckpt",
        read_record(folder, "split.json"),
        read_record(folder),
    )
    for run in wandb_runs(trainer):
        facts = {
            "split": manifest.get("sha256"), "data": record.get("data"), "steps": result.get("steps"),
            "tokens": result.get("real_tokens"), "trimer": record.get("trimer"),
        }  # fmt: skip
        if path.is_file():
            facts["bytes"] = path.stat().st_size
        # Without an upload the artifact holds the config from which the network is built.
        files = {"config.yaml": folder / "config.yaml"} | ({"best.ckpt": path} if run.upload_checkpoint else {})
        run.log_files(f"model-{run.experiment.id}", "model", files, facts)


def log_summary(trainer: Any, result: Mapping[str, Any], objective: str | None) -> None:
    """Set the objective and the costs of a training in the summary."""
    names = ("steps", "real_tokens", "stopped_early", "memory_mb", "seconds")
    values = {name: result[name] for name in names if result.get(name) is not None}
    metrics = result.get("metrics") or {}
    if objective and objective in metrics:
        values |= {"objective": metrics[objective], "objective_name": objective}
    for run in wandb_runs(trainer):
        run.summarise(values)


def table_of_file(path: Path) -> Any:
    """A table of a CSV file with its numbers as numbers; None if there is no such file."""
    import wandb

    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as stream:
        names, *rows = csv.reader(stream)
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in names]
    numbers = [all(_is_number(text) for text in column) for column in columns]
    data = [
        [(float(text) if text else None) if number else text for text, number in zip(row, numbers, strict=True)]
        for row in rows[:ROWS]
    ]
    return wandb.Table(columns=[*names], data=data)


def curves_of(split: str, evaluation: Any) -> dict[str, Any]:
    """Confusion matrix, precision-recall and calibration curves of predicted labels; empty for other evaluations."""
    import wandb

    kind = getattr(evaluation, "kind", None)
    if not isinstance(kind, Target) or kind.numbers:
        return {}
    probabilities, labels, classes = evaluation.predictions, evaluation.labels, evaluation.classes
    made: dict[str, Any] = {}
    if kind.has_classes and len(classes) <= ROWS**0.5:
        from trimer.metrics.label_metrics import confusion

        counts = np.asarray(confusion(probabilities, labels, evaluation.thresholds))
        cells = [[classes[i], classes[j], int(counts[i, j])] for i, j in np.ndindex(*counts.shape)]
        table = wandb.Table(columns=["Actual", "Predicted", "nPredictions"], data=cells)
        fields = {name: name for name in ("Actual", "Predicted", "nPredictions")}
        title = {"title": f"Confusion matrix, {split} split"}
        made[f"{split}/confusion matrix"] = wandb.plot_table("wandb/confusion_matrix/v1", table, fields, title)
    rows = precision_recall(probabilities, labels, classes)
    if rows:
        table = wandb.Table(columns=["class", "precision", "recall"], data=rows)
        fields = {"x": "recall", "y": "precision", "class": "class"}
        title = {"title": f"Precision against recall, {split} split"}
        made[f"{split}/precision-recall"] = wandb.plot_table("wandb/area-under-curve/v0", table, fields, title)
    table = wandb.Table(columns=["predicted probability", "observed frequency", "labels"],
                        data=calibration(probabilities, labels))  # fmt: skip
    title_text = f"Calibration, {split} split"
    made[f"{split}/calibration"] = wandb.plot.line(table, "predicted probability", "observed frequency", title_text)
    return made


def precision_recall(probabilities: np.ndarray, labels: np.ndarray, classes: list[str]) -> list[list]:
    """[class, precision, recall] at some thresholds for each class or label that occurs.

    probabilities: (n, C) with labels (n,), or both (n, K) with NaN for missing labels.
    """
    from sklearn.metrics import precision_recall_curve

    rows: list[list] = []
    for place, name in list(enumerate(classes))[:CURVES]:
        truth = labels[:, place] if labels.ndim == 2 else (labels == place).astype(float)
        known = np.isfinite(truth)
        if 0 < truth[known].sum() < known.sum():
            precision, recall, _ = precision_recall_curve(truth[known] > 0.5, probabilities[known, place])
            kept = np.unique(np.linspace(0, len(recall) - 1, POINTS).round().astype(int))
            rows += [[name, float(precision[i]), float(recall[i])] for i in kept]
    return rows


def calibration(probabilities: np.ndarray, labels: np.ndarray) -> list[list]:
    """[mean probability, observed frequency, labels] of each bin of equal width that is not empty."""
    from trimer.metrics.temperature import BINS, confidences
    from trimer.reporting.label_figures import filled_bins

    filled = filled_bins(*confidences(probabilities, labels), BINS)
    return [list(row) for row in zip(*(part.tolist() for part in filled), strict=True)]


def sample_table(evaluation: Any, drawn: bool, most: int = 64) -> Any:
    """Rows of predicted labels, evenly over the split: id, sequence or drawing, label, prediction, probability."""
    import wandb

    from trimer.reporting.drawing import molecule_png

    rows = np.unique(np.linspace(0, len(evaluation.ids) - 1, most).round().astype(int))
    names = ["id", "record", *(["drawing"] if drawn else []), "label", "prediction", "probability or error"]
    table = wandb.Table(columns=[*names])
    for row in rows:
        text = evaluation.texts[row]
        cells: list[Any] = [evaluation.ids[row], text]
        if drawn:
            cells.append(image_of(molecule_png(text, 240, 170)))
        table.add_data(*cells, *_prediction(evaluation, row))
    return table


def image_of(png: bytes) -> Any:
    """A PNG as an image of W&B."""
    import io

    import wandb
    from PIL import Image

    return wandb.Image(Image.open(io.BytesIO(png)))


def _prediction(evaluation: Any, row: int) -> tuple[str, str, float]:
    """Label and prediction of a row as texts, and the probability of the prediction or the error of a number."""
    classes, predicted, label = evaluation.classes, evaluation.predictions[row], evaluation.labels[row]
    if evaluation.kind.has_classes:
        best = int(np.argmax(predicted))
        return classes[int(label)], classes[best], float(predicted[best])
    if evaluation.kind.numbers:
        known = np.isfinite(label)
        error = float(np.abs(predicted - label)[known].mean()) if known.any() else float("nan")
        return ", ".join(f"{v:.4g}" for v in label[:4]), ", ".join(f"{v:.4g}" for v in predicted[:4]), error
    true = [name for name, value in zip(classes, label, strict=True) if value > 0.5]
    chosen = [name for name, value in zip(classes, predicted, strict=True) if value > 0.5]
    return ", ".join(true), ", ".join(chosen), float(np.max(predicted))


def _made(name: str, make: Any, path: Path) -> dict[str, Any]:
    """{name: object}, empty if there is no file or it could not be made."""
    value = attempt(f"{name} of the tracker", make, path)
    return {} if value is None else {name: value}


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
