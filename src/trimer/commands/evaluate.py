"""`trimer evaluate`: a checkpoint on a split, compared with the baselines: table, page, figures and predictions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from trimer.reporting.attempts import attempt, failed_reports
from trimer.studies.study import Evaluation, Measurement

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> None:
    """Evaluate a checkpoint; nothing is returned that a sweep could compare."""
    evaluate(cfg)


def evaluate(cfg: DictConfig) -> Evaluation:
    """Evaluate cfg.ckpt on cfg.data, or on the data it was trained with; the results are in cfg.paths.run."""
    from trimer.accelerators.hardware import place
    from trimer.accelerators.stacks import refuse_prediction
    from trimer.building import build, located
    from trimer.checkpoint import check_labels
    from trimer.data.core.splits import WHOLE
    from trimer.errors import ConfigError
    from trimer.evaluation.training_overlap import report_split
    from trimer.run import RunFolder

    refuse_prediction(cfg.trainer.accelerator)
    failed_reports()  # of an earlier job of this process
    (loaded, trained), split = to_measure(cfg), split_to_measure(cfg)
    study = loaded.study
    check_settings_of_others(cfg, study.own_settings)
    if split == WHOLE and cfg.baselines:
        cfg.baselines = False
        log.info("all rows are evaluated, without baselines, which need a train split: ask for split=test")
    run = RunFolder(cfg.paths.run).start(cfg, command="evaluate")
    data = build(data_to_measure(cfg, loaded.contract))
    if split == WHOLE and hasattr(data, "measure_whole"):
        data.measure_whole()
    if cfg.data:
        take_trained_classes(data, cfg, loaded.contract)
    kind = loaded.contract["kind"]
    if data.batch is not located(kind, "ckpt").batch:
        raise ConfigError(f"data={type(data).__name__} has nothing that a model of {kind.rsplit('.', 1)[-1]} reads")
    data.setup()
    study.check_data(data)
    if "labels" in loaded.contract:
        check_labels(loaded.contract, {"target": data.target, "classes": list(data.classes)}, loaded.path)
    if not cfg.data:
        RunFolder(trained).check_split(data, "restore them, or name the data to evaluate, data=<choice>")
    data.save_reports(run.path)
    net = place(loaded.net, cfg.trainer)
    overlap = report_split(run.path / split, loaded.training_keys, data, split)
    name = model_name(trained, loaded.path)
    evaluation = study.evaluate(Measurement(net, data, split, run.path, name, trained, cfg))
    add_overlap(overlap, run.path / split)
    facts = {"checkpoint": str(loaded.path), "training_overlap": overlap.counts(), **failed_reports()}
    run.finish({"metrics": evaluation.named(split), **facts})
    return evaluation


def to_measure(cfg: DictConfig):
    """The checkpoint, or public weights, and the folder of the run that trained it (of public weights: their own)."""
    from omegaconf import OmegaConf

    from trimer.checkpoint import load
    from trimer.errors import ConfigError
    from trimer.public import is_public, load_public

    if not is_public(cfg.ckpt):
        loaded = load(cfg.ckpt)
        return loaded, loaded.path.parent.parent  # the run folder, where the checkpoint still lies in it
    if not cfg.data:
        raise ConfigError(f"ckpt={cfg.ckpt} are public weights, which name no data: name data=<choice>")
    data = OmegaConf.to_container(cfg.data, resolve=True)
    loaded = load_public(cfg.ckpt, data, atoms=bool((data.get("tokenizer") or {}).get("atoms")))
    return loaded, loaded.path


def split_to_measure(cfg: DictConfig) -> str:
    """The split that is asked for; else the test split of the data of the checkpoint, and all rows of other data.

    Who says how other data are split (data.split...) asks for their test split.
    """
    from trimer.data.core.splits import WHOLE
    from trimer.resuming import key_of
    from trimer.run import spoken

    asked = any(key_of(text).startswith("data.split") for text in spoken())
    return cfg.split or (WHOLE if cfg.data and not asked else "test")


def add_overlap(overlap, out: Path) -> None:
    """What was in the training data, as a column of the predictions, where these are a table."""
    if (path := out / "predictions.parquet").is_file():
        overlap.add_to(path)


def data_to_measure(cfg: DictConfig, contract: dict) -> dict:
    """The config of cfg.data, or of the data of the checkpoint, read by the checkpoint's tokenizer, in this cache."""
    from omegaconf import OmegaConf

    data = OmegaConf.to_container(cfg.data, resolve=True) if cfg.data else dict(contract["data"])
    return with_cache(data | {"tokenizer": contract["tokenizer"]}, cfg.paths.cache)


def take_trained_classes(data, cfg: DictConfig, contract: dict) -> None:
    """Number the classes of other data as in the training of the checkpoint, unless data.classes names them."""
    labels = contract.get("labels") or {}
    if labels.get("target", "none") == cfg.data.get("target") and cfg.data.classes is None:
        data.take_classes(labels["classes"])


def with_cache(settings, cache: str):
    """The settings with every `cache` in them, at whatever depth, at another place."""
    if isinstance(settings, list):
        return [with_cache(value, cache) for value in settings]
    if not isinstance(settings, dict):
        return settings
    return {key: cache if key == "cache" else with_cache(value, cache) for key, value in settings.items()}


def check_settings_of_others(cfg: DictConfig, own: tuple[str, ...]) -> None:
    """ConfigError for settings that only studies of another kind have. own: those of this study."""
    from trimer.errors import ConfigError

    given = [key for key in ("by", "formula_known", "mces", "lookups") if cfg[key] and key not in own]
    if "generator" not in own:
        given += [f"generator.{key}" for key, value in cfg.generator.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]}: this checkpoint does not generate molecules; leave it out")


def measure_run(run: Any, task: Any, data: Any, trainer: Any, cfg: DictConfig) -> dict[str, float]:
    """Evaluate the test split of a run that has just been trained, by its best checkpoint, also in its trackers."""
    from trimer.accelerators.hardware import place
    from trimer.checkpoint import load
    from trimer.evaluation.training_overlap import report_split

    if not trainer.is_global_zero:
        return {}
    loaded = load(run.path)
    net = place(loaded.net, cfg.trainer)
    overlap = report_split(run.path / "test", loaded.training_keys, data, "test")
    study = loaded.study
    study.calibrate(data, cfg)
    evaluation = study.evaluate(Measurement(net, data, "test", run.path, cfg.name, run.path, cfg))
    study.log_predictions(trainer, evaluation)
    add_overlap(overlap, run.path / "test")
    finish_protocol(run, task, loaded, data, trainer, cfg, evaluation)
    for logger in trainer.loggers:
        logger.log_metrics(evaluation.named("test"), step=trainer.global_step)
    attempt("the figures of the tracker", log_pictures, trainer, run.path / "test")
    return evaluation.named("test")


def finish_protocol(run, task, loaded, data, trainer, cfg: DictConfig, evaluation) -> None:
    """The test part in the table of callbacks=protocol, by the metrics of the validations, and the pictures of it."""
    from trimer.accelerators.hardware import computing, device_of
    from trimer.callbacks.protocol import ANSWERS, Protocol
    from trimer.checkpoint import read
    from trimer.reporting.protocol_figures import metric_curves

    protocol = next((callback for callback in trainer.callbacks if isinstance(callback, Protocol)), None)
    if protocol is None:
        return
    learnt, task.net = task.net, loaded.net
    with computing(cfg.trainer):
        metrics = task.to(device_of(cfg.trainer)).evaluate(data.evaluation_batches("test"))
    task.net = learnt
    protocol.add("test", int(read(loaded.path)["epoch"]), metrics)
    protocol.save()
    attempt("the protocol of the tracker", protocol.log_table, trainer)
    out = run.path / "test"
    attempt("protocol.png", metric_curves, protocol.rows, out / "protocol.png")
    if getattr(data, "target", None) == "regression":
        attempt("before_and_after.png", before_and_after, run.path / ANSWERS, evaluation, data, out)


def before_and_after(kept: Path, evaluation, data, out: Path) -> None:
    """Numbers predicted before the training, where they were kept, beside those after it."""
    import numpy as np

    from trimer.reporting.number_figures import predicted_against_observed

    before = np.load(kept)["answers"] if kept.is_file() else None
    said = {"Before": before, "After": evaluation.answers}
    predicted_against_observed(said, evaluation.labels, data.classes, out / "before_and_after.png")


def log_pictures(trainer, folder: Path) -> None:
    """The figures of the test split, for every tracker that is a W&B run."""
    from lightning.pytorch.loggers import WandbLogger

    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            for path in sorted(folder.glob("*.png")):
                logger.log_image(f"test/{path.stem}", [str(path)])
            if (page := folder / "embeddings.html").is_file():
                import wandb

                logger.experiment.log({"test/embeddings page": wandb.Html(page.read_text(encoding="utf-8"))})


def model_name(run: Path, checkpoint: Path) -> str:
    """What the model is called in a table: its run's name with the seed, or the name of a file outside of a run."""
    from trimer.run import run_config

    config = run_config(run)
    if "name" in config:
        return f"{config['name']}, seed {config.get('seed', 0)}"
    return checkpoint.name if checkpoint.is_dir() else checkpoint.stem
