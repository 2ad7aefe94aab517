"""A served model: the trained model, its predictors by their parameters, and the rows of lists and files."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.api import TrainedModel, command_config, set_values
from trimer.errors import CheckpointError, TrimerError
from trimer.prediction.embedder import Embedder
from trimer.prediction.partial import Partial, digest_of
from trimer.prediction.predictor import CHUNK, Prediction, Predictor, Records, check_inherits
from trimer.serving.batching import Batcher, Cancelled, Ticket
from trimer.serving.limits import Limits, Refusal
from trimer.serving.parameters import samples
from trimer.serving.rows import Rows, left_predictions, left_vectors, piece_size
from trimer.serving.vectors import EMBEDDING_COLUMNS, embedded_rows, kept
from trimer.studies.study import Study

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.data.core.label_table import LabelTable

log = logging.getLogger(__name__)

KEPT = 16  # predictors of one model, each with other parameters
MODIFICATIONS = 1000  # of peptides that a model remembers from one request to the next
VERSION = 12  # letters of the digest of the weights


class ServedModel:
    """A trained model under a name. trainer: device and precision. fixed: settings of the server, such as retention."""

    def __init__(self, name: str, model: TrainedModel, trainer: DictConfig, fixed: Mapping[str, Any] | None = None):
        self.name, self.model, self.study = name, model, model.loaded.study
        self._trainer, self._fixed = trainer, dict(fixed or {})
        self.version = digest_of([model.path])[:VERSION]
        self.operations = [
            operation
            for operation, possible in (
                ("predict", self.study.can_predict(model.loaded.contract)),
                ("embed", can_embed(self.study)),
            )
            if possible
        ]
        self._computers: dict[str, Predictor | Embedder] = {}
        self._configs: dict[str, DictConfig] = {}  # of each operation, with the default settings
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # readers and spelling counters are not made for several threads

    def check_operation(self, operation: str) -> None:
        """Refusal for an operation that the model does not have."""
        if operation not in self.operations:
            can = " and ".join(self.operations) or "neither predict nor embed"
            raise Refusal(422, "unsupported_operation", f"{self.name} cannot {operation[:40]}: it can {can}")

    def computer(self, operation: str, settings: Mapping[str, Any]) -> Predictor | Embedder:
        """The predictor or embedder with these settings; the last used ones are kept."""
        self.check_operation(operation)
        key = json.dumps([operation, settings], sort_keys=True)
        with self._lock:
            computer = self._computers.pop(key, None) or self._built(operation, settings)
            self._computers[key] = computer
            while len(self._computers) > KEPT:
                del self._computers[next(iter(self._computers))]
        return computer

    def _built(self, operation: str, settings: Mapping[str, Any]) -> Predictor | Embedder:
        fixed: dict[str, Any] = {"ckpt": str(self.model.path), "input": "-", "output": "-"}
        fixed |= {"atoms": self.model.atoms} if operation == "embed" else self._fixed
        if operation not in self._configs:
            self._configs[operation] = command_config(operation, fixed, {})
            self._configs[operation].trainer = self._trainer
        cfg = set_values(deepcopy(self._configs[operation]), operation, settings, {})
        if operation == "embed":
            return Embedder(self.model.loaded, cfg)
        predictor = self.study.predictor(cfg)
        check_inherits(predictor, self.model.path, "cannot be served")
        if hasattr(predictor, "each_once"):
            predictor.each_once = False  # a response has a row for each record; only a library holds each once
        if hasattr(predictor, "no_library"):
            predictor.no_library = None  # a client cannot name one
        return predictor

    def begin(
        self,
        operation: str,
        records: list | Path,
        settings: Mapping[str, Any],
        batcher: Batcher,
        ticket: Ticket,
        limits: Limits,
        streamed: bool = False,
    ) -> Rows:
        """Read a list of records or a file; their rows are computed as they are taken.

        streamed: compute a few batches at a time, so that the first rows are not late.
        """
        size = CHUNK
        with collected_warnings() as warnings:
            computer = self.computer(operation, self._bounded(operation, settings, limits))
            compute = batcher.compute(computer, ticket)
            if isinstance(computer, Embedder):
                tables = self._tables(computer, records, limits, self._reading)
                computed = embedded_rows(computer, tables, compute, limits.check_numbers)
                columns, total, left = list(EMBEDDING_COLUMNS), sum(map(len, tables)), partial(left_vectors, tables)
            else:
                chunks = self.read(computer, records, limits, ticket, self._reading)
                if streamed:
                    size = piece_size(computer, chunks, batcher.budget(computer))
                computed = computer.predict(chunks, compute=compute, size=size)
                columns, total = list(computer.columns), sum(map(len, chunks))
                left = partial(left_predictions, chunks, columns)
        seed = self.seed(settings) if operation == "predict" else None
        warnings = [self.public(text, path_of(records)) for text in warnings]
        return Rows(columns, total, size, self._public_rows(computed, records), left, computer, seed, warnings)

    def seed(self, settings: Mapping[str, Any]) -> int | None:
        """The random seed of a prediction, if it samples."""
        return int(settings.get("seed") or 0) if samples(self.study) else None

    def read(
        self, predictor: Predictor, records: list | Path, limits: Limits, ticket: Ticket, lock: threading.Lock
    ) -> list[Records]:
        """The records as model inputs; Refusal if there are too many; a record that is too long has a reason.

        lock: of the predictor, which reads in one thread at a time.
        """
        chunks, count = [], 0
        with self._reader(predictor, lock):
            source = predictor.read(records) if isinstance(records, Path) else iter([predictor.records(records)])
            for chunk in source:
                ticket.check()
                count += len(chunk)
                limits.check_records(count)
                shorten(chunk, predictor, limits.tokens)
                chunks.append(chunk)
        return chunks

    @contextmanager
    def _reader(self, computer: Predictor | Embedder, lock: threading.Lock) -> Iterator[None]:
        """Read in one thread at a time; Refusal for records that a reader cannot take, whatever its error is."""
        kind = getattr(computer, "kind", None)
        with lock:
            if kind is not None:
                kind.spelling.reset()  # a warning concerns the texts of this request only
                kind.bound(MODIFICATIONS)
            try:
                yield
            except (TrimerError, Cancelled):
                raise
            except Exception as error:
                log.exception("records for %s cannot be read", self.name)
                what = type(error).__name__
                raise Refusal(
                    422, "unusable_input", f"the records cannot be read ({what}): check their form"
                ) from error
            if kind is not None:
                kind.spelling.warn()

    def file_rows(
        self,
        operation: str,
        path: Path,
        settings: Mapping[str, Any],
        output: Path,
        ticket: Ticket,
        batcher: Batcher,
        limits: Limits,
    ) -> tuple[int, Generator[Prediction]]:
        """The number of records of a file, and the rows of each; `<output>.partial` keeps finished chunks."""
        # The computer belongs to this job alone, so that no request waits while a large file is read.
        with self._lock:
            computer = self._built(operation, self._bounded(operation, settings, limits))
        compute, lock = batcher.compute(computer, ticket), threading.Lock()
        dependencies = {"version": self.version, "settings": json.dumps(settings, sort_keys=True)}
        if isinstance(computer, Embedder):
            tables = self._tables(computer, path, limits, lock)
            count = sum(map(len, tables))
        else:
            chunks = self.read(computer, path, limits, ticket, lock)
            count = sum(map(len, chunks))

        def rows() -> Generator[Prediction]:
            with Partial(output, dependencies, announced=False) as finished:
                if isinstance(computer, Embedder):
                    computed = embedded_rows(computer, tables, kept(compute, finished), limits.check_numbers)
                else:
                    computed = computer.predict(chunks, finished, compute)
                yield from self._public_rows(computed, path)

        return count, rows()

    def _tables(
        self, embedder: Embedder, records: list | Path, limits: Limits, lock: threading.Lock
    ) -> list[LabelTable]:
        """The sequences of a list or a file; Refusal if there are too many."""
        with self._reader(embedder, lock):
            tables = list(embedder.read(records) if isinstance(records, Path) else embedder.records(records))
        limits.check_records(sum(map(len, tables)))
        return tables

    def _bounded(self, operation: str, settings: Mapping[str, Any], limits: Limits) -> Mapping[str, Any]:
        """The settings; a longer sequence than the limit gets a reason in place of its embedding."""
        if operation != "embed":
            return settings
        return {**settings, "longest": min(limits.tokens, settings.get("longest") or limits.tokens)}

    def _public_rows(self, predictions: Iterable[Prediction], records: list | Path) -> Iterator[Prediction]:
        """The predictions; their reasons name no path of the server."""
        for prediction in predictions:
            for row in prediction:
                if row["reason"] is not None:
                    row["reason"] = self.public(row["reason"], path_of(records))
            yield prediction

    def public(self, text: str, path: Path | None = None) -> str:
        """A message without paths of the server. path: of the uploaded file."""
        if path is not None:
            text = text.replace(f"{path.parent}/", "").replace(str(path), path.name)
        return text.replace(str(self.model.path), self.name)


def path_of(records: list | Path) -> Path | None:
    """The uploaded file, None for a list."""
    return records if isinstance(records, Path) else None


def can_embed(study: Study) -> bool:
    """Whether a model computes embeddings of sequences."""
    try:
        study.encoder()
    except CheckpointError:
        return False
    return type(study).encoder is not Study.encoder


def shorten(records: Records, predictor: Predictor, tokens: int) -> None:
    """Give records with more tokens than the limit a reason in place of their inputs."""
    for row in list(records.usable):
        length = predictor.tokens_of(records.inputs[row])
        if length > tokens:
            records.reasons[row] = f"{length:,} tokens, the limit of this server limits.tokens is {tokens:,}"
            records.usable.remove(row)
            del records.inputs[row]


# ---------------------------------------------------------------- warnings of one request

_request = threading.local()
WARNINGS = 20  # of one request


class _Collector(logging.Handler):
    """Adds the warnings of a thread that collects them to its list."""

    def emit(self, record: logging.LogRecord) -> None:
        warnings = getattr(_request, "warnings", None)
        if warnings is not None and len(warnings) < WARNINGS:
            warnings.append(record.getMessage())


def not_collected(record: logging.LogRecord) -> bool:
    """Filter of the handlers of the server: messages about a request name its content, so they are not logged."""
    return getattr(_request, "warnings", None) is None or not record.name.startswith("trimer")


_collector = _Collector(logging.WARNING)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The warnings of `trimer` in this thread, which belong into the response."""
    logger = logging.getLogger("trimer")
    if _collector not in logger.handlers:
        logger.addHandler(_collector)
    _request.warnings = []
    try:
        yield _request.warnings
    finally:
        _request.warnings = None


def named_models(paths: Iterable[str], load: Any) -> dict[str, TrainedModel]:
    """Name -> trained model; names are letters, digits, `.`, `_` and `-`, and unique."""
    import re

    from trimer.run import run_config

    models: dict[str, TrainedModel] = {}
    for path in paths:
        model = load(path)
        config = run_config(model.loaded.run)
        folder = model.path if model.path.is_dir() else model.loaded.run
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(config.get("name") or folder.name)).strip("-.") or "model"
        number, unique = 2, name
        while unique in models:
            unique, number = f"{name}-{number}", number + 1
        models[unique] = model
    return models
