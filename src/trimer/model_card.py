"""Model cards: what a trained model does, its training data, and its metrics on the test split."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.counts import counted
from trimer.reporting.table import ERROR, HIGH, LOW

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

SHOWN = 8  # classes and metrics that are listed


@dataclass
class ModelCard:
    """Facts about a trained model, from its checkpoint and, if the checkpoint is in one, its run folder.

    name: of the run, with the seed. does: the description of the study, one sentence. classes: names of labels or
    channels, in order. stages: training stages, each with its name, the number of records in each split, and in how
    many parts it was trained. metrics: of the test split.
    """

    name: str
    does: str
    model: str
    parameters: int
    classes: list[str]
    stages: list[dict[str, Any]]
    path: Path
    metrics: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, str]:
        """The rows of the card, name -> text, in order."""
        listed = ", ".join(self.classes[:SHOWN]) + (", ..." if len(self.classes) > SHOWN else "")
        stages = [
            f"{amount} (run {stage['name']})" if (amount := records_in_words(stage)) else stage["name"]
            for stage in self.stages
        ]
        facts = {
            "Does": self.does,
            "Model": f"{self.model}, {self.parameters:,} parameters",
            "Labels": f"{len(self.classes)}: {listed}" if len(self.classes) > 1 else listed,
            "Trained on": "; then ".join(stages) or "unknown",
            "Test split": ", ".join(f"{name} {value:.3g}" for name, value in list(self.metrics.items())[:SHOWN]),
            "File": str(self.path),
        }
        return {name: text for name, text in facts.items() if text}

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"  {name}: {text}" for name, text in self.facts().items())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in self.facts().items()
        )
        return f"<table><caption>{html.escape(self.name)}</caption>{rows}</table>"


def model_card(loaded: Loaded) -> ModelCard:
    """The model card of a checkpoint or of public weights."""
    from trimer.run import model_name

    run = loaded.run
    labels = loaded.contract.get("labels") or {}
    return ModelCard(
        name=model_name(run, loaded.path),
        does=loaded.study.description,
        model=shape_in_words(loaded.net),
        parameters=sum(parameter.numel() for parameter in loaded.net.parameters()),
        classes=list(labels.get("classes") or ()),
        stages=stages_of(loaded.training_keys or ()),
        path=loaded.path,
        metrics=metrics_of_test_split(run),
    )


def stages_of(keys: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The stages of a training: runs of the same name that follow each other are parts of one, with the largest counts.

    keys: of each run (`Loaded.training_keys`), the earliest first.
    """
    stages: list[dict[str, Any]] = []
    for name, group in groupby(keys, key=itemgetter("name")):
        parts = [part.get("rows", {}) for part in group]
        rows = {split: max(part.get(split, 0) for part in parts) for part in parts for split in part}
        stages.append({"name": name, "rows": rows, "parts": len(parts)})
    return stages


def records_in_words(stage: Mapping[str, Any]) -> str:
    """`2,000 records`, or `5 parts of up to 2,000 records`; empty if the number is unknown."""
    if not (count := stage["rows"].get("train")):
        return ""
    records = counted(count, "records")
    return records if stage["parts"] == 1 else f"{stage['parts']} parts of up to {records}"


def shape_in_words(net: Any) -> str:
    """`encoder with 3 layers of width 64`; the class of a network that is built in another way."""
    encoder = getattr(net, "encoder", net)
    if hasattr(net, "decode"):
        return f"encoder and decoder of width {net.d_model}"
    if hasattr(encoder, "layers") and hasattr(encoder, "d_model"):
        return f"encoder with {len(encoder.layers)} layers of width {encoder.d_model}"
    return type(net).__name__


def metrics_of_test_split(run: Path) -> dict[str, float]:
    """The metrics of the test split in the `result.json` of a run; empty if there is none or it is damaged."""
    path = run / "result.json"
    if not path.is_file():
        return {}
    try:
        metrics = dict(json.loads(path.read_text(encoding="utf-8"))["metrics"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s cannot be read, so the card has no metrics: %s", path, error)
        return {}
    return {
        name.removeprefix("test/"): value
        for name, value in metrics.items()
        if name.startswith("test/") and not name.endswith((ERROR, LOW, HIGH)) and isinstance(value, int | float)
    }
