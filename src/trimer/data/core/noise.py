"""BART's corruptions: the model reads a damaged sequence and writes the whole one.

Source: Lewis et al. 2020, "BART: Denoising Sequence-to-Sequence Pre-training", section 2.2.
"""

from __future__ import annotations

import numpy as np

from trimer.errors import ConfigError

MASK = 4  # `<mask>`


class Corruption:
    """One of three corruptions for each sequence, chosen by its share.

    masking: single tokens become `<mask>`. deletion: single tokens vanish. infilling: spans of Poisson length become
    one `<mask>` each; a span of length 0 inserts one. ratio: the part of the tokens that is hit. The first and the last
    token (`<s>`, `</s>`) are never touched. Shares need not sum to one; what is left over stays uncorrupted when they
    sum to less.
    """

    def __init__(
        self,
        masking: float = 0.3,
        deletion: float = 0.3,
        infilling: float = 0.4,
        ratio: float = 0.3,
        poisson: float = 3.0,
    ):
        if min(masking, deletion, infilling) < 0 or masking + deletion + infilling > 1 + 1e-9:
            raise ConfigError(
                f"noise shares masking={masking}, deletion={deletion}, infilling={infilling} must be 0 or more and sum "
                "to at most 1"
            )
        if not 0 <= ratio < 1:
            raise ConfigError(f"noise ratio={ratio} must be at least 0 and below 1")
        self.bounds = np.cumsum([masking, deletion, infilling])
        self.ratio = ratio
        self.poisson = poisson

    def __call__(self, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A corrupted copy of one sequence, `<s> ... </s>`; ids keep their type."""
        inner = len(tokens) - 2
        if inner < 1 or self.ratio == 0:
            return tokens.copy()
        kind = np.searchsorted(self.bounds, rng.random(), side="right")
        if kind == 0:
            return mask_tokens(tokens, self.ratio, rng)
        if kind == 1:
            return delete_tokens(tokens, self.ratio, rng)
        if kind == 2:
            return infill_spans(tokens, self.ratio, self.poisson, rng)
        return tokens.copy()


def _hits(tokens: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Positions to hit: the ratio of the inner tokens, at least one, rounded at random so that the mean is exact."""
    inner = len(tokens) - 2
    count = min(inner, max(1, int(ratio * inner + rng.random())))
    return 1 + rng.permutation(inner)[:count]


def mask_tokens(tokens: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    out = tokens.copy()
    out[_hits(tokens, ratio, rng)] = MASK
    return out


def delete_tokens(tokens: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    return np.delete(tokens, _hits(tokens, ratio, rng))


def infill_spans(tokens: np.ndarray, ratio: float, poisson: float, rng: np.random.Generator) -> np.ndarray:
    """Spans of Poisson length are each replaced by one `<mask>`, until the ratio of the tokens is covered."""
    inner = len(tokens) - 2
    budget = max(1, int(ratio * inner + rng.random()))
    lengths: list[int] = []
    while budget > 0 and len(lengths) < inner:
        length = min(int(rng.poisson(poisson)), budget)
        lengths.append(length)
        budget -= max(length, 1)
    # Spread the spans: the tokens that stay are cut at sorted random places, and a span stands at each cut.
    kept = inner - sum(lengths)
    cuts = np.sort(rng.integers(0, kept + 1, size=len(lengths)))
    pieces = [tokens[:1]]
    place, mask = 1, np.full(1, MASK, dtype=tokens.dtype)
    previous = 0
    for cut, length in zip(cuts, lengths, strict=True):
        pieces += [tokens[place : place + cut - previous], mask]
        place += cut - previous + length
        previous = cut
    pieces.append(tokens[place:])
    return np.concatenate(pieces)
