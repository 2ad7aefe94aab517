"""The service behind all interfaces: models by name, batches, limits, metrics, warm-up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from trimer import __version__
from trimer.counts import counted
from trimer.errors import CheckpointError, ConfigError, InputError
from trimer.prediction.embedding import budget
from trimer.prediction.predictor import Prediction
from trimer.serving import parameters
from trimer.serving.batching import Batcher, Computer, Ticket
from trimer.serving.limits import Limits, Refusal
from trimer.serving.metrics import Metrics
from trimer.serving.models import ServedModel, path_of
from trimer.serving.rows import Answer, without
from trimer.serving.served_cards import card, example_records
from trimer.serving.streams import RowStream

log = logging.getLogger(__name__)

WARM_UP = 1  # example records of each model
CPU_TOKENS = 2048  # default tokens of a batch on a CPU


class Service:
    """Predictions and embeddings for all interfaces. tokens_per_batch: None for the default of the device."""

    def __init__(self, limits: Limits, tokens_per_batch: int | None = None):
        if tokens_per_batch is not None and tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch={tokens_per_batch} must be 1 or more")
        self.limits, self.metrics = limits, Metrics()
        self.models: dict[str, ServedModel] = {}
        self.cards: dict[str, dict[str, Any]] = {}
        self.job_limits: dict[str, Any] | None = None  # for the cards; None: no jobs
        self.ready = False
        self.failure: str | None = None
        self._tokens = tokens_per_batch
        self._active = 0
        self._seconds = 1.0  # running mean of the time of a request
        self._lock = threading.Lock()
        self.batcher = Batcher(self._budget, self.metrics.batch)
        self.metrics.waiting.set_function(lambda: self.batcher.waiting)

    def _budget(self, computer: Computer) -> int:
        if self._tokens is not None:
            return self._tokens
        device = next(computer.net.parameters()).device
        return CPU_TOKENS if device.type == "cpu" else budget(device)

    # ---------------------------------------------------------------- start and end

    def start(self, load: Callable[[], dict[str, ServedModel]]) -> None:
        """Load the models, predict an example with each, and become ready. Blocks; interfaces call it in a thread."""
        try:
            models = load()
            for model in models.values():
                self.cards[model.name] = self._warmed_up(model)
            self.models = models
        except Exception as error:
            self.failure = str(error)
            raise
        self.ready = True
        self.metrics.ready.set(1)
        log.info("ready: %s", ", ".join(self.models))

    def _warmed_up(self, model: ServedModel) -> dict[str, Any]:
        """The card of a model, after a prediction for example records."""
        kind = model.study.example if "predict" in model.operations else model.study.entity
        records = example_records(kind)
        columns: dict[str, Any] = {}
        for operation in model.operations:
            started = time.monotonic()
            answer = self._answer(model, operation, records[:WARM_UP], {}, self._ticket(operation, None))
            log.info("%s: warm-up of %s in %.1f s", model.name, operation, time.monotonic() - started)
            columns[operation] = answer
        return {**card(model, self.limits, records, columns), "jobs": self.job_limits}

    def close(self) -> None:
        """End the computations."""
        self.ready = False
        self.metrics.ready.set(0)
        self.batcher.close()

    # ---------------------------------------------------------------- requests

    def check_ready(self) -> None:
        """Refusal before the models are loaded."""
        if not self.ready:
            raise Refusal(503, "not_ready", "the models are being loaded: try again", retry_after=2)

    def model(self, name: str) -> ServedModel:
        """A served model; Refusal for an unknown name, or before the service is ready."""
        self.check_ready()
        if name not in self.models:
            raise Refusal(404, "unknown_model", f"there is no such model; this server has {', '.join(self.models)}")
        return self.models[name]

    def admit(self) -> None:
        """Count a request that begins; Refusal if too many are in progress. Each admission needs a `leave`."""
        with self._lock:
            if self._active >= self.limits.requests:
                raise Refusal(
                    429,
                    "too_many_requests",
                    f"{counted(self._active, 'requests', 'are')} in progress, the limit limits.requests: try "
                    "again later",
                    retry_after=max(1, round(self._seconds)),
                )
            self._active += 1
        self.metrics.active.set(self._active)

    def leave(self, seconds: float) -> None:
        """Count a request that ends. seconds: how long it took."""
        with self._lock:
            self._active -= 1
            self._seconds += 0.1 * (seconds - self._seconds)
        self.metrics.active.set(self._active)

    def answer(
        self,
        model: ServedModel,
        operation: str,
        records: list | Path,
        values: Any = None,
        cancelled: threading.Event | None = None,
    ) -> Answer:
        """The answer to a list of records or a file. values: parameters of the client, not checked yet."""
        settings = self._checked(model, operation, records, values)
        with refusals(model, path_of(records)):
            ticket = self._ticket(operation, self.limits.seconds, cancelled)
            answer = self._answer(model, operation, records, settings, ticket)
        self.count(model, operation, answer.predictions)
        return answer

    def stream(
        self,
        model: ServedModel,
        operation: str,
        records: list | Path,
        values: Any = None,
        cancelled: threading.Event | None = None,
    ) -> RowStream:
        """The answer in pieces, of which the first is computed: an error until then is a Refusal."""
        settings = self._checked(model, operation, records, values)
        ticket = self._ticket(operation, self.limits.seconds, cancelled)
        with refusals(model, path_of(records)), self.batcher.reading(ticket):
            rows = model.begin(operation, records, settings, self.batcher, ticket, self.limits, streamed=True)
            return RowStream(
                rows,
                ticket,
                public=lambda text: model.public(text, path_of(records)),
                observe=lambda predictions: self.count(model, operation, predictions),
            )

    def _checked(self, model: ServedModel, operation: str, records: list | Path, values: Any) -> Mapping[str, Any]:
        if isinstance(records, list):
            if not records:
                raise Refusal(422, "empty", "records is empty: send one record or more")
            self.limits.check_records(len(records))
        return parameters.checked(values, model.study, operation, self.limits)

    def _answer(
        self, model: ServedModel, operation: str, records: list | Path, settings: Mapping[str, Any], ticket: Ticket
    ) -> Answer:
        with self.batcher.reading(ticket):
            return model.begin(operation, records, settings, self.batcher, ticket, self.limits).answer()

    def count(self, model: ServedModel, operation: str, predictions: Sequence[Prediction]) -> None:
        """Count the records of an answer, or of a piece of it, in the metrics."""
        failed = without(predictions)
        for outcome, number in (("predicted", len(predictions) - failed), ("reason", failed)):
            self.metrics.records.labels(model.name, operation, outcome).inc(number)

    def _ticket(self, operation: str, seconds: float | None, cancelled: threading.Event | None = None) -> Ticket:
        deadline = None if seconds is None else time.monotonic() + seconds
        failed = str if operation == "embed" else reason_row
        return Ticket(failed, deadline, seconds or 0.0, cancelled=cancelled or threading.Event())

    def facts(self) -> dict[str, Any]:
        """Versions and device of the server."""
        device = next((str(next(m.model.net.parameters()).device) for m in self.models.values()), "unknown")
        return {"trimer": __version__, "torch": torch.__version__, "device": device, "models": self.versions()}

    def versions(self) -> dict[str, str]:
        """Name -> version of each model."""
        return {name: model.version for name, model in self.models.items()}


@contextmanager
def refusals(model: ServedModel, path: Path | None = None) -> Iterator[None]:
    """Errors of records and parameters as a Refusal, without paths of the server. path: of the uploaded file."""
    try:
        yield
    except (InputError, ConfigError, CheckpointError) as error:
        raise Refusal(422, "unusable_input", model.public(str(error), path)) from error


def reason_row(message: str) -> list[dict[str, str]]:
    """The rows of a record whose computation failed."""
    return [{"reason": message}]
