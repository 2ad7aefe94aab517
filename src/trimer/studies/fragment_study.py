"""Fragment intensities of peptides and spectral libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from trimer.building import build
from trimer.counts import counted
from trimer.errors import CheckpointError
from trimer.models.fragment_model import Fragments
from trimer.studies.settings import LIBRARIES, PEPTIDES, SEQUENCES, check_predict_settings
from trimer.studies.study import Measurement, Study

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.evaluation.evaluation import Evaluation
    from trimer.prediction.predictor import Predictor


class FragmentStudy(Study):
    """Fragment spectra, compared with the mean spectrum and the model before fine-tuning."""

    predict_settings = (SEQUENCES, PEPTIDES, LIBRARIES)

    @property
    def file_source(self) -> dict[str, Any]:
        return {"_target_": "trimer.data.peptides.fragment_files.FragmentFiles"}

    @classmethod
    def network(cls, contract: Mapping[str, Any], vocab_size: int) -> nn.Module:
        net = build(contract["model"], vocab_size=vocab_size)
        labels = contract.get("labels")
        return net if labels is None else Fragments(net, len(labels["classes"]), **(contract["task"].get("head") or {}))

    @property
    def description(self) -> str:
        return "predicts fragment intensities of peptides"

    @property
    def example(self) -> str:
        return "precursors"

    def encoder(self) -> nn.Module:
        raise CheckpointError(
            f"{self.loaded.path} predicts spectra from a peptide, its charge and a collision energy: its hidden states "
            "depend on all three, so they are not embeddings of peptides; use a model of masked tokens or labels"
        )

    def predictor(self, cfg: DictConfig) -> Predictor:
        from trimer.prediction.fragment_predictor import FragmentPredictor

        check_predict_settings(cfg, self.predict_settings, self.loaded.path)
        return FragmentPredictor(self.loaded, cfg)

    @classmethod
    def baseline_names(cls, data: Any) -> Sequence[str]:
        from trimer.evaluation.fragment_evaluation import MEAN_SPECTRUM

        return (MEAN_SPECTRUM,)

    def evaluate(self, measurement: Measurement) -> Evaluation:
        from trimer.accelerators.hardware import computing, place
        from trimer.baselines.model_before import begun_with
        from trimer.evaluation.fragment_evaluation import METRICS, evaluate_fragments
        from trimer.reporting.attempts import attempt
        from trimer.reporting.fragment_figures import SHOWN, draw_distribution, mirror_spectra, similarity_distributions
        from trimer.reporting.mirror_cards import mirror_cards
        from trimer.reporting.split_report import publish, rows_of, save_results

        cfg, data, split, out = measurement.cfg, measurement.data, measurement.split, measurement.out
        labels = {"target": data.target, "classes": list(data.classes)}
        begun = begun_with(measurement.trained, labels) if cfg.baselines else None
        before = None if begun is None else place(begun.net, cfg.trainer)
        options = {"name": measurement.name, "baselines": cfg.baselines, "before": before, "seed": cfg.seed}
        with computing(cfg.trainer):
            evaluation = evaluate_fragments(measurement.net, data, split, **options)
        save_results(measurement, evaluation)
        attempt("similarity.png", similarity_distributions, evaluation, out / "similarity.png")
        attempt("spectra.png", mirror_spectra, evaluation, out / "spectra.png")
        charts = {label: (draw_distribution, evaluation.values[name], label) for name, label in SHOWN.items()}
        further = {"Spectra": lambda: mirror_cards(evaluation)}
        count = counted(len(evaluation.ids), "spectra")
        subtitle = (
            f"A language model of peptides predicts the intensities of {', '.join(data.classes)}. Evaluated on {count} "
            f"of {rows_of(split)}."
        )
        note = (
            "Impossible fragments of a peptide are omitted; a possible fragment that was not measured has "
            "intensity 0. Each metric is computed for each spectrum; the table holds the median, or the mean, over "
            "spectra. ± is the standard error over spectra."
        )
        shown: dict[str, Any] = {"title": "Fragments", "subtitle": subtitle, "note": note, "records": "spectra"}
        shown |= {"charts": charts, "further": further}
        publish(measurement, evaluation, METRICS, count, **shown)
        return evaluation
