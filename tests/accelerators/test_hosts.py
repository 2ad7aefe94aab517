"""Agreement between the hosts of a pod slice."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trimer.accelerators.hosts import Hosts, first_address, host_rank


@pytest.fixture(scope="module")
def hosts():
    """Two hosts, as two threads of this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ThreadPoolExecutor(2) as pool:
        yield list(pool.map(lambda rank: Hosts(rank, 2, "127.0.0.1", port), range(2)))


def together(hosts, *calls) -> list:
    """The results of one call per host, at the same time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda pair: pair[1](pair[0]), zip(hosts, calls, strict=True)))


@pytest.mark.parametrize(("votes", "result"), [((False, False), False), ((False, True), True), ((True, True), True)])
def test_a_decision_of_any_host_is_that_of_all(hosts, votes, result):
    assert together(hosts, *[lambda host, vote=vote: host.any(vote) for vote in votes]) == [result, result]


@pytest.mark.parametrize("value", [None, True, "bf16-mixed", 1.5, Path("runs/a b"), ["é", {"path": Path("/x")}], ""])
def test_all_hosts_get_the_value_of_the_first(hosts, value):
    assert together(hosts, lambda host: host.broadcast(value), lambda host: host.broadcast("other")) == [value, value]


def test_other_objects_are_not_sent(hosts):
    with pytest.raises(TypeError, match="object cannot be sent to other hosts"):
        hosts[0].broadcast(object())


def test_hosts_wait_for_each_other(hosts):
    order = []
    together(
        hosts,
        lambda host: (host.broadcast(0), order.append("before"), host.barrier()),
        lambda host: (host.broadcast(0), host.barrier(), order.append("after")),
    )
    assert order == ["before", "after"]


def test_the_environment_names_rank_and_first_host(monkeypatch):
    for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert host_rank("xla_cpu") == 0 and first_address("xla_cpu") == ("localhost", 12355)
    monkeypatch.setenv("NODE_RANK", "3")
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "99")
    assert host_rank("tpu") == 3 and first_address("tpu") == ("10.0.0.1", 99)
