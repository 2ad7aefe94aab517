"""`trimer <command> [overrides] [flags]`: parses the command line, composes the config and calls the command.

Nothing heavy is imported here. A mistake on the command line gives one sentence and exit code 2; an error that the user
can fix, one sentence and 1; any other error, a traceback and 1; Ctrl-C, 130.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer import plugins, signals, verbosity
from trimer.cli import composition_errors, configs, failures, positional_words, screens, sweeps
from trimer.errors import ConfigError, UsageError
from trimer.suggestions import did_you_mean

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises UsageError instead of exiting."""

    def error(self, message: str) -> Any:
        raise UsageError(f"{message}; see trimer --help")


def flags() -> Parser:
    """Parser of the flags; -q and -v are ours, the others have Hydra's names."""
    parser = Parser(prog="trimer", add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    level = parser.add_mutually_exclusive_group()
    level.add_argument("-q", "--quiet", dest="verbosity", action="store_const", const=verbosity.QUIET)
    level.add_argument("-v", "--verbose", dest="verbosity", action="store_const", const=verbosity.VERBOSE)
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    parser.add_argument("-p", "--package")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-i", "--info", choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"])
    parser.add_argument("-cd", "--config-dir", action="append", default=[])
    parser.add_argument("--plugin", action="append", default=[])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return dispatch(words)
    except UsageError as error:
        return failures.print_error(str(error), 2)
    except (KeyboardInterrupt, SystemExit, Exception) as error:
        return failures.report(error)


def dispatch(words: list[str]) -> int:
    """Print what needs no config, or run the command."""
    first, rest = (words[0], words[1:]) if words else ("--help", [])
    if first in ("-h", "--help", "help"):
        print(screens.overview())
    elif first in ("-V", "--version", "version"):
        print(screens.version())
    elif first == "--completion":
        from trimer.cli import completion

        print(completion.script(rest[0] if rest else ""))
    elif first == "--complete":  # called by the scripts of --completion
        from trimer.cli import completion

        print("\n".join(completion.candidates(rest[0] if rest else "")))
    elif first not in screens.COMMANDS:
        raise UsageError(f"unknown command {first!r}{did_you_mean(first, screens.COMMANDS) or '; see trimer --help'}")
    else:
        return command_line(first, rest)
    return 0


def command_line(command: str, words: list[str]) -> int:
    """Compose the command's config, and print it or run it."""
    args = flags().parse_intermixed_args(words)
    if args.help:
        print(screens.command(command))
        return 0
    words = positional_words.named(command, positional_words.with_values(command, args.overrides))
    args.overrides = configs.without_nulls(command, words)
    args.overrides, args.config_dir = resumed(command, args)
    with verbosity.chosen(args.verbosity), plugins.exported(args.plugin), open_hydra(args.config_dir) as hydra:
        try:
            if args.cfg:
                hydra.show_cfg(command, args.overrides, args.cfg, args.package, args.resolve)
                return 0
            if args.info:
                hydra.show_info(args.info, command, args.overrides)
                return 0
            return run(hydra, command, args)
        except Exception as error:  # those without an explanation are raised unchanged
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            sweep = args.multirun or any(text.startswith(("hydra.mode=", "hparams_search=")) for text in args.overrides)
            sentence = composition_errors.explain(error, hydra.config_loader, command, args.overrides, sweep)
            if sentence is None:
                raise
            raise UsageError(sentence) from error


def resumed(command: str, args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """With `resume=<run folder>`: the overrides and config folders of that run, then the new ones.

    With `resume=auto` this is the run in hydra.run.dir; if there is none yet, the overrides of a new run.
    """
    check_plugins(args)
    named = [text for text in args.overrides if text.startswith("resume=") and text not in ("resume=", "resume=null")]
    if command != "train" or not named:
        return args.overrides, args.config_dir
    from trimer import resuming

    folder, overrides = named[-1].partition("=")[2].strip("'\""), args.overrides
    if args.multirun:
        raise UsageError(
            "resume= continues one run, so it cannot be part of a sweep (-m), which continues by itself when the same "
            "command runs in the same hydra.sweep.dir"
        )
    if folder == resuming.AUTO:
        if (begun := resuming.begun(overrides)) is None:
            return [text for text in overrides if not text.startswith("resume=")], args.config_dir
        folder = begun
        overrides = [text for text in overrides if not text.startswith("from_run=")]  # the run has its own config
    if any(text.startswith("from_run=") for text in overrides):
        raise UsageError("resume= continues a run with its own config, and from= starts a new one: give one of them")
    return resuming.resume(folder, overrides, args.config_dir, args.plugin)


def check_plugins(args: argparse.Namespace) -> None:
    """InputError if the run of `from_run=<run folder>` used a plug-in that is not passed again."""
    if named := [text for text in args.overrides if text.startswith("from_run=")]:
        from trimer.resuming import require_plugins
        from trimer.run import RunFolder

        folder = named[-1].partition("=")[2].strip("'\"")
        if (run := RunFolder(Path(folder).expanduser())).started:
            require_plugins(run, args.plugin, f"from={folder}")


@contextmanager
def open_hydra(config_dirs: Sequence[str]) -> Iterator[Any]:
    """Hydra with our config folders; its global state is cleared afterwards."""
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    GlobalHydra.instance().clear()
    hydra = Hydra(task_name="trimer", config_loader=configs.config_loader(config_dirs))
    GlobalHydra.instance().initialize(hydra)
    try:
        yield hydra
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None  # else Python calls would record the overrides of this job


def run(hydra: Any, command: str, args: argparse.Namespace) -> int:
    """One run in this process, or a sweep by the launcher of the config."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.utils import JobStatus, run_job
    from hydra.types import HydraContext, RunMode

    for path in configs.shadowed(args.config_dir)[:3]:
        print(f"note: {path} is not used, since Trimer has a config of that name: rename yours", file=sys.stderr)
    cfg = None if args.multirun else config_of_single_run(hydra, command, args.overrides)
    if cfg is None:
        sweeps.check_sweep(hydra.config_loader, args.overrides)
        # The name of the sweep folder has a time stamp: all processes get this one.
        cfg = hydra.compose_config(command, args.overrides, RunMode.MULTIRUN)
        pinned = [f"hydra.mode={RunMode.MULTIRUN.name}", f'hydra.sweep.dir="{cfg.hydra.sweep.dir}"']
        hydra.multirun(command, run_command, [*args.overrides, *pinned])
        if Path(cfg.hydra.sweep.dir).is_dir():
            print(f"sweep: {cfg.hydra.sweep.dir}", file=sys.stderr)
            if command == "train":
                verbosity.note(f"next: trimer report {shlex.quote(cfg.hydra.sweep.dir)} output=report.html")
        return 0
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(cfg))
    job = run_job(run_command, cfg, "hydra.run.dir", None, context)
    if job.status is JobStatus.FAILED:
        raise job._return_value  # the property without the underscore prints a message of Hydra's
    return 0


def config_of_single_run(hydra: Any, command: str, overrides: Sequence[str]) -> DictConfig | None:
    """The config of one run, or None if a config or an override asks for a sweep by hydra.mode=MULTIRUN."""
    from hydra.types import RunMode

    try:
        cfg = hydra.compose_config(command, overrides, RunMode.RUN, with_log_configuration=False)
    except Exception:  # several values of one key cannot be composed as a single run
        if hydra.get_mode(command, overrides) == RunMode.MULTIRUN:
            return None
        raise
    return None if cfg.hydra.mode == RunMode.MULTIRUN else cfg


def silence_lightning() -> None:
    """Silence Lightning messages that are noise or do not apply to our resumable sampler."""
    for message in (
        "`isinstance.treespec, LeafSpec.` is deprecated",
        ".*your dataloader is not resumable",
        "Checkpoint directory .* exists and is not empty",
        "You have overridden `transfer_batch_to_device`",
        "hdf5plugin is missing",
        "The number of training batches .* is smaller than the logging interval",
        "It is recommended to use `self.log.*sync_dist=True",  # values are summed over the devices before
    ):
        warnings.filterwarnings("ignore", message=message)
    noise = ("GPU available", "TPU available", "HPU available", "💡 Tip", "`Trainer.fit` stopped")
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(lambda record: not record.getMessage().startswith(noise))


def run_command(cfg: DictConfig) -> Any:
    """Call `trimer.commands.<command>.main(cfg)`; launchers may send this function to another process or machine."""
    from hydra.core.hydra_config import HydraConfig

    from trimer.cli.values import check_values
    from trimer.data.text.reading_limits import configure
    from trimer.run import RunFolder

    configs.register()
    command = str(HydraConfig.get().job.config_name)
    check_values(cfg, command)
    if cfg.get("seed", 0) < 0:
        raise ConfigError(f"seed={cfg.seed} must be 0 or more")
    configure(cfg.get("text"))
    plugins.load_plugins()
    folder = Path(HydraConfig.get().runtime.output_dir)
    silence_lightning()
    verbosity.configure_logging()
    try:
        with signals.end_on_warnings():
            return importlib.import_module(f"trimer.commands.{command}").main(cfg)
    except BaseException as error:  # Ctrl-C and signals are recorded too
        failures.record(folder, error)
        raise
    finally:
        RunFolder.unlock_all()
