"""DDP and fsdp2 on two hosts: network namespaces of this machine, with host names and addresses of their own.

Only `make test-hosts` runs these tests: they need root, `ip` (iproute2) and a few minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from waiting import until

from trimer.checkpoint import checkpoint_path, read

pytestmark = pytest.mark.skipif("TRIMER_TEST_HOSTS" not in os.environ, reason="make test-hosts runs them")

HOSTS = {"trimer-a": "10.211.0.1", "trimer-b": "10.211.0.2"}
SMALL = [
    "model=bart_nano",
    "model.dropout=0.0",
    "data.source.molecules=60",
    "data.tokens_per_batch=600",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.max_steps=4",
    "trainer.val_check_interval=4",
    "trainer.enable_progress_bar=false",
    "callbacks.last.every_n_train_steps=2",
    "scheduler.total_steps=4",
    "test=false",
]


@pytest.fixture(scope="module")
def hosts():
    """Two network namespaces that are joined by a cable, and find each other by name."""
    folders = [Path("/etc/netns") / name for name in HOSTS]
    for folder in folders:  # `ip netns exec` shows it as /etc/hosts
        folder.mkdir(parents=True, exist_ok=True)
        names = "".join(f"{address} {name}\n" for name, address in HOSTS.items())
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
    try:
        for name in HOSTS:
            ip("netns", "add", name)
        first, second = HOSTS
        ip("link", "add", "eth-a", "netns", first, "type", "veth", "peer", "name", "eth-b", "netns", second)
        for name, device in zip(HOSTS, ("eth-a", "eth-b"), strict=True):
            ip("-n", name, "addr", "add", f"{HOSTS[name]}/24", "dev", device)
            ip("-n", name, "link", "set", "lo", "up")
        for name, device in zip(HOSTS, ("eth-a", "eth-b"), strict=True):
            ip("-n", name, "link", "set", device, "up")
        yield list(HOSTS)
    finally:
        for name, folder in zip(HOSTS, folders, strict=True):
            subprocess.run(["ip", "netns", "del", name], check=False)
            (folder / "hosts").unlink()
            folder.rmdir()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def start(host: str, number: int, folder: Path, words: list[str]) -> subprocess.Popen[str]:
    """A command on a host, with the variables that Lightning documents for a cluster without a queue."""
    on_host = ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh"]
    environment = {**os.environ, "MASTER_ADDR": "trimer-a", "MASTER_PORT": "29511", "NODE_RANK": str(number)}
    command = [*on_host, sys.executable, "-m", "trimer", "train", *words]
    output = (folder / f"{host}.txt").open("a")
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, text=True)


def on_both(hosts: list[str], folder: Path, *words: str) -> list[int]:
    """The exit codes of the same command on both hosts."""
    processes = [start(host, number, folder, list(words)) for number, host in enumerate(hosts)]
    return [process.wait(timeout=300) for process in processes]


def output(folder: Path) -> str:
    return "\n".join((folder / f"{host}.txt").read_text() for host in HOSTS)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read(checkpoint_path(run / "checkpoints" / "last.ckpt"))["state_dict"]


@pytest.mark.parametrize("trainer", ["ddp", "fsdp2", "fsdp2_async"])
def test_a_run_on_two_hosts_that_is_resumed_has_the_weights_of_one_host(tmp_path, hosts, trainer):
    """One host with two devices, without a stop; two hosts with one device each, stopped after two steps."""
    words = [*SMALL, f"trainer={trainer}", f"paths.cache={tmp_path / 'cache'}"]
    command = [sys.executable, "-m", "trimer", "train", *words, "trainer.devices=2", "hydra.run.dir=one"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    several = [*words, "trainer.devices=1", "trainer.num_nodes=2", "hydra.run.dir=two"]
    assert on_both(hosts, tmp_path, *several, "trainer.max_steps=2") == [0, 0], output(tmp_path)
    assert on_both(hosts, tmp_path, "resume=two", "trainer.max_steps=4") == [0, 0], output(tmp_path)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_to_one_host_ends_both_and_leaves_a_checkpoint(tmp_path, hosts, number):
    words = [*SMALL, "trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1", f"paths.cache={tmp_path / 'cache'}"]
    words += ["trainer.max_steps=100000", "trainer.val_check_interval=100000", "hydra.run.dir=run"]
    processes = [start(host, place, tmp_path, words) for place, host in enumerate(hosts)]
    try:
        until((tmp_path / "run" / "checkpoints" / "last.ckpt").exists, 300)
        processes[1].send_signal(number)
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    result = json.loads((tmp_path / "run" / "result.json").read_text())["error"]
    if number is signal.SIGTERM:
        assert codes == [143, 143] and "stopped by SIGTERM" in result, output(tmp_path)
    else:
        assert codes[0] == 1 and "another process of this distributed training has ended" in result
    assert weights(tmp_path / "run")
