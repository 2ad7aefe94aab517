"""Evaluate a model of fragment intensities on a split, and compare it with the mean spectrum and the earlier model.

Shapes: n spectra, S cleavage sites of all of them, K channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from trimer.evaluation.baseline_choice import chosen_baselines
from trimer.evaluation.compared_methods import add_methods
from trimer.evaluation.evaluation import Evaluation
from trimer.metrics.fragment_metrics import measured_spectra, per_spectrum
from trimer.metrics.intervals import Measured
from trimer.models.fragment_model import Fragments
from trimer.progress import tracked
from trimer.reporting.table import ResultTable

METRICS = ("pcc_median", "cos_median", "sa_median", "spc_median", "l1_mean", "cos_mean")
MEAN_SPECTRUM = "trivial baseline: mean spectrum"
LONGEST = 40  # residues of a fragment in the mean spectrum; longer fragments count as this long


@dataclass
class FragmentEvaluation(Evaluation):
    """The table of methods by metrics, and the predictions of the model for each spectrum.

    values: metric -> (n,). predictions, labels: (S, K), labels below 0 for impossible fragments. sizes: (n,) sites.
    """

    table: ResultTable
    metrics: dict[str, float]
    values: dict[str, np.ndarray]
    channels: list[str]
    ids: list[str]
    texts: list[str]
    predictions: np.ndarray
    labels: np.ndarray
    sizes: list[int]

    def save(self, out: Path) -> None:
        """Write `table.*`, and `predictions.parquet`: for each spectrum its metrics and both sets of intensities."""
        self.table.save(out)
        bounds = np.cumsum([0, *self.sizes])[:-1]
        columns = {
            "id": self.ids,
            "text": self.texts,
            **{name: of_metric.tolist() for name, of_metric in self.values.items()},
        }
        for name, values in (("predicted", self.predictions), ("measured", self.labels)):
            columns[name] = [part.ravel().tolist() for part in np.split(values, bounds[1:])]
        table = pa.table(columns).replace_schema_metadata({"channels": ",".join(self.channels)})
        pq.write_table(table, out / "predictions.parquet")


def evaluate_fragments(
    net: Fragments,
    data,
    split: str = "test",
    *,
    name: str = "model",
    baselines: bool | Sequence[str] = True,
    before: Fragments | None = None,
    bootstrap: int = 200,
    seed: int = 0,
) -> FragmentEvaluation:
    """Predict every spectrum of a split and compute metrics. before: the model before fine-tuning.

    baselines: as in `chosen_baselines`.
    """
    rows = data.split.rows(split)
    predictions, labels, sizes = predicted_and_measured(net, data, split)
    table = ResultTable(metrics=METRICS)

    measured: dict[str, Measured] = {}

    def add(method: str, predicted: np.ndarray) -> dict[str, np.ndarray]:
        values = per_spectrum(predicted, labels, sizes)
        measured[method] = measured_spectra(values, bootstrap, seed)
        return values

    if chosen_baselines(baselines, [MEAN_SPECTRUM]):
        add(MEAN_SPECTRUM, mean_spectrum(data, split))
    if baselines and before is not None:
        add("before fine-tuning", predicted_and_measured(before, data, split)[0])
    values = add(name, predictions)
    add_methods(table, name, measured)
    metrics = measured[name].without_ends()
    return FragmentEvaluation(
        table, metrics, values, list(data.classes), data.ids(rows), data.texts(rows), predictions, labels, sizes
    )


@torch.no_grad()
def predicted_and_measured(net: Fragments, data, split: str) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """(S, K) predicted and measured intensities of a split, in the order of its rows, and their cleavage sites."""
    device = next(net.parameters()).device
    predicted, labels, sizes = [], [], []
    spectra = len(data.split.rows(split))
    for batch in tracked(data.evaluation_batches(split), "evaluate", spectra, "spectra", lambda batch: len(batch.rows)):
        here = batch.to(device)
        predicted.append(net.predictions(net(here.sequence), here.sequence, here.labels >= 0).cpu().numpy())
        labels.append(batch.labels.numpy())
        sizes += [size - 3 for size in batch.sequence.sizes]
    return np.concatenate(predicted), np.concatenate(labels), sizes


def mean_spectrum(data, split: str) -> np.ndarray:
    """(S, K) the mean training intensity of fragments of the same channel, length and precursor charge."""
    labels, groups = _by_length(data, "train")
    intensities, wanted = _by_length(data, split)
    top = max(groups.max(), wanted.max()) + 1
    known = labels >= 0
    sums = np.bincount(groups[known], weights=labels[known], minlength=top)
    counts = np.bincount(groups[known], minlength=top)
    means = sums / np.maximum(counts, 1)
    return np.where(intensities >= 0, means[wanted], 0.0)


def _by_length(data, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(S, K) intensities, and the index of the group (channel, length, charge) that each belongs to."""
    labels, groups = [], []
    charges = data.store.array("charge")
    for batch in data.evaluation_batches(split):
        labels.append(batch.labels.numpy())
        sites = [size - 3 for size in batch.sequence.sizes]
        number = np.concatenate([np.arange(1, count + 1) for count in sites])
        from_end = np.concatenate([np.arange(count, 0, -1) for count in sites])
        charge = np.repeat(charges[batch.rows.numpy()], sites)
        lengths = np.stack([number if channel.series == "b" else from_end for channel in data.channels], 1)
        columns = np.arange(len(data.channels))
        group = (charge[:, None] * len(data.channels) + columns) * LONGEST + lengths.clip(max=LONGEST - 1)
        groups.append(group)
    return np.concatenate(labels), np.concatenate(groups)
