"""Outputs of a model of labels for a split: raw, and averaged as `trimer.prediction.averaging` describes.

Shapes: n rows of the split, C classes or K labels, R residues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from trimer.models.labelled_model import Labelled
from trimer.prediction.averaging import Averaging
from trimer.progress import tracked
from trimer.targets import target_of


@torch.no_grad()
def raw_outputs(
    net: Labelled, data: Any, split: str, rewrite: Callable | None = None
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Raw outputs and labels of a split in the order of its rows, and the (n,) or (R,) row that each belongs to.

    rewrite: gives other tokens of a molecule (`trimer.prediction.averaging.RandomVariant`).
    """
    device = next(net.parameters()).device
    raw, labels, owners = [], [], []
    rows = len(data.split.rows(split))
    batches = data.evaluation_batches(split) if rewrite is None else data.evaluation_batches(split, rewrite)
    for batch in tracked(batches, "evaluate", rows, "rows", lambda batch: len(batch.rows)):
        here = batch.to(device)
        raw.append(net(here.sequence).float().cpu())
        labels.append(batch.labels)
        owners.append(np.repeat(batch.rows.numpy(), target_of(data.target).outputs_of(batch.sequence.sizes)))
    return torch.cat(raw), torch.cat(labels), np.concatenate(owners)


def averaged_predictions(
    net: Labelled, data: Any, split: str, averaging: Averaging, canonical: np.ndarray
) -> np.ndarray:
    """(n, K) predictions of the language model: mean over canonical and random SMILES. canonical: of the former."""
    total = canonical.astype(np.float64)
    for rewrite in averaging.variants(data.tokenizer, data.max_length):
        raw = raw_outputs(net, data, split, rewrite)[0]
        total += net.predictions(raw.to(net.mean.device)).cpu().numpy()
    return (total / (1 + averaging.random_smiles)).astype(np.float32)
