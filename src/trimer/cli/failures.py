"""How a command reports that it failed: one sentence for what the user can fix, a traceback for everything else."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trimer.errors import InputError, TrimerError, UsageError

# Errors of a path that cannot be written or read.
PATH_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
FULL_DISK = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows has no quota error
# How PyTorch reports that a process of a training is gone: texts of Gloo (CPU), classes of NCCL and of the store.
LOST_IN_GLOO = ("Connection reset by peer", "Connection closed by peer", "Broken pipe", "Timed out")
LOST_CLASSES = ("DistBackendError", "DistNetworkError", "DistStoreError")
STOPPED = {
    "KeyboardInterrupt": "stopped by Ctrl-C",
    "SIGTERMException": "stopped by SIGTERM",  # Lightning's, without a code
    "Terminated": "stopped by SIGTERM",
}


def print_error(sentence: str, code: int) -> int:
    """Print the sentence on stderr; return the exit code."""
    print(f"trimer: {sentence}", file=sys.stderr)
    return code


def report(error: BaseException) -> int:
    """Print what went wrong; return the exit code."""
    for cause in causes(error):
        if isinstance(cause, KeyboardInterrupt):  # Lightning turns Ctrl-C into SystemExit
            return print_error(": ".join(["stopped by Ctrl-C", *map(str, cause.args)]), 130)
    for cause in causes(error):
        if type(cause).__name__ in ("SIGTERMException", "Terminated"):
            return print_error(": ".join(["stopped by SIGTERM", *map(str, cause.args)]), 143)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else bool(error.code)
    if isinstance(error, BrokenPipeError):  # `trimer ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    sentence = sentence_of(error)
    if sentence is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
        traceback.print_exception(error)
        return 1
    return print_error(sentence, 2 if isinstance(error, UsageError) else 1)


def sentence_of(error: BaseException) -> str | None:
    """The sentence for an error that the user can fix, None for any other."""
    if not isinstance(error, TrimerError):
        for cause in causes(error):
            if reports_full_disk(cause):
                return full_disk(getattr(cause, "filename", None))
    if isinstance(error, OSError) and error.filename and (sentence := deleted_run(os.fsdecode(error.filename))):
        return sentence
    if isinstance(error, OSError) and error.errno in PATH_ERRORS and error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; choose another path, or change its permissions"
    if (lost := lost_process(error)) is not None:
        return lost
    if type(error).__name__ == "MisconfigurationException":
        return f"trainer: {' '.join(str(error).split())}"
    return str(error) if isinstance(error, TrimerError) else None


def lost_process(error: BaseException) -> str | None:
    """The sentence for a process of a distributed training that no longer responds, None for any other error."""
    text = str(error)
    of_gloo = "gloo" in text and any(sign in text for sign in LOST_IN_GLOO)
    if not (of_gloo or type(error).__name__ in LOST_CLASSES):
        return None
    reason = next((sign for sign in LOST_IN_GLOO if sign in text), text.strip().partition("\n")[0][:120])
    return (
        f"another process of this distributed training has ended or cannot be reached ({reason}): the output of the "
        "other processes has the reason; to continue from the last checkpoint, start resume=<run folder> on all hosts"
    )


def deleted_run(path: str) -> str | None:
    """The sentence for a path in a run folder that was deleted during its run, None for any other path."""
    from trimer.run import RunFolder

    try:
        RunFolder.check_present(path)
    except InputError as error:
        return str(error)
    return None


def disk_is_full(error: BaseException) -> bool:
    """Whether the error, or one of its causes, reports that there is no space."""
    return any(reports_full_disk(cause) for cause in causes(error))


def reports_full_disk(error: BaseException) -> bool:
    """Whether this error reports that there is no space, or that a quota or the largest file size is reached."""
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return True
    # Compiled writers (safetensors, Arrow) keep only the text of the system's error.
    return isinstance(error, Exception) and "No space left on device" in str(error)


def full_disk(filename: Any) -> str:
    """The sentence that names the folder without space, and how to continue."""
    folder = Path(os.fsdecode(filename)).parent if filename else None
    where = f"in {folder.absolute()}" if folder else "under the run folder or the cache"
    return (
        f"the disk is full {where}; free some space and repeat the command (a training continues with "
        "resume=<run folder>); what was written is kept"
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def stopped_by(error: BaseException) -> str | None:
    """The sentence for Ctrl-C or a signal, None for any other error."""
    names = {type(cause).__name__ for cause in causes(error)}
    return next((sentence for name, sentence in STOPPED.items() if name in names), None)


def reason_of(error: BaseException) -> str:
    """Why a run ended, as one sentence, or type and message of an error that no sentence explains."""
    return stopped_by(error) or sentence_of(error) or f"{type(error).__name__}: {error}"


def record(folder: Path, error: BaseException) -> None:
    """Write the reason to the run's `result.json`, if this process has started or resumed the run."""
    from trimer.run import RunFolder

    run = RunFolder(folder)
    if not run.started_here or (isinstance(error, SystemExit) and not error.code and not stopped_by(error)):
        return
    sentence = reason_of(error)
    try:
        run.fail(sentence)
    except (OSError, InputError):  # the disk may be full, or the folder deleted
        elsewhere = Path(tempfile.gettempdir()) / f"trimer-{run.path.name}-result.json"
        try:
            run.fail(sentence, elsewhere)
            print(f"trimer: {folder / 'result.json'} could not be written; it is {elsewhere}", file=sys.stderr)
        except OSError:
            print(f"trimer: neither {folder / 'result.json'} nor {elsewhere} could be written", file=sys.stderr)
