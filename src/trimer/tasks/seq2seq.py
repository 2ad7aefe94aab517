"""Sequence-to-sequence training: denoising, or spectra to molecules, depending on the data."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from trimer.data.core.batches import PairBatch, label_count
from trimer.generation.molecule_generator import MoleculeGenerator
from trimer.metrics.perplexity import TokenLoss
from trimer.protocols import Seq2SeqModel
from trimer.tasks.task import Task
from trimer.tasks.token_loss import check_chunked_loss, token_loss


class Seq2Seq(Task):
    """An encoder-decoder trained by cross-entropy on each token of the target.

    label_smoothing: fraction of the probability spread over the vocabulary, in training only.
    generator: generates molecules for validation, evaluation and prediction.
    chunked_loss: compute the training loss without the scores of all tokens in memory; None for off.
    metrics: get (T, V) logits and (T,) next tokens, -100 at padding.
    """

    batch = PairBatch
    study = "trimer.studies.molecule_study.MoleculeStudy"
    model = Seq2SeqModel

    def __init__(
        self,
        net,
        tokenizer,
        optimizer=None,
        scheduler=None,
        generator=None,
        label_smoothing: float = 0.0,
        compile: bool = False,
        metrics=None,
        chunked_loss: bool | None = None,
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing} must be at least 0 and below 1")
        super().__init__(net, tokenizer, optimizer, scheduler, compile, metrics)
        self.chunked_loss = chunked_loss
        self.generator = generator
        self.label_smoothing = label_smoothing
        self.loss = TokenLoss()

    def check_parts(self, data: Any) -> None:
        super().check_parts(data)
        check_chunked_loss(self.chunked_loss, self.net, self.label_smoothing)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        inputs = (batch.source, batch.target)
        loss = token_loss(self.net, inputs, batch.labels, self.chunked_loss, self.label_smoothing)
        return self.record_loss(loss, label_count(batch.labels), tokens=batch.real_tokens)

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        logits = self.net(batch.source, batch.target).float()  # (T, V)
        loss = F.cross_entropy(logits, batch.labels, reduction="sum")
        correct = (logits.argmax(-1) == batch.labels).sum()
        self.loss.update(loss, label_count(batch.labels), correct)
        self.update_metrics(logits, batch.labels)

    def predict_step(self, batch: PairBatch, batch_idx: int) -> dict[str, Any]:
        """`rows`, and `written`: for each the ranked `GeneratedMolecules`."""
        generator = self.generator or MoleculeGenerator()
        sources = [tokens.cpu().numpy() for tokens in batch.source.unpack()]
        return {"rows": batch.rows, "written": generator.generate(self.net, self.tokenizer, sources)}

    def validation_metrics(self) -> dict[str, float]:
        """Loss, perplexity and accuracy per token of the whole split."""
        values = self.loss.compute()
        self.loss.reset()
        return values
