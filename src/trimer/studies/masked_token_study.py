"""Masked language models of proteins and molecules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from trimer.errors import CheckpointError
from trimer.studies.study import FINE_TUNE, PRE_TRAINED, Measurement, Study

if TYPE_CHECKING:
    from trimer.evaluation.evaluation import Evaluation


class MaskedTokenStudy(Study):
    """Embeddings, and the perplexity of masked tokens, compared with trivial baselines."""

    without_predictor = f"{PRE_TRAINED}: trimer embed ckpt={{ckpt}} writes embeddings; {FINE_TUNE}"

    @property
    def description(self) -> str:
        return f"embeds {self.entity} and predicts their masked tokens"

    def encoder(self) -> nn.Module:
        return self.loaded.net

    def check_data(self, data: Any) -> None:
        if getattr(self.loaded.net, "head", True) is None:
            raise CheckpointError(
                f"ckpt={self.loaded.path} has no head for masked tokens and cannot be evaluated: use trimer embed"
            )

    @classmethod
    def baseline_names(cls, data: Any) -> Sequence[str]:
        from trimer.baselines.protein_baselines import trivial_baselines

        return list(trivial_baselines(data.tokenizer))

    def evaluate(self, measurement: Measurement) -> Evaluation:
        from trimer.accelerators.hardware import computing
        from trimer.evaluation.masked_token_evaluation import METRICS, evaluate_language
        from trimer.reporting.attempts import attempt
        from trimer.reporting.figures import residue_bars
        from trimer.reporting.split_report import publish, rows_of, save_results

        cfg, data, split, out = measurement.cfg, measurement.data, measurement.split, measurement.out
        options = {"name": measurement.name, "baselines": cfg.baselines, "seed": cfg.seed}
        with computing(cfg.trainer):
            evaluation = evaluate_language(measurement.net, self.loaded.tokenizer, data, split, **options)
        save_results(measurement, evaluation)
        pictures = [attempt("residues.png", residue_bars, evaluation.residues, out / "residues.png")]
        what = "tokens of molecules" if self.entity == "molecules" else "residues of proteins"
        subtitle = (
            f"A language model predicts masked {what}. Evaluated on {evaluation.metrics['masked_tokens']:,.0f} masked "
            f"tokens of {rows_of(split)}."
        )
        note = (
            "Every method sees the same corrupted sequences and predicts the same positions, which depend on the ids "
            "of the sequences. Perplexity is exp(summed loss / masked tokens), over all masked positions as in "
            "published values, and over positions with <mask> only. ± is the standard error over sequences."
        )
        shown: dict[str, Any] = {"title": "Masked tokens", "subtitle": subtitle, "note": note, "pictures": pictures}
        publish(measurement, evaluation, METRICS, records="sequences", **shown)
        return evaluation
