"""Trivial baselines for masked language models: residues (or tokens of molecules) predicted from counts.

Each baseline is fitted on the train split and gives the log-probability of the true residue at each masked position,
from the same input as the model. A position masked by BERT's rule may show a residue: the true one or a random one.
A model that copies visible residues half the time already gains without knowing proteins, so the baselines copy them
too.

Shapes: T tokens, B sequences, M masked positions, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from trimer.data.core.batches import MaskedBatch
from trimer.tokenizers.protein import ProteinTokenizer

SMALL = 64  # largest vocabulary for which neighbours are counted: the counts take V³ cells
STRENGTHS = (1, 3, 10, 30, 100, 300, 1000)  # pseudo-counts of the prior; the best on train is kept
BELIEFS = np.linspace(0, 0.95, 20)  # probability that a visible residue is the true one


class TrivialBaseline:
    """Base: predicts tokens from counts. A subclass fits its counts, and predicts as if the position were masked.

    tokenizer: defines the vocabulary; proteins by default.
    """

    def __init__(self, tokenizer=None):
        tokenizer = tokenizer or ProteinTokenizer()
        self.size, self.mask = len(tokenizer), tokenizer.mask
        self.special = np.zeros(self.size, bool)  # (V,) special tokens, which are not residues
        self.special[[getattr(tokenizer, name) for name in ("cls", "pad", "eos", "unk", "mask")]] = True

    def fit(self, batches: Sequence[MaskedBatch]) -> TrivialBaseline:
        """Learn from the batches of the train split."""
        counts = np.ones(self.size)
        for batch in batches:
            counts += np.bincount(true_tokens(batch), minlength=self.size)
        counts[self.special] = 0
        self.frequencies = counts / counts.sum()  # (V,)
        self.count(batches)
        self.belief = best(BELIEFS, lambda belief: sum(self._mixed(batch, belief).sum() for batch in batches))
        return self

    def count(self, batches: Sequence[MaskedBatch]) -> None:
        """Fit the parameters of the baseline besides the frequencies."""

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        """(M,) log-probability of the true residue, without looking at the residue that its position shows."""
        raise NotImplementedError

    def log_probabilities(self, batch: MaskedBatch) -> np.ndarray:
        """(M,) natural log-probability of the true residue at each masked position."""
        return self._mixed(batch, self.belief)

    def _mixed(self, batch: MaskedBatch, belief: float) -> np.ndarray:
        guess = self.guess(batch)
        shown = batch.sequence.tokens.numpy()[batch.positions.numpy()]
        mixed = np.log(belief * (shown == batch.labels.numpy()) + (1 - belief) * np.exp(guess))
        return np.where(shown == self.mask, guess, mixed)


class Unigram(TrivialBaseline):
    """The frequency of each residue in the train split."""

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        return np.log(self.frequencies[batch.labels.numpy()])


class Neighbours(TrivialBaseline):
    """The frequency of each residue between its two neighbours; a masked neighbour stands for all residues."""

    def count(self, batches: Sequence[MaskedBatch]) -> None:
        counts = np.zeros((self.size,) * 3)  # left, right, middle
        for batch in batches:
            tokens = true_tokens(batch)
            inner = np.flatnonzero(~self.special[tokens[1:-1]]) + 1
            np.add.at(counts, (tokens[inner - 1], tokens[inner + 1], tokens[inner]), 1)
        counts[self.mask] = counts.sum(0)
        counts[:, self.mask] = counts.sum(1)
        self.counts = counts
        sample = batches[: max(1, len(batches) // 10)]
        # Each train position is left out of the counts; otherwise no prior at all would look best.
        self.strength = best(STRENGTHS, lambda strength: sum(self._log(b, strength, 1).sum() for b in sample))

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        return self._log(batch, self.strength)

    def _log(self, batch: MaskedBatch, strength: float, left_out: int = 0) -> np.ndarray:
        tokens, positions, labels = batch.sequence.tokens.numpy(), batch.positions.numpy(), batch.labels.numpy()
        counts = self.counts[tokens[positions - 1], tokens[positions + 1]]  # (M, V)
        of_label = np.maximum(counts[np.arange(len(labels)), labels] - left_out, 0)
        total = np.maximum(counts.sum(1) - left_out, 0)
        return np.log((of_label + strength * self.frequencies[labels]) / (total + strength))


class Composition(TrivialBaseline):
    """The composition of the visible sequence, with the frequencies of the train split as prior."""

    def count(self, batches: Sequence[MaskedBatch]) -> None:
        self.strength = best(STRENGTHS, lambda strength: sum(self._log(b, strength).sum() for b in batches))

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        return self._log(batch, self.strength)

    def _log(self, batch: MaskedBatch, strength: float) -> np.ndarray:
        tokens, labels, owner = batch.sequence.tokens.numpy(), batch.labels.numpy(), owners(batch)
        seen = np.flatnonzero(~self.special[tokens])
        seen = np.setdiff1d(seen, batch.positions.numpy(), assume_unique=True)
        counts = np.zeros((len(batch), self.size))
        np.add.at(counts, (owner[seen], tokens[seen]), 1)
        visible = counts[owner[batch.positions.numpy()]]  # (M, V)
        of_label = visible[np.arange(len(labels)), labels]
        return np.log((of_label + strength * self.frequencies[labels]) / (visible.sum(1) + strength))


# Name in result tables -> baseline.
TRIVIAL_BASELINES = {
    "trivial baseline: residue frequencies": Unigram,
    "trivial baseline: both neighbours": Neighbours,
    "trivial baseline: composition of the sequence": Composition,
}


def trivial_baselines(tokenizer) -> dict[str, type[TrivialBaseline]]:
    """The baselines for a vocabulary, by name; neighbours are counted only in a small one."""
    token = "residue" if isinstance(tokenizer, ProteinTokenizer) else "token"
    return {
        name.replace("residue", token): kind
        for name, kind in TRIVIAL_BASELINES.items()
        if kind is not Neighbours or len(tokenizer) <= SMALL
    }


def owners(batch: MaskedBatch) -> np.ndarray:
    """(T,) index of the sequence that each token belongs to."""
    return np.repeat(np.arange(len(batch)), batch.sequence.sizes)


def true_tokens(batch: MaskedBatch) -> np.ndarray:
    """(T,) the tokens before masking."""
    tokens = batch.sequence.tokens.numpy().copy()
    tokens[batch.positions.numpy()] = batch.labels.numpy()
    return tokens


def best(candidates: Iterable[float], score: Callable[[float], float]) -> float:
    """The candidate with the highest score."""
    return float(max(candidates, key=score))
