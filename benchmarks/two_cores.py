"""Two cores: one process with two threads, or two processes with one thread each.

    python benchmarks/two_cores.py --rounds 3

The same work is done by one thread, by two threads of one process, and by two processes of one thread that share it:
training of ESM2 8M (the processes add up their gradients after each step, as ddp does), embedding with it, predicting
molecules by sampling, and preparing molecules (RDKit has no threads). Printed are CPU-seconds, and seconds, as
multiples of those of one thread, medians of the rounds: 1.00 is the best of the first, 0.50 of the second. While other
programs use the cores, the seconds say little. Starting the processes is not counted.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from machine import print_machine
from rich.console import Console
from rich.table import Table

from trimer.data.molecules.molecule_keys import keys_of
from trimer.flat import Flat
from trimer.generation.sampling import sample
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.simulate.simulated_molecules import simulated_molecules

WAYS = {"one thread": (1, 1), "two threads": (1, 2), "two processes": (2, 1)}  # processes, threads of each
Work = Callable[[], None]


def proteins(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(4, 24, 250) for _ in range(count)]


def train(rank: int, processes: int) -> Work:
    """A step on 8 proteins of 250 residues."""
    net = Esm2()
    batch = Flat.pack(proteins(8)[rank::processes])
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)

    def run() -> None:
        F.cross_entropy(net(batch), batch.tokens).backward()
        if processes > 1:
            flat = torch.cat([parameter.grad.flatten() for parameter in net.parameters()])
            dist.all_reduce(flat)
            sizes = [parameter.numel() for parameter in net.parameters()]
            for parameter, part in zip(net.parameters(), flat.split(sizes), strict=True):
                parameter.grad.copy_(part.view_as(parameter) / processes)
        optimizer.step()
        optimizer.zero_grad()

    return run


def embed(rank: int, processes: int) -> Work:
    """16 proteins of 250 residues."""
    net, batch = Esm2().eval(), Flat.pack(proteins(16)[rank::processes])

    def run() -> None:
        with torch.inference_mode():
            net.hidden(batch)

    return run


def predict(rank: int, processes: int) -> Work:
    """10 samples of up to 40 tokens for each of 4 spectra."""
    net, mine = Bart(1024, dropout=0.0).eval(), list(range(4))[rank::processes]
    rng = np.random.default_rng(0)
    source = Flat.pack([rng.integers(5, 1024, 285) for _ in mine])
    return lambda: sample(net, source, mine, 10, max_length=40)


def prepare(rank: int, processes: int) -> Work:
    """InChIKey, canonical SMILES and scaffold of 300 molecules."""
    mine = simulated_molecules(300)[rank::processes]
    return lambda: keys_of(mine, False)


WORK = {"train": train, "embed": embed, "predict": predict, "prepare": prepare}


def clocked(rank: int, port: int, processes: int, threads: int, name: str, rounds: int, queue) -> None:
    """In a process of its own: CPU-seconds and seconds of each round."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
    run = WORK[name](rank, processes)
    for round_ in range(rounds + 1):  # the first warms up
        dist.barrier()
        cpu, started = time.process_time(), time.perf_counter()
        run()
        cpu = time.process_time() - cpu
        dist.barrier()
        if round_:
            queue.put((cpu, time.perf_counter() - started))
    dist.destroy_process_group()


def measure(name: str, processes: int, threads: int, rounds: int) -> tuple[float, float]:
    """Median CPU-seconds of all processes together, and median seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = torch.multiprocessing.get_context("fork").SimpleQueue()
    arguments = (port, processes, threads, name, rounds, queue)
    torch.multiprocessing.start_processes(clocked, arguments, processes, start_method="fork")
    clocks = [queue.get() for _ in range(processes * rounds)]
    return processes * statistics.median(cpu for cpu, _ in clocks), statistics.median(real for _, real in clocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs="+", default=list(WORK), choices=WORK)
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads of this process would be missing in its forks
    print_machine()
    table = Table("", *(f"{way}: {clock}" for way in list(WAYS)[1:] for clock in ("CPU-seconds", "seconds")))
    for name in options.work:
        clocks = {way: measure(name, *counts, options.rounds) for way, counts in WAYS.items()}
        alone = clocks["one thread"]
        ratios = [f"{clocks[way][i] / alone[i]:.2f}" for way in list(WAYS)[1:] for i in (0, 1)]
        table.add_row(name, *ratios)
        print(name, *ratios, flush=True)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
