"""`trimer evaluate`: a checkpoint on a split, beside the baselines, as a table, a page and one record per spectrum."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from trimer.evaluation import Evaluation

log = logging.getLogger(__name__)

SHORT = ["top1_accuracy", "top10_accuracy", "tanimoto@1", "tanimoto@10", "validity"]  # columns that fit a terminal
PICTURES = 32  # spectra in a tracker's table of predictions
KIND = "trimer.tasks.seq2seq.Seq2Seq"


def main(cfg: DictConfig) -> float | None:
    """Measure ckpt on cfg.data, or on the data it was trained with."""
    from trimer.build import build
    from trimer.checkpoint import changed, load
    from trimer.errors import ConfigError
    from trimer.hardware import place
    from trimer.run import RunFolder

    loaded = load(cfg.ckpt, kind=KIND)
    run = RunFolder(cfg.paths.run).start(cfg, command="evaluate")
    data = build(data_to_measure(cfg, loaded.contract))
    data.setup()
    if not data.has_labels:
        raise ConfigError("the data of this checkpoint have no molecules to compare with: name data=<choice>")
    data.save_reports(run.path)
    generator = build(changed(loaded.contract["task"]["generator"], cfg.generator), seed=cfg.seed)
    net = place(loaded.net, cfg.trainer)
    trained = loaded.path.parent.parent  # the run folder, where the checkpoint still lies in it
    name = model_name(trained, loaded.path)
    parts = (net, loaded.tokenizer, generator, data)
    options = {"by": list(cfg.by), "formula_known": cfg.formula_known, "mces": cfg.mces}
    evaluation = measure(run.path, *parts, cfg, split=cfg.split, name=name, trained=trained, **options)
    run.finish({"metrics": evaluation.named(cfg.split), "checkpoint": str(loaded.path)})
    return None


def data_to_measure(cfg: DictConfig, contract: dict) -> dict:
    """The config of cfg.data, or of the data of the checkpoint, read by the checkpoint's tokenizer, in this cache."""
    from omegaconf import OmegaConf

    data = OmegaConf.to_container(cfg.data, resolve=True) if cfg.data else dict(contract["data"])
    data |= {"tokenizer": contract["tokenizer"], "cache": cfg.paths.cache}
    if data.get("exclude"):
        data["exclude"] = {**data["exclude"], "data": {**data["exclude"]["data"], "cache": cfg.paths.cache}}
    return data


def measure_run(run, task, data, trainer, cfg: DictConfig) -> dict[str, float]:
    """The test split of a run that has just been trained, by its best checkpoint, also in the run's trackers."""
    from trimer.callbacks.rank_molecules import log_prediction_table
    from trimer.checkpoint import load
    from trimer.hardware import place

    if not trainer.is_global_zero:
        return {}
    net = place(load(run.path, kind=KIND).net, cfg.trainer)
    parts = (net, data.tokenizer, task.generator, data)
    evaluation = measure(run.path, *parts, cfg, split="test", name=cfg.name, trained=run.path)
    for logger in trainer.loggers:
        logger.log_metrics(evaluation.named("test"), step=trainer.global_step)
    log_prediction_table(trainer, "test/predictions", evaluation.predictions[:PICTURES])
    return evaluation.named("test")


def measure(
    folder: Path, net, tokenizer, generator, data, cfg: DictConfig, split: str, name: str, trained: Path, **options
) -> Evaluation:
    """Evaluate one split, and leave table, predictions, figures and page in `<folder>/<split>`.

    trained: the run folder whose `metrics.csv`, if there is one, holds the training curves. options: of evaluate_pairs.
    """
    from rich.console import Console

    from trimer.evaluation import evaluate_pairs, write_predictions
    from trimer.hardware import computing
    from trimer.reporting.run_page import write_run_page
    from trimer.reporting.table import ResultTable

    with computing(cfg.trainer):
        evaluation = evaluate_pairs(
            net, tokenizer, generator, data, split, name=name, baselines=cfg.baselines, seed=cfg.seed, **options
        )
    out = folder / split
    evaluation.table.save(out)
    for group, table in evaluation.slices.items():
        table.save(out, f"by_{group}")
    write_predictions(out / "predictions.parquet", evaluation.predictions)
    metrics = trained / "metrics.csv"
    write_figures(metrics, out, evaluation)
    distributions = evaluation.similarities
    page = write_run_page(
        folder, split, evaluation.table, evaluation.predictions, distributions=distributions, metrics=metrics
    )
    shown = ResultTable(metrics=SHORT, rows=evaluation.table.rows)
    console = Console(width=max(Console().width, 104))
    console.print(shown.to_rich(f"{split} split, {len(evaluation.predictions):,} spectra", errors=False))
    log.info("page: %s", page)
    return evaluation


def write_figures(metrics: Path, out: Path, evaluation) -> None:
    """Training curves, distribution of similarities and a grid of spectra with their molecules, as pictures."""
    from trimer.reporting.curves import read_curves
    from trimer.reporting.figures import spectra_grid, tanimoto_histogram, training_curves
    from trimer.reporting.page import evenly

    if metrics.is_file():
        training_curves(read_curves(metrics), out / "curves.png")
    tanimoto_histogram(evaluation.similarities, out / "tanimoto.png")
    spectra_grid([record for _, record in evenly(evaluation.predictions, 8)], out / "spectra.png")


def model_name(run: Path, checkpoint: Path) -> str:
    """What the model is called in a table: its run's name with the seed, or the name of a file outside of a run."""
    from omegaconf import OmegaConf

    config = OmegaConf.load(run / "config.yaml") if (run / "config.yaml").is_file() else {}
    return f"{config['name']}, seed {config.get('seed', 0)}" if "name" in config else checkpoint.stem
