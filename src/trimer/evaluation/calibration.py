"""What is fitted on the validation part after training: temperatures of the probabilities, thresholds of the answers.

Shapes: n rows, C classes, K labels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trimer.metrics.decisions import choose_for_classes, choose_for_labels
from trimer.metrics.temperature import fit_temperature, fit_temperatures
from trimer.models.labelled_model import Labelled


def fitted(net: Labelled, raw: Tensor, labels: np.ndarray) -> dict[str, Tensor]:
    """Buffer of the network -> its value from these raw answers and labels: `temperature`, and `threshold` if chosen.

    raw: (n, C) or (n, K). labels: (n,) classes or (n, K) with NaN; of rows that the weights were not fitted to.
    Thresholds are chosen by `net.criterion` for yes-or-no labels and for classes that the loss has weighted.
    """
    if net.target == "regression":
        return {"temperature": torch.ones_like(net.temperature)}
    raw = raw.to(net.prior.device)
    centred, offset = net.centred(raw).cpu().numpy(), net.offset.cpu().numpy()
    multi = net.target == "multi"
    heat = fit_temperatures(centred, labels, offset) if multi else fit_temperature(centred, labels, offset)
    found = {"temperature": torch.as_tensor(heat, dtype=torch.float32)}
    if net.criterion is None or not (multi or weighted(net)):
        return found
    logits = torch.from_numpy(centred).float() / found["temperature"] + torch.from_numpy(offset)
    answers = (torch.sigmoid(logits) if multi else torch.softmax(logits, -1)).numpy()
    choose = choose_for_labels if multi else choose_for_classes
    chosen = choose(answers, labels, net.criterion, net.thresholds)
    return found | {"threshold": torch.as_tensor(chosen, dtype=torch.float32)}


def weighted(net: Labelled) -> bool:
    """Whether the loss gave some classes more weight than others, or sure answers less."""
    return bool((net.weight != 1).any() or net.focal > 0)


def chosen_for(net: Labelled, answers: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Thresholds for another method, chosen as those of the network were; None where that has plain ones."""
    multi = net.target == "multi"
    if net.criterion is None or not (multi or (net.target == "single" and weighted(net))):
        return None
    plain = np.full(answers.shape[1], 0.5 if multi else 1 / answers.shape[1])
    return (choose_for_labels if multi else choose_for_classes)(answers, labels, net.criterion, plain)


def mean_probabilities(
    target: str, answers: np.ndarray, labels: np.ndarray, names, thresholds: np.ndarray | None
) -> list[dict]:
    """A row for each class or label: the mean of its probabilities beside its share, and its threshold."""
    rows = []
    for k, name in enumerate(names):
        known = ~np.isnan(labels[:, k]) if target == "multi" else np.ones(len(labels), bool)
        true = labels[known, k] == 1 if target == "multi" else labels == k
        said = answers[known, k]
        empty = not len(said)
        rows.append(
            {
                "label" if target == "multi" else "class": str(name),
                "mean probability": float("nan") if empty else float(said.mean()),
                "share": float("nan") if empty else float(true.mean()),
                "threshold": float("nan") if thresholds is None else float(thresholds[k]),
            }
        )
    return rows
