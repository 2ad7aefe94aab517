"""The types of the top-level keys of each command; deeper keys are checked against the constructors they configure.

`null` means not set; `???` must be set by the user. A key that is neither here nor in a YAML file of `conf/` is an
error on the command line.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

MISSING: Any = "???"  # as in OmegaConf, which `trimer --help` does not import


@dataclass
class Command:
    """Keys of every command."""

    name: str = MISSING  # folder of the run under `paths.runs`
    paths: Any = None
    text: Any = None


@dataclass
class Train(Command):
    """`trimer train`; the keys are described in conf/train.yaml."""

    seed: int = 0
    tags: list[str] = field(default_factory=list)
    resume: str | None = None
    from_run: str | None = None
    ckpt: str | None = None
    test: bool = True
    baselines: Any = True  # bool or names, checked by `trimer.evaluation.baseline_choice`
    calibration_spectra: int = 256
    augment: int = 0
    boosting: bool = False
    objective: str | None = None
    n_jobs: int = 1
    shards: int | None = None  # of prepare, which has the type of train because it composes train's config
    shard: int | None = None
    data: Any = None
    model: Any = None
    task: Any = None
    optimizer: Any = None
    scheduler: Any = None
    trainer: Any = None
    callbacks: Any = None
    logger: Any = None


@dataclass
class Evaluate(Command):
    """`trimer evaluate`: a checkpoint and baselines on a split."""

    ckpt: str = MISSING
    split: str | None = None
    baselines: Any = True
    by: list[str] = field(default_factory=list)
    formula_known: bool = False
    mces: bool = False
    lookups: list[str] = field(default_factory=list)
    calibrate: bool = False
    calibration_spectra: int = 256
    augment: int | None = None
    boosting: bool | None = None
    seed: int = 0
    data: Any = None  # null: the data that the checkpoint was trained on
    generator: Any = None
    trainer: Any = None


@dataclass
class Predict(Command):
    """`trimer predict`: molecules for spectra, labels for sequences, spectral libraries for peptides."""

    ckpt: str = MISSING
    input: str | None = None
    output: str = MISSING
    column: str | None = None
    id_column: str | None = None
    notation: str | None = None
    fixed: str | None = None
    energy: float | None = None
    instrument: str | None = None
    retention: str | None = None
    ranked: bool = False
    candidates: int = 10
    tolerance_ppm: float = 10.0
    only_agreeing: bool = False
    library: str | None = None
    library_ppm: float | None = 20.0
    cards: int = 100
    augment: int | None = None
    seed: int = 0
    generator: Any = None
    cleaning: dict[str, Any] = field(default_factory=dict)
    trainer: Any = None


@dataclass
class Embed(Command):
    """`trimer embed`: embeddings of the proteins, molecules or peptides of a file."""

    ckpt: str = MISSING
    input: str | None = None
    output: str = MISSING
    pooling: str = "mean"
    layer: int | None = None
    longest: int | None = None
    column: str | None = None
    id_column: str | None = None
    atoms: bool = False
    tokens_per_batch: int | None = None
    trainer: Any = None


@dataclass
class Serve(Command):
    """`trimer serve`: trained models over HTTP."""

    ckpt: Any = None  # a text or a list of texts
    host: str | None = None
    port: int | None = None
    grpc_port: int | None = None
    retention: str | None = None
    tokens_per_batch: int | None = None
    model_folder: str | None = None
    shutdown_seconds: int = 25
    limits: Any = None
    jobs: Any = None
    trainer: Any = None


@dataclass
class Report(Command):
    """`trimer report`: the runs of folders on a page and in tables."""

    input: Any = MISSING  # a folder or a list of folders
    output: str | None = None
    metrics: list[str] = field(default_factory=list)


@dataclass
class Dashboard(Command):
    """`trimer dashboard`: a W&B workspace and report for the runs of folders."""

    input: Any = MISSING  # a folder or a list of folders
    title: str | None = None
    project: str = "trimer"
    entity: str | None = None
    objective: str | None = None
    output: str | None = None


@dataclass
class Models(Command):
    """`trimer models`: the shipped models, the card of one, or a model of the Hugging Face Hub."""

    name: str | None = None  # type: ignore[assignment]
    pull: str | None = None
    revision: str | None = None
    output: str | None = None


@dataclass
class Pack(Command):
    """`trimer pack`: a run as a small folder."""

    ckpt: str = MISSING
    output: str = MISSING
    results: str | None = None
    weights: str = "float16"
    base: str | None = None


@dataclass
class Export(Command):
    """`trimer export`: a model for other programs."""

    ckpt: str = MISSING
    output: str = MISSING
    format: str = "huggingface"
    weights: str = "float32"
    packed: bool = True
    push: str | None = None
    private: bool = True


@dataclass
class Demo(Command):
    """`trimer demo`: a shipped model on the example spectra."""

    ckpt: str = MISSING
    output: str = MISSING
    spectra: int | None = None
    steps: int = 20
    seed: int = 0
    generator: Any = None
    trainer: Any = None


@dataclass
class Reproduce(Command):
    """`trimer reproduce`: a run again, compared with the first one."""

    run: str = MISSING
    output: str | None = None
    tolerance: float = 1e-3
    force: bool = False
    changes: list[str] = field(default_factory=list)


@dataclass
class Diff(Command):
    """`trimer diff`: two runs side by side."""

    run: str = MISSING
    other: str = MISSING
    all: bool = False
    weights: bool = True
    output: str | None = None


@dataclass
class Init(Command):
    """`trimer init`: the folder of a project."""

    folder: str = MISSING


SCHEMAS: dict[str, type[Command]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "embed": Embed,
    "serve": Serve,
    "prepare": Train,
    "report": Report,
    "dashboard": Dashboard,
    "models": Models,
    "pack": Pack,
    "export": Export,
    "demo": Demo,
    "reproduce": Reproduce,
    "diff": Diff,
    "init": Init,
}

# Keys of a command whose values may be given as words without `key=`, in this order.
POSITIONAL: dict[str, tuple[str, ...]] = {"reproduce": ("run",), "diff": ("run", "other"), "init": ("folder",)}
# Commands that take any number of words without `key=`, as values of this key.
LISTS = {"report": "input", "dashboard": "input", "serve": "ckpt"}
# Commands that pass keys which they do not have on to a training, as `changes`.
PASS_ON = {"reproduce"}


@functools.cache
def register() -> None:
    """Register `<command>_schema` with Hydra, once; each conf/<command>.yaml lists it first in its defaults."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for command, schema in SCHEMAS.items():
        store.store(name=f"{command}_schema", node=schema, provider="trimer")
