"""The page of one run: its results, and what its folder records of data, training, code and machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimer.data.core.drops import DropReport
from trimer.data.core.splits import WHOLE
from trimer.reporting.attempts import attempt
from trimer.reporting.curves import PLANNED, read_curves
from trimer.reporting.page import write_page
from trimer.reporting.runs import read_json
from trimer.reporting.schedule_figures import read_plan, read_stopping
from trimer.reporting.table import ResultTable


def write_run_page(
    folder: str | Path,
    split: str,
    table: ResultTable,
    predictions: Sequence[Mapping],
    title: str = "Results",
    note: str = "",
    distributions: Mapping[str, Sequence[float]] | None = None,
    metrics: str | Path | None = None,
    **shown: Any,
) -> Path:
    """Write `<folder>/<split>/page.html` and return its path.

    These files of the run folder are read if they exist: `metrics.csv` (curves, or from `metrics`), `split.json`,
    `split_overlap.json`, `<split>/training_overlap.json`, `drops.json`, `run.json` (command, code, device, versions).
    table, predictions, distributions and `shown`: as for `write_page`.
    """
    folder = Path(folder)
    record = read_json(folder / "run.json")
    drops = read_json(folder / "drops.json")
    metrics = Path(metrics or folder / "metrics.csv")
    curves = read_curves(metrics) if metrics.is_file() else {}
    if (plan := attempt("the planned learning rate", read_plan, folder)) is not None:
        curves[PLANNED] = plan
    manifest = read_json(folder / "split.json")
    trained_on = read_json(folder / split / "training_overlap.json")
    return write_page(
        folder / split / "page.html",
        title=title,
        table=table,
        predictions=predictions,
        curves=curves,
        stopping=attempt("the chart of early stopping", read_stopping, folder, curves),
        distributions=distributions,
        evaluated=split,
        folder=folder,
        split=manifest,
        overlap=[*read_json(folder / "split_overlap.json").get("overlap", []), *_trained_on(split, trained_on)],
        drops=DropReport.from_dict(drops) if drops else None,
        commands=_commands(record),
        about=_about(record),
        note=note,
        **shown,
    )


def _trained_on(split: str, overlap: Mapping) -> list[dict]:
    """Records of a split that the checkpoint was trained on, as rows of the overlap."""
    return [
        {
            "part": split,
            "key": f"{row['key']}, in {row['split']} of {row['stage']}",
            "values": row["records"],
            "shared_values": row["shared"],
        }
        for row in overlap.get("found", [])
    ]


def evaluated_rows(folder: Path, split: str, count: int, records: str) -> str:
    """The evaluated rows in words: their number, the split and its method, and whether none is in the training data.

    folder: of the results. records: what the rows are, such as "spectra".
    """
    manifest = read_json(folder / "split.json")
    counts = read_json(folder / split / "training_overlap.json").get("counts", {})
    method = f" (split by {manifest['method']})" if manifest.get("method") and split != WHOLE else ""
    unseen = ", none of which it was trained on" if counts and counts["new"] == counts["records"] else ""
    where = f"{records}, the whole data set" if split == WHOLE else f"{records} of the {split} split"
    return f"{count:,} {where}{method}{unseen}"


def _commands(record: Mapping) -> list[str]:
    """The command lines of the run, first to last, without the path of the program."""
    lines = [start["argv"] for start in (record, *record.get("resumed", [])) if start.get("argv")]
    return [shlex.join(["trimer", *words[1:]]) for words in lines]


def _about(record: Mapping) -> dict[str, str]:
    """Code, seed, device and packages as texts."""
    git, device = record.get("git") or {}, record.get("device") or {}
    about = {}
    if record.get("trimer"):
        state = " with changes (git.diff)" if git.get("dirty") else ""
        about["Trimer"] = record["trimer"] + (f", git {git['sha'][:12]}{state}" if git.get("sha") else "")
    if (seed := (record.get("seeds") or {}).get("seed")) is not None:
        about["Seed"] = str(seed)
    if device:
        cpu = f"{device.get('cores', '?')} cores of {device.get('cpu', 'an unknown CPU')}"
        about["Device"] = ", ".join([*device.get("gpus", []), cpu])
    if record.get("packages"):
        about["Packages"] = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    if record.get("started"):
        about["Started"] = record["started"]
    return about
