"""Batches: within a budget of tokens, the same results under any load, errors that concern one row only."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import trimer
from trimer.errors import ConfigError
from trimer.examples import example
from trimer.serving import batching
from trimer.serving.batching import Batcher, Cancelled, Ticket
from trimer.serving.limits import Refusal


@pytest.fixture
def batches(monkeypatch):
    """The batches that were computed; a worker doubles numbers, and fails for a 13."""
    computed: list[list[int]] = []

    def results_of(worker, inputs):
        computed.append(list(inputs))
        worker.started.set()
        worker.go.wait(10)
        if 13 in inputs:
            raise ValueError("13")
        if -1 in inputs:
            raise ConfigError("a wrong setting")
        return [2 * value for value in inputs]

    monkeypatch.setattr(batching, "results_of", results_of)
    monkeypatch.setattr(batching, "LOOK_SECONDS", 0.1)
    return computed


def worker() -> SimpleNamespace:
    return SimpleNamespace(cost_of=lambda value: 10, started=threading.Event(), go=threading.Event())


def ticket(**options) -> Ticket:
    return Ticket(lambda message: message, **options)


def test_inputs_that_arrive_during_a_batch_are_computed_together_within_the_budget(batches):
    one, other = worker(), worker()
    other.go.set()
    batcher = Batcher(lambda computer: 40)
    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(lambda: batcher.compute(one, ticket())([0])())]
        one.started.wait(10)  # the first batch is being computed
        chunks = [batcher.compute(one, ticket())([10 * n, 10 * n + 1]) for n in range(1, 4)]
        alone = batcher.compute(other, ticket())([99])
        job = batcher.compute(one, ticket(background=True))([7])
        one.go.set()
        assert [chunk() for chunk in chunks] == [[20, 22], [40, 42], [60, 62]]
        assert (alone(), job(), results[0].result()) == ([198], [14], [0])
    assert batches[:3] == [[0], [10, 11, 20, 21], [30, 31, 7]]
    batcher.close()


def test_a_batch_waits_for_requests_that_are_being_read_but_not_for_long(batches, monkeypatch):
    monkeypatch.setattr(batching, "WAIT_SECONDS", 5.0)
    one = worker()
    batcher = Batcher(lambda computer: 40)
    compute, slow, quick = batcher.compute(one, ticket()), ticket(), ticket()
    first = compute([0])
    one.started.wait(10)
    waiting = compute([1])
    with batcher.reading(quick):
        time.sleep(0.5)  # so that the batch took longer than what follows
        one.go.set()
        assert first() == [0]
        time.sleep(0.01)
        assert batcher.compute(one, quick)([2])() == [4] and waiting() == [2]
    assert batches == [[0], [1, 2]]
    with batcher.reading(slow):  # which hands nothing over
        assert compute([3])() == [6]
        assert compute([4, 5, 6, 7])() == [8, 10, 12, 14]
    assert batches[2:] == [[3], [4, 5, 6, 7]]
    with pytest.raises(ValueError, match="unreadable"), batcher.reading(slow):
        raise ValueError("unreadable")
    assert not batcher._reading
    batcher.close()


def test_a_job_advances_on_a_busy_server(batches):
    one = worker()
    batcher = Batcher(lambda computer: 10)
    compute = batcher.compute(one, ticket())
    first = compute([0])
    one.started.wait(10)
    job = batcher.compute(one, ticket(background=True))([7])
    waiting = [compute([number]) for number in range(100, 100 + 3 * batching.JOB_EVERY)]
    one.go.set()
    assert (first(), job(), [chunk()[0] for chunk in waiting][:2]) == ([0], [14], [200, 202])
    assert batches.index([7]) == batching.JOB_EVERY - 1
    batcher.close()


def test_free_memory_is_returned_from_time_to_time(batches, monkeypatch):
    trims = []
    monkeypatch.setattr(batching, "trim", lambda: trims.append(len(batches)))
    monkeypatch.setattr(batching, "TRIM_EVERY", 2)
    one = worker()
    one.go.set()
    batcher = Batcher(lambda computer: 40)
    for number in range(5):
        batcher.compute(one, ticket())([number])()
    batcher.close()
    assert trims == [2, 4]


def test_one_bad_row_fails_no_other(batches):
    one = worker()
    one.go.set()
    batcher = Batcher(lambda computer: 1000)
    good, bad, wrong = ticket(), ticket(), ticket()
    assert batcher.compute(one, good)([1, 2])() == [2, 4]
    first, failed, last = batcher.compute(one, bad)([1, 13, 3])()
    assert (first, last) == (2, 6)
    assert "failed (ValueError)" in failed
    with pytest.raises(ConfigError, match="a wrong setting"):
        batcher.compute(one, wrong)([-1])()
    batcher.close()


def test_a_request_without_usable_records_does_not_wait(batches):
    one = worker()
    batcher = Batcher(lambda computer: 1000)
    assert batcher.compute(one, ticket())([])() == []
    assert batches == []
    batcher.close()


def test_cancelled_and_late_requests_are_not_computed(batches):
    one = worker()
    batcher = Batcher(lambda computer: 1000)
    blocked = batcher.compute(one, ticket())([1])
    one.started.wait(10)
    gone, late = ticket(), ticket(deadline=time.monotonic() + 0.3, seconds=1.0)
    gone_result, late_result = batcher.compute(one, gone)([2]), batcher.compute(one, late)([3])
    gone.cancelled.set()
    with pytest.raises(Cancelled):
        gone_result()
    with pytest.raises(Refusal, match=r"limits\.seconds"):
        late_result()
    with pytest.raises(Refusal, match=r"limits\.seconds"):
        batcher.compute(one, ticket(deadline=0.0, seconds=1.0))([4])
    one.go.set()
    assert blocked() == [2]
    batcher.close()
    assert batches == [[1]]


def test_rows_of_concurrent_requests_equal_offline_predictions(client):
    """Shuffled rows of many sizes, from several clients at once, with bad rows among them."""
    import csv

    with example("peptides").open() as stream:
        peptides = [row["sequence"] for row in csv.DictReader(stream)][:40]
    offline = trimer.load("peptide-rt").predict(peptides, trainer="cpu")
    expected = dict(zip(peptides, offline["retention"], strict=True))
    order = random.Random(0)
    requests = []
    for size in (1, 2, 3, 5, 8, 13, 21, 40, 1, 1):
        rows = order.sample(peptides, size)
        rows.insert(order.randrange(size + 1), "no peptide")
        requests.append(rows)
    with ThreadPoolExecutor(len(requests)) as pool:
        url = "/v1/models/peptide-rt/predict"
        answers = list(pool.map(lambda rows: client.post(url, json={"records": rows}).json()["rows"], requests))
    for rows, answer in zip(requests, answers, strict=True):
        assert [row["sequence"] for row in answer] == rows
        for row in answer:
            if row["sequence"] == "no peptide":
                assert row["reason"] is not None
            else:
                assert row["retention"] == pytest.approx(expected[row["sequence"]], abs=1e-4)
