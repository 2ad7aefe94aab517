"""Beam search: the likeliest sequences, found by going on with the best few at every step.

The search of `transformers` (`generate(num_beams=n)`), rule for rule, so that both find the same sequences: of the 2 K
best continuations those that end are kept if they are among the first K, the others run on; an input is done when no
running beam can pass the worst kept one at its present length. Inputs do not see each other, and leave when done.

Shapes: B inputs still searched, K beams, A tokens that may be written, L tokens written so far.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.generation.cache import BOS, EOS, CachedDecoder, Hypothesis, allowed_ids, check_length, not_finite
from trimer.models.bart import Bart

NEVER = -1e9  # the score of what must not be chosen


@torch.inference_mode()
def beam_search(
    net: Bart,
    source: Flat,
    beams: int = 10,
    *,
    max_length: int = 128,
    length_penalty: float = 1.0,
    allowed_tokens: tuple[int, int] | Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> list[list[Hypothesis]]:
    """The `beams` best sequences of each source, best first: B lists of at most K.

    The score of a sequence is its log-likelihood divided by its number of tokens to the power of length_penalty.
    The other arguments are those of `sample`.
    """
    if beams < 1:
        raise ConfigError(f"generator.beams={beams} must be at least 1")
    check_length(net, max_length)
    allowed = allowed_ids(net, allowed_tokens)
    device, end = allowed.device, int((allowed == EOS).nonzero())
    decoder = CachedDecoder(net, source, beams, allowed, dtype, beams=True)
    inputs = torch.arange(len(source), device=device)  # which input each of the B is
    found: list[list[Hypothesis]] = [[] for _ in range(len(source))]

    written = torch.zeros(len(source), beams, 0, dtype=torch.long, device=device)  # (B, K, L) of the running beams
    running = torch.full((len(source), beams), NEVER, device=device)  # their log-likelihoods
    running[:, 0] = 0.0  # all beams start alike: only the first may go on
    ended = torch.zeros(len(source), beams, max_length - 1, dtype=torch.long, device=device)
    ended_scores = torch.full((len(source), beams), NEVER, device=device)
    ended_lengths = torch.zeros(len(source), beams, dtype=torch.long, device=device)  # 0: none yet
    tokens = torch.full((len(source) * beams,), BOS, device=device)

    for length in range(1, max_length):
        log_p = torch.log_softmax(decoder.step(tokens), -1).view(len(inputs), beams, -1)
        log_p += running[:, :, None]
        best, places = log_p.flatten(1).topk(2 * beams)  # (B, 2 K), best first
        parents, choices = places // len(allowed), places % len(allowed)
        stops = (choices == end) | (length == max_length - 1)
        candidates = torch.cat([written.gather(1, _like(parents, written)), choices[:, :, None]], 2)  # (B, 2 K, L)

        # Those that end and are among the K best join the ended ones, of which the K best stay.
        joins = stops & (torch.arange(2 * beams, device=device) < beams)
        scores = torch.cat([ended_scores, torch.where(joins, best / length**length_penalty, NEVER)], 1)
        ended_scores, kept = scores.topk(beams)
        ended_lengths = torch.cat([ended_lengths, joins * length], 1).gather(1, kept)

        # The best K of the others run on.
        running, chosen = torch.where(stops, best + NEVER, best).topk(beams)
        written = candidates.gather(1, _like(chosen, candidates))
        parents = parents.gather(1, chosen)  # (B, K)
        tokens = allowed[written[:, :, -1]]

        full = (ended_lengths > 0).all(1)
        hopeless = running[:, 0] / length**length_penalty <= ended_scores.min(1).values
        done = full & hopeless
        if length == max_length - 1:
            done = torch.ones_like(done)

        broken = best[:, 0].isnan().any()  # topk puts NaN first
        any_joins, broken, any_done = torch.stack([joins.any(), broken, done.any()]).tolist()  # the host waits here
        if broken:
            raise not_finite()
        if any_joins:
            padded = torch.nn.functional.pad(candidates, (0, max_length - 1 - length))
            ended = torch.cat([ended, padded], 1)
            ended = ended.gather(1, _like(kept, ended))
        if any_done:
            for b in done.nonzero().squeeze(1).tolist():
                found[int(inputs[b])] = _hypotheses(
                    ended[b], ended_scores[b], ended_lengths[b], allowed, length_penalty
                )
            stay = (~done).nonzero().squeeze(1)
            if len(stay) == 0:
                break
        else:
            stay = torch.arange(len(inputs), device=device)
        same_inputs = len(stay) == len(inputs)
        decoder.select((stay[:, None] * beams + parents[stay]).flatten(), same_inputs)
        if not same_inputs:
            inputs, running, written, tokens = inputs[stay], running[stay], written[stay], tokens[stay]
            ended, ended_scores, ended_lengths = ended[stay], ended_scores[stay], ended_lengths[stay]
        tokens = tokens.flatten()
    return found


def _like(places: Tensor, rows: Tensor) -> Tensor:
    """(B, n) places of beams, spread over the tokens of rows (B, K, L)."""
    return places[:, :, None].expand(-1, -1, rows.shape[2])


def _hypotheses(
    tokens: Tensor, scores: Tensor, lengths: Tensor, allowed: Tensor, length_penalty: float
) -> list[Hypothesis]:
    rows = zip(allowed[tokens].tolist(), scores.tolist(), lengths.tolist(), strict=True)
    return [Hypothesis(row[:n], score * n**length_penalty, score) for row, score, n in rows if n and score > NEVER / 2]
