"""Beam search: the most likely sequences, found by continuing the K best ones at every step.

It follows the rules of `generate(num_beams=n)` in `transformers` and finds the same sequences. Of the 2 K best
continuations, those that end are kept if they are among the first K, and the others continue. An input is finished when
no running beam can exceed the worst kept sequence at the current length. Inputs are independent, and leave the batch
when finished.

Shapes: B inputs that are not finished, K beams, A allowed tokens, L tokens generated so far.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trimer.flat import Flat
from trimer.generation.cache import BOS, EOS, CachedDecoder, Hypothesis, allowed_ids, check_length, not_finite
from trimer.models.bart import Bart

NEVER = -1e9  # score of impossible choices


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
    """The best sequences of each source, best first: B lists of at most K = `beams`.

    The score of a sequence is its log-likelihood divided by its number of tokens to the power of length_penalty.
    The other arguments are those of `sample`.
    """
    check_length(net, max_length)
    allowed = allowed_ids(net, allowed_tokens)
    device, end = allowed.device, int((allowed == EOS).nonzero())
    decoder = CachedDecoder(net, source, beams, allowed, dtype, beams=True)
    inputs = torch.arange(len(source), device=device)  # (B,) index of each input in source
    results: list[list[Hypothesis]] = [[] for _ in range(len(source))]

    running = torch.zeros(len(source), beams, 0, dtype=torch.long, device=device)  # (B, K, L) tokens of running beams
    log_likelihoods = torch.full((len(source), beams), NEVER, device=device)  # of running beams
    log_likelihoods[:, 0] = 0.0  # all beams start equal: only the first one continues
    ended = torch.zeros(len(source), beams, max_length - 1, dtype=torch.long, device=device)
    ended_scores = torch.full((len(source), beams), NEVER, device=device)
    ended_lengths = torch.zeros(len(source), beams, dtype=torch.long, device=device)  # 0: empty
    tokens = torch.full((len(source) * beams,), BOS, device=device)

    for length in range(1, max_length):
        log_p = torch.log_softmax(decoder.step(tokens), -1).view(len(inputs), beams, -1)
        log_p += log_likelihoods[:, :, None]
        best, indices = log_p.flatten(1).topk(2 * beams)  # (B, 2 K), best first
        parents, choices = indices // len(allowed), indices % len(allowed)
        stops = (choices == end) | (length == max_length - 1)
        candidates = torch.cat([running.gather(1, _expand(parents, running)), choices[:, :, None]], 2)  # (B, 2 K, L)

        # Continuations that end and are among the K best join the ended ones, of which the K best are kept.
        joins = stops & (torch.arange(2 * beams, device=device) < beams)
        scores = torch.cat([ended_scores, torch.where(joins, best / length**length_penalty, NEVER)], 1)
        ended_scores, kept = scores.topk(beams)
        ended_lengths = torch.cat([ended_lengths, joins * length], 1).gather(1, kept)

        # The best K of the others continue.
        log_likelihoods, chosen = torch.where(stops, best + NEVER, best).topk(beams)
        running = candidates.gather(1, _expand(chosen, candidates))
        parents = parents.gather(1, chosen)  # (B, K)
        tokens = allowed[running[:, :, -1]]

        hopeless = log_likelihoods[:, 0] / length**length_penalty <= ended_scores.min(1).values
        done = ((ended_lengths > 0).all(1) & hopeless) | (length == max_length - 1)

        is_nan = best[:, 0].isnan().any()  # topk puts NaN first
        any_joins, any_nan, any_done = torch.stack([joins.any(), is_nan, done.any()]).tolist()  # waits for the device
        if any_nan:
            raise not_finite()
        if any_joins:
            padded = torch.nn.functional.pad(candidates, (0, max_length - 1 - length))
            ended = torch.cat([ended, padded], 1)
            ended = ended.gather(1, _expand(kept, ended))
        if any_done:
            for b in done.nonzero().squeeze(1).tolist():
                beams_of_input = ended[b], ended_scores[b], ended_lengths[b]
                results[int(inputs[b])] = _hypotheses(*beams_of_input, allowed, length_penalty)
            stay = (~done).nonzero().squeeze(1)
            if len(stay) == 0:
                break
        else:
            stay = torch.arange(len(inputs), device=device)
        same_inputs = len(stay) == len(inputs)
        decoder.select((stay[:, None] * beams + parents[stay]).flatten(), same_inputs)
        if not same_inputs:
            inputs, tokens = inputs[stay], tokens[stay]
            log_likelihoods, running = log_likelihoods[stay], running[stay]
            ended, ended_scores, ended_lengths = ended[stay], ended_scores[stay], ended_lengths[stay]
        tokens = tokens.flatten()
    return results


def _expand(beams: Tensor, rows: Tensor) -> Tensor:
    """(B, n) indices of beams, expanded over the tokens of rows (B, K, L) for `gather`."""
    return beams[:, :, None].expand(-1, -1, rows.shape[2])


def _hypotheses(
    tokens: Tensor, scores: Tensor, lengths: Tensor, allowed: Tensor, length_penalty: float
) -> list[Hypothesis]:
    rows = zip(allowed[tokens].tolist(), scores.tolist(), lengths.tolist(), strict=True)
    return [Hypothesis(row[:n], score * n**length_penalty, score) for row, score, n in rows if n and score > NEVER / 2]
