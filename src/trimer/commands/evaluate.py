"""`trimer evaluate`: evaluates a checkpoint on a split and compares it with baselines in a table and a page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word
from trimer.errors import ConfigError
from trimer.reporting.attempts import attempt, failed_reports
from trimer.studies.study import Measurement

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded
    from trimer.evaluation.evaluation import Evaluation

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> None:
    """Evaluate a checkpoint; returns nothing, so a sweep has no objective."""
    evaluate(cfg)
    log.info("results: %s", word(cfg.paths.run))
    suggest(f"trimer report input={word(Path(cfg.paths.run).parent)} compares the evaluations of a folder")


def evaluate(cfg: DictConfig, overrides: Sequence[str] | None = None) -> Evaluation:
    """Evaluate cfg.ckpt on cfg.data, or on its training data module; writes the results to cfg.paths.run."""
    from trimer.accelerators.hardware import place
    from trimer.accelerators.stacks import check_can_predict
    from trimer.building import build, located
    from trimer.checkpoint import check_labels
    from trimer.data.core.splits import WHOLE
    from trimer.evaluation.training_overlap import report_split
    from trimer.pretrained.packed import is_packed
    from trimer.reporting.differences import for_result
    from trimer.run import RunFolder, model_name
    from trimer.studies.settings import check_averaging

    check_can_predict(cfg.trainer.accelerator)
    failed_reports()  # forget those of an earlier job of this process
    (loaded, trained), split = load_for_evaluation(cfg), evaluated_split(cfg, overrides)
    study = loaded.study
    check_study_settings(cfg, study.extra_settings)
    check_averaging(cfg, type(loaded.study), loaded.contract["data"])
    if cfg.calibrate and cfg.data:
        raise ConfigError(
            "calibrate=true uses the training data of the checkpoint: remove data=..., or evaluate other data alone"
        )
    if cfg.calibrate and is_packed(loaded.path):
        raise ConfigError(
            f"calibrate=true changes the checkpoint, and {loaded.path} is a packed model: calibrate its run and pack "
            "it again with trimer pack"
        )
    if split == WHOLE and cfg.baselines:
        cfg.baselines = False
        log.info(
            "all rows are evaluated, without baselines, because these need a train split: set split=test to compare"
        )
    run = RunFolder(cfg.paths.run).start(cfg, overrides, command="evaluate")
    data = build(evaluated_data(cfg, loaded.contract))
    if split == WHOLE and hasattr(data, "measure_whole"):
        data.measure_whole()
    if cfg.data:
        use_trained_classes(data, cfg, loaded.contract)
    kind = loaded.contract["kind"]
    if data.batch is not located(kind, "ckpt").batch:
        raise ConfigError(
            f"data={type(data).__name__} does not fit the task {kind.rsplit('.', 1)[-1]}: choose data for that task"
        )
    study.check_baselines(cfg.baselines, data)
    data.setup()
    study.check_data(data)
    if "labels" in loaded.contract:
        check_labels(loaded.contract, {"target": data.target, "classes": list(data.classes)}, loaded.path)
    if not cfg.data:
        RunFolder(trained).check_split(data, "restore the data, or choose other data with data=<choice>")
    data.save_reports(run.path)
    net = place(loaded.net, cfg.trainer)
    reliability = calibrate(loaded, data, cfg, run.path) if cfg.calibrate else {}
    overlap = report_split(run.path / split, loaded.training_keys, data, split)
    name = model_name(trained, loaded.path)
    evaluation = study.evaluate(Measurement(net, data, split, run.path, name, trained, cfg))
    add_overlap(overlap, run.path / split)
    facts = {"checkpoint": str(loaded.path), "training_overlap": overlap.counts(), **failed_reports()}
    facts |= for_result(evaluation.table)
    run.finish({"metrics": reliability | evaluation.split_metrics(split), **facts})
    return evaluation


def calibrate(loaded: Loaded, data: Any, cfg: DictConfig, folder: Path) -> dict[str, float]:
    """Do what a training does at its end, in its checkpoint: training records, calibration. Returns its metrics."""
    from trimer.checkpoint_updates import check_can_update, update_checkpoint

    check_can_update(loaded.path)
    records = loaded.study.training_records(data, loaded.contract)
    for name, value in records.items():
        setattr(loaded, name, value)
    if records:
        update_checkpoint(loaded.path, records)
    return loaded.study.calibrate(data, cfg, folder)


def load_for_evaluation(cfg: DictConfig) -> tuple[Loaded, Path]:
    """The checkpoint or public weights, and the folder of the training run (for public weights: their folder)."""
    from trimer.checkpoint import load
    from trimer.public import is_public, load_public
    from trimer.resuming import plain_dict

    if not is_public(cfg.ckpt):
        loaded = load(cfg.ckpt)
        return loaded, loaded.run
    if not cfg.data:
        raise ConfigError(f"ckpt={cfg.ckpt} are public weights, which have no data: choose them with data=<choice>")
    data = plain_dict(cfg.data)
    loaded = load_public(cfg.ckpt, data, atoms=bool((data.get("tokenizer") or {}).get("atoms")))
    return loaded, loaded.path


def evaluated_split(cfg: DictConfig, overrides: Sequence[str] | None = None) -> str:
    """The split of the config; by default the test split of the checkpoint's data, and all rows of other data.

    If the overrides (by default those of the command line) define the split of other data (data.split...), their test
    split is the default.
    """
    from trimer.data.core.splits import WHOLE
    from trimer.resuming import key_of
    from trimer.run import command_line_overrides

    words = command_line_overrides() if overrides is None else overrides
    defines_split = any(key_of(text).startswith("data.split") for text in words)
    return cfg.split or (WHOLE if cfg.data and not defines_split else "test")


def add_overlap(overlap, out: Path) -> None:
    """Add the column in_training to the predictions, if these are a table."""
    if (path := out / "predictions.parquet").is_file():
        overlap.add_to(path)


def evaluated_data(cfg: DictConfig, contract: dict) -> dict:
    """The config of cfg.data, or of the checkpoint's data, with the input of the checkpoint and this cache."""
    from trimer.resuming import plain_dict

    data = plain_dict(cfg.data) if cfg.data else dict(contract["data"])
    inputs = {"tokenizer": contract["tokenizer"]}
    if "features" in contract["data"]:
        inputs["features"] = contract["data"]["features"]
    return with_cache(data | inputs, cfg.paths.cache)


def use_trained_classes(data, cfg: DictConfig, contract: dict) -> None:
    """Number the classes of other data as in the training of the checkpoint, unless data.classes is set."""
    labels = contract.get("labels") or {}
    if labels.get("target", "none") == cfg.data.get("target") and cfg.data.classes is None:
        data.take_classes(labels["classes"])


def with_cache(settings, cache: str):
    """The settings, with every key `cache` in them, at any depth, set to this folder."""
    if isinstance(settings, list):
        return [with_cache(value, cache) for value in settings]
    if not isinstance(settings, dict):
        return settings
    return {key: cache if key == "cache" else with_cache(value, cache) for key, value in settings.items()}


def check_study_settings(cfg: DictConfig, allowed: tuple[str, ...]) -> None:
    """ConfigError for settings that only other studies have. allowed: extra settings of this study."""
    rejected = [key for key in ("by", "formula_known", "mces", "lookups") if cfg[key] and key not in allowed]
    if "generator" not in allowed:
        rejected += [f"generator.{key}" for key, value in cfg.generator.items() if value is not None]
    if rejected:
        raise ConfigError(
            f"{rejected[0]} is for models that generate molecules, and this checkpoint does not: remove the setting"
        )


def evaluate_test_split(run: Any, task: Any, data: Any, trainer: Any, cfg: DictConfig) -> dict[str, Any]:
    """Evaluate the test split of a run that has just been trained, by its best checkpoint, also in its trackers.

    Returns what result.json holds of it: `metrics`, and the `differences` to the baselines if there are any.
    """
    from trimer.accelerators.hardware import place
    from trimer.checkpoint import load
    from trimer.evaluation.training_overlap import report_split
    from trimer.reporting.differences import for_result
    from trimer.trackers.publishing import log_results

    if not trainer.is_global_zero:
        return {}
    loaded = load(run.path)
    net = place(loaded.net, cfg.trainer)
    overlap = report_split(run.path / "test", loaded.training_keys, data, "test")
    study = loaded.study
    reliability = study.calibrate(data, cfg, run.path)
    evaluation = study.evaluate(Measurement(net, data, "test", run.path, cfg.name, run.path, cfg))
    study.log_predictions(trainer, evaluation)
    add_overlap(overlap, run.path / "test")
    finish_protocol(run, task, loaded, data, trainer, cfg, evaluation)
    for logger in trainer.loggers:
        logger.log_metrics(evaluation.split_metrics("test"), step=trainer.global_step)
    attempt("the results of the tracker", log_results, trainer, run.path, "test", evaluation)
    return {"metrics": reliability | evaluation.split_metrics("test"), **for_result(evaluation.table)}


def finish_protocol(run, task, loaded, data, trainer, cfg: DictConfig, evaluation) -> None:
    """Add the test split to the table of callbacks=protocol, with the metrics of the validations, and draw figures."""
    from trimer.accelerators.hardware import computing, device_of
    from trimer.callbacks.protocol import PREDICTIONS_BEFORE, Protocol
    from trimer.checkpoint import read
    from trimer.reporting.protocol_figures import metric_curves

    protocol = next((callback for callback in trainer.callbacks if isinstance(callback, Protocol)), None)
    if protocol is None:
        return
    last_net, task.net = task.net, loaded.net
    with computing(cfg.trainer):
        metrics = task.to(device_of(cfg.trainer)).evaluate(data.evaluation_batches("test"))
    task.net = last_net
    protocol.add("test", int(read(loaded.path)["epoch"]), metrics)
    protocol.save()
    attempt("the protocol of the tracker", protocol.log_table, trainer)
    out = run.path / "test"
    attempt("protocol.png", metric_curves, protocol.rows, out / "protocol.png")
    if getattr(data, "predicts_numbers", False):
        attempt("before_and_after.png", before_and_after, run.path / PREDICTIONS_BEFORE, evaluation, data, out)


def before_and_after(stored: Path, evaluation, data, out: Path) -> None:
    """Draw the numbers predicted before the training (if they were stored) and after it."""
    import numpy as np

    from trimer.reporting.number_figures import predicted_against_observed

    before = np.load(stored)["answers"] if stored.is_file() else None
    predictions = {"Before": before, "After": evaluation.predictions}
    predicted_against_observed(predictions, evaluation.labels, data.classes, out / "before_and_after.png")
