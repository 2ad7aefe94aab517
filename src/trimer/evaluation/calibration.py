"""Temperatures of probabilities, decision thresholds and intervals, fitted on the validation split after training.

Shapes: n rows, C classes, K labels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trimer.metrics.conformal import half_widths
from trimer.metrics.temperature import fit_temperature, fit_temperatures
from trimer.models.labelled_model import Labelled
from trimer.targets import target_of


def fitted(net: Labelled, raw: Tensor, labels: np.ndarray) -> dict[str, Tensor]:
    """Buffers fitted to raw outputs and labels: `temperature`, `threshold` if one is chosen, `half_width` of numbers.

    raw: (n, C) or (n, K). labels: (n,) classes or (n, K) with NaN; of rows that the weights were not trained on.
    Thresholds are chosen by `net.criterion` for yes-or-no labels and for classes with weights in the loss.
    """
    kind, raw = net.kind, raw.to(net.prior.device)
    if kind.numbers:
        thresholds = decisions(net, net.predictions(raw).cpu().numpy(), labels)
        return {"temperature": torch.ones_like(net.temperature), **thresholds}
    centred, offset = net.centred(raw).cpu().numpy(), net.offset.cpu().numpy()
    fit = fit_temperatures if kind.yes_or_no else fit_temperature
    temperature = torch.as_tensor(fit(centred, labels, offset), dtype=torch.float32)
    probabilities = kind.probabilities(torch.from_numpy(centred).float() / temperature + torch.from_numpy(offset))
    return {"temperature": temperature, **decisions(net, probabilities.numpy(), labels)}


def decisions(net: Labelled, predictions: np.ndarray, labels: np.ndarray) -> dict[str, Tensor]:
    """Buffers of the network fitted to (n, K) predictions: `threshold` if one is chosen, `half_width` of numbers."""
    if net.kind.numbers:
        return {"half_width": torch.as_tensor(half_widths(predictions, labels), dtype=torch.float32)}
    chosen = chosen_thresholds(net, predictions, labels, net.thresholds)
    return {} if chosen is None else {"threshold": torch.as_tensor(chosen, dtype=torch.float32)}


def weighted(net: Labelled) -> bool:
    """Whether the loss weighted classes differently, or confident predictions less (focal loss)."""
    return bool((net.weight != 1).any() or net.focal > 0)


def chooses_thresholds(net: Labelled) -> bool:
    """Whether the thresholds of the network's classes or labels are chosen on the validation split."""
    return net.criterion is not None and (net.kind.yes_or_no or (net.kind.has_classes and weighted(net)))


def chosen_thresholds(
    net: Labelled, predictions: np.ndarray, labels: np.ndarray, default: np.ndarray | None = None
) -> np.ndarray | None:
    """Thresholds chosen as those of the network; None if it has those of its loss. default: for few labels."""
    if net.criterion is None or not chooses_thresholds(net):
        return None
    default = net.kind.thresholds(np.ones(predictions.shape[1])) if default is None else default
    return net.kind.choose_thresholds(predictions, labels, net.criterion, default)


def mean_probabilities(
    target: str, predictions: np.ndarray, labels: np.ndarray, names, thresholds: np.ndarray | None
) -> list[dict]:
    """A row for each class or label: its mean probability, its share of the rows, and its threshold."""
    rows = []
    for k, name in enumerate(names):
        truth = labels[:, k] if labels.ndim == 2 else (labels == k).astype(float)
        known = ~np.isnan(truth)
        predicted = predictions[known, k]
        empty = not len(predicted)
        rows.append(
            {
                target_of(target).heading: str(name),
                "mean probability": float("nan") if empty else float(predicted.mean()),
                "share": float("nan") if empty else float((truth[known] == 1).mean()),
                "threshold": float("nan") if thresholds is None else float(thresholds[k]),
            }
        )
    return rows
