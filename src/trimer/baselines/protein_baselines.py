"""What a masked language model has to beat: residues, or tokens of molecules, guessed without any context but counts.

Each floor is fitted on the train split and gives the log-probability of the residue at each masked place, from what the
model sees there too. A place that was masked by BERT's rule may show a residue: the true one, or a random one. A model
soon learns to believe it half the time, which says nothing about proteins, so the floors do the same.

Shapes: T tokens, B sequences, M masked places, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trimer.data.core.batches import MaskedBatch
from trimer.tokenizers.protein import ProteinTokenizer

SMALL = 64  # tokens of a vocabulary, up to which neighbours are counted: of each pair all tokens between them
STRENGTHS = (1, 3, 10, 30, 100, 300, 1000)  # observations that a prior may be worth; the best on train is kept
BELIEFS = np.linspace(0, 0.95, 20)  # probability that a residue that is shown is the true one


class Floor:
    """A guess from counts. A subclass fits what it counts, and guesses as if nothing were shown at the place.

    tokenizer: whose tokens are guessed; of a protein by default.
    """

    def __init__(self, tokenizer=None):
        tokenizer = tokenizer or ProteinTokenizer()
        self.size, self.mask = len(tokenizer), tokenizer.mask
        self.special = np.zeros(self.size, bool)  # (V,) what is no residue
        self.special[[getattr(tokenizer, name) for name in ("cls", "pad", "eos", "unk", "mask")]] = True

    def fit(self, batches: Sequence[MaskedBatch]) -> Floor:
        """Learn from the batches of the train split."""
        counts = np.ones(self.size)
        for batch in batches:
            counts += np.bincount(true_tokens(batch), minlength=self.size)
        counts[self.special] = 0
        self.frequencies = counts / counts.sum()  # (V,)
        self.count(batches)
        self.belief = best(BELIEFS, lambda belief: sum(self._believing(batch, belief).sum() for batch in batches))
        return self

    def count(self, batches: Sequence[MaskedBatch]) -> None:
        """Fit what the floor needs beside the frequencies."""

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        """(M,) log-probability of the true residue, what is shown at its place left aside."""
        raise NotImplementedError

    def log_probabilities(self, batch: MaskedBatch) -> np.ndarray:
        """(M,) natural logarithms."""
        return self._believing(batch, self.belief)

    def _believing(self, batch: MaskedBatch, belief: float) -> np.ndarray:
        guess = self.guess(batch)
        shown = batch.sequence.tokens.numpy()[batch.places.numpy()]
        mixed = np.log(belief * (shown == batch.labels.numpy()) + (1 - belief) * np.exp(guess))
        return np.where(shown == self.mask, guess, mixed)


class Unigram(Floor):
    """The frequency of each residue in the train split."""

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        return np.log(self.frequencies[batch.labels.numpy()])


class Neighbours(Floor):
    """The frequency of each residue between its two neighbours; a hidden neighbour stands for all residues."""

    def count(self, batches: Sequence[MaskedBatch]) -> None:
        counts = np.zeros((self.size,) * 3)  # left, right, what is between
        for batch in batches:
            tokens = true_tokens(batch)
            inner = np.flatnonzero(~self.special[tokens[1:-1]]) + 1
            np.add.at(counts, (tokens[inner - 1], tokens[inner + 1], tokens[inner]), 1)
        counts[self.mask] = counts.sum(0)
        counts[:, self.mask] = counts.sum(1)
        self.counts = counts
        some = batches[: max(1, len(batches) // 10)]
        # Counted with themselves, the train rows would want no prior at all: their own place is taken out.
        self.strength = best(STRENGTHS, lambda strength: sum(self._log(b, strength, 1).sum() for b in some))

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        return self._log(batch, self.strength)

    def _log(self, batch: MaskedBatch, strength: float, own: int = 0) -> np.ndarray:
        tokens, places, labels = batch.sequence.tokens.numpy(), batch.places.numpy(), batch.labels.numpy()
        found = self.counts[tokens[places - 1], tokens[places + 1]]  # (M, V)
        hit = np.maximum(found[np.arange(len(labels)), labels] - own, 0)
        total = np.maximum(found.sum(1) - own, 0)
        return np.log((hit + strength * self.frequencies[labels]) / (total + strength))


class Composition(Floor):
    """The residues of the sequence that can be seen, weighed against the frequencies of the train split."""

    def count(self, batches: Sequence[MaskedBatch]) -> None:
        self.strength = best(STRENGTHS, lambda strength: sum(self._log(b, strength).sum() for b in batches))

    def guess(self, batch: MaskedBatch) -> np.ndarray:
        return self._log(batch, self.strength)

    def _log(self, batch: MaskedBatch, strength: float) -> np.ndarray:
        tokens, labels, owner = batch.sequence.tokens.numpy(), batch.labels.numpy(), owners(batch)
        seen = np.flatnonzero(~self.special[tokens])
        seen = np.setdiff1d(seen, batch.places.numpy(), assume_unique=True)
        counts = np.zeros((len(batch), self.size))
        np.add.at(counts, (owner[seen], tokens[seen]), 1)
        own = counts[owner[batch.places.numpy()]]  # (M, V)
        hit = own[np.arange(len(labels)), labels]
        return np.log((hit + strength * self.frequencies[labels]) / (own.sum(1) + strength))


FLOORS = {
    "trivial baseline: residue frequencies": Unigram,
    "trivial baseline: both neighbours": Neighbours,
    "trivial baseline: composition of the sequence": Composition,
}


def floors_of(tokenizer) -> dict[str, type[Floor]]:
    """The floors for a vocabulary, by name: neighbours are counted in a small one only."""
    return {name: kind for name, kind in FLOORS.items() if kind is not Neighbours or len(tokenizer) <= SMALL}


def owners(batch: MaskedBatch) -> np.ndarray:
    """(T,) number of the sequence that each token belongs to."""
    return np.repeat(np.arange(len(batch)), batch.sequence.sizes)


def true_tokens(batch: MaskedBatch) -> np.ndarray:
    """(T,) the tokens as they were before some were hidden."""
    tokens = batch.sequence.tokens.numpy().copy()
    tokens[batch.places.numpy()] = batch.labels.numpy()
    return tokens


def best(candidates: Sequence[float], score: Callable[[float], float]) -> float:
    """The candidate with the highest score."""
    return float(max(candidates, key=score))
