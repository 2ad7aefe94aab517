"""A masked language model on a split: perplexity at the fixed masked places, beside floors that know no context.

Every method answers for the same places, and sees the same damaged sequences. By BERT's rule one masked place in five
shows a residue, half of them the true one; `perplexity` counts these as the published figures do, `hidden_perplexity`
counts the places of `<mask>` alone.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trimer.baselines.protein_baselines import floors_of, owners
from trimer.data.core.batches import MaskedBatch
from trimer.errors import InputError
from trimer.reporting.table import ERROR, ResultTable

FLOOR_TOKENS = 20_000_000
METRICS = ("loss", "perplexity", "hidden_perplexity", "token_accuracy", "masked_tokens")


@dataclass
class Answers:
    """What a method said about the masked places of a split.

    loss: (M,) negative log-probability of the true residue in nats. sequence: (M,) which sequence each place is in.
    labels: (M,) the true residues. hidden: (M,) whether `<mask>` stands there, and no residue. correct: (M,) whether
    the likeliest residue is the true one, None where that is not known.
    """

    loss: np.ndarray
    sequence: np.ndarray
    labels: np.ndarray
    hidden: np.ndarray
    correct: np.ndarray | None = None

    def metrics(self, bootstrap: int = 200, seed: int = 0) -> dict[str, float]:
        """Sums over places divided by places; standard errors over resampled sequences."""
        count = int(self.sequence.max()) + 1
        sums = {"loss": np.bincount(self.sequence, self.loss, count)}
        if self.correct is not None:
            sums["token_accuracy"] = np.bincount(self.sequence, self.correct, count)
        sums["hidden_loss"] = np.bincount(self.sequence, self.loss * self.hidden, count)
        places = dict.fromkeys(sums, np.bincount(self.sequence, minlength=count))
        places["hidden_loss"] = np.bincount(self.sequence, self.hidden, count)
        draws = np.random.default_rng(seed).integers(count, size=(bootstrap, count))
        values = {name: float(total.sum() / places[name].sum()) for name, total in sums.items()}
        spread = {name: total[draws].sum(1) / places[name][draws].sum(1) for name, total in sums.items()}
        for name in ("perplexity", "hidden_perplexity"):
            loss = name.replace("perplexity", "loss")
            values[name], spread[name] = math.exp(values[loss]), np.exp(spread[loss])
        errors = {f"{name}{ERROR}": float(drawn.std(ddof=1)) for name, drawn in spread.items()}
        return {**values, **errors, "masked_tokens": float(len(self.loss))}


@dataclass
class LanguageEvaluation:
    """The table of methods by metrics, the model's metrics, and its loss and accuracy for each residue."""

    table: ResultTable
    metrics: dict[str, float]
    residues: list[dict]

    def named(self, split: str) -> dict[str, float]:
        """The metrics under the name of the split, as `test/perplexity`."""
        return {f"{split}/{name}": value for name, value in self.metrics.items()}

    def save(self, out: Path) -> None:
        """Write `table.md`, `table.csv`, `table.json` and `residues.csv`."""
        self.table.save(out)
        with (out / "residues.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(self.residues[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.residues)


def evaluate_language(
    net: nn.Module,
    tokenizer,
    data,
    split: str = "test",
    *,
    name: str = "model",
    baselines: bool = True,
    bootstrap: int = 200,
    seed: int = 0,
) -> LanguageEvaluation:
    """Find the masked tokens of a split, whose places are fixed by the sequences, and measure how well.

    data: with `evaluation_batches(split)`. The floors are fitted on the train split only, on about its first
    FLOOR_TOKENS tokens; where the data are measured whole there are none. InputError where no token of the split is
    masked.
    """
    batches = list(data.evaluation_batches(split))
    if not any(len(batch.places) for batch in batches):
        raise InputError(
            f"no token is masked in the {sum(map(len, batches)):,} sequences of the part {split}: there is nothing to "
            "measure; give more or longer sequences, a higher data.validation_masking.ratio, or train with test=false"
        )
    answers = _model(net, batches, tokenizer.mask)
    table = ResultTable(metrics=METRICS)
    if baselines and "train" in data.split.names:
        train = _first(data.evaluation_batches("train"), FLOOR_TOKENS)
        for floor, kind in floors_of(tokenizer).items():
            fitted = kind(tokenizer).fit(train)
            losses = [-fitted.log_probabilities(batch) for batch in batches]
            said = Answers(np.concatenate(losses), answers.sequence, answers.labels, answers.hidden)
            table.add(floor, said.metrics(bootstrap, seed), baseline=True)
    metrics = answers.metrics(bootstrap, seed)
    table.add(name, metrics)
    return LanguageEvaluation(table, metrics, _by_residue(answers, tokenizer))


@torch.no_grad()
def _model(net: nn.Module, batches: Iterable[MaskedBatch], mask: int) -> Answers:
    device = next(net.parameters()).device
    losses: list[Tensor] = []
    correct: list[Tensor] = []
    sequence: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    hidden: list[np.ndarray] = []
    first = 0
    for batch in batches:
        here = batch.to(device)
        logits = net(here.sequence, here.places).float()
        losses.append(torch.nn.functional.cross_entropy(logits, here.labels, reduction="none").double().cpu())
        correct.append((logits.argmax(-1) == here.labels).cpu())
        sequence.append(first + owners(batch)[batch.places.numpy()])
        labels.append(batch.labels.numpy())
        hidden.append(batch.sequence.tokens.numpy()[batch.places.numpy()] == mask)
        first += len(batch)
    where = (np.concatenate(parts) for parts in (sequence, labels, hidden))
    return Answers(torch.cat(losses).numpy(), *where, torch.cat(correct).numpy())


def _first(batches: Iterable[MaskedBatch], tokens: int) -> list[MaskedBatch]:
    kept = []
    for batch in batches:
        kept.append(batch)
        tokens -= batch.real_tokens
        if tokens <= 0:
            break
    return kept


def _by_residue(answers: Answers, tokenizer) -> list[dict]:
    rows = []
    for token in np.unique(answers.labels):
        own = answers.labels == token
        loss = float(answers.loss[own].mean())
        rows.append(
            {
                "residue": tokenizer.vocabulary.tokens[token],
                "masked_tokens": int(own.sum()),
                "loss": round(loss, 4),
                "perplexity": round(math.exp(loss), 3),
                "token_accuracy": round(float(answers.correct[own].mean()), 4),
            }
        )
    return rows
