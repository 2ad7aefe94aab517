"""`trimer train`: build the parts, fit, measure the test split, leave everything in the run folder."""

from __future__ import annotations

import logging
import time

from omegaconf import DictConfig, OmegaConf

from trimer.errors import ConfigError
from trimer.run import RunFolder, first_process

log = logging.getLogger(__name__)

# The groups of the config but the data, with the arguments that are no settings.
PARTS = {
    "trainer": (),
    "callbacks": (),
    "logger": (),
    "optimizer": (),
    "scheduler": (),
    "model": ("vocab_size",),
    "task": ("net", "tokenizer", "optimizer", "scheduler"),
}


def main(cfg: DictConfig) -> float | None:
    """Run one training; the value that a sweep compares is returned and written to `result.json`."""
    import lightning as L

    from trimer.build import build, build_all
    from trimer.checkpoint import check_labels, check_unseen, contract, copy_weights, network_state, read, warm_start
    from trimer.data.training_keys import stages_of
    from trimer.hardware import peak_memory
    from trimer.loggers import finished

    check_settings(cfg)
    run = RunFolder(cfg.paths.run)
    checkpoint = run.last_checkpoint() if cfg.resume else None
    if not cfg.resume:
        if run.started and first_process():
            raise ConfigError(
                f"{run.path} holds a run already: go on with it by resume={run.path}, or name another folder"
            )
        run.start(cfg)
    config = OmegaConf.to_container(cfg, resolve=True)
    L.seed_everything(cfg.seed, workers=True, verbose=False)

    data = build(cfg.data)
    net = build(cfg.model, vocab_size=len(data.tokenizer))
    learnt = warm_start(net, data.tokenizer, cfg.ckpt) if cfg.ckpt and checkpoint is None else None
    parts = {"optimizer": build(cfg.optimizer), "scheduler": build(cfg.scheduler)}
    task = build(cfg.task, net=net, tokenizer=data.tokenizer, **parts)
    if learnt is not None:
        task.begin_with(learnt)
    task.contract = contract(config, data.tokenizer)
    task.fits(data)
    task.configure_optimizers()  # for its refusals; the one that trains is built by the trainer
    log.info("%s with %s weights", type(net).__name__, f"{sum(p.numel() for p in net.parameters()):,}")

    with finished(build_all(cfg.logger), config) as loggers:
        trainer = build(cfg.trainer, callbacks=build_all(cfg.callbacks), logger=loggers)
        data.setup()
        task.meet(data)
        if checkpoint is not None:
            saved = read(checkpoint)
            check_unseen(net, saved["trimer"]["model"], checkpoint)
            copy_weights(task.net, network_state(saved), checkpoint)  # what does not fit is said here
            check_labels(saved["trimer"], task.contract.get("labels"), checkpoint)
        if cfg.resume:
            run.check_split(data, "restore them, or start a new run with ckpt=")
            run.start(cfg)
        task.training_keys = stages_of(data, cfg.name, cfg.ckpt, checkpoint)
        data.save_reports(run.path)
        started, memory = time.perf_counter(), peak_memory()
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        result = {
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "steps": trainer.global_step,
            "real_tokens": task.real_tokens * trainer.world_size,
            "stopped_early": stopped_early(trainer),
            "memory_mb": round(peak_memory() - memory),  # that the training added
            "seconds": round(time.perf_counter() - started, 3),
        }
        if cfg.test and data.has_labels and not trainer.fast_dev_run:
            from trimer.commands.evaluate import measure_run

            if "test" in data.split.names:
                result["metrics"] |= measure_run(run, task, data, trainer, cfg)
            else:
                log.warning("the split has no part test, so nothing is measured at the end")
    result["objective"] = result["metrics"].get(cfg.objective) if cfg.objective else None
    run.finish(result)
    log.info("run folder: %s", run.path)
    return result["objective"]


def check_settings(cfg: DictConfig) -> None:
    """ConfigError for what is misspelt or cannot be, before the data are prepared."""
    from trimer.build import check, located

    for part, given in PARTS.items():
        check(cfg[part], arguments=dict.fromkeys(given))
    for name, (target, given) in getattr(located(cfg.task._target_, "task"), "makes", {}).items():
        if settings := cfg.task.get(name):
            if not OmegaConf.is_dict(settings):
                raise ConfigError(f"task.{name}={settings} must hold settings, as {{rank: 8}}, or be null")
            check({"_target_": target, **settings}, f"task.{name}", dict.fromkeys(given))
    if cfg.trainer.val_check_interval == 0:
        raise ConfigError("trainer.val_check_interval=0 must be above 0; trainer.limit_val_batches=0 does not validate")


def stopped_early(trainer) -> str | None:
    """Why the training ended before its last step, or None."""
    from trimer.callbacks.early_stopping import EarlyStopping

    reasons = [callback.reason for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]
    return next((reason for reason in reasons if reason), None)
