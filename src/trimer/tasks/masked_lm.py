"""Pre-training of encoders: prediction of the masked tokens of a sequence."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from trimer.data.core.batches import MaskedBatch, label_count
from trimer.metrics.perplexity import TokenLoss
from trimer.protocols import MaskedModel
from trimer.tasks.task import Task
from trimer.tasks.token_loss import check_chunked_loss, token_loss


class MaskedLM(Task):
    """An encoder trained by cross-entropy on masked tokens; logits are computed at these positions only.

    A batch without a masked token has a loss of zero and does not change its optimizer step.
    chunked_loss: compute the training loss without the scores of all masked tokens in memory; None for off.
    metrics: get (M, V) logits at the masked positions and (M,) labels, -100 at padding.
    """

    batch = MaskedBatch
    study = "trimer.studies.masked_token_study.MaskedTokenStudy"
    model = MaskedModel

    def __init__(
        self,
        net,
        tokenizer,
        optimizer=None,
        scheduler=None,
        compile: bool = False,
        metrics=None,
        chunked_loss: bool | None = None,
    ):
        super().__init__(net, tokenizer, optimizer, scheduler, compile, metrics)
        self.chunked_loss = chunked_loss
        self.loss = TokenLoss()

    def check_parts(self, data: Any) -> None:
        super().check_parts(data)
        check_chunked_loss(self.chunked_loss, self.net)

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        loss = token_loss(self.net, (batch.sequence, batch.positions), batch.labels, self.chunked_loss)
        work = {"tokens": batch.real_tokens, "residues": batch.residues}
        if (count_flops := getattr(self.net, "training_flops", None)) is not None:
            work["flops"] = count_flops(batch.sequence.sizes, batch.masked)
        return self.record_loss(loss, label_count(batch.labels), **work)

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        logits = self.net(batch.sequence, batch.positions).float()
        loss = F.cross_entropy(logits, batch.labels, reduction="sum")
        self.loss.update(loss, label_count(batch.labels), (logits.argmax(-1) == batch.labels).sum())
        self.update_metrics(logits, batch.labels)

    def predict_step(self, batch: MaskedBatch, batch_idx: int) -> dict[str, Tensor]:
        """`rows`; (M,) `positions` in the concatenated batch, most probable `tokens` and their `probabilities`."""
        probabilities, tokens = self.net(batch.sequence, batch.positions).float().softmax(-1).max(-1)
        return {"rows": batch.rows, "positions": batch.positions, "tokens": tokens, "probabilities": probabilities}

    def validation_metrics(self) -> dict[str, float]:
        """Loss, perplexity and accuracy per masked token of the whole split."""
        values = self.loss.compute()
        self.loss.reset()
        return values
