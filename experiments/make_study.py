"""Repeat a study: run what is missing, resume what stopped, then write the tables and figures of its page.

    python experiments/make_study.py foodb            # make study-foodb
    python experiments/make_study.py foodb --small    # make study-foodb SMALL=1: small generated data, a minute or two
    python experiments/make_study.py foodb --dry-run  # print and compose every command

The full version reads the data in TRIMER_DATA, writes its runs to runs/studies/<study>/ and the tables to
experiments/<study>/RESULTS.md. The small one writes runs and a page to runs/studies-small/<study>/ and changes no
other file. A run that fails stops only those that need it; call the command again to continue.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from small_data import write_small_data
from study_plan import ROOT, STUDIES, Study, data_folder, read_study, studies
from study_runs import Start, Terminated, compose_steps, in_a_process, in_this_process, is_finished, run_steps
from study_tables import write_page

from trimer.errors import TrimerError

RUNS, SMALL_RUNS = Path("runs/studies"), Path("runs/studies-small")
NOTE = (
    "**This page is of the small version of the study: its tables show that all commands run, and its numbers mean "
    "nothing.**\n\n"
)


def main(words: list[str] | None = None, start: Start = in_a_process) -> int:
    """Exit code 0 if all runs are finished, 1 if some are not, 130 after Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=studies())
    parser.add_argument("--small", action="store_true", help="small generated data, small models, one seed, few steps")
    parser.add_argument("--only", nargs="+", default=[], help="only these runs and what they need, such as 'ratio-*'")
    parser.add_argument("--dry-run", action="store_true", help="print and compose the commands, run nothing")
    parser.add_argument("--runs", type=Path, help=f"folder of the runs; default {RUNS} or {SMALL_RUNS}")
    arguments = parser.parse_args(words)
    try:
        return make(arguments, start)
    except TrimerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130


def make(arguments: argparse.Namespace, start: Start) -> int:
    """Run the steps and write the page."""
    runs = arguments.runs or (SMALL_RUNS if arguments.small else RUNS)
    data = (runs / "data").absolute() if arguments.small else data_folder()
    study = read_study(arguments.study, runs, data, arguments.small)
    steps = study.chosen(arguments.only)
    if arguments.dry_run:
        compose_steps(steps)
        return 0
    if arguments.small:
        os.environ["TRIMER_DATA"] = str(data)
        write_small_data(data)
        start = in_this_process if start is in_a_process else start
    problems = run_steps(study, steps, start)
    problems |= {step.folder: "is missing" for step in study.steps if not is_finished(step)} | problems
    source = STUDIES / study.name / "RESULTS.md"
    target = study.folder / "RESULTS.md" if study.small else source
    for sentence in write_page(study, source, target, problems):
        print(sentence)
    if study.small:
        mark_as_small(target)
    return report(study, target, {step.folder: problems[step.folder] for step in steps if step.folder in problems})


def mark_as_small(page: Path) -> None:
    """Write below the title of a page that its numbers mean nothing."""
    title, _, rest = page.read_text(encoding="utf-8").partition("\n\n")
    page.write_text(f"{title}\n\n{NOTE}{rest}", encoding="utf-8")


def report(study: Study, page: Path, problems: dict[Path, str]) -> int:
    """Print what was written and what failed; returns the exit code."""
    shown = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
    print(f"\n{study.name}: {shown}; compare the text with the new tables. Runs: {study.folder}")
    for folder, problem in problems.items():
        print(f"{folder}: {problem}", file=sys.stderr)
    return 1 if problems else 0


def terminate(*_: object) -> None:
    raise Terminated


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    sys.exit(main())
