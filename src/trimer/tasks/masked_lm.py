"""Find the masked tokens of a sequence: pre-training of encoders."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from trimer.data.core.batches import MaskedBatch, label_count
from trimer.metrics.perplexity import TokenLoss
from trimer.tasks.task import Task


class MaskedLM(Task):
    """An encoder trained by cross-entropy on the tokens that were taken from it; the head is asked nowhere else.

    A batch without a masked token has a loss of zero and adds nothing to the step it belongs to.
    """

    batch = MaskedBatch
    study = "trimer.studies.masked_token_study.MaskedTokenStudy"
    uses = ("hidden", "logits", "training_flops")

    def __init__(self, net, tokenizer, optimizer=None, scheduler=None, compile: bool = False):
        super().__init__(net, tokenizer, optimizer, scheduler, compile)
        self.loss = TokenLoss()

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        logits = self.net(batch.sequence, batch.places)
        loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum")
        work = {
            "tokens": batch.real_tokens,
            "residues": batch.residues,
            "flops": self.net.training_flops(batch.sequence.sizes, batch.asked),
        }
        return self.scaled(loss, label_count(batch.labels), **work)

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        logits = self.net(batch.sequence, batch.places).float()
        loss = F.cross_entropy(logits, batch.labels, reduction="sum")
        self.loss.update(loss, label_count(batch.labels), (logits.argmax(-1) == batch.labels).sum())

    def validation_metrics(self) -> dict[str, float]:
        """Loss, perplexity and accuracy per masked token of the whole split."""
        values = self.loss.compute()
        self.loss.reset()
        return values
