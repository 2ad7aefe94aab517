"""The files and other pages of a run, as links of its result page that work while the page is in its folder."""

from __future__ import annotations

from pathlib import Path

# Name in the folder of a split -> what it holds; a `*` stands for any text.
OF_SPLIT = {
    "embeddings.html": "embeddings before and after fine-tuning, interactive",
    "embeddings_*.html": "the same by another label",
    "table.csv": "the result table, all metrics",
    "table.md": "the result table as Markdown",
    "by_*.csv": "the metrics of each group of records",
    "predictions.parquet": "the prediction for each record",
    "classes.csv": "the metrics of each class",
    "confusion.csv": "confusion matrix",
    "probabilities.csv": "mean probability and threshold of each class",
    "residues.csv": "loss and accuracy of each residue",
    "undefined.json": "metrics without a value, and why",
    "training_overlap.json": "records that the checkpoint was trained on",
    "*.png": "figure",
}
OF_RUN = {
    "config.yaml": "the resolved config",
    "overrides.yaml": "the overrides of the command line",
    "metrics.csv": "metrics by step",
    "protocol.csv": "metrics by epoch",
    "split.json": "how the data were split",
    "split_overlap.json": "overlap between the splits",
    "drops.json": "dropped records by cleaning rule",
    "labels.json": "labels and their counts",
    "run.json": "code version, packages, device, seeds",
    "git.diff": "local changes of the code",
    "checkpoints/best.ckpt": "weights of the best validation",
    "checkpoints/last.ckpt": "last weights",
}


def run_files(folder: Path, split: str) -> list[dict[str, str]]:
    """Files of a run that exist: name, relative link, content and size."""
    rows = []
    for where, prefix, files in ((folder / split, "", OF_SPLIT), (folder, "../", OF_RUN)):
        for pattern, content in files.items():
            for path in sorted(where.glob(pattern)):
                name = path.relative_to(where).as_posix()
                rows.append({"name": prefix + name, "content": content, "size": _size(path.stat().st_size)})
    return rows


def run_pages(folder: Path, split: str) -> list[dict[str, str]]:
    """The other pages of a run: embeddings, and the result pages of its other splits."""
    pages = []
    if (folder / split / "embeddings.html").is_file():
        pages.append({"href": "embeddings.html", "label": "Embeddings"})
    for path in sorted(folder.glob("*/page.html")):
        if path.parent.name != split:
            pages.append({"href": f"../{path.parent.name}/page.html", "label": f"Results on {path.parent.name}"})
    return pages


def _size(count: int) -> str:
    """A number of bytes for people."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
