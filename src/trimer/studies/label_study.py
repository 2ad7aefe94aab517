"""Labels of molecules, proteins, peptides and residues: classes, yes/no labels and numbers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from trimer.building import build
from trimer.models.labelled_model import Labelled
from trimer.studies.settings import LABELS, PEPTIDES, SEQUENCES, check_predict_settings
from trimer.studies.study import Measurement, Study
from trimer.targets import target_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.evaluation.evaluation import Evaluation
    from trimer.prediction.predictor import Predictor

log = logging.getLogger(__name__)


class LabelStudy(Study):
    """Predicted labels, compared with baselines for the kind of sequence and with the model before fine-tuning."""

    @classmethod
    def network(cls, contract: Mapping[str, Any], vocab_size: int) -> nn.Module:
        from trimer.data.labelled.molecule_features import listed, width

        net = build(contract["model"], vocab_size=vocab_size)
        labels, task = contract.get("labels"), contract["task"]
        if labels is None:
            return net
        features = width(listed(contract["data"].get("features") or ()))
        labelled = Labelled(net, len(labels["classes"]), labels["target"], task.get("head"), features)
        labelled.criterion = task.get("threshold")
        return labelled

    @property
    def description(self) -> str:
        labels = self.loaded.contract["labels"]
        return f"predicts {target_of(labels['target']).in_words(labels['classes'])} of {self.entity}"

    @property
    def net(self) -> Labelled:
        """The network of the checkpoint."""
        return cast("Labelled", self.loaded.net)

    @property
    def file_source(self) -> dict[str, Any]:
        """A table with a column for each label, or with a single one, of classes."""
        labels, reader = self.loaded.contract["labels"], "label_files.LabelledFiles"
        names = None if self.net.kind.has_classes else labels["classes"]
        if self.entity == "peptides":
            reader = "peptide_labels.LabelledPeptides"
        column = "smiles" if self.entity == "molecules" else "sequence"
        return {"_target_": f"trimer.data.labelled.{reader}", "column": column, "labels": names}

    def encoder(self) -> nn.Module:
        return self.loaded.net

    @property
    def predict_settings(self) -> Sequence[str]:
        return (SEQUENCES, *{"peptides": (PEPTIDES,), "molecules": (LABELS,)}.get(self.entity, ()))

    def predictor(self, cfg: DictConfig) -> Predictor:
        from trimer.prediction.label_predictor import LabelPredictor

        check_predict_settings(cfg, self.predict_settings, self.loaded.path)
        return LabelPredictor(self.loaded, cfg)

    @classmethod
    def can_average(cls, data: Mapping[str, Any]) -> bool:
        return data.get("entity") == "molecules" and data.get("target") != "residue"

    @classmethod
    def training_records(cls, data: Any, contract: Mapping[str, Any]) -> dict[str, Any]:
        """The fingerprints of the training molecules."""
        from trimer.training_molecules import KEY, training_molecules

        if data.sequences.plural != "molecules":
            return {}
        return {KEY: training_molecules(data.texts(data.split.rows("train")))}

    def calibrate(self, data: Any, cfg: DictConfig, folder: Path) -> dict[str, float]:
        """Fit temperature, thresholds and intervals on the validation split; store them in network and checkpoint.

        For molecules, also choose what is averaged; for proteins and peptides, store embeddings of the training data.
        """
        from trimer.accelerators.hardware import computing
        from trimer.checkpoint import read
        from trimer.checkpoint_updates import update_checkpoint
        from trimer.evaluation.averaging_choice import choose
        from trimer.evaluation.calibration import decisions
        from trimer.evaluation.label_evaluation import calibration
        from trimer.prediction.averaging import KEY as AVERAGING
        from trimer.prediction.averaging import Averaging
        from trimer.training_embeddings import KEY, training_embeddings

        net, path, before = self.net, self.loaded.path, self.net.thresholds
        keys: dict[str, Any] = {}
        metrics: dict[str, float] = {}
        with computing(cfg.trainer):
            fitted = calibration(net, data)
            if cfg.get("augment") or cfg.get("boosting") or self.loaded.averaging:
                net.temperature.copy_(fitted["temperature"])
                averaging, metrics, predictions = choose(
                    net, data, Averaging.of(self.loaded), cfg.get("augment"), cfg.get("boosting"), cfg.seed
                )
                fitted |= decisions(net, predictions, data.labels[data.split.rows("val")])
                self.loaded.averaging = keys[AVERAGING] = averaging.stored()
            if data.sequences.plural != "molecules":
                self.loaded.training_embeddings = keys[KEY] = training_embeddings(net, data, cfg.seed)
        state = {name: value.clone() for name, value in read(path)["state_dict"].items()}
        for name, value in fitted.items():
            getattr(net, name).copy_(value)
            state[f"net.{name}"] = value.clone()
        update_checkpoint(path, {"state_dict": state, **keys})
        if net.kind.numbers:
            log.info("90 %% intervals from the errors on the validation split: %s", intervals_text(net, data.classes))
        else:
            self._log_calibration(fitted, (net.thresholds == before).all())
        return metrics

    def _log_calibration(self, fitted: Mapping[str, Any], unchanged: bool) -> None:
        from trimer.metrics.temperature import HOTTEST

        temperature = fitted["temperature"].reshape(-1)
        listed = ", ".join(f"{value:.3f}" for value in temperature[:8].tolist())
        log.info("temperature fitted on the validation split: %s", listed)
        if "threshold" in fitted:
            origin = f"chosen by {(self.net.criterion or '').upper()} on the validation split"
            if unchanged:
                origin = f"those of the loss: no better ones were {origin}"
            log.info("%s; %s", thresholds_text(self.net, self.loaded.contract["labels"]["classes"]), origin)
        if (temperature == HOTTEST).any():
            log.warning(
                "the predictions on the validation split are not better than chance: the probabilities are close to "
                "the class frequencies of the train split"
            )

    @classmethod
    def baseline_names(cls, data: Any) -> Sequence[str]:
        from trimer.evaluation.label_comparison import baselines_of

        return list(baselines_of(data))

    def evaluate(self, measurement: Measurement) -> Evaluation:
        from trimer.accelerators.hardware import computing, place
        from trimer.baselines.model_before import begun_with
        from trimer.evaluation.applicability import applicability_of
        from trimer.evaluation.label_evaluation import columns_of, evaluate_labels
        from trimer.prediction.averaging import Averaging
        from trimer.reporting.attempts import attempt
        from trimer.reporting.label_report import draw_embeddings, label_details, label_pictures
        from trimer.reporting.split_report import publish, rows_of, save_results

        cfg, net, data = measurement.cfg, measurement.net, measurement.data
        split, out = measurement.split, measurement.out
        kind, labels = target_of(data.target), {"target": data.target, "classes": list(data.classes)}
        compared = cfg.baselines and not kind.by_residue
        begun = begun_with(measurement.trained, labels, data.features) if compared else None
        before = None if begun is None else place(begun.net, cfg.trainer)
        # A training has no key `calibrate`: it always calibrates, as does calibrate=true, and stores the choice.
        augment = None if cfg.get("calibrate", True) else cfg.augment
        averaging = Averaging.of(self.loaded, augment, cfg.seed)
        options = {"name": measurement.name, "baselines": cfg.baselines, "before": before, "seed": cfg.seed}
        options["averaging"] = averaging
        with computing(cfg.trainer):
            evaluation = evaluate_labels(cast("Labelled", net), data, split, **options)
            evaluation.applicability = applicability_of(self.loaded, net, data, data.split.rows(split))
        save_results(measurement, evaluation)
        pictures = label_pictures(evaluation, data, measurement.name, out)
        drawn = attempt("the embeddings", draw_embeddings, measurement.trained, out, net, data, measurement.name)
        pictures += drawn or []
        records = data.sequences.plural
        count = f"{len(evaluation.ids):,} {records}"
        predicted = kind.in_words(data.classes)
        subtitle = f"A language model of {records} predicts {predicted}. Evaluated on {count} of {rows_of(split)}."
        note = (
            "Every method predicts the same rows and was fitted on the train split only. ± is the standard error over "
            "rows resampled within their classes, and below it is the 95 % interval of the resamples. The second "
            "column is the model minus the method of the row on the same resamples, with the two-sided p-value of no "
            "difference. A dash marks a metric that is undefined on this split; the reasons are below."
        )
        if kind.numbers:
            note += (
                " The last two columns are the share of the true numbers that lie in the 90 % interval of the model, "
                "which was fitted on the validation split, and its mean width in the unit of the number."
            )
        if averaging.boosting is not None:
            note += f" The model is the average of language model and boosting (weight {averaging.weight:.2f})."
        if averaging.random_smiles:
            note += f" The language model reads each molecule as {1 + averaging.random_smiles} SMILES."
        title = f"{'Regression' if kind.numbers else 'Classification'} of {records}"
        shown = {"title": title, "subtitle": subtitle, "note": note, "pictures": pictures, "records": records}
        shown["details"] = attempt("the tables of the page", label_details, evaluation, data) or []
        publish(measurement, evaluation, columns_of(kind), count, **shown)
        return evaluation

    def log_predictions(self, trainer: Any, evaluation: Any) -> None:
        from trimer.reporting.attempts import attempt
        from trimer.trackers.publishing import sample_table
        from trimer.trackers.wandb_run import wandb_runs

        for run in wandb_runs(trainer) if not evaluation.kind.by_residue else ():
            table = attempt("test/predictions of the tracker", sample_table, evaluation, self.entity == "molecules")
            run.log_objects({} if table is None else {"test/predictions": table})


def intervals_text(net: Labelled, names: Sequence[str], count: int = 12) -> str:
    """The half-widths of the intervals of the first `count` numbers as text."""
    widths = net.half_widths
    if widths is None:
        return "none, because the validation split has too few labels"
    listed = ", ".join(f"{name} ± {width:.3g}" for name, width in list(zip(names, widths, strict=True))[:count])
    return listed + (", ..." if len(names) > count else "")


def thresholds_text(net: Labelled, classes: Sequence[str], count: int = 12) -> str:
    """The thresholds as text: of class 1 if there are two classes, else of the first `count` classes or labels."""
    values = net.threshold.tolist()
    thresholds = list(zip(classes, values, strict=True))
    if net.kind.has_classes:
        if len(set(values)) == 1 and len(thresholds) > 2:
            return "the predicted class is the most probable one, without thresholds"
        thresholds = thresholds[1:] if len(thresholds) == 2 else thresholds
    listed = ", ".join(f"{name} {value:.3f}" for name, value in thresholds[:count])
    listed += ", ..." if len(thresholds) > count else ""
    return f"{'threshold' if len(thresholds) == 1 else 'thresholds'} of the probability: {listed}"
