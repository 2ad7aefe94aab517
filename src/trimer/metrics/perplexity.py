"""Loss and perplexity of a language model: sums over tokens divided by tokens, never means of means."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric


class TokenLoss(Metric):
    """Negative log-likelihood per labelled token, its exponential, and the share of tokens predicted correctly.

    update(loss_sum, tokens, correct): the sum of -log p over the labelled tokens of a batch in nats, how many they are,
    and how many have the highest logit at the label (None if not counted). Sums add up over batches and ranks, so
    the result does not depend on how the tokens were cut into batches.
    compute() -> {"loss", "perplexity", "token_accuracy"}; the accuracy only if every update counted it.
    """

    full_state_update = False
    higher_is_better = False
    loss_sum: Tensor
    tokens: Tensor
    correct: Tensor
    uncounted: Tensor

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        for name in ("loss_sum", "tokens", "correct"):
            self.add_state(name, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("uncounted", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, loss_sum: Tensor | float, tokens: Tensor | int, correct: Tensor | int | None = None) -> None:
        self.loss_sum += loss_sum.detach() if isinstance(loss_sum, Tensor) else loss_sum
        self.tokens += tokens
        if correct is None:
            self.uncounted += 1
        else:
            self.correct += correct

    def compute(self) -> dict[str, float]:
        tokens = self.tokens.item()
        if tokens == 0:
            return {"loss": math.nan, "perplexity": math.nan}
        loss = self.loss_sum.item() / tokens
        values = {"loss": loss, "perplexity": math.exp(loss) if loss < 700 else math.inf}
        if self.uncounted.item() == 0:
            values["token_accuracy"] = self.correct.item() / tokens
        return values
