"""Chooses on the validation split whether to average several SMILES of a molecule, and the weight of boosting.

Shapes: n rows of the split, K probabilities or numbers.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from trimer.accelerators.cpu_speed import threads
from trimer.baselines.molecule_baselines import MoleculeBoosting
from trimer.baselines.stored_boosting import restored, stored
from trimer.evaluation.label_outputs import averaged_predictions, raw_outputs
from trimer.models.labelled_model import Labelled
from trimer.prediction.averaging import Averaging, check_augment, mixed
from trimer.targets import target_of

log = logging.getLogger(__name__)

WEIGHTS = np.linspace(0, 1, 21)  # of the boosting


def best_weight(
    target: str, predictions: np.ndarray, boosted: np.ndarray, labels: np.ndarray, deviation: np.ndarray
) -> float:
    """The weight of the boosting with the lowest loss; the lowest such weight."""
    losses = [target_of(target).mean_loss(mixed(predictions, boosted, weight), labels, deviation) for weight in WEIGHTS]
    return float(WEIGHTS[int(np.argmin(losses))])


def choose(
    net: Labelled, data: Any, earlier: Averaging, augment: int | None, boosting: bool | None, seed: int = 0
) -> tuple[Averaging, dict[str, float], np.ndarray]:
    """The best average on the validation split, metrics of the choice, and the (n, K) predictions that it gives.

    The temperature is already fitted.

    augment: random SMILES to try; None for those of `earlier`, which are not tried again. boosting: True fits it to the
    train split, False removes it, None keeps that of `earlier` with a new weight.
    """
    kind = target_of(data.target)
    raw, labels, _ = raw_outputs(net, data, "val")
    truth, deviation = labels.numpy(), net.deviation.double().cpu().numpy()
    canonical = net.predictions(raw.to(net.mean.device)).cpu().numpy()

    def measure(predictions: np.ndarray) -> float:
        return kind.mean_loss(predictions, truth, deviation)

    chosen = Averaging(earlier.random_smiles, earlier.seed)
    if augment is not None:
        check_augment(augment, data.tokenizer)
        chosen = Averaging(augment, seed)
    language = averaged_predictions(net, data, "val", chosen, canonical)
    metrics = {"val/loss_canonical": measure(canonical)}
    if chosen.random_smiles:
        metrics["val/loss_random_smiles"] = measure(language)
        better = metrics["val/loss_random_smiles"] < metrics["val/loss_canonical"]
        log.info(
            "random SMILES: validation loss %.4f for the mean over %s SMILES, %.4f for the canonical one: %s",
            metrics["val/loss_random_smiles"],
            1 + chosen.random_smiles,
            metrics["val/loss_canonical"],
            "averaged" if better or augment is None else "not averaged",
        )
        if not better and augment is not None:
            chosen, language = Averaging(), canonical
    values = fitted_values(data, seed) if boosting else earlier.boosting_values if boosting is None else None
    if values is None:
        return chosen, metrics, language
    fitted = restored(values, data.target, len(data.classes), Path())  # as predictions will read it
    boosted = fitted.predict(data.texts(data.split.rows("val")))
    weight = best_weight(data.target, language, boosted, truth, deviation)
    average = mixed(language, boosted, weight)
    metrics |= {
        "val/loss_boosting": measure(boosted),
        "val/loss_average": measure(average),
        "boosting_weight": weight,
    }
    log.info(
        "boosting: weight %.2f, validation loss %.4f; boosting alone %.4f, language model alone %.4f",
        weight,
        metrics["val/loss_average"],
        metrics["val/loss_boosting"],
        measure(language),
    )
    if weight == 0:
        return chosen, metrics, language
    return Averaging(chosen.random_smiles, chosen.seed, weight, fitted, values), metrics, average


def fitted_values(data: Any, seed: int) -> dict[str, Any]:
    """Gradient boosting fitted to the train split, as plain values."""
    boosting = MoleculeBoosting(data.target, seed, threads())
    boosting.fit(data.texts(data.split.rows("train")), data.training_labels().numpy(), len(data.classes))
    if boosting.note:
        log.warning("boosting: %s", boosting.note)
    return stored(boosting)
