"""Model cards: what a trained model does, its training data, and its metrics on the test split."""

from __future__ import annotations

import html
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.reporting.table import ERROR, HIGH, LOW

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

SHOWN = 8  # classes and metrics that are listed


@dataclass
class ModelCard:
    """Facts about a trained model, from its checkpoint and, if the checkpoint is in one, its run folder.

    name: of the run, with the seed. does: the description of the study, one sentence. classes: names of labels or
    channels, in order. stages: training stages, each with its name and the number of records in each split. metrics:
    of the test split.
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
            f"{stage['rows']['train']:,} records (run {stage['name']})" if stage["rows"].get("train") else stage["name"]
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
    stages = [{"name": stage["name"], "rows": stage.get("rows", {})} for stage in loaded.training_keys or ()]
    return ModelCard(
        name=model_name(run, loaded.path),
        does=loaded.study.description,
        model=shape_in_words(loaded.net),
        parameters=sum(parameter.numel() for parameter in loaded.net.parameters()),
        classes=list(labels.get("classes") or ()),
        stages=stages,
        path=loaded.path,
        metrics=metrics_of_test_split(run),
    )


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
