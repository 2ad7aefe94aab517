"""Temperatures of probabilities, decision thresholds and intervals, fitted on the validation split after training.

Shapes: n rows, C classes, K labels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trimer.metrics.conformal import half_widths
from trimer.metrics.decisions import choose_for_classes, choose_for_labels
from trimer.metrics.temperature import fit_temperature, fit_temperatures
from trimer.models.labelled_model import Labelled


def fitted(net: Labelled, raw: Tensor, labels: np.ndarray) -> dict[str, Tensor]:
    """Buffers fitted to raw outputs and labels: `temperature`, `threshold` if one is chosen, `half_width` of numbers.

    raw: (n, C) or (n, K). labels: (n,) classes or (n, K) with NaN; of rows that the weights were not trained on.
    Thresholds are chosen by `net.criterion` for yes-or-no labels and for classes with weights in the loss.
    """
    raw = raw.to(net.prior.device)
    if net.target == "regression":
        thresholds = decisions(net, net.predictions(raw).cpu().numpy(), labels)
        return {"temperature": torch.ones_like(net.temperature), **thresholds}
    centred, offset = net.centred(raw).cpu().numpy(), net.offset.cpu().numpy()
    multi = net.target == "multi"
    heat = fit_temperatures(centred, labels, offset) if multi else fit_temperature(centred, labels, offset)
    buffers = {"temperature": torch.as_tensor(heat, dtype=torch.float32)}
    logits = torch.from_numpy(centred).float() / buffers["temperature"] + torch.from_numpy(offset)
    probabilities = (torch.sigmoid(logits) if multi else torch.softmax(logits, -1)).numpy()
    return buffers | decisions(net, probabilities, labels)


def decisions(net: Labelled, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Tensor]:
    """Buffers of the network fitted to (n, K) predictions: `threshold` if one is chosen, `half_width` of numbers."""
    if net.target == "regression":
        return {"half_width": torch.as_tensor(half_widths(predictions, labels), dtype=torch.float32)}
    multi = net.target == "multi"
    if net.criterion is None or not (multi or weighted(net)):
        return {}
    choose = choose_for_labels if multi else choose_for_classes
    chosen = choose(predictions, labels, net.criterion, net.thresholds)
    return {"threshold": torch.as_tensor(chosen, dtype=torch.float32)}


def weighted(net: Labelled) -> bool:
    """Whether the loss weighted classes differently, or confident predictions less (focal loss)."""
    return bool((net.weight != 1).any() or net.focal > 0)


def chooses_thresholds(net: Labelled) -> bool:
    """Whether the thresholds of the network's classes or labels are chosen on the validation split."""
    return net.criterion is not None and (net.target == "multi" or (net.target == "single" and weighted(net)))


def chosen_for(net: Labelled, predictions: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
    """Thresholds for another method, chosen as those of the network; None if the network has default ones."""
    if net.criterion is None or not chooses_thresholds(net):
        return None
    multi = net.target == "multi"
    plain = np.full(predictions.shape[1], 0.5 if multi else 1 / predictions.shape[1])
    return (choose_for_labels if multi else choose_for_classes)(predictions, labels, net.criterion, plain)


def mean_probabilities(
    target: str, predictions: np.ndarray, labels: np.ndarray, names, thresholds: np.ndarray | None
) -> list[dict]:
    """A row for each class or label: its mean probability, its share of the rows, and its threshold."""
    rows = []
    for k, name in enumerate(names):
        known = ~np.isnan(labels[:, k]) if target == "multi" else np.ones(len(labels), bool)
        true = labels[known, k] == 1 if target == "multi" else labels == k
        predicted = predictions[known, k]
        empty = not len(predicted)
        rows.append(
            {
                "label" if target == "multi" else "class": str(name),
                "mean probability": float("nan") if empty else float(predicted.mean()),
                "share": float("nan") if empty else float(true.mean()),
                "threshold": float("nan") if thresholds is None else float(thresholds[k]),
            }
        )
    return rows
