"""Run the steps of a study: what is missing is run, what was stopped is resumed, what failed stops only its followers.

A step is finished if its folder says so: `result.json` with the status ok for a training or an evaluation, `made.json`
for a script. A finished step is checked, not repeated: its settings must be those of `study.yaml`, and it must have
started after the steps that it needs.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from study_plan import ROOT, Step, Study, quoted

from trimer.errors import ConfigError
from trimer.files import write_text
from trimer.locks import FolderLock

Start = Callable[[list[str]], int]  # runs `trimer <words>`, or `python <script> <arguments>`; returns the exit code
STOPPED = (130, -signal.SIGINT, 143, -signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM: the step that is running gets it too, and ends as after Ctrl-C."""


def in_a_process(words: list[str]) -> int:
    """Run a command line in another process, so that no step depends on an earlier one in the same process."""
    script = words[0].endswith(".py")
    command = [sys.executable, *words] if script else [sys.executable, "-m", "trimer", *words]
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt as stop:
            if isinstance(stop, Terminated):
                process.terminate()
            process.wait()  # it writes its checkpoint
            raise


def in_this_process(words: list[str]) -> int:
    """Run a command line in this process: faster for small runs."""
    if words[0].endswith(".py"):
        return in_a_process(words)
    from trimer.cli.main import main

    return main(words)


def run_steps(study: Study, steps: list[Step], start: Start = in_a_process) -> dict[Path, str]:
    """Run what is not finished. Returns the folder of each step that did not finish, with the reason.

    KeyboardInterrupt if a step was stopped by Ctrl-C or SIGTERM; the next call resumes it.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(study.folder).require()
    problems: dict[Path, str] = {}
    try:
        for number, step in enumerate(steps, 1):
            reason = outcome(step, problems, start, f"{study.name} {number}/{len(steps)}: {step}")
            if reason is not None:
                problems[step.folder] = reason
                print(f"{step}: {reason}", flush=True)
    finally:
        lock.release()
    return problems


def outcome(step: Step, problems: dict[Path, str], start: Start, title: str) -> str | None:
    """Run a step unless it is finished; None, or why it has no result."""
    if failed := [folder for folder in step.needs if folder in problems]:
        return f"not run, because {failed[0]} has no result"
    if is_finished(step):
        return unfit(step)
    try:
        words = next_command(step)
    except ConfigError as error:
        return str(error)
    print(f"\n{title}\n{shlex.join(words)}", flush=True)
    if step.kind == "script":
        step.folder.mkdir(parents=True, exist_ok=True)
    code = start(words)
    if code in STOPPED:
        raise KeyboardInterrupt
    if code == 0 and step.kind == "script":
        write_text(step.folder / "made.json", json.dumps(step.command) + "\n")
    if code or not is_finished(step):
        return f"failed (exit code {code}): {read(step.folder / 'result.json').get('error') or 'see the lines above'}"
    return None


def is_finished(step: Step) -> bool:
    """Whether the folder of a step holds its result."""
    if step.kind == "script":
        return (step.folder / "made.json").is_file()
    return read(step.folder / "result.json").get("status") == "ok"


def unfit(step: Step) -> str | None:
    """Why a finished step does not belong to the study: other settings, or older than a step that it needs."""
    again = f"delete {step.folder} to repeat it"
    if step.kind == "script":
        made = json.loads((step.folder / "made.json").read_text(encoding="utf-8"))
        return None if made == step.command else f"made by other arguments ({shlex.join(made)}); {again}"
    words = yaml.safe_load((step.folder / "overrides.yaml").read_text(encoding="utf-8"))
    recorded = [word for word in words if not word.startswith("hydra.run.dir=")]
    if other := differences(step.settings, recorded):
        return f"was run with other settings than those of study.yaml ({', '.join(other)}); {again}"
    started = read(step.folder / "run.json").get("started", "")
    for folder in step.needs:
        if read(folder / "run.json").get("started", "") > started:
            return f"is older than {folder}, which it needs; {again}"
    return None


def differences(settings: Sequence[str], recorded: Sequence[str]) -> list[str]:
    """Overrides that are in one list only; a run records `${paths.data}` as the folder that it was."""
    patterns = [".*".join(re.escape(text) for text in re.split(r"\$\{[^}]*\}", word)) for word in settings]
    missing = [
        word
        for word, pattern in zip(settings, patterns, strict=True)
        if not any(re.fullmatch(pattern, other) for other in recorded)
    ]
    return missing + [word for word in recorded if not any(re.fullmatch(pattern, word) for pattern in patterns)]


def next_command(step: Step) -> list[str]:
    """The command that starts or resumes a step; a folder without a checkpoint is removed first."""
    if step.kind == "script" or not step.folder.exists():
        return step.command
    if step.kind == "train" and (step.folder / "checkpoints" / "last.ckpt").exists():
        return ["train", f"resume={quoted(step.folder)}"]
    FolderLock(step.folder).require().release()  # no other process writes to it
    shutil.rmtree(step.folder)
    return step.command


def compose_steps(steps: list[Step]) -> None:
    """Print the command of each step and compose its config; ConfigError for one that is wrong."""
    from trimer.cli.configs import compose, without_nulls

    for number, step in enumerate(steps):
        state = "finished" if is_finished(step) else "stopped" if step.folder.exists() else "missing"
        print(f"{state}: {shlex.join(step.command)}", flush=True)
        if step.kind == "script":
            if not (ROOT / step.words[0]).is_file():
                raise ConfigError(f"{step}: there is no {step.words[0]}")
            continue
        if number and steps[number - 1].name == step.name:
            continue  # another seed
        command, *overrides = step.command
        compose(command, without_nulls(command, overrides))


def read(path: Path) -> dict:
    """The content of a JSON file; empty if it is missing or cut off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
