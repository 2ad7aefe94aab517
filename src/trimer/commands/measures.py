"""From a network and a split to a table, figures and a page: one function for each kind of task.

The table and the predictions are written first. A figure or page that cannot be made is reported by `attempt`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from trimer.data.core.splits import WHOLE
from trimer.reporting.attempts import attempt

if TYPE_CHECKING:
    from trimer.evaluation.fragment_evaluation import FragmentEvaluation
    from trimer.evaluation.label_evaluation import LabelEvaluation
    from trimer.evaluation.masked_token_evaluation import LanguageEvaluation
    from trimer.evaluation.molecule_evaluation import Evaluation
    from trimer.reporting.page import Detail

log = logging.getLogger(__name__)


def measure_molecules(
    folder: Path, net, tokenizer, generator, data, cfg: DictConfig, split: str, name: str, trained: Path, **options
) -> Evaluation:
    """Evaluate what is written for the spectra of a split; table, predictions, figures and page go to `folder/split`.

    trained: the run folder whose `metrics.csv`, if there is one, holds the training curves. options: of evaluate_pairs.
    """
    from trimer.accelerators.hardware import computing
    from trimer.evaluation.molecule_evaluation import evaluate_pairs
    from trimer.reporting.figures import spectra_grid, tanimoto_histogram
    from trimer.reporting.run_page import write_run_page
    from trimer.reporting.spectrum_cards import evenly

    with computing(cfg.trainer):
        evaluation = evaluate_pairs(
            net, tokenizer, generator, data, split, name=name, baselines=cfg.baselines, seed=cfg.seed, **options
        )
    out, metrics = folder / split, trained / "metrics.csv"
    evaluation.save(out)
    write_curves(metrics, out)
    attempt("tanimoto.png", tanimoto_histogram, evaluation.similarities, out / "tanimoto.png")
    attempt("spectra.png", lambda: spectra_grid([r for _, r in evenly(evaluation.predictions, 8)], out / "spectra.png"))
    page = attempt(
        "page.html",
        write_run_page,
        folder,
        split,
        evaluation.table,
        evaluation.predictions,
        distributions=evaluation.similarities,
        metrics=metrics,
    )
    short = ["top1_accuracy", "top10_accuracy", "tanimoto@1", "tanimoto@10", "validity"]
    title = f"{split} split, {len(evaluation.predictions):,} spectra"
    show(evaluation.table.rows, short, title, folder / split / "table.md")
    if page is not None:
        log.info("page: %s", page)
    return evaluation


def measure_language(
    folder: Path, net, tokenizer, data, cfg: DictConfig, split: str, name: str, trained: Path
) -> LanguageEvaluation:
    """Evaluate how well masked residues of a split are found; table, figures and page go to `folder/split`."""
    from trimer.accelerators.hardware import computing
    from trimer.evaluation.masked_token_evaluation import METRICS, evaluate_language
    from trimer.reporting.figures import residue_bars

    with computing(cfg.trainer):
        evaluation = evaluate_language(net, tokenizer, data, split, name=name, baselines=cfg.baselines, seed=cfg.seed)
    out, metrics = folder / split, trained / "metrics.csv"
    evaluation.save(out)
    write_curves(metrics, out)
    pictures = [attempt("residues.png", residue_bars, evaluation.residues, out / "residues.png")]
    what = "tokens of molecules" if data.kind == "molecules_masked" else "residues of proteins"
    subtitle = (
        f"A language model finds masked {what}. Measured on {evaluation.metrics['masked_tokens']:,.0f} masked tokens "
        f"of {rows_of(split)}."
    )
    note = (
        "Every method sees the same damaged sequences and answers for the same places, fixed by the ids of the "
        "sequences. Perplexity is exp(summed loss / masked residues), with those that show a residue instead of "
        "<mask>, as in published figures, and of <mask> alone. ± is the standard error over sequences."
    )
    shown = {"subtitle": subtitle, "note": note, "metrics": metrics, "pictures": pictures, "records": "sequences"}
    publish(folder, split, evaluation, METRICS, f"{split} split", title="Masked tokens", **shown)
    return evaluation


def rows_of(split: str) -> str:
    """The rows of a split, in words."""
    return "these data, all of them" if split == WHOLE else f"the {split} part"


def publish(folder: Path, split: str, evaluation, columns, what: str, **shown) -> None:
    """The page of a split without examples, and its table on the terminal. shown: of write_run_page."""
    from trimer.reporting.run_page import write_run_page

    page = attempt("page.html", write_run_page, folder, split, evaluation.table, [], **shown)
    show(evaluation.table.rows, columns, what, folder / split / "table.md")
    if page is not None:
        log.info("page: %s", page)


def write_curves(metrics: Path, out: Path) -> None:
    """The training curves as a picture, where they were recorded."""
    from trimer.reporting.curves import read_curves
    from trimer.reporting.figures import training_curves

    if metrics.is_file():
        attempt("curves.png", lambda: training_curves(read_curves(metrics), out / "curves.png"))


def show(rows: list[dict], metrics, title: str, file: Path | None = None) -> None:
    """Print the table, with the columns that fit the terminal. file: where the whole table is."""
    from trimer.reporting.table import ResultTable
    from trimer.terminal_tables import print_table

    print_table(ResultTable(metrics=metrics, rows=rows).to_rich(title, errors=False), file)


def measure_labels(
    folder: Path, net, tokenizer, data, cfg: DictConfig, split: str, name: str, trained: Path
) -> LabelEvaluation:
    """Evaluate the labels of a split; table, predictions, figures and page go to `folder/split`."""
    from trimer.accelerators.hardware import computing, place
    from trimer.baselines.model_before import begun_with
    from trimer.evaluation.label_evaluation import METRICS, evaluate_labels

    labels = {"target": data.target, "classes": list(data.classes)}
    begun = begun_with(trained, labels) if cfg.baselines and data.target != "residue" else None
    before = None if begun is None else place(begun.net, cfg.trainer)
    with computing(cfg.trainer):
        evaluation = evaluate_labels(net, data, split, name=name, baselines=cfg.baselines, before=before, seed=cfg.seed)
    out, metrics = folder / split, trained / "metrics.csv"
    evaluation.save(out)
    write_curves(metrics, out)
    pictures = label_pictures(evaluation, data, name, out)
    pictures += attempt("the embeddings", draw_embeddings, trained, out, net, data) or []
    subtitle = (
        f"A language model of {data.sequences.plural} predicts {words_of(data)}. Measured on "
        f"{len(evaluation.ids):,} {data.sequences.plural} of {rows_of(split)}."
    )
    note = (
        "Every method answers the same rows, and was fitted on the train part alone. ± is the standard error over rows "
        "resampled within their classes, below it the interval of 95 % of the resamples. A dash is a metric that the "
        "split cannot tell; the reasons are below."
    )
    records = data.sequences.plural
    details = attempt("the tables of the page", label_details, evaluation, data) or []
    shown = {"subtitle": subtitle, "note": note, "metrics": metrics, "pictures": pictures, "records": records}
    what = f"{split} split, {len(evaluation.ids):,} {records}"
    publish(folder, split, evaluation, METRICS[data.target], what, title="Labels", details=details, **shown)
    return evaluation


def label_pictures(evaluation: LabelEvaluation, data, name: str, out: Path) -> list[Path | None]:
    """The figures of predicted labels: None for one that could not be made."""
    from trimer.metrics.label_metrics import confusion
    from trimer.reporting.label_figures import confusion_matrix, reliability
    from trimer.reporting.number_figures import predicted_against_observed

    answers, labels = evaluation.answers, evaluation.labels
    if data.target == "regression":
        path = out / "predicted.png"
        return [attempt(path.name, predicted_against_observed, {name: answers}, labels, data.classes, path)]
    pictures = [attempt("reliability.png", reliability, answers, labels, out / "reliability.png")]
    if data.target in ("single", "residue"):
        path = out / "confusion.png"

        def matrix() -> Path:
            return confusion_matrix(confusion(answers, labels, evaluation.thresholds), evaluation.classes, path)

        pictures.insert(0, attempt(path.name, matrix))
    return pictures


def label_details(evaluation: LabelEvaluation, data) -> list[Detail]:
    """What a page says beside the table: each class, the largest mistakes, and why a metric has no value."""
    from trimer.evaluation.largest_errors import mistakes
    from trimer.metrics.label_metrics import per_class
    from trimer.reporting.page import Detail

    of_classes = data.target in ("single", "residue")
    found = evaluation.answers, evaluation.labels, evaluation.classes, evaluation.thresholds
    by_class = per_class(*found) if of_classes else []
    called = data.sequences.plural.removesuffix("s")
    drawn = called if called == "molecule" else None
    return [
        Detail("Classes", by_class),
        Detail("Probabilities", evaluation.probabilities(), threshold_note(evaluation.target)),
        Detail(
            "Farthest from the truth", mistakes(evaluation, called), "The largest mistakes, the worst first.", drawn
        ),
        Detail("Without a value, or in part", evaluation.reasons()),
    ]


def threshold_note(target: str) -> str:
    """How to read the table of probabilities and thresholds."""
    told = (
        "The answer is yes where the probability is above the threshold. "
        if target == "multi"
        else "The answer is the class whose probability is the largest multiple of its threshold. "
    )
    return f"A mean probability far from the share of the class is a sign of poor calibration. {told}"


def measure_fragments(
    folder: Path, net, tokenizer, data, cfg: DictConfig, split: str, name: str, trained: Path
) -> FragmentEvaluation:
    """Evaluate the fragment intensities of a split; table, predictions, figures and page go to `folder/split`."""
    from trimer.accelerators.hardware import computing, place
    from trimer.baselines.model_before import begun_with
    from trimer.evaluation.fragment_evaluation import METRICS, evaluate_fragments
    from trimer.reporting.fragment_figures import mirror_spectra, similarity_histograms

    begun = begun_with(trained, {"target": data.target, "classes": list(data.classes)}) if cfg.baselines else None
    before = None if begun is None else place(begun.net, cfg.trainer)
    with computing(cfg.trainer):
        evaluation = evaluate_fragments(
            net, data, split, name=name, baselines=cfg.baselines, before=before, seed=cfg.seed
        )
    out, metrics = folder / split, trained / "metrics.csv"
    evaluation.save(out)
    write_curves(metrics, out)
    pictures = [
        attempt("similarity.png", similarity_histograms, evaluation, out / "similarity.png"),
        attempt("spectra.png", mirror_spectra, evaluation, out / "spectra.png"),
    ]
    subtitle = (
        f"A language model of peptides predicts the intensities of {', '.join(data.classes)}. Measured on "
        f"{len(evaluation.ids):,} spectra of {rows_of(split)}."
    )
    note = (
        "Fragments that a peptide cannot give are left out; one that was not found counts as 0. Every metric is of one "
        "spectrum; the table holds the median, or the mean, over spectra. ± is the standard error over spectra."
    )
    shown = {"subtitle": subtitle, "note": note, "metrics": metrics, "pictures": pictures}
    what = f"{split} split, {len(evaluation.ids):,} spectra"
    publish(folder, split, evaluation, METRICS, what, title="Fragments", **shown)
    return evaluation


def draw_embeddings(trained: Path, out: Path, net, data) -> list[Path]:
    """The embeddings before and after fine-tuning, as a picture and a page, where those before were kept."""
    import numpy as np

    from trimer.callbacks.embeddings import NAME, vectors_of
    from trimer.reporting.embedding_page import embedding_page
    from trimer.reporting.label_figures import embedding_map

    path = trained / NAME
    if not path.is_file() or data.target not in ("single", "regression") or "train" not in data.split.names:
        return []
    kept = np.load(path)
    if kept["store"] != data.folder.name:
        return []  # of other data
    rows, before = kept["rows"], kept["vectors"]
    after = vectors_of(net, data, rows)
    train = np.isin(rows, data.split.rows("train"))
    labels = data.labels[rows] if data.target == "single" else data.labels[rows, 0].astype(float)
    classes = data.classes if data.target == "single" else None
    shown = {"train": train, "classes": classes, "name": "" if classes else data.classes[0]}
    shown["projection"] = str(kept["projection"])
    embedding_map(before, after, labels, out / "embeddings.png", **shown)
    embedding_page(before, after, labels, data.ids(rows), out / "embeddings.html", **shown)
    return [out / "embeddings.png"]


def words_of(data) -> str:
    """What is predicted, in words."""
    count = len(data.classes)
    return {
        "single": f"one of {count} classes",
        "residue": f"one of {count} classes for each residue",
        "multi": f"{count} yes-or-no labels" if count > 1 else f"yes or no: {data.classes[0]}",
        "regression": f"{count} numbers" if count > 1 else data.classes[0],
    }[data.target]
