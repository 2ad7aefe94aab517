"""What a study runs: `experiments/<study>/study.yaml`, read into steps with their folders and command lines.

    runs:
      pretrain:                                # a training; `evaluate:` and `script:` are the other kinds
        train: [experiment=foodb/pretrain]     # overrides of `trimer train`
      "superclass-{split}-{start}":            # a run for each combination of the values below
        train: [experiment=foodb/superclass]
        each:
          split: {molecule: [], scaffold: [data.split.ordered_by=scaffold]}   # value: overrides
          start: {scratch: [], pretrained: [ckpt=@pretrain]}                  # @run: the folder of an earlier run
        seeds: [0, 1, 2]                       # one run for each; default 0
        small: [trainer.max_steps=2]           # further overrides of the small version

A list in `each` gives values without overrides; `{split}` in an override is the value. `@run` names the run of the same
seed, or of the first seed of that run. A script is a Python file with arguments, in which `{folder}` is the folder that
it writes and `{data}` the folder of the data. `small` at the top of the file holds overrides for all trainings.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from trimer.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
STUDIES = Path(__file__).resolve().parent
KINDS = ("train", "evaluate", "script")
KEYS = {*KINDS, "each", "seeds", "small"}
FILE_KEYS = {"runs", "small", "tables", "figures"}
REFERENCE = re.compile(r"=@([\w.-]+)$")


@dataclass(frozen=True)
class Step:
    """One run of a study.

    words: overrides, or a script and its arguments, with the folders of other runs in place of `@run`. needs: the
    folders of these runs. seed: None for a script.
    """

    name: str
    kind: str
    words: tuple[str, ...]
    folder: Path
    seed: int | None = None
    needs: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self.name if self.seed is None else f"{self.name}, seed {self.seed}"

    @property
    def settings(self) -> list[str]:
        """The overrides that a run folder records, without those that name it."""
        return [*self.words, f"seed={self.seed}"]

    @property
    def command(self) -> list[str]:
        """The command line of a new run: the words after `trimer`, or a script with its arguments."""
        if self.kind == "script":
            return list(self.words)
        return [self.kind, *self.settings, f"hydra.run.dir={quoted(self.folder)}"]


@dataclass
class Study:
    """The steps of a study, in the order in which they run, and what its page shows of them."""

    name: str
    folder: Path  # of all runs
    steps: list[Step]
    tables: dict[str, Any]
    figures: dict[str, Any]
    small: bool = False

    def of_run(self, name: str) -> list[Step]:
        """The steps of a run, one for each seed; ConfigError if there is none."""
        steps = [step for step in self.steps if step.name == name]
        if not steps:
            raise ConfigError(f"study.yaml of {self.name}: there is no run {name!r}")
        return steps

    def chosen(self, patterns: Sequence[str] = ()) -> list[Step]:
        """The steps whose run matches a pattern such as `superclass-*`, and those that they need; no pattern: all."""
        if not patterns:
            return self.steps
        wanted: set[Path] = set()
        for pattern in patterns:
            matching = {step.folder for step in self.steps if fnmatchcase(step.name, pattern)}
            if not matching:
                names = ", ".join(dict.fromkeys(step.name for step in self.steps))
                raise ConfigError(f"--only {pattern}: no run of {self.name} has such a name; the runs are {names}")
            wanted |= matching
        for step in reversed(self.steps):
            if step.folder in wanted:
                wanted |= set(step.needs)
        return [step for step in self.steps if step.folder in wanted]


def studies() -> list[str]:
    """Names of the studies that can be repeated."""
    return sorted(path.parent.name for path in STUDIES.glob("*/study.yaml"))


def read_study(name: str, runs: Path, data: Path, small: bool = False) -> Study:
    """The study `name`. runs: parent of its folders. data: folder of the data sets. small: its small version."""
    path = STUDIES / name / "study.yaml"
    if not path.is_file():
        raise ConfigError(f"study {name!r} has no {path.name}; the studies are {', '.join(studies())}")
    return study_of(yaml.safe_load(path.read_text(encoding="utf-8")), name, runs, data, small)


def study_of(content: Mapping[str, Any], name: str, runs: Path, data: Path, small: bool = False) -> Study:
    """The study that the content of a study.yaml describes; ConfigError if it is wrong."""
    check_keys(content, FILE_KEYS, f"study.yaml of {name}")
    folder = runs / name
    steps: list[Step] = []
    for pattern, spec in content["runs"].items():
        where = f"study.yaml of {name}, run {pattern}"
        check_keys(spec, KEYS, where)
        kinds = [kind for kind in KINDS if kind in spec]
        if len(kinds) != 1:
            raise ConfigError(f"{where}: give one of {', '.join(KINDS)}")
        added = [*(content.get("small") or [] if kinds[0] == "train" else []), *spec.get("small", [])] if small else []
        for run_name, words in combinations(pattern, kinds[0], spec, added):
            steps += steps_of(run_name, kinds[0], words, spec, steps, folder, data, small, where)
    return Study(name, folder, steps, content.get("tables") or {}, content.get("figures") or {}, small)


def combinations(pattern: str, kind: str, spec: Mapping, added: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Name and words of each run that a pattern stands for."""
    each = {key: values if isinstance(values, Mapping) else dict.fromkeys(values) for key, values in
            spec.get("each", {}).items()}  # fmt: skip
    for values in itertools.product(*(options.items() for options in each.values())):
        chosen = dict(zip(each, (value for value, _ in values), strict=True))
        words = [*spec[kind], *(word for _, words in values for word in words or ()), *added]
        yield filled(pattern, chosen), [filled(str(word), chosen) for word in words]


def steps_of(
    name: str,
    kind: str,
    words: list[str],
    spec: Mapping,
    earlier: list[Step],
    folder: Path,
    data: Path,
    small: bool,
    where: str,
) -> Iterator[Step]:
    """A step for each seed of a run; a small study has one seed."""
    if kind == "script":
        output = folder / name
        places = {"folder": output, "data": data}
        yield Step(name, kind, tuple(filled(word, places) for word in words), output)
        return
    for seed in list(spec.get("seeds", [0]))[: 1 if small else None]:
        needs: list[Path] = []
        resolved = []
        for word in words:
            if reference := REFERENCE.search(word):
                needs.append(folder_of(reference[1], seed, earlier, where))
                word = f"{word[: reference.start()]}={quoted(needs[-1])}"
            resolved.append(word)
        yield Step(name, kind, tuple(resolved), folder / name / f"seed{seed}", seed, tuple(needs))


def folder_of(name: str, seed: int, earlier: list[Step], where: str) -> Path:
    """The folder of an earlier run, of this seed if it has it."""
    steps = [step for step in earlier if step.name == name]
    if not steps:
        raise ConfigError(f"{where}: @{name} is not a run above it in the file")
    return next((step for step in steps if step.seed == seed), steps[0]).folder


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with the values in place of their `{names}`; other braces stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def quoted(path: Path) -> str:
    """A path as the value of an override."""
    text = path.as_posix()
    return text if re.fullmatch(r"[\w./-]+", text) else "'" + text.replace("'", "\\'") + "'"


def check_keys(node: Any, known: set[str], where: str) -> None:
    """ConfigError for a key that has no meaning."""
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}: give a mapping with some of {', '.join(sorted(known))}")
    if unknown := sorted(set(node) - known):
        raise ConfigError(f"{where}: {unknown[0]!r} has no meaning; the keys are {', '.join(sorted(known))}")


def data_folder() -> Path:
    """The folder of the public data sets: TRIMER_DATA, or data."""
    return Path(os.environ.get("TRIMER_DATA", "data")).expanduser()
