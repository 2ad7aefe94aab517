"""The baselines of a split of labelled data: fitted on train, predicting the same rows as the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trimer.accelerators.cpu_speed import threads
from trimer.baselines.label_baseline import LabelBaseline
from trimer.baselines.label_baselines import FOR_MOLECULES, FOR_PEPTIDES, FOR_PROTEINS, FOR_RESIDUES, Baselines
from trimer.baselines.stored_boosting import NAME
from trimer.evaluation.calibration import chooses_thresholds, chosen_thresholds
from trimer.models.labelled_model import Labelled
from trimer.progress import tracked
from trimer.targets import target_of

log = logging.getLogger(__name__)

OF_SEQUENCES: dict[str, Baselines] = {"molecules": FOR_MOLECULES, "proteins": FOR_PROTEINS, "peptides": FOR_PEPTIDES}


@dataclass
class BaselineResult:
    """Predictions of a baseline, or the reason why there are none.

    predictions: (n, C), (n, K) or (R, C) as those of the model, None if the baseline failed. thresholds: (C,) or (K,),
    if those of the model were chosen on the validation split. note: why it failed, or what the fit left out.
    """

    method: str
    predictions: np.ndarray | None
    thresholds: np.ndarray | None = None
    note: str = ""


def baselines_of(data) -> Baselines:
    """The baselines for the data, by name."""
    return FOR_RESIDUES if target_of(data.target).by_residue else OF_SEQUENCES[data.sequences.plural]


def baseline_results(
    net: Labelled,
    data,
    texts: Sequence[str],
    seed: int,
    boosting: LabelBaseline | None = None,
    chosen: Sequence[str] | None = None,
) -> Iterator[BaselineResult]:
    """Fit each baseline on train and predict the texts; a failure is a result with its reason and a warning.

    If the thresholds of the network were chosen on the validation split, so are those of the baselines. boosting: that
    of the checkpoint, which is not fitted again. chosen: names of the baselines; by default all.
    """
    known = baselines_of(data)
    choices = {name: known[name] for name in (known if chosen is None else chosen)}
    for method, build in tracked(choices.items(), "baselines", len(choices), "baselines", lambda item: 1):
        started = time.monotonic()
        try:
            stored = boosting if method == NAME else None
            baseline = stored or build(data.target, seed, threads())
            predicted = _predicted(baseline, net, data, texts, fit=stored is None)
            result = BaselineResult(method, *predicted, baseline.note)
        except Exception as error:  # whatever a library raises for unusual data: the other rows are still of use
            result = BaselineResult(method, None, note=f"no result: {str(error) or type(error).__name__}")
        if result.note:
            report: Callable[..., None] = log.warning if result.predictions is None else log.info
            report("baseline '%s': %s", method, result.note)
        log.debug("baseline '%s': %.1f s", method, time.monotonic() - started)
        yield result


def _predicted(
    baseline: LabelBaseline, net: Labelled, data, texts: Sequence[str], fit: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Predictions of the texts, and thresholds chosen on the validation split if the network has such."""
    if fit:
        baseline.fit(data.texts(data.split.rows("train")), data.training_labels().numpy(), len(data.classes))
    chosen = thresholds_like(net, data, lambda: baseline.predict(data.texts(data.split.rows("val"))))
    return baseline.predict(texts), chosen


def thresholds_like(net: Labelled, data, predict: Callable[[], np.ndarray]) -> np.ndarray | None:
    """Thresholds of another method, chosen on the validation split as those of the network; None for default ones.

    predict: gives the predictions of the method for the validation split.
    """
    if "val" not in data.split.names or net.kind.by_residue or not chooses_thresholds(net):
        return None
    if not len(rows := data.split.rows("val")):
        return None
    return chosen_thresholds(net, predict(), data.labels[rows])
