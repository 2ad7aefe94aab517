"""How a run says that it failed: one sentence for what the user can mend, a traceback for everything else."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trimer.errors import InputError, TrimerError, UsageError
from trimer.suggestions import did_you_mean

# Hydra's plugins that a choice of ours names, and the extra of our package that brings them.
EXTRAS = {"optuna": "sweep", "submitit_slurm": "slurm", "submitit_local": "slurm"}


# What a place that cannot be written or read answers.
NO_PLACE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
STOPPED = {
    "KeyboardInterrupt": "stopped by Ctrl-C",
    "SIGTERMException": "stopped by SIGTERM",  # Lightning's, without a code
    "Terminated": "stopped by SIGTERM",
}


def say(sentence: str, code: int) -> int:
    """Print the sentence on stderr; return the exit code."""
    print(f"trimer: {sentence}", file=sys.stderr)
    return code


def report(error: BaseException) -> int:
    """Say what went wrong; return the exit code."""
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes(error)):  # Lightning turns Ctrl-C into SystemExit
        return say("stopped by Ctrl-C", 130)
    if any(type(cause).__name__ in ("SIGTERMException", "Terminated") for cause in causes(error)):
        return say("stopped by SIGTERM", 143)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else bool(error.code)
    if isinstance(error, BrokenPipeError):  # `trimer ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    sentence = sentence_of(error)
    if sentence is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
        return 1
    return say(sentence, 2 if isinstance(error, UsageError) else 1)


def sentence_of(error: BaseException) -> str | None:
    """The sentence for an error the user can mend, None for any other."""
    if not isinstance(error, TrimerError):
        for cause in causes(error):
            if full(cause):
                return disk_full(getattr(cause, "filename", None))
    if isinstance(error, OSError) and error.filename and (gone := deleted_run(os.fsdecode(error.filename))):
        return gone
    if isinstance(error, OSError) and error.errno in NO_PLACE and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; name another place, or change what is there"
    if type(error).__name__ == "MisconfigurationException":
        return f"trainer: {' '.join(str(error).split())}"
    return str(error) if isinstance(error, TrimerError) else None


def deleted_run(path: str) -> str | None:
    """The sentence for a run folder that was deleted while its run was going, where the path lies in one."""
    from trimer.run import RunFolder

    try:
        RunFolder.check_present(path)
    except InputError as error:
        return str(error)
    return None


def disk_is_full(error: BaseException) -> bool:
    """Whether the error, or one that it comes from, says that there is no space."""
    return any(full(cause) for cause in causes(error))


def full(error: BaseException) -> bool:
    """Whether this error says that there is no space, or that a limit of the user or of a file's size is reached."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    # Compiled writers (safetensors, Arrow) keep only the text of the system's error.
    return isinstance(error, Exception) and "No space left on device" in str(error)


def disk_full(filename: Any) -> str:
    """Where space is missing, and how to go on."""
    folder = Path(os.fsdecode(filename)).parent if filename else None
    where = f"in {folder.absolute()}" if folder else "under the run folder or the cache"
    return (
        f"the disk is full {where}; free some space and repeat the command (a training goes on with "
        "resume=<run folder>); what was written is kept"
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def record(folder: Path, error: BaseException) -> None:
    """Leave the reason in the run's `result.json`, if the run had begun."""
    from trimer.run import RunFolder

    run = RunFolder(folder)
    names = {type(cause).__name__ for cause in causes(error)}
    stopped = next((sentence for name, sentence in STOPPED.items() if name in names), None)
    if not run.begun or (isinstance(error, SystemExit) and not error.code and not stopped):
        return
    sentence = stopped or sentence_of(error) or f"{type(error).__name__}: {error}"
    try:
        run.fail(sentence)
    except (OSError, InputError):  # the disk may be full, or the folder gone
        elsewhere = Path(tempfile.gettempdir()) / f"trimer-{run.path.name}-result.json"
        try:
            run.fail(sentence, elsewhere)
            print(f"trimer: {folder / 'result.json'} could not be written; it is {elsewhere}", file=sys.stderr)
        except OSError:
            print(f"trimer: neither {folder / 'result.json'} nor {elsewhere} could be written", file=sys.stderr)


def of_composition(error: BaseException) -> bool:
    """Whether the config could not be composed, by a mistake in an override or in a YAML file."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    return isinstance(error, (HydraException, OmegaConfBaseException, YAMLError))


def explain(error: BaseException, loader: Any, command: str, overrides: Sequence[str]) -> str:
    """One sentence for a config that does not compose, with the nearest valid key or choice."""
    from hydra.core.object_type import ObjectType
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from trimer.cli.configs import dotted_keys

    def options(group: str, kind: ObjectType = ObjectType.CONFIG) -> list[str]:
        return loader.get_group_options(group, kind, config_name=command)

    def choices(group: str, below: str = "") -> list[str]:
        """Options of a group, those in its folders too, as `study/small` of the group `experiment`."""
        inner = options(group, ObjectType.GROUP)
        found = [f"{below}{option}" for option in options(group)]
        return found + [text for name in inner for text in choices(f"{group}/{name}", f"{below}{name}/")]

    groups = [group for group in options("", ObjectType.GROUP) if group != "hydra"]
    chosen, values = [], []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            key, equals, value = text.partition("=")
            quoted = f""", as '{key}="{value}"'""" if equals and '"' not in value else ""
            return f"cannot read {text!r}: write key=value, a value with special signs in quotes within quotes{quoted}"
        group = override.key_or_group
        if group in groups or "/" in group:
            known = choices(group)
            if not known and group not in groups:
                return f"unknown group {group!r} in {text!r}{did_you_mean(group, groups)}"
            if isinstance(value := override.value(), str) and value not in known:
                hint = did_you_mean(value, known) or (known and "; there are " + ", ".join(known)) or ""
                return f"there is no {group}={value}{hint}"
            chosen.append(text)
        else:
            values.append((text, override))
    try:  # all that can be set, with the choices made and without the values that may be wrong
        cfg = loader.load_configuration(command, chosen, RunMode.MULTIRUN, validate_sweep_overrides=False)
        keys = [*dotted_keys(cfg)]
    except Exception:
        values, keys = [], []
    for text, override in values:
        key = override.key_or_group
        if key not in keys and not override.is_add() and not override.is_force_add():
            whole, _, last = key.rpartition(".")
            if whole in keys and OmegaConf.select(cfg, whole, default="") is None:
                value = text.partition("=")[2]
                return f"{whole} is null, so it has no {last!r}: write '{whole}={{{last}: {value}}}' (or +{text})"
            hint = did_you_mean(
                key, [k for k in keys if not k.startswith("hydra.") or key.startswith("hydra.")] + groups
            )
            return f"unknown key {key!r} in {text!r}{hint or '; to add a key, write + before it'}"
    return plain(error)


def plain(error: BaseException) -> str:
    """The first lines of the error and of what it was raised from, in one."""
    texts = [str(part).strip() for part in (error, error.__cause__) if part is not None and str(part).strip()]
    text = ": ".join(dict.fromkeys(text.splitlines()[0] for text in texts)).removeprefix("Error merging override ")
    plugin = re.search(r"Could not find 'hydra/\w+/(\w+)'", text)
    if plugin and plugin.group(1) in EXTRAS:
        return f"{plugin.group(1)} is not installed: pip install 'trimer[{EXTRAS[plugin.group(1)]}]'"
    return text
