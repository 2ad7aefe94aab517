"""Trains a run again from its folder: checks the data, says what differs, trains, and compares the results."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trimer import __version__
from trimer.cli import configs
from trimer.errors import InputError
from trimer.files import write_text
from trimer.reproduction.code import code_version
from trimer.reproduction.comparison import Row, compare
from trimer.reproduction.data_files import changed_files, used_files
from trimer.reproduction.environment import PACKAGES_FILE, installed, package_lines
from trimer.reproduction.results import (
    STATISTIC,
    Metric,
    Weights,
    final_metrics,
    first_difference,
    weights_of,
)
from trimer.resuming import override, plain_dict, require_plugins
from trimer.run import RunFolder, config_dirs, surroundings

SHOWN = 12  # differences of the surroundings that are printed for each section


class Reproduction:
    """A run that is trained again. changes: overrides of the training. output: its folder, None for a new one."""

    def __init__(self, run: RunFolder, changes: Sequence[str], output: Path | None, force: bool) -> None:
        self.run, self.force = run, force
        self.words = [override("from_run", run.path), *changes]
        if output is not None:
            self.words.append(override("hydra.run.dir", output))
        self.config = configs.compose("train", configs.without_nulls("train", self.words), config_dirs())
        self.folder = Path(self.config.paths.run)
        if output is None:
            self.words.append(override("hydra.run.dir", self.folder))

    def check(self) -> None:
        """InputError if the run cannot be compared, or if its data have changed and `force` is false."""
        require_plugins(self.run, (), f"run={self.run.path}")
        if RunFolder(self.folder).started:
            raise InputError(f"{self.folder} already holds a run: name another folder with output=")
        if self.run.result.get("status") != "ok" and not self.force:
            raise InputError(
                f"{self.run.path} has not ended successfully, so there are no results to compare with: resume it "
                f"(trimer train resume={self.run.path}), or train it again without a comparison with force=true"
            )
        changed = self.changed_data()
        if changed and not self.force:
            more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise InputError(
                f"the data of {self.run.path} have changed: {'; '.join(changed[:3])}{more}. Restore the files, or name "
                "their place (such as data.source.paths=<file>); force=true trains on the data as they are"
            )
        for sentence in changed:
            print(f"note: {sentence}", file=sys.stderr)

    def changed_data(self) -> list[str]:
        """What differs between the files of the run and those that are there now, as sentences."""
        from trimer.building import build

        record, config = self.run.record, plain_dict(self.config)
        data = build(self.config.data)
        try:
            present = used_files(data, config)
            name = getattr(getattr(data, "folder", None), "name", None)
        except InputError as error:
            return [str(error)]
        if "files" in record:
            return changed_files(record["files"], present)
        if record.get("data") in (None, name):
            return []
        return ["their prepared form has another name (the run was recorded without the hashes of its files)"]

    def differences(self) -> list[str]:
        """How code, packages, device and environment of this process differ from those of the run, as sentences."""
        import torch  # noqa: F401  (the record of the device then has its threads and GPUs)

        with tempfile.TemporaryDirectory() as temporary:
            present = RunFolder(temporary)
            write_text(present.path / PACKAGES_FILE, package_lines(installed()))
            plugins = {"plugins": self.run.record["plugins"]} if "plugins" in self.run.record else {}
            record = {"command": "train", "trimer": __version__, **code_version(present.path), **surroundings()}
            write_text(present.path / "run.json", json.dumps({**record, **plugins}))
            rows = [row for row in compare(self.run, present, weights=False) if not row.equal]
        sentences = []
        for section in ("code", "packages", "device"):
            of_section = [row for row in rows if row.section == section]
            more = f", and {len(of_section) - SHOWN} more" if len(of_section) > SHOWN else ""
            if of_section:
                sentences.append(f"{section}: {', '.join(map(change, of_section[:SHOWN]))}{more}")
        resumed = sorted({key for entry in self.run.record.get("resumed", ()) for key in entry.get("changes") or ()})
        if resumed:
            sentences.append(
                f"config: the run was resumed with other settings ({', '.join(resumed[:5])}); it is trained with the "
                "last ones from its beginning"
            )
        if not sentences:
            return ["code, packages and device are those of the run"]
        return [f"different {sentence}" for sentence in sentences]

    def train(self) -> None:
        """Train in this process, as `trimer train` would."""
        from trimer.cli.main import command_line

        flags = [f"--config-dir={folder}" for folder in config_dirs()]
        with command_words(["train", *flags, *self.words]):
            command_line("train", [*flags, *self.words])

    def compare(self, tolerance: float) -> Outcome:
        """The results of both runs side by side."""
        new = RunFolder(self.folder)
        weights = {name: weights_of(run) for name, run in (("left", self.run), ("right", new))}
        return Outcome(
            self.run.path,
            self.folder,
            tolerance,
            [metric for metric in final_metrics(self.run, new) if not STATISTIC.match(metric.name)],
            first_difference(self.run.path, self.folder),
            weights["left"],
            weights["right"],
        )


@dataclass(frozen=True)
class Outcome:
    """The comparison of a run with its reproduction.

    course: where metrics.csv begins to differ, None if it is equal. weights, new_weights: by checkpoint.
    """

    run: Path
    folder: Path
    tolerance: float
    metrics: list[Metric]
    course: str | None
    weights: dict[str, Weights]
    new_weights: dict[str, Weights]

    @property
    def beyond(self) -> list[Metric]:
        """The metrics that differ by more than the tolerance."""
        return [metric for metric in self.metrics if metric.difference > self.tolerance]

    @property
    def different(self) -> list[Metric]:
        """The metrics that differ at all, the largest difference first."""
        return sorted((metric for metric in self.metrics if not metric.equal), key=lambda metric: -metric.difference)

    @property
    def weights_equal(self) -> bool:
        """Whether there are weights, and those of all checkpoints are equal."""
        return bool(self.weights) and self.weights == self.new_weights

    @property
    def bit_for_bit(self) -> bool:
        """Whether the weights, the metrics and their course are exactly equal."""
        return self.weights_equal and not self.different and self.course is None

    def sentences(self) -> Iterator[str]:
        """The verdict, and what differs."""
        yield f"{near(self.run)} was trained again in {near(self.folder)}"
        if self.bit_for_bit:
            names = " and ".join(self.weights)
            tensors = max(weights.tensors for weights in self.weights.values())
            yield (
                f"bit for bit equal: the weights of {names} ({tensors} tensors), metrics.csv, and all "
                f"{len(self.metrics)} final metrics"
            )
            return
        if not self.metrics:
            yield "metrics: none to compare"
        elif not self.different:
            yield f"metrics: all {len(self.metrics)} equal"
        else:
            worst = self.different[0]
            yield (
                f"metrics: {len(self.different)} of {len(self.metrics)} differ, {len(self.beyond)} by more than the "
                f"tolerance of {self.tolerance:g}; the largest difference is {share(worst.difference)}, of {worst.name}"
            )
            for metric in (self.beyond or self.different)[:SHOWN]:
                yield f"  {metric.name}: {shown(metric.left)}, now {shown(metric.right)}"
        yield f"metrics.csv: {'equal' if self.course is None else f'differs {self.course}'}"
        yield f"weights: {'bit for bit equal' if self.weights_equal else self._weights()}"

    def _weights(self) -> str:
        names = dict.fromkeys([*self.weights, *self.new_weights])
        both = [name for name in names if name in self.weights and name in self.new_weights]
        states = [f"{name} {'equal' if self.weights[name] == self.new_weights[name] else 'differs'}" for name in both]
        return (
            ", ".join([*states, *(f"{name} in one run only" for name in names if name not in both)]) or "no checkpoints"
        )

    def save(self, path: Path) -> None:
        """Write the comparison to a JSON file."""
        content = {
            "run": str(self.run),
            "bit_for_bit": self.bit_for_bit,
            "tolerance": self.tolerance,
            "beyond_tolerance": [metric.name for metric in self.beyond],
            "metrics": {metric.name: [finite(metric.left), finite(metric.right)] for metric in self.metrics},
            "metrics_csv": self.course or "equal",
            "weights": {name: [str(self.weights.get(name)), str(self.new_weights.get(name))] for name in self.weights},
        }
        write_text(path, json.dumps(content, indent=1) + "\n")


def near(path: Path) -> Path:
    """The path relative to the working directory, if it is below it."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else path


def change(row: Row) -> str:
    """`torch 2.12.0, now 2.13.0`."""
    return f"{row.key} {row.left or 'not there'}, now {row.right or 'not there'}"


def share(difference: float) -> str:
    """A relative difference in percent."""
    return "that of a missing or undefined metric" if math.isinf(difference) else f"{100 * difference:.2g} %"


def shown(value: float | None) -> str:
    """A metric with all digits."""
    return "missing" if value is None else "undefined" if math.isnan(value) else repr(value)


def finite(value: float | None) -> float | None:
    """The value as JSON can hold it."""
    return value if value is not None and math.isfinite(value) else None


@contextmanager
def command_words(words: Sequence[str]) -> Iterator[None]:
    """The words of the process within the block, which the record and the ranks of a distributed training repeat."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before
