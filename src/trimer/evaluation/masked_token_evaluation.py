"""Evaluate a masked language model on a split: perplexity at fixed masked positions, compared with trivial baselines.

All methods predict the same positions from the same corrupted sequences. By BERT's rule one masked position in five
shows a residue, half of them the true one; `perplexity` includes these, as published figures do, and
`hidden_perplexity` includes only the positions of `<mask>`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trimer.baselines.protein_baselines import owners, trivial_baselines
from trimer.data.core.batches import MaskedBatch
from trimer.errors import InputError
from trimer.evaluation.baseline_choice import chosen_baselines
from trimer.evaluation.compared_methods import add_methods
from trimer.evaluation.evaluation import Evaluation
from trimer.files import write_csv
from trimer.metrics.intervals import Measured, with_errors
from trimer.metrics.weighted_rows import ratio
from trimer.progress import tracked
from trimer.reporting.table import ResultTable

BASELINE_TOKENS = 20_000_000
METRICS = ("loss", "perplexity", "hidden_perplexity", "token_accuracy", "masked_tokens")


@dataclass
class MaskedPredictions:
    """The predictions of a method at the masked positions of a split.

    loss: (M,) negative log-probability of the true residue in nats. sequence: (M,) index of the sequence of each
    position. labels: (M,) the true residues. hidden: (M,) whether the position shows `<mask>` instead of a residue.
    correct: (M,) whether the most probable residue is the true one, None where it is unknown.
    """

    loss: np.ndarray
    sequence: np.ndarray
    labels: np.ndarray
    hidden: np.ndarray
    correct: np.ndarray | None = None

    def measured(self, bootstrap: int = 200, seed: int = 0) -> Measured:
        """Means over positions, with their spread from resampled sequences, the same for all methods of one split."""
        count = int(self.sequence.max()) + 1
        sums = {"loss": np.bincount(self.sequence, self.loss, count)}
        if self.correct is not None:
            sums["token_accuracy"] = np.bincount(self.sequence, self.correct, count)
        sums["hidden_loss"] = np.bincount(self.sequence, self.loss * self.hidden, count)
        positions = dict.fromkeys(sums, np.bincount(self.sequence, minlength=count))
        positions["hidden_loss"] = np.bincount(self.sequence, self.hidden, count)
        draws = np.random.default_rng(seed).integers(count, size=(bootstrap, count))
        weights = np.concatenate([np.arange(count)[None], draws])  # (1 + resamples, sequences): first each once
        means = {name: ratio(total[weights].sum(1), positions[name][weights].sum(1)) for name, total in sums.items()}
        for name in ("perplexity", "hidden_perplexity"):
            means[name] = np.exp(means[name.replace("perplexity", "loss")])
        measured = with_errors(means)
        measured.values["masked_tokens"] = float(len(self.loss))
        return measured


@dataclass
class LanguageEvaluation(Evaluation):
    """The table of methods by metrics, the model's metrics, and its loss and accuracy for each residue."""

    table: ResultTable
    metrics: dict[str, float]
    residues: list[dict]

    def save(self, out: Path) -> None:
        """Write `table.md`, `table.csv`, `table.json` and `residues.csv`."""
        self.table.save(out)
        write_csv(out / "residues.csv", list(self.residues[0]), self.residues)


def evaluate_language(
    net: nn.Module,
    tokenizer,
    data,
    split: str = "test",
    *,
    name: str = "model",
    baselines: bool | Sequence[str] = True,
    bootstrap: int = 200,
    seed: int = 0,
) -> LanguageEvaluation:
    """Predict the masked tokens of a split and compute metrics; the sequences determine the masked positions.

    data: has `evaluation_batches(split)`. The baselines are fitted on about the first BASELINE_TOKENS tokens of the
    train split; data without a train split are measured without them;
    baselines: as in `chosen_baselines`. InputError if no token of the split is masked.
    """
    batches = list(data.evaluation_batches(split))
    if not any(len(batch.positions) for batch in batches):
        raise InputError(
            f"no token is masked in the {sum(map(len, batches)):,} sequences of the split {split}: there is nothing to "
            "measure; give more or longer sequences, a higher data.validation_masking.ratio, or train with test=false"
        )
    predictions = _model(net, batches, tokenizer.mask)
    table = ResultTable(metrics=METRICS)
    measured: dict[str, Measured] = {}
    if baselines and "train" in data.split.names:
        train = _first(data.evaluation_batches("train"), BASELINE_TOKENS)
        known = trivial_baselines(tokenizer)
        for method in chosen_baselines(baselines, known):
            fitted = known[method](tokenizer).fit(train)
            losses = np.concatenate([-fitted.log_probabilities(batch) for batch in batches])
            of_baseline = MaskedPredictions(losses, predictions.sequence, predictions.labels, predictions.hidden)
            measured[method] = of_baseline.measured(bootstrap, seed)
    measured[name] = predictions.measured(bootstrap, seed)
    add_methods(table, name, measured)
    metrics = measured[name].without_ends()
    return LanguageEvaluation(table, metrics, _by_residue(predictions, tokenizer))


@torch.no_grad()
def _model(net: nn.Module, batches: Sequence[MaskedBatch], mask: int) -> MaskedPredictions:
    device = next(net.parameters()).device
    parts: list[tuple[np.ndarray, ...]] = []  # in the order of the fields of MaskedPredictions
    first = 0
    for batch in tracked(batches, "evaluate", sum(map(len, batches)), "sequences", len):
        here, positions = batch.to(device), batch.positions.numpy()
        logits = net(here.sequence, here.positions).float()
        loss = torch.nn.functional.cross_entropy(logits, here.labels, reduction="none").double().cpu().numpy()
        hidden = batch.sequence.tokens.numpy()[positions] == mask
        correct = (logits.argmax(-1) == here.labels).cpu().numpy()
        parts.append((loss, first + owners(batch)[positions], batch.labels.numpy(), hidden, correct))
        first += len(batch)
    return MaskedPredictions(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _first(batches: Iterable[MaskedBatch], tokens: int) -> list[MaskedBatch]:
    kept = []
    for batch in batches:
        kept.append(batch)
        tokens -= batch.real_tokens
        if tokens <= 0:
            break
    return kept


def _by_residue(predictions: MaskedPredictions, tokenizer) -> list[dict]:
    """The metrics of the model at the positions of each residue."""
    rows = []
    correct = np.zeros(len(predictions.labels), bool) if predictions.correct is None else predictions.correct
    for token in np.unique(predictions.labels):
        of_token = predictions.labels == token
        loss = float(predictions.loss[of_token].mean())
        rows.append(
            {
                "residue": tokenizer.vocabulary.tokens[token],
                "masked_tokens": int(of_token.sum()),
                "loss": round(loss, 4),
                "perplexity": round(math.exp(loss), 3),
                "token_accuracy": round(float(correct[of_token].mean()), 4),
            }
        )
    return rows
