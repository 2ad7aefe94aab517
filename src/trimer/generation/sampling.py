"""Sampling: draws sequences from the model token by token.

Each input has a table of uniform random numbers, which depends on the seed and the key of the input only. The token
drawn is the first whose cumulative probability exceeds the number of its sequence and step. The same input therefore
gets the same samples in any batch and order. (On a GPU, products may round differently in another batch, which can
change a token if the number is at the edge between two.)

Shapes: R rows (sequences being generated), A allowed tokens, S samples per input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trimer.flat import Flat
from trimer.generation.cache import BOS, EOS, CachedDecoder, Hypothesis, allowed_ids, check_length, not_finite
from trimer.generation.formula_grammar import Grammar
from trimer.models.bart import Bart

BLOCK = 64  # tokens per block: cumulative sums are computed over blocks first, then inside one block
LEAVE = 1 / 8  # finished rows are removed when they are this fraction of the batch
CHECK_EVERY = {"cuda": 8}  # steps between checks for finished rows, which wait for the device; 1 on other devices


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
    prompts: Tensor | None = None,
    opening: tuple[int, int, int] | None = None,
    grammar: Grammar | None = None,
) -> list[list[Hypothesis]]:
    """Draw num_samples sequences for each of the B sources; returns B lists of S, in the order of drawing.

    keys: a number that identifies each source, such as a hash of its tokens. temperature divides the scores. Then only
    the top_k most likely tokens are kept (0: all), and of these the fewest with a total probability of top_p.
    max_length: maximum number of tokens, including `<s>` and `</s>`. allowed_tokens: a range (start, stop) of ids
    or a (V,) mask, None for all; `</s>` is always allowed. dtype: of the products, by default that of autocast.
    prompts: (B S, P) ids of the first tokens of each sequence, after `<s>`; those below 0 are drawn. opening: (start,
    stop, end), a range of ids that sequences begin with: only these until `end` was written, and none of them after it.
    grammar: keeps what follows the opening within the formula; made for the same allowed tokens.
    """
    check_length(net, max_length)
    allowed = allowed_ids(net, allowed_tokens)
    end = int((allowed == EOS).nonzero())
    decoder = CachedDecoder(net, source, num_samples, allowed, dtype)
    total = len(source) * num_samples
    uniform = uniform_table(seed, keys, num_samples, max_length - 1).to(allowed.device)  # (B S, steps)

    generated = torch.full((total, max_length - 1), end, device=allowed.device)
    likelihood = torch.zeros(total, device=allowed.device)
    row_of = torch.arange(total, device=allowed.device)  # sequence of each row of the decoder
    running = torch.ones(total, dtype=torch.bool, device=allowed.device)
    tokens = torch.full((total,), BOS, device=allowed.device)
    invalid = torch.zeros((), dtype=torch.bool, device=allowed.device)
    forced = None if prompts is None else torch.searchsorted(allowed, prompts.to(allowed.device).clamp(min=0))
    is_opening = torch.zeros(len(allowed), dtype=torch.bool, device=allowed.device)
    if opening is not None:
        is_opening = (allowed >= opening[0]) & (allowed < opening[1])
    is_open = torch.full((total,), opening is not None, device=allowed.device)  # rows that write the opening
    progress = None if grammar is None else grammar.start(total, max_length)
    every = CHECK_EVERY.get(allowed.device.type, 1)
    for step in range(max_length - 1):
        scores = decoder.step(tokens)
        if opening is not None:
            scores = scores.masked_fill(is_open[:, None] != is_opening, -torch.inf)
        if grammar is not None and progress is not None:
            scores = scores.masked_fill(~(grammar.mask(progress) | is_open[:, None]), -torch.inf)
        choice, log_p = draw(scores, uniform[row_of, step], temperature, top_k, top_p)
        if prompts is not None and forced is not None and step < prompts.shape[1]:
            choice, log_p = with_prompts(scores, prompts[row_of, step], forced[row_of, step], choice, log_p)
        choice = torch.where(running, choice, end)
        generated[row_of, step] = choice
        likelihood[row_of] += log_p * running
        running &= choice != end
        invalid |= ~log_p.isfinite().all()
        tokens = allowed[choice]
        if opening is not None:
            is_open &= tokens != opening[2]
        if grammar is not None and progress is not None:
            grammar.advance(progress, choice)
        if (step + 1) % every and step + 2 < max_length:
            continue
        still_running, any_invalid = torch.stack([running.sum(), invalid]).tolist()
        if any_invalid:
            raise not_finite()
        if still_running == 0:
            break
        if still_running <= (1 - LEAVE) * len(running):
            stay = running.nonzero().squeeze(1)
            decoder.select(stay)
            row_of, running, tokens, is_open = row_of[stay], running[stay], tokens[stay], is_open[stay]
            progress = None if progress is None else progress.select(stay)
    return _hypotheses(generated, likelihood, allowed, end, len(source), num_samples)


def with_prompts(
    scores: Tensor, prompts: Tensor, index: Tensor, choice: Tensor, log_p: Tensor
) -> tuple[Tensor, Tensor]:
    """The drawn indices and log p, replaced where a prompt is not negative. scores: (R, A), all others: (R,)."""
    given, log_p_given = prompts >= 0, scores.gather(1, index[:, None]).squeeze(1) - scores.logsumexp(-1)
    return torch.where(given, index, choice), torch.where(given, log_p_given, log_p)


def uniform_table(seed: int, keys: Sequence[int], num_samples: int, steps: int) -> Tensor:
    """(B S, steps) fp32 random numbers in [0, 1), which depend on seed, key and sample number only."""
    rows = []
    for key in keys:
        streams = np.random.SeedSequence((seed, key)).spawn(num_samples)
        rows += [np.random.Generator(np.random.SFC64(stream)).random(steps, dtype=np.float32) for stream in streams]
    return torch.from_numpy(np.stack(rows))


def draw(scores: Tensor, uniform: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[Tensor, Tensor]:
    """Draw one token for each row; log p is that of the model, at temperature 1 and without top_k and top_p.

    scores: (R, A), uniform: (R,). Returns (R,) indices in A and (R,) log p.
    """
    indices = None
    if top_k or top_p < 1.0:
        ranked, indices = scores.topk(min(top_k or scores.shape[1], scores.shape[1]))  # best first
        p = torch.softmax(ranked / temperature, -1)
        if top_p < 1.0:
            p = p.masked_fill(p.cumsum(-1) - p >= top_p, 0.0)
    else:
        p = torch.softmax(scores if temperature == 1.0 else scores / temperature, -1)
    choice = draw_by_cumulative_sum(p, uniform)[:, None]
    if indices is None and temperature == 1.0:
        return choice.squeeze(1), p.gather(1, choice).squeeze(1).log()
    choice = choice if indices is None else indices.gather(1, choice)
    return choice.squeeze(1), scores.gather(1, choice).squeeze(1) - scores.logsumexp(-1)


def draw_by_cumulative_sum(p: Tensor, uniform: Tensor) -> Tensor:
    """Index at which the cumulative sum of each row of p exceeds uniform * sum of the row. (R, A), (R,) -> (R,)."""
    width = p.shape[1]
    if width <= 4 * BLOCK:
        return _first_above(p.cumsum(-1), uniform)
    p = torch.nn.functional.pad(p, (0, -width % BLOCK)).view(len(p), -1, BLOCK)
    cumulative = p.sum(-1).cumsum(-1)  # (R, blocks)
    block = _first_above(cumulative, uniform)
    before = torch.where(block > 0, cumulative.gather(1, (block - 1).clamp(min=0)[:, None]).squeeze(1), 0.0)
    inside = p[torch.arange(len(p), device=p.device), block].cumsum(-1)  # (R, BLOCK)
    rest = (uniform * cumulative[:, -1] - before) / inside[:, -1]
    return (block * BLOCK + _first_above(inside, rest.clamp(0.0, 1.0 - 2**-24))).clamp(max=width - 1)


def _first_above(cumulative: Tensor, uniform: Tensor) -> Tensor:
    """First index whose cumulative sum is above uniform times the last one; never one of probability zero.

    For a row of NaN it is the last index, and log p is NaN too.
    """
    goal = uniform * cumulative[:, -1]
    goal = torch.minimum(goal, torch.nextafter(cumulative[:, -1], torch.zeros_like(goal)))
    return torch.searchsorted(cumulative, goal[:, None], right=True).squeeze(1).clamp(max=cumulative.shape[1] - 1)


def _hypotheses(
    generated: Tensor, likelihood: Tensor, allowed: Tensor, end: int, inputs: int, num_samples: int
) -> list[list[Hypothesis]]:
    finished = generated == end
    lengths = torch.where(finished.any(1), finished.int().argmax(1) + 1, generated.shape[1])
    bits = likelihood.double().view(torch.int64)  # as whole numbers, so that one copy leaves the device
    table = torch.cat([allowed[generated], lengths[:, None], bits[:, None]], 1).cpu()
    ids, sizes, scores = table[:, :-2].tolist(), table[:, -2].tolist(), table[:, -1].view(torch.float64).tolist()
    flat = [Hypothesis(row[:n], score, score) for row, n, score in zip(ids, sizes, scores, strict=True)]
    return [flat[i * num_samples : (i + 1) * num_samples] for i in range(inputs)]
