import tracemalloc

import numpy as np
import pytest

from trimer.data.core import mapped
from trimer.data.core.sampler import ClusterPlan, EpochPlan, PlannedBatches
from trimer.errors import ConfigError

LENGTHS = np.random.default_rng(0).integers(5, 60, 500)


def rows_of(plan, epoch=0, **window):
    return [key.rows.tolist() for key in plan.epoch(epoch, **window)]


def test_each_row_is_seen_once_an_epoch():
    plan = EpochPlan(LENGTHS, 400, seed=1)
    assert sorted(row for rows in rows_of(plan) for row in rows) == list(range(500))


def test_order_depends_only_on_seed_and_epoch():
    plan = EpochPlan(LENGTHS, 400, seed=1)
    assert rows_of(plan, 3) == rows_of(EpochPlan(LENGTHS, 400, seed=1), 3)
    assert rows_of(plan, 3) != rows_of(plan, 4)
    assert rows_of(plan, 3) != rows_of(EpochPlan(LENGTHS, 400, seed=2), 3)


def test_the_order_is_the_permutation_of_earlier_versions():
    """A run that was started with an earlier version is resumed with its batches."""
    for epoch in range(3):
        expected = np.random.default_rng([7, epoch]).permutation(500)
        assert EpochPlan(LENGTHS, 400, seed=7).order(epoch).tolist() == expected.tolist()
        plan = ClusterPlan(LENGTHS, 400, clusters=np.arange(500), seed=7)  # each row is a cluster
        assert plan.order(epoch).tolist() == expected.tolist()
    assert rows_of(EpochPlan(np.full(10, 4), 12, seed=1), 1) == [[7, 2, 4, 6], [1, 0, 3], [5, 9, 8]]


def test_the_order_of_many_rows_is_in_a_file(monkeypatch, tmp_path):
    """The batches are the same, and a rank holds neither the order nor its part of it."""
    lengths = np.random.default_rng(0).integers(30, 900, 300_000).astype(np.int32)
    monkeypatch.setattr(mapped, "PART", 10_000)
    for step in (1, 4):
        expected = [key.rows for key in EpochPlan(lengths, 40_000, multiple=4).epoch(1, 3, step)]
        monkeypatch.setattr(mapped, "LARGE", 50_000)
        plan = EpochPlan(lengths, 40_000, multiple=4, folder=tmp_path)
        tracemalloc.start()
        try:
            batches = plan.epoch(1, 3, step)
            first = next(batches)
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 200_000 and peak < 900_000  # 1.2 MB for the order alone
        rows = [first.rows, *(key.rows for key in batches)]
        assert all(np.array_equal(a, b) for a, b in zip(rows, expected, strict=True))
        monkeypatch.setattr(mapped, "LARGE", 1 << 24)
    assert list(tmp_path.iterdir()) == []


def test_batches_do_not_depend_on_the_rows_that_are_counted_at_once(monkeypatch):
    plans = [EpochPlan(LENGTHS, 400, seed=1), ClusterPlan(LENGTHS, 400, clusters=np.arange(500) // 3, seed=1)]
    expected = [rows_of(plan, 2) for plan in plans]
    for part in (1, 7, 499, 500):
        monkeypatch.setattr(mapped, "PART", part)
        assert [rows_of(plan, 2) for plan in plans] == expected


def test_a_plan_holds_eight_bytes_for_each_row():
    plan = EpochPlan(LENGTHS, 400, rows=np.arange(500) + 7)
    assert plan.rows.itemsize + plan.lengths.itemsize == 8
    assert next(plan.epoch(0)).rows.dtype == np.int64  # the seeds of noise are made of these
    assert EpochPlan(LENGTHS, 400, rows=np.arange(500) + 2**40).rows.max() > 2**40


def test_tokens_of_a_batch_differ_from_the_budget_by_at_most_the_longest_row():
    plan = EpochPlan(LENGTHS, 400, seed=1)
    tokens = [LENGTHS[rows].sum() for rows in rows_of(plan)]
    assert max(tokens) < 400 + 2 * LENGTHS.max()
    assert abs(np.mean(tokens) - 400) < LENGTHS.max()


@pytest.mark.parametrize("multiple", [1, 2, 3, 8])
def test_number_of_batches_is_a_multiple_and_none_is_empty(multiple):
    plan = EpochPlan(LENGTHS, 70, seed=1, multiple=multiple)
    batches = rows_of(plan)
    assert len(batches) == len(plan) and len(plan) % multiple == 0
    assert all(batches)


def test_a_long_row_does_not_make_an_empty_batch():
    lengths = np.array([1, 1, 1000, 1, 1, 1])
    for epoch in range(20):
        assert all(rows_of(EpochPlan(lengths, 10, seed=0), epoch))


def test_ranks_share_the_batches_of_one_process():
    plan = EpochPlan(LENGTHS, 400, seed=1, multiple=2)
    single = rows_of(plan)
    ranks = [[k.rows.tolist() for k in PlannedBatches(plan, None, rank, 2)] for rank in (0, 1)]
    assert [rows for pair in zip(*ranks, strict=True) for rows in pair] == single


def test_a_later_position_continues_the_same_epoch():
    plan = EpochPlan(LENGTHS, 400, seed=1)
    whole = [k.rows.tolist() for k in PlannedBatches(plan, lambda: (2, 0))]
    rest = [k.rows.tolist() for k in PlannedBatches(plan, lambda: (2, 7))]
    assert rest == whole[7:]
    assert len(PlannedBatches(plan, lambda: (2, 7))) == len(whole)


def test_batches_contain_the_row_numbers():
    rows = np.arange(500) * 3
    plan = EpochPlan(LENGTHS, 400, rows=rows, seed=1)
    assert sorted(row for batch in rows_of(plan) for row in batch) == rows.tolist()


def test_too_little_data_raises():
    with pytest.raises(ConfigError, match="drop report"):
        EpochPlan(np.zeros(0, int), 100)
    with pytest.raises(ConfigError, match="do not fill 64 batches"):
        EpochPlan(np.array([5, 5]), 100, multiple=64)


def test_batches_carry_their_optimiser_step():
    plan = EpochPlan(LENGTHS, 400, seed=1, multiple=4)
    steps = [key.step for epoch in range(2) for key in plan.epoch(epoch)]
    assert steps == [i // 4 for i in range(2 * len(plan))]
    plan.taken = 8  # the trainer stops each epoch there
    assert [key.step for key in plan.epoch(3)][:8] == [6, 6, 6, 6, 7, 7, 7, 7]


CLUSTERS = np.repeat([-7, 4, 9, 1000, 2**60], [300, 100, 97, 2, 1])


def cluster_plan(**settings) -> ClusterPlan:
    order = np.random.default_rng(1).permutation(500)
    return ClusterPlan(LENGTHS, 50, clusters=CLUSTERS[order], rows=order, **settings)


def test_each_cluster_is_seen_once_an_epoch():
    for epoch in range(20):
        rows = [row for batch in rows_of(cluster_plan(), epoch) for row in batch]
        assert sorted(CLUSTERS[rows]) == [-7, 4, 9, 1000, 2**60]


def test_members_of_a_cluster_are_equally_likely():
    plan, epochs = cluster_plan(), 2000
    rows = np.array([row for epoch in range(epochs) for batch in rows_of(plan, epoch) for row in batch])
    counts = np.bincount(rows, minlength=500)
    assert counts[499] == epochs
    for first, last in ((497, 499), (400, 497), (0, 300)):
        share = 1 / (last - first)
        assert np.abs(counts[first:last] - epochs * share).max() < 5.5 * np.sqrt(epochs * share)


def test_the_drawn_member_depends_only_on_seed_epoch_and_cluster():
    def member(plan: ClusterPlan, epoch: int) -> int:
        return next(row for batch in rows_of(plan, epoch) for row in batch if CLUSTERS[row] == -7)

    few = np.flatnonzero(CLUSTERS < 9)
    fewer = ClusterPlan(LENGTHS[few], 50, clusters=CLUSTERS[few], rows=few)
    whole = ClusterPlan(LENGTHS, 50, clusters=CLUSTERS, rows=np.arange(500))
    drawn = [member(whole, epoch) for epoch in range(30)]
    assert drawn == [member(fewer, epoch) for epoch in range(30)]
    assert len(set(drawn)) > 20
    assert drawn != [member(ClusterPlan(LENGTHS, 50, clusters=CLUSTERS, seed=1), epoch) for epoch in range(30)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_clusters_make_the_same_number_of_batches_in_every_epoch(shuffle):
    clusters = np.random.default_rng(3).integers(0, 150, 500)
    plan = ClusterPlan(LENGTHS, 200, clusters=clusters, multiple=3, shuffle=shuffle)
    for epoch in range(50):
        batches = rows_of(plan, epoch)
        assert len(batches) == len(plan) and all(batches)
    assert len(plan) % 3 == 0
    assert (rows_of(plan, 1) == rows_of(plan, 2)) is not shuffle
    rest = [key.rows.tolist() for key in PlannedBatches(plan, lambda: (2, 5))]
    assert rest == rows_of(plan, 2)[5:]


@pytest.mark.parametrize("world", [1, 8])
def test_a_device_keeps_only_the_rows_of_its_batches(world):
    count = 400_000
    plan = EpochPlan(np.random.default_rng(0).integers(30, 900, count), 40_000, multiple=world)
    tracemalloc.start()
    try:
        batches = plan.epoch(1, first=world - 1, step=world)
        next(batches)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 1.2 * 4 * count / world
    assert sum(len(batch.rows) for batch in batches) > 0.95 * count / world  # the others are still to come


def test_a_batch_has_the_rows_that_start_in_its_window():
    lengths = np.array([5, 1, 9, 3, 3, 7, 2, 6, 4, 8])
    plan = EpochPlan(lengths, 12, shuffle=False)
    starts = np.cumsum(lengths) - lengths
    for batch in plan.epoch(0):
        low, high = (np.ceil(edge * lengths.sum() / len(plan)) for edge in (batch.index, batch.index + 1))
        assert batch.rows.tolist() == np.flatnonzero((starts >= low) & (starts < high)).tolist()
    assert len(plan) == 4
    assert list(plan.epoch(0, first=len(plan))) == []
