"""`trimer train`: trains a model, evaluates it on the test split, and writes everything to the run folder."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from trimer.accelerators.stacks import STATIC, check_device
from trimer.commands.debug_files import next_reading
from trimer.commands.next_steps import suggest, word
from trimer.errors import CheckpointError, ConfigError, InputError
from trimer.reporting.attempts import attempt, failed_reports
from trimer.resuming import is_complete, plain_dict
from trimer.run import RunFolder, command_line_overrides, config_choices, first_process
from trimer.signals import ended_while_waiting

log = logging.getLogger(__name__)

RESTORE = "restore the data, or start a new run with ckpt="
# Config groups except data: constructor arguments that are objects, not settings.
GROUPS: dict[str, tuple[str, ...]] = {
    "trainer": (),
    "callbacks": (),
    "logger": (),
    "optimizer": (),
    "scheduler": (),
    "model": ("vocab_size",),
    "task": ("net", "tokenizer", "optimizer", "scheduler"),
}


def main(cfg: DictConfig) -> float | None:
    """Run one training; returns the objective of a sweep, which is also written to `result.json`."""
    from trimer.callbacks.stopping import ended_by_signals

    if cfg.get("shards") is not None or cfg.get("shard") is not None:
        raise ConfigError("shards= and shard= are keys of trimer prepare: prepare the data, then train without them")
    with ended_by_signals():
        return train(cfg)


def train(cfg: DictConfig) -> float | None:
    """Train, evaluate the test split, and write the result to the run folder."""
    import lightning as L

    from trimer.accelerators.cpu_speed import log_choice
    from trimer.accelerators.hardware import peak_memory
    from trimer.accelerators.precision import keep_data_whole
    from trimer.building import build, build_all
    from trimer.checkpoint import contract, study_class, warm_start
    from trimer.data.core.training_keys import stages_of
    from trimer.loggers import open_loggers
    from trimer.trackers import publishing

    leave_out_replaced_callbacks(cfg)
    check_settings(cfg)
    failed_reports()  # forget those of an earlier job of this process
    run = RunFolder(cfg.paths.run)
    checkpoint = start_or_resume(run, cfg)
    if cfg.resume and is_complete(run, cfg):
        log.info("%s has ended; to continue it, increase trainer.max_steps or trainer.max_epochs", run.path)
        return run.result.get("objective")
    config = plain_dict(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)

    data = build(cfg.data)
    net = build(cfg.model, vocab_size=len(data.tokenizer))
    trained = warm_start(net, data.tokenizer, cfg.ckpt) if cfg.ckpt and checkpoint is None else None
    factories = {"optimizer": build(cfg.optimizer or None), "scheduler": build(cfg.scheduler or None)}
    task = build(cfg.task, net=net, tokenizer=data.tokenizer, **factories)
    if trained is not None:
        task.start_from(trained)
    task.contract = contract(config, data.tokenizer)
    study_class(task.contract).check_baselines(cfg.baselines, data)
    task.check_parts(data)
    task.configure_optimizers()  # only for its errors; the trainer calls it again
    log_choice(str(cfg.trainer.precision))
    log.info(describe_model(net, data))

    with open_loggers(build_all(cfg.logger), config) as loggers:
        trainer = build(cfg.trainer, callbacks=callbacks_of(cfg), logger=loggers)
        keep_data_whole(trainer)
        data.setup()
        task.configure_for(data)
        if checkpoint is not None:
            restore_weights(task, net, checkpoint, trainer)
        if cfg.resume:
            run.check_split(data, RESTORE)
        run.record_data(data, RESTORE, config)
        if cfg.resume:
            run.start(cfg)
        if first_process():  # which writes the checkpoints
            task.training_keys = stages_of(data, cfg.name, cfg.ckpt, checkpoint)
            data.save_reports(run.path)
        attempt("the data of the tracker", publishing.log_data, trainer, run.path)
        started, memory = time.perf_counter(), peak_memory()
        with ended_while_waiting(trainer.world_size):
            trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        result = {
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "steps": trainer.global_step,
            "real_tokens": task.real_tokens,
            "stopped_early": stopped_early(trainer),
            "memory_mb": None if memory is None else round((peak_memory() or 0) - memory),  # added by the training
            "seconds": round(time.perf_counter() - started, 3),
        }
        record_training_data(run, task, data, trainer)
        draw_stopping(run, trainer)
        of_test = result_of_test_split(run, task, data, trainer, cfg)
        result |= of_test | {"metrics": result["metrics"] | of_test.get("metrics", {})}
        attempt("the checkpoint of the tracker", publishing.log_checkpoint, trainer, run.path, result)
        attempt("the summary of the tracker", publishing.log_summary, trainer, result, cfg.objective)
    result["objective"] = result["metrics"].get(cfg.objective) if cfg.objective else None
    run.finish(result | failed_reports())
    log.info("run folder: %s", run.path)
    suggest(*(next_reading(trainer, run.path) or uses_of(task.contract, run.path)))
    return result["objective"]


def restore_weights(task: Any, net: Any, checkpoint: Path, trainer: Any) -> None:
    """Load the weights of the checkpoint from which a run is resumed; an error for a checkpoint that does not fit."""
    from trimer.accelerators.sharded_checkpoints import check_resumable
    from trimer.checkpoint import check_hyperparameters, check_labels, copy_weights, network_state, read

    check_resumable(trainer.strategy, checkpoint)
    saved = read(checkpoint)
    check_hyperparameters(net, saved["trimer"]["model"], checkpoint)
    copy_weights(task.net, network_state(saved), checkpoint)  # reports weights that do not fit
    check_labels(saved["trimer"], task.contract.get("labels"), checkpoint)


def uses_of(contract: dict, run: Path) -> list[str]:
    """Commands that use the model of a run."""
    from trimer.checkpoint import study_class

    if study_class(contract).can_predict(contract):
        return [f"trimer predict ckpt={word(run)} input=<your file>"]
    return [f"trimer train ckpt={word(run)} data=<labelled data> fine-tunes it"]


def record_training_data(run: RunFolder, task: Any, data: Any, trainer: Any) -> None:
    """Add facts about the training records to the best checkpoint, with which predictions are compared."""
    from trimer.checkpoint import checkpoint_path, study_class
    from trimer.checkpoint_updates import update_checkpoint

    if not (trainer.is_global_zero and data.has_labels and not trainer.fast_dev_run):
        return
    try:
        path = checkpoint_path(run.path)
    except CheckpointError:  # callbacks of the user write no checkpoint
        return
    study = study_class(task.contract)
    records = attempt("the training records of the checkpoint", study.training_records, data, task.contract)
    if records:
        update_checkpoint(path, records)


def draw_stopping(run: RunFolder, trainer: Any) -> None:
    """Draw learning rate and metric of a run with early stopping, as `schedule.svg`."""
    from trimer.callbacks.early_stopping import EarlyStopping
    from trimer.reporting.schedule_figures import write_schedule

    stops = any(isinstance(callback, EarlyStopping) for callback in trainer.callbacks)
    if stops and trainer.is_global_zero and not trainer.fast_dev_run:
        attempt("schedule.svg", write_schedule, run.path)


def result_of_test_split(run: RunFolder, task: Any, data: Any, trainer: Any, cfg: DictConfig) -> dict[str, Any]:
    """`metrics` and `differences` of the test split by the best weights; empty, mostly with a warning, without them."""
    from trimer.checkpoint import study_class
    from trimer.commands.evaluate import evaluate_test_split

    if not cfg.test or not data.has_labels or trainer.fast_dev_run:
        return {}
    if not study_class(task.contract).can_evaluate():
        log.warning("the test split is not evaluated: task=%s names no study that evaluates", type(task).__name__)
        return {}
    if "test" not in data.split.names:
        log.warning("the data have no test split, so the model is not evaluated: set data.split to define one")
        return {}
    return evaluate_test_split(run, task, data, trainer, evaluation_config(cfg))


def describe_model(net: Any, data: Any) -> str:
    """`model=smiles_nano: 1,368,960 parameters; it reads data=foodb`, with the choices of the command line.

    Without choices, as in Python, no class stands for them: the network of SMILES is an `Esm2`.
    """
    choices = config_choices()
    parameters = sum(parameter.numel() for parameter in net.parameters())
    model = f"model={choices['model']}" if "model" in choices else "the model"
    source = f"data={choices['data']}" if "data" in choices else type(data).__name__
    return f"{model}: {parameters:,} parameters; it reads {source}"


def leave_out_replaced_callbacks(cfg: DictConfig) -> None:
    """Remove what an experiment sets of callbacks that `callbacks=<choice>` on the command line has replaced.

    `experiment=demo callbacks=ema` has no ranking, of which experiment/demo.yaml sets the sample.
    """
    words = [word.lstrip("+") for word in command_line_overrides()]
    if not any(word.startswith("callbacks=") for word in words):
        return
    for name, node in list((cfg.callbacks or {}).items()):
        wanted = any(word.startswith((f"callbacks.{name}.", f"callbacks.{name}=")) for word in words)
        if OmegaConf.is_dict(node) and "_target_" not in node and not wanted:
            log.info("callbacks.%s of the experiment is left out, since other callbacks were chosen", name)
            with open_dict(cfg):
                del cfg.callbacks[name]


def callbacks_of(cfg: DictConfig) -> list:
    """The callbacks of the config, the plan of the learning rate and, unless it is switched off, a progress display."""
    from lightning.pytorch.callbacks import ProgressBar

    from trimer.building import build_all
    from trimer.callbacks.schedule import PlannedSchedule
    from trimer.callbacks.training_progress import TrainingProgress

    callbacks = build_all(cfg.callbacks)
    if not any(isinstance(callback, PlannedSchedule) for callback in callbacks):
        callbacks.append(PlannedSchedule(cfg.paths.run, only=False))
    if cfg.trainer.enable_progress_bar and not any(isinstance(callback, ProgressBar) for callback in callbacks):
        callbacks.append(TrainingProgress())
    return callbacks


def start_or_resume(run: RunFolder, cfg: DictConfig) -> Path | None:
    """Start the folder of a new run, or return the checkpoint from which a run is resumed.

    A resumption is recorded later, after all checks.
    """
    if not cfg.resume:
        if run.started and first_process():
            raise ConfigError(
                f"{run.path} already holds a run: resume it with resume={run.path}, or name another folder"
            )
        run.start(cfg)
        return None
    run.lock()
    run.check_changes(cfg)
    if (checkpoint := run.last_checkpoint()) is None:
        best = run.path / "checkpoints" / "best.ckpt"
        weights = f"; its best weights can start a new run (ckpt={best})" if best.is_file() else ""
        raise InputError(
            f"resume={run.path}: this run has no checkpoint, because it ended before it wrote the first one "
            f"(callbacks.last.every_n_train_steps){weights}. Delete the folder and train again, or name another folder"
        )
    return checkpoint


def check_settings(cfg: DictConfig) -> None:
    """ConfigError for misspelt or impossible settings, before the data are prepared."""
    from trimer.accelerators.hardware import INT8, check_gpu
    from trimer.building import check, located
    from trimer.checkpoint import study_name
    from trimer.studies.settings import check_averaging

    for group, arguments in GROUPS.items():
        check(cfg[group], arguments=dict.fromkeys(arguments))
    check_targets(cfg)
    task = located(cfg.task._target_, "task")
    check_averaging(cfg, located(study_name(task), "study"), cfg.data)
    for name, (target, arguments) in getattr(task, "nested_settings", {}).items():
        if settings := cfg.task.get(name):
            if not OmegaConf.is_dict(settings):
                raise ConfigError(f"task.{name}={settings} must hold settings, such as {{rank: 8}}, or be null")
            check({"_target_": target, **settings}, f"task.{name}", dict.fromkeys(arguments))
    if str(cfg.trainer.precision) == INT8:
        raise ConfigError(
            f"trainer.precision={INT8} cannot train: use another precision; int8 is for predict, embed and evaluate"
        )
    check_gpu(cfg.trainer.accelerator)
    if cfg.trainer.accelerator in STATIC:
        check_device(cfg.trainer.accelerator, cfg.trainer.devices, cfg.trainer.num_nodes)
    if cfg.trainer.val_check_interval == 0:
        raise ConfigError(
            "trainer.val_check_interval=0 must be above 0; to disable validation, set trainer.limit_val_batches=0"
        )
    if cfg.trainer.get("cuda_graphs") and not cfg.task.get("compile"):
        raise ConfigError("trainer.cuda_graphs=true runs compiled blocks: set task.compile=true")


def check_targets(cfg: DictConfig) -> None:
    """ConfigError for settings of a schedule or an optimizer that is switched off, such as those of a recipe."""
    for group in ("optimizer", "scheduler"):
        settings = cfg[group]
        if settings and "_target_" not in settings:
            keys = " ".join(f"~{group}.{name}" for name in settings)
            raise ConfigError(f"{group} has settings but no _target_: choose {group}=..., or remove them with {keys}")


def evaluation_config(cfg: DictConfig) -> DictConfig:
    """The config of the final evaluation: it runs on the CPU if the training ran on a TPU."""
    if cfg.trainer.accelerator not in STATIC:
        return cfg
    cpu = cfg.copy()
    OmegaConf.update(cpu, "trainer.accelerator", "cpu")
    OmegaConf.update(cpu, "trainer.precision", "32-true")
    return cpu


def stopped_early(trainer) -> str | None:
    """Why the training ended before its last step, or None."""
    from lightning.pytorch.callbacks import Timer

    from trimer.callbacks.early_stopping import EarlyStopping
    from trimer.callbacks.pruning import Pruning

    reasons = [callback.reason for callback in trainer.callbacks if isinstance(callback, Pruning | EarlyStopping)]
    remaining = [callback.time_remaining() for callback in trainer.callbacks if isinstance(callback, Timer)]
    reasons += ["trainer.max_time is over" for seconds in remaining if seconds is not None and seconds <= 0]
    return next((reason for reason in reasons if reason), None)
