"""A fitted gradient boosting of molecules as plain values of a checkpoint: LightGBM's text format, no pickle.

target, outputs   kind of label, number of classes or labels
features          names as in `trimer.data.labelled.molecule_features`
models            for each label (one for classes): `text` and `classes`, or None for a label without train labels
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimer.baselines.boosted_trees import BoostedTrees
from trimer.baselines.molecule_baselines import MoleculeBoosting
from trimer.data.labelled import molecule_features
from trimer.errors import CheckpointError, ConfigError

NAME = "gradient boosting (LightGBM)"  # in result tables
MOST_LABELS = 5_000


def stored(boosting: MoleculeBoosting) -> dict[str, Any]:
    """The plain values of a fitted boosting."""
    models: list[dict[str, Any] | None] = []
    for model in boosting.models:
        estimator = getattr(model, "estimator", None)
        if model is None:
            models.append(None)
            continue
        classes = [] if boosting.kind.numbers else [int(number) for number in model.classes_]
        text = "" if estimator is None else estimator.booster_.model_to_string()
        models.append({"text": text, "classes": classes})
    outputs = boosting.classes if boosting.kind.has_classes else len(models)
    return {"target": boosting.kind.name, "outputs": outputs, "features": list(boosting.names), "models": models}


def restored(values: Mapping[str, Any], target: str, outputs: int, path: Path) -> MoleculeBoosting:
    """The boosting of stored values, without LightGBM; CheckpointError if they do not fit the labels.

    target, outputs: of the language model in the same checkpoint. path: of the checkpoint, for messages.
    """
    try:
        models, names = values["models"], values["features"]
        boosting = MoleculeBoosting(target)
        count = 1 if boosting.kind.has_classes else outputs  # of models
        fits = values["target"] == target and values["outputs"] == outputs <= MOST_LABELS
        if not fits or boosting.kind.by_residue or len(models) != count or len(names) > MOST_LABELS:
            raise CheckpointError("they have other labels than the checkpoint")
        boosting.names = molecule_features.listed(names)
        columns = molecule_features.width(boosting.names)
        trees = [model and BoostedTrees(model["text"], columns, model["classes"]) for model in models]
        if any(not all(0 <= number < max(outputs, 2) for number in tree.classes_) for tree in trees if tree):
            raise CheckpointError("they have other classes than the checkpoint")
    except (KeyError, TypeError, AttributeError, CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path}: its boosted trees cannot be used: {error}") from error
    boosting.models = trees
    boosting.classes = outputs
    return boosting
