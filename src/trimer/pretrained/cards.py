"""The facts of a packed model and its card: what it does, data, recipe, cost, results and limits.

What only a person can write (purpose, limits, licences) is in `about.yaml` beside this module; everything else is read
from the run folder.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimer.counts import counted
from trimer.reporting.differences import to_markdown
from trimer.reporting.table import ERROR, HIGH, LOW, ResultTable, column
from trimer.reporting.verdicts import CERTAIN
from trimer.run import RunFolder, read_json
from trimer.studies.study import Study

ABOUT = Path(__file__).with_name("about.yaml")
NO_SOURCE = ("exclude", "tokenizer", "cleaning", "clusters", "cache")  # keys of data that name no training data
COLUMNS = 5  # metrics of the table in the card
KEYS = (
    "The keys of these records, such as the hash of a sequence or of InChIKey block 1, are in `training.safetensors`. "
    "`trimer predict` marks records of the training data (column `in_training`); `trimer evaluate` counts them."
)
OWN_LICENCE = "Apache-2.0, as Trimer"


def about(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `about.yaml` holds for a model (empty if nothing), and its entries for data files."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(ABOUT))
    return dict(content["models"].get(name) or {}), dict(content["data"])


def facts_of(name: str, loaded: Any, results: Path) -> dict[str, Any]:
    """The facts of a model, plain values. results: the folder with the table of its test split, if it has one."""
    written, data = about(name)
    runs = runs_of(loaded.run)
    table = read_json(results / "table.json") if (results / "table.json").is_file() else None
    facts = {
        "name": name,
        "command": use_of(loaded),
        "does": written.get("does") or loaded.study.description,
        "date": date_of(runs),
        "licence": written.get("licence") or OWN_LICENCE,
        "parameters": sum(parameter.numel() for parameter in loaded.net.parameters()),
        "data": data_of(runs, data),
        "records": [{"name": s["name"], **s.get("rows", {})} for s in loaded.training_keys or ()],
        "commands": commands_of(runs),
        "cost": cost_of(runs),
        "limits": list(written.get("limits") or ()),
    }
    return facts | {"metric": main_metric(table, written.get("metric"))}


def use_of(loaded: Any) -> str:
    """The command that uses a model first: predict, embed, or train if it does neither before fine-tuning."""
    if loaded.study.can_predict(loaded.contract):
        return "predict"
    return "train" if type(loaded.study).encoder is Study.encoder else "embed"


def runs_of(run: Path) -> list[Path]:
    """The run folders of all stages of a training, the earliest first; those that still exist.

    `ckpt` of an average (`experiments/spectrums/average_runs.py`) is a list of its runs.
    """
    if not (run / "config.yaml").is_file():
        return []
    earlier = RunFolder(run).config.get("ckpt") or []
    paths = [Path(path).expanduser() for path in ([earlier] if isinstance(earlier, str) else earlier)]
    folders = [path.parent.parent if path.suffix == ".ckpt" else path for path in paths]
    stages = [stage for folder in folders if folder != run for stage in runs_of(folder)]
    return list(dict.fromkeys([*stages, run]))


def commands_of(runs: Sequence[Path]) -> list[str]:
    """The command of each stage; `<run of ...>` is the run folder of an earlier stage."""
    from omegaconf import OmegaConf

    lines = []
    for run in runs:
        config = RunFolder(run).config
        if isinstance(config.get("ckpt"), list):
            lines.append(f"python experiments/spectrums/average_runs.py <the {len(config['ckpt'])} runs before>")
            continue
        data = str((config.get("paths") or {}).get("data", ""))
        words = [str(word) for word in OmegaConf.load(run / "overrides.yaml")]
        shown = []
        for word in words:
            key, _, value = word.partition("=")
            if key.startswith(("hydra.", "paths.")):
                continue
            path = Path(value).expanduser()
            run = path.parent.parent if path.suffix == ".ckpt" else path
            if key == "ckpt" and (run / "config.yaml").is_file():
                file = f"/checkpoints/{path.name}" if path.suffix == ".ckpt" else ""
                value = f"<run of {RunFolder(run).config.get('name')}>{file}"
            elif data and value.startswith(f"{data}/"):
                value = "$TRIMER_DATA" + value.removeprefix(data)
            elif value.startswith(("/", "~")):
                value = f"<{Path(value).name}>"
            shown.append(f"{key}={value}")
        lines.append(" ".join(["trimer train", *shown]))
    return lines


def cost_of(runs: Sequence[Path]) -> str:
    """Time, steps and device of the trainings of all stages, one sentence; empty if they are unknown."""
    known = [steps_and_seconds(run) for run in runs]
    steps, seconds = (sum(numbers) for numbers in zip(*known, strict=True)) if known else (0, 0)
    if not seconds:
        return ""
    device = RunFolder(runs[-1]).record.get("device") or {}
    threads = device.get("threads") or device.get("cores")
    names = device.get("gpus") or [f"{threads} {'thread' if threads == 1 else 'threads'} of {device.get('cpu')}"]
    hours = f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.0f} minutes"
    return f"{counted(steps, 'steps')} in {hours} on {', '.join(dict.fromkeys(names))}"


def steps_and_seconds(run: Path) -> tuple[int, float]:
    """Steps and seconds of a training; of one that was stopped, those that its metrics.csv shows.

    The time of a stopped training is the sum of tokens / (tokens per second) over its logged intervals.
    """
    result = RunFolder(run).result
    if result.get("seconds"):
        return int(result.get("steps") or 0), float(result["seconds"])
    if not (run / "metrics.csv").is_file():
        return 0, 0.0
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    steps, seconds, before = 0, 0.0, 0.0
    for row in rows:
        steps = max(steps, int(row.get("step") or -1) + 1)
        tokens, speed = (float(row.get(name) or 0) for name in ("real_tokens", "tokens_per_second"))
        if speed > 0:
            seconds, before = seconds + max(tokens - before, 0) / speed, tokens
    return steps, seconds


def date_of(runs: Sequence[Path]) -> str:
    """The day on which the last stage ended or started, such as 2026-02-03."""
    for run in reversed(runs):
        if stamp := RunFolder(run).result.get("ended") or RunFolder(run).record.get("started"):
            return str(stamp)[:10]
    return ""


def data_of(runs: Sequence[Path], licences: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """The data files of all stages with source, licence and SHA-256. licences: path below the data folder -> texts."""
    files: dict[str, Path] = {}
    simulated: dict[str, str] = {}
    for run in runs:
        config = RunFolder(run).config
        folder = str((config.get("paths") or {}).get("data", ""))
        for text in texts_of(config.get("data") or {}):
            if text.startswith("trimer.simulate."):
                simulated[text.rpartition(".")[2]] = text
            for path in map(Path, sorted(glob.glob(text)) if text.startswith(f"{folder}/") else []):
                files[str(path.relative_to(folder))] = path
    entries = [
        {
            "file": name,
            "from": str(licences.get(name, {}).get("from", "unknown")),
            "licence": str(licences.get(name, {}).get("licence", "unknown")),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for name, path in files.items()
    ]
    entries += [{"file": name, "from": "simulated by Trimer", "licence": "none", "sha256": ""} for name in simulated]
    return entries


def texts_of(value: Any) -> Iterator[str]:
    """All texts of nested settings of data, without those that name no training data."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in NO_SOURCE:
                yield from texts_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_of(part)
    elif isinstance(value, str):
        yield value


def main_metric(table: Mapping[str, Any] | None, name: str | None) -> dict[str, Any] | None:
    """The main metric of the model in its table: name, label, value as shown. name: null for the first column."""
    if table is None:
        return None
    results = ResultTable.from_dict(table)
    rows = [row for row in results.rows if row["kind"] == "method"]
    name = name or next(iter(results.columns), None)
    if not rows or name is None or name not in rows[-1]["values"]:
        return None
    value = rows[-1]["values"][name]
    return {"name": name, "label": column(name).label, "shown": column(name).show(value)}


def table_with_intervals(table: ResultTable) -> list[str]:
    """The lines of a Markdown table of values with their 95 % intervals."""
    names = table.columns[:COLUMNS]
    lines = ["| Method | " + " | ".join(column(name).markdown.removesuffix(" (p)") for name in names) + " |"]
    lines.append("| :-- |" + " --: |" * len(names))
    for row in table.ordered():
        cells = [interval(name, row["values"]) for name in names]
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return lines


def note_on_intervals(table: ResultTable) -> str:
    """Where the intervals of the table are from; empty without any."""
    kinds = {ends(name, row["values"])[2] for name in table.columns[:COLUMNS] for row in table.rows}
    meanings = {
        "resamples": "In brackets: the 95 % interval over resampled records.",
        "normal": f"In brackets: the 95 % interval, the value ± {CERTAIN} standard errors over resampled records.",
    }
    return " ".join(text for kind, text in meanings.items() if kind in kinds)


def interval(name: str, values: Mapping[str, float]) -> str:
    """`0.211 [0.198, 0.225]`, or the value alone if it has neither an interval nor a standard error."""
    low, high, kind = ends(name, values)
    shown = column(name)
    return shown.show(values.get(name)) + (f" [{shown.show(low)}, {shown.show(high)}]" if kind else "")


def ends(name: str, values: Mapping[str, float]) -> tuple[float, float, str]:
    """The 95 % interval of a metric: `resamples` as stored, or `normal` by the standard error; "" without one."""
    low, high = (values.get(name + end, math.nan) for end in (LOW, HIGH))
    if math.isfinite(low) and math.isfinite(high):
        return low, high, "" if low == high else "resamples"  # equal in all resamples, as the share of a class
    value, error = values.get(name, math.nan), values.get(name + ERROR, math.nan)
    if math.isfinite(value) and error > 0:
        return value - CERTAIN * error, value + CERTAIN * error, "normal"
    return math.nan, math.nan, ""


def markdown(facts: Mapping[str, Any], table: Mapping[str, Any] | None, files: Mapping[str, int]) -> str:
    """The card as Markdown. files: name -> size in bytes of the files of the packed model."""
    lines = [f"# {facts['name']}", "", f"{first_upper(facts['does'])}.", ""]
    size = sum(files.values())
    rows = {
        "Date": facts["date"],
        "Size": f"{facts['parameters']:,} parameters, {size / 1e6:.1f} MB",
        "Licence of the weights": facts["licence"],
        "Weights": facts.get("precision", ""),
        "Cost": facts["cost"],
    }
    lines += ["| | |", "| :-- | :-- |", *(f"| {key} | {text} |" for key, text in rows.items() if text), ""]
    if facts["limits"]:
        lines += ["## Limits", "", *(f"- {text}" for text in facts["limits"]), ""]
    if table is not None:
        results = ResultTable.from_dict(table)
        lines += ["## Test split", "", *table_with_intervals(results), "", note_on_intervals(results), ""]
        if differences := to_markdown(results):
            lines += [differences]
    if facts["data"]:
        lines += ["## Data", "", "Files of the train, validation and test splits of all stages.", ""]
        lines += ["| file | from | licence | SHA-256 |", "| :-- | :-- | :-- | :-- |"]
        lines += [f"| {d['file']} | {d['from']} | {d['licence']} | {d['sha256'][:16]} |" for d in facts["data"]] + [""]
        lines += [f"The whole SHA-256 values are in `model.json`. Records: {records_in_words(facts['records'])}.", ""]
        lines += [KEYS, ""] if facts["records"] else []
    if facts["commands"]:
        lines += ["## Recipe", "", "```text", *facts["commands"], "```", ""]
    return "\n".join(lines)


def records_in_words(stages: Sequence[Mapping[str, Any]]) -> str:
    """`5,369 train and 672 validation (foodb/superclass)`, for each stage."""
    known = [
        f"{stage['train']:,} train and {stage.get('val', 0):,} validation ({stage['name']})"
        for stage in stages
        if stage.get("train") is not None
    ]
    return "; ".join(known) or "unknown"


def first_upper(text: str) -> str:
    """The text with an upper-case first letter."""
    return text[:1].upper() + text[1:]


def write_results(folder: Path, run: Path, results: Path) -> Mapping[str, Any] | None:
    """Write `result.json`, `split.json` and `table.json` of a run into a packed folder; returns the table."""
    from trimer.files import write_text

    metrics = {
        name: value for name, value in (RunFolder(run).result.get("metrics") or {}).items() if name.startswith("test/")
    }
    write_text(folder / "result.json", json.dumps({"metrics": metrics}, indent=1) + "\n")
    table = None
    for source, name in ((run / "split.json", "split.json"), (results / "table.json", "table.json")):
        if source.is_file():
            content = read_json(source)
            write_text(folder / name, json.dumps(content, indent=1) + "\n")
            table = content if name == "table.json" else table
        else:
            (folder / name).unlink(missing_ok=True)  # of a model that was packed here before
    return table
