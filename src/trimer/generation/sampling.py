"""Sampling: each sequence is drawn from the model token by token.

Every input has its own table of uniform numbers, made from the seed and the key of the input. A token is the place
where the cumulated probability passes the number of its sequence and step. So the same input gets the same samples in
any batch, in any order. (On a GPU the products themselves may round otherwise in another batch, which can turn a token
whose number lies on the very edge.)

Shapes: R rows (sequences being written), A tokens that may be written, S samples per input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.generation.cache import BOS, EOS, CachedDecoder, Hypothesis, allowed_ids, check_length, not_finite
from trimer.models.bart import Bart

BLOCK = 64  # cumulated sums run over blocks of tokens first, then inside one block
LEAVE = 1 / 8  # finished rows leave the batch when they are this share of it
CHECK_EVERY = {"cuda": 8}  # steps between two looks at what has finished, for which the host waits; 1 elsewhere


@torch.inference_mode()
def sample(
    net: Bart,
    source: Flat,
    keys: Sequence[int],
    num_samples: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    max_length: int = 128,
    seed: int = 0,
    allowed_tokens: tuple[int, int] | Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> list[list[Hypothesis]]:
    """Draw num_samples sequences for each of the B sources; returns B lists of S, in the order of drawing.

    keys: a number of each source that stays with it, such as a hash of its tokens. temperature divides the scores; then
    only the top_k likeliest tokens stay (0: all), and of them the fewest that together have the probability top_p.
    max_length: tokens of a sequence with `<s>` and `</s>`. allowed_tokens: a range (start, stop) of ids
    or a (V,) mask, `</s>` always with them; None for all. dtype: of the products, by default that of autocast.
    """
    if temperature <= 0:
        raise ConfigError(f"generator.temperature={temperature} must be above 0; beam search finds the likeliest")
    if not 0 < top_p <= 1:
        raise ConfigError(f"generator.top_p={top_p} is not above 0 and at most 1")
    check_length(net, max_length)
    allowed = allowed_ids(net, allowed_tokens)
    end = int((allowed == EOS).nonzero())
    decoder = CachedDecoder(net, source, num_samples, allowed, dtype)
    total = len(source) * num_samples
    uniform = uniform_table(seed, keys, num_samples, max_length - 1).to(allowed.device)  # (B S, steps)

    written = torch.full((total, max_length - 1), end, device=allowed.device)
    likelihood = torch.zeros(total, device=allowed.device)
    row_of = torch.arange(total, device=allowed.device)  # which sequence each row of the decoder is
    running = torch.ones(total, dtype=torch.bool, device=allowed.device)
    tokens = torch.full((total,), BOS, device=allowed.device)
    broken = torch.zeros((), dtype=torch.bool, device=allowed.device)
    every = CHECK_EVERY.get(allowed.device.type, 1)
    for step in range(max_length - 1):
        choice, log_p = draw(decoder.step(tokens), uniform[row_of, step], temperature, top_k, top_p)
        choice = torch.where(running, choice, end)
        written[row_of, step] = choice
        likelihood[row_of] += log_p * running
        running &= choice != end
        broken |= ~log_p.isfinite().all()
        tokens = allowed[choice]
        if (step + 1) % every and step + 2 < max_length:
            continue
        still, failed = torch.stack([running.sum(), broken]).tolist()
        if failed:
            raise not_finite()
        if still == 0:
            break
        if still <= (1 - LEAVE) * len(running):
            stay = running.nonzero().squeeze(1)
            decoder.select(stay)
            row_of, running, tokens = row_of[stay], running[stay], tokens[stay]
    return _hypotheses(written, likelihood, allowed, end, len(source), num_samples)


def uniform_table(seed: int, keys: Sequence[int], num_samples: int, steps: int) -> Tensor:
    """(B S, steps) fp32 in [0, 1): the numbers of sample s of an input depend on seed, key and s alone."""
    rows = []
    for key in keys:
        streams = np.random.SeedSequence((seed, key)).spawn(num_samples)
        rows += [np.random.Generator(np.random.SFC64(stream)).random(steps, dtype=np.float32) for stream in streams]
    return torch.from_numpy(np.stack(rows))


def draw(scores: Tensor, uniform: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """One token for each row and its log p under the model, at temperature 1 and before any cut.

    scores: (R, A), uniform: (R,). Returns places in A, (R,), and (R,).
    """
    places = None
    if top_k or top_p < 1.0:
        ranked, places = scores.topk(min(top_k or scores.shape[1], scores.shape[1]))  # best first
        p = torch.softmax(ranked / temperature, -1)
        if top_p < 1.0:
            p = p.masked_fill(p.cumsum(-1) - p >= top_p, 0.0)
    else:
        p = torch.softmax(scores if temperature == 1.0 else scores / temperature, -1)
    choice = by_cumulated_sum(p, uniform)[:, None]
    if places is None and temperature == 1.0:
        return choice.squeeze(1), p.gather(1, choice).squeeze(1).log()
    choice = choice if places is None else places.gather(1, choice)
    return choice.squeeze(1), scores.gather(1, choice).squeeze(1) - scores.logsumexp(-1)


def by_cumulated_sum(p: Tensor, uniform: Tensor) -> Tensor:
    """The place where the cumulated sum of a row of p passes uniform times the row's sum. (R, A), (R,) -> (R,)."""
    width = p.shape[1]
    if width <= 4 * BLOCK:
        return _passes(p.cumsum(-1), uniform)
    p = torch.nn.functional.pad(p, (0, -width % BLOCK)).view(len(p), -1, BLOCK)
    cumulated = p.sum(-1).cumsum(-1)  # (R, blocks)
    block = _passes(cumulated, uniform)
    before = torch.where(block > 0, cumulated.gather(1, (block - 1).clamp(min=0)[:, None]).squeeze(1), 0.0)
    inside = p[torch.arange(len(p), device=p.device), block].cumsum(-1)  # (R, BLOCK)
    left = (uniform * cumulated[:, -1] - before) / inside[:, -1]
    return (block * BLOCK + _passes(inside, left.clamp(0.0, 1.0 - 2**-24))).clamp(max=width - 1)


def _passes(cumulated: Tensor, uniform: Tensor) -> Tensor:
    """First place whose cumulated sum is above uniform times the last: never one of probability zero.

    A row of NaN gives its last place, and log p tells.
    """
    goal = uniform * cumulated[:, -1]
    goal = torch.minimum(goal, torch.nextafter(cumulated[:, -1], torch.zeros_like(goal)))
    return torch.searchsorted(cumulated, goal[:, None], right=True).squeeze(1).clamp(max=cumulated.shape[1] - 1)


def _hypotheses(
    written: Tensor, likelihood: Tensor, allowed: Tensor, end: int, inputs: int, num_samples: int
) -> list[list[Hypothesis]]:
    finished = written == end
    lengths = torch.where(finished.any(1), finished.int().argmax(1) + 1, written.shape[1]).tolist()
    ids, scores = allowed[written].tolist(), likelihood.tolist()
    flat = [Hypothesis(row[:n], score, score) for row, n, score in zip(ids, lengths, scores, strict=True)]
    return [flat[i * num_samples : (i + 1) * num_samples] for i in range(inputs)]
