"""The commands of the guides on sweeps, reports, debugging, reproduction, resuming and trackers run in their order.

Data, models and trainings are small, a sweep has two jobs, and these are forked (tests/helpers/forked_jobs.py): the
command line, the sweep and the files are those of a user.
"""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import forked_jobs
import pytest
import small_data
from documented_commands import PAGES, ROOT, SMALL, TOGETHER, commands_of, with_newest_run
from tiny_trainings import tiny_bart

from trimer.cli import resolvers
from trimer.cli.configs import config_loader
from trimer.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("rough_figures")]

TOGETHER_PAGES = [path for path in PAGES if TOGETHER.search(path.read_text(encoding="utf-8"))]
TINY = [*SMALL["experiment=demo"], *tiny_bart(16, 16), "trainer.precision=32-true", "trainer.log_every_n_steps=1"]
DAILY = ("sweeps", "tracking", "reports", "debugging", "reproduction", "resume")
STEPS = ["trainer.max_steps=1", "trainer.val_check_interval=1"]
SEARCH = ["hydra.sweeper.n_trials=2", "hydra.sweeper.startup_trials=1"]
MOLECULES = ["model.d_model=16", "model.layers=1", "data.tokens_per_batch=600", "trainer.limit_val_batches=1"]
SPLIT = "data.split.fractions={train: 0.8, val: 0.1, test: 0.1}"


# What makes a training with debug=<choice> short; the others have too few batches for more.
DEBUG = {
    "fast": [],
    "overfit": ["trainer.max_steps=2"],
    "limit": ["trainer.max_steps=2"],
    "profiler": ["trainer.max_steps=2"],
    "anomaly": ["trainer.max_steps=2"],
    "schedule": [],
    "lr_finder": ["callbacks.lr_finder.steps=12"],
    "batch_size": ["callbacks.batch_sizes.largest=1024", "callbacks.batch_sizes.steps=1"],
}


def shortened(words: list[str]) -> list[str]:
    """The overrides with the first and the last value of what is swept first, and the first value of the others."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=config_loader([]))
    short: list[str] = []
    swept = False
    for text in words:
        override = parser.parse_overrides([text])[0] if "=" in text else None
        if override is not None and override.is_sweep_override() and not override.is_interval_sweep():
            values = list(override.sweep_string_iterator())
            text = f"{text.partition('=')[0]}={values[0]}" + ("" if swept else f",{values[-1]}")
            swept = True
        short.append(text)
    return short


def small(words: list[str]) -> list[str]:
    """A command of a page on small data."""
    if words[0] != "train":
        return words
    if any(word.startswith("resume=") and word != "resume=auto" for word in words):
        return ["trainer.max_steps=4" if word.startswith("trainer.max_steps=") else word for word in words]
    words = shortened(words) if "-m" in words else words
    if "hparams_search=optuna" in words:
        words = [*words, *SEARCH]
    if "experiment=demo" in words:
        callbacks = any(word.startswith("callbacks=") for word in words)
        words = [*words, *(word for word in TINY if not (callbacks and word.startswith("callbacks.ranking")))]
    elif any(word.startswith("experiment=foodb") for word in words):
        words = [*words, *MOLECULES, SPLIT, "data.prepare_workers=0"]
    elif any(word.startswith("model=") for word in words):
        words = [*words, *tiny_bart(16, 16)]
    if choice := debug_choice(words):
        kept = [word for word in words if not word.startswith(("callbacks.ranking", "trainer.limit_val_batches"))]
        largest = "callbacks.batch_sizes.largest="
        return [*(word for word in kept if not word.startswith(largest)), *DEBUG[choice]]
    searched = "-m" in words or any(word.startswith("hparams_search=") for word in words)
    return [*words, *STEPS, "trainer.enable_progress_bar=false", *(["test=false"] if searched else [])]


def debug_choice(words: list[str]) -> str | None:
    return next((word.removeprefix("debug=") for word in words if word.startswith("debug=")), None)


def files_of_debug_choices() -> dict[str, list[str]]:
    """The files that each choice of `debug` leaves, from the table of the guide."""
    page = (ROOT / "docs/guides/debugging.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", page, re.MULTILINE)
    return {choice: re.findall(r"`([\w-]+\.\w+)`", files) for choice, files in rows}


@pytest.fixture
def trimer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], int]]:
    """The command line in this process and an empty folder; the jobs of sweeps are forked."""
    monkeypatch.chdir(tmp_path)
    forked_jobs.fork_jobs(monkeypatch)
    monkeypatch.setenv("WANDB_SILENT", "true")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(words: list[str]) -> int:
        resolvers.stamp.cache_clear()
        monkeypatch.setattr(sys, "argv", ["trimer", *words])
        return main()

    yield run
    root.handlers[:], root.level = handlers, level


def prepare(page: str, trimer: Callable[[list[str]], int]) -> None:
    """What the user of a page has already."""
    if page.endswith(("reports.md", "reproduction.md", "resume.md")):
        words = ["train", "-m", "experiment=demo", "seed=1,2", *TINY, *STEPS, "hydra.sweep.dir=before"]
        assert trimer(words) == 0
    if page.endswith("reports.md"):
        shutil.copytree("before", "runs/train")
        shutil.copytree("before", "runs/more")
    for folder in ("runs/demo", "runs/mine"):
        if page.endswith(("reproduction.md", "resume.md")):
            shutil.copytree("before/1", f"{folder}/first")
            shutil.copytree("before/0", f"{folder}/second")
    if page.endswith(("sweeps.md", "debugging.md")):
        small_data.molecules(Path("small/molecules"))


@pytest.mark.parametrize("page", TOGETHER_PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_in_their_order(page, trimer, capsys):
    prepare(page.name, trimer)
    for command in commands_of(page):
        if not command.of_trimer or command.runs == "no":
            continue
        line = command.line.replace("<data>", "small")
        words = [with_newest_run(word) for word in shlex.split(line, comments=True)[1:]]
        code = trimer(small(words))
        logs = "".join(path.read_text()[-2000:] for path in Path().rglob(forked_jobs.LOG))
        assert code == 0, f"{command}\n{capsys.readouterr().err}\n{logs}"
        output = next((word.partition("=")[2] for word in words if word.startswith("output=")), None)
        assert output is None or Path(output).is_dir() or Path(output).stat().st_size > 0, command
        if choice := debug_choice(words):
            run = max(Path("runs/debug").iterdir(), key=lambda folder: folder.stat().st_mtime)
            last_line = capsys.readouterr().err.splitlines()[-1]
            for name in files_of_debug_choices()[choice]:
                assert (run / name).stat().st_size > 0, command
            assert re.fullmatch(rf"next: .*{run.name}/[\w-]+\.\w+.*", last_line), (command, last_line)


def test_the_guides_of_a_training_day_are_run():
    names = {str(page.relative_to(ROOT)) for page in TOGETHER_PAGES}
    assert names == {f"docs/guides/{name}.md" for name in DAILY}
    assert files_of_debug_choices().keys() == DEBUG.keys()
