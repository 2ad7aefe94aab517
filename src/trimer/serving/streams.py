"""NDJSON that begins before its computation ends: pieces of rows, computed as the client takes them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from trimer.counts import counted
from trimer.errors import TrimerError
from trimer.prediction.predictor import CHUNK, Prediction
from trimer.serving.answers import lines
from trimer.serving.batching import Cancelled, Ticket
from trimer.serving.rows import Rows

log = logging.getLogger(__name__)

UNEXPECTED = "an unexpected error; the log of the server has its cause"


class RowStream:
    """The rows of a request in pieces. An error after the first piece is the reason of all records that are left.

    public: removes paths of the server from a message. observe: called with the predictions of each piece.
    """

    def __init__(
        self,
        rows: Rows,
        ticket: Ticket,
        public: Callable[[str], str],
        observe: Callable[[list[Prediction]], None],
    ):
        self.rows, self.ticket = rows, ticket
        self._public, self._observe = public, observe
        self._done = 0
        self.first = list(itertools.islice(rows.computed, rows.size))
        self._count(self.first)

    @property
    def complete(self) -> bool:
        """Whether all rows are computed."""
        return self._done >= self.rows.total

    def piece(self) -> list[Prediction]:
        """The next predictions, computed now; empty at the end. Blocks; Cancelled if the client has gone."""
        predictions: list[Prediction] = []
        try:
            for prediction in itertools.islice(self.rows.computed, self.rows.size):
                predictions.append(prediction)
        except Cancelled:
            raise
        except Exception as error:
            if not isinstance(error, TrimerError):
                log.exception(
                    "an unexpected error after %s of a stream", counted(self._done + len(predictions), "records")
                )
            reason = self._public(str(error)) if isinstance(error, TrimerError) else UNEXPECTED
            self.rows.computed = self.rows.left(self._done + len(predictions), reason)
            predictions += itertools.islice(self.rows.computed, CHUNK)
        self._count(predictions)
        return predictions

    def _count(self, predictions: list[Prediction]) -> None:
        self._done += len(predictions)
        self._observe(predictions)


class StreamResponse(StreamingResponse):
    """The response of a stream. kept: what is released when it ends, for whatever reason."""

    def __init__(self, stream: RowStream, pool: Executor, media: str, headers: Mapping[str, str], kept: AsyncExitStack):
        super().__init__(self._lines(stream, pool), media_type=media, headers=headers)
        self._ticket, self._kept = stream.ticket, kept

    async def _lines(self, stream: RowStream, pool: Executor) -> AsyncIterator[str]:
        predictions, loop = stream.first, asyncio.get_running_loop()
        stream.first = []  # not kept in memory
        while predictions:
            yield text_of(predictions)
            predictions = [] if stream.complete else await loop.run_in_executor(pool, stream.piece)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ticket.cancelled.set()  # no one takes the rows of a client that has gone
            await self._kept.aclose()


def text_of(predictions: list[Prediction]) -> str:
    """A line of JSON for each row."""
    return "".join(line for prediction in predictions for line in lines(prediction))
