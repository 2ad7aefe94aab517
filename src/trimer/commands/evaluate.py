"""`trimer evaluate`: a checkpoint on a split, beside the baselines, as a table, a page and what lies behind them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

if TYPE_CHECKING:
    from trimer.evaluation.language import LanguageEvaluation
    from trimer.evaluation.molecules import Evaluation

log = logging.getLogger(__name__)

PICTURES = 32  # spectra in a tracker's table of predictions
WRITES_MOLECULES = "trimer.tasks.seq2seq.Seq2Seq"
FINDS_RESIDUES = "trimer.tasks.masked_lm.MaskedLM"


def main(cfg: DictConfig) -> float | None:
    """Measure ckpt on cfg.data, or on the data it was trained with."""
    from trimer.build import build, located
    from trimer.checkpoint import changed, load
    from trimer.errors import ConfigError
    from trimer.hardware import place
    from trimer.run import RunFolder

    loaded = load(cfg.ckpt)
    run = RunFolder(cfg.paths.run).start(cfg, command="evaluate")
    data = build(data_to_measure(cfg, loaded.contract))
    kind = loaded.contract["kind"]
    if data.batch is not located(kind, "ckpt").batch:
        raise ConfigError(f"data={type(data).__name__} gives nothing that a model of {kind.rsplit('.', 1)[-1]} reads")
    data.setup()
    if not data.has_labels:
        raise ConfigError("the data of this checkpoint have no molecules to compare with: name data=<choice>")
    trained = loaded.path.parent.parent  # the run folder, where the checkpoint still lies in it
    if not cfg.data:
        RunFolder(trained).check_split(data, "restore them, or name the data to measure, data=<choice>")
    data.save_reports(run.path)
    net = place(loaded.net, cfg.trainer)
    options = {"split": cfg.split, "name": model_name(trained, loaded.path), "trained": trained}
    if kind == FINDS_RESIDUES:
        refuse_molecule_settings(cfg)
        evaluation = measure_language(run.path, net, loaded.tokenizer, data, cfg, **options)
    else:
        generator = build(changed(loaded.contract["task"]["generator"], cfg.generator), seed=cfg.seed)
        asked = {"by": list(cfg.by), "formula_known": cfg.formula_known, "mces": cfg.mces}
        evaluation = measure_molecules(run.path, net, loaded.tokenizer, generator, data, cfg, **options, **asked)
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


def refuse_molecule_settings(cfg: DictConfig) -> None:
    """ConfigError for settings that only a model which writes molecules has."""
    from trimer.errors import ConfigError

    given = [key for key in ("by", "formula_known", "mces") if cfg[key]]
    given += [f"generator.{key}" for key, value in cfg.generator.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]}: this checkpoint finds masked residues and writes no molecules; leave it out")


def measure_run(run, task, data, trainer, cfg: DictConfig) -> dict[str, float]:
    """The test split of a run that has just been trained, by its best checkpoint, also in the run's trackers."""
    from trimer.callbacks.rank_molecules import log_prediction_table
    from trimer.checkpoint import load
    from trimer.hardware import place

    if not trainer.is_global_zero:
        return {}
    loaded = load(run.path)
    net = place(loaded.net, cfg.trainer)
    options = {"split": "test", "name": cfg.name, "trained": run.path}
    if loaded.contract["kind"] == FINDS_RESIDUES:
        evaluation = measure_language(run.path, net, data.tokenizer, data, cfg, **options)
    else:
        evaluation = measure_molecules(run.path, net, data.tokenizer, task.generator, data, cfg, **options)
        log_prediction_table(trainer, "test/predictions", evaluation.predictions[:PICTURES])
    for logger in trainer.loggers:
        logger.log_metrics(evaluation.named("test"), step=trainer.global_step)
    return evaluation.named("test")


def measure_molecules(
    folder: Path, net, tokenizer, generator, data, cfg: DictConfig, split: str, name: str, trained: Path, **options
) -> Evaluation:
    """Evaluate what is written for the spectra of a split; table, predictions, figures and page go to `folder/split`.

    trained: the run folder whose `metrics.csv`, if there is one, holds the training curves. options: of evaluate_pairs.
    """
    from trimer.evaluation.molecules import evaluate_pairs
    from trimer.hardware import computing
    from trimer.reporting.figures import spectra_grid, tanimoto_histogram
    from trimer.reporting.page import evenly
    from trimer.reporting.run_page import write_run_page

    with computing(cfg.trainer):
        evaluation = evaluate_pairs(
            net, tokenizer, generator, data, split, name=name, baselines=cfg.baselines, seed=cfg.seed, **options
        )
    out, metrics = folder / split, trained / "metrics.csv"
    evaluation.save(out)
    write_curves(metrics, out)
    tanimoto_histogram(evaluation.similarities, out / "tanimoto.png")
    spectra_grid([record for _, record in evenly(evaluation.predictions, 8)], out / "spectra.png")
    page = write_run_page(
        folder,
        split,
        evaluation.table,
        evaluation.predictions,
        distributions=evaluation.similarities,
        metrics=metrics,
    )
    short = ["top1_accuracy", "top10_accuracy", "tanimoto@1", "tanimoto@10", "validity"]
    show(evaluation.table.rows, short, f"{split} split, {len(evaluation.predictions):,} spectra")
    log.info("page: %s", page)
    return evaluation


def measure_language(
    folder: Path, net, tokenizer, data, cfg: DictConfig, split: str, name: str, trained: Path
) -> LanguageEvaluation:
    """Evaluate how well masked residues of a split are found; table, figures and page go to `folder/split`."""
    from trimer.evaluation.language import METRICS, evaluate_language
    from trimer.hardware import computing
    from trimer.reporting.figures import residue_bars
    from trimer.reporting.run_page import write_run_page

    with computing(cfg.trainer):
        evaluation = evaluate_language(net, tokenizer, data, split, name=name, baselines=cfg.baselines, seed=cfg.seed)
    out, metrics = folder / split, trained / "metrics.csv"
    evaluation.save(out)
    write_curves(metrics, out)
    residue_bars(evaluation.residues, out / "residues.png")
    subtitle = (
        f"A language model finds masked residues of proteins. Measured on {evaluation.metrics['masked_tokens']:,.0f} "
        f"masked residues of the {split} part."
    )
    note = (
        "Every method sees the same damaged sequences and answers for the same places, fixed by the ids of the "
        "sequences. Perplexity is exp(summed loss / masked residues), with those that show a residue instead of "
        "<mask>, as in published figures, and of <mask> alone. ± is the standard error over sequences."
    )
    page = write_run_page(
        folder, split, evaluation.table, [], title="Masked residues", subtitle=subtitle, note=note, metrics=metrics
    )
    show(evaluation.table.rows, METRICS, f"{split} split")
    log.info("page: %s", page)
    return evaluation


def write_curves(metrics: Path, out: Path) -> None:
    """The training curves as a picture, where they were recorded."""
    from trimer.reporting.curves import read_curves
    from trimer.reporting.figures import training_curves

    if metrics.is_file():
        training_curves(read_curves(metrics), out / "curves.png")


def show(rows: list[dict], metrics, title: str) -> None:
    """The table on the terminal, with the columns that fit there."""
    from rich.console import Console

    from trimer.reporting.table import ResultTable

    console = Console(width=max(Console().width, 104))
    console.print(ResultTable(metrics=metrics, rows=rows).to_rich(title, errors=False))


def model_name(run: Path, checkpoint: Path) -> str:
    """What the model is called in a table: its run's name with the seed, or the name of a file outside of a run."""
    from omegaconf import OmegaConf

    config = OmegaConf.load(run / "config.yaml") if (run / "config.yaml").is_file() else {}
    return f"{config['name']}, seed {config.get('seed', 0)}" if "name" in config else checkpoint.stem
