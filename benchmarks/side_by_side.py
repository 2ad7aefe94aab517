"""What the benchmarks share: one pass by each side, clocked in CPU-seconds, and the table of ratios.

The name of a row ends with its precision, as in "trimer, bf16"; rows of Trimer begin with its name, all others are
peers.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import lightning
import torch
import transformers
from rich.console import Console
from rich.table import Table

from trimer.optim import adamw

OURS = "trimer"
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}  # of Trimer
Pass = Callable[[], float]  # CPU-seconds of one pass over all items


def quiet(threads: int = 1) -> None:
    """One thread, and no words from either side."""
    torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")


def transformers_trainer(
    model, items: Sequence, collate: Callable, batch: int, bf16: bool, length: Callable | None = None, micro: int = 0
) -> Pass:
    """The Trainer of transformers as it comes, over shuffled items.

    length: of an item; with it, batches are grouped by length. micro: items of a micro-batch, by default the batch;
    gradients are accumulated up to the batch.
    """
    micro = micro or batch
    # The sampler takes lengths from "input_ids" of items that are dictionaries.
    rows = [{"input_ids": range(length(item)), "item": item} for item in items] if length else items
    merge = (lambda some: collate([row["item"] for row in some])) if length else collate
    grouping = {"train_sampling_strategy": "group_by_length"} if length else {}
    clock = [0.0, 0.0]

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 0:
                clock[0] = time.process_time()

        def on_step_end(self, args, state, control, **kwargs):
            clock[1] = time.process_time()

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=micro,
                gradient_accumulation_steps=batch // micro,
                max_steps=len(items) // batch,
                use_cpu=True,
                bf16=bf16,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
                **grouping,
            )
            trainer = transformers.Trainer(model, arguments, merge, train_dataset=rows, callbacks=[Clock()])
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.train()
        return clock[1] - clock[0]

    return run


def sorted_micro_batches(
    model, items: Sequence, collate: Callable, batch: int, micro: int, bf16: bool, length: Callable
) -> Pass:
    """A plain loop over a model of transformers: each shuffled batch is sorted by length and cut in micro-batches.

    The gradients of the micro-batches are accumulated; the loss is the mean over all labels of the batch. Optimizer
    and clipping are those of our side.
    """
    model.train()
    optimizer = adamw(model.parameters(), lr=5e-5)

    def run() -> float:
        order = torch.randperm(len(items)).tolist()
        started = time.process_time()
        for start in range(0, len(items), batch):
            some = sorted((items[i] for i in order[start : start + batch]), key=length)
            parts = [collate(some[i : i + micro]) for i in range(0, len(some), micro)]
            counts = [int((part["labels"] != -100).sum()) for part in parts]
            for part, count in zip(parts, counts, strict=True):
                with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                    loss = model(**part).loss
                (loss * (count / sum(counts))).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return time.process_time() - started

    return run


def lightning_trainer(task, items: Sequence, collate: Callable, batch: int, precision: str) -> Pass:
    """One of our tasks under Lightning, over shuffled items."""
    clock = [0.0, 0.0]

    class Clock(lightning.Callback):
        def on_train_batch_start(self, trainer, module, flat, index):
            if index == 0:
                clock[0] = time.process_time()

        def on_train_batch_end(self, trainer, module, outputs, flat, index):
            clock[1] = time.process_time()

    def run() -> float:
        trainer = lightning.Trainer(
            accelerator="cpu",
            precision=precision,
            max_steps=len(items) // batch,
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Clock()],
        )
        trainer.fit(task, torch.utils.data.DataLoader(items, batch, shuffle=True, collate_fn=collate))
        return clock[1] - clock[0]

    return run


def precision_of(name: str) -> str:
    """Precision of a row, the last word of its name."""
    return name.split()[-1]


def run_rounds(ways: Mapping[str, Pass], rounds: int) -> dict[str, list[float]]:
    """CPU-seconds of every way in every round. Ways take turns; the first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, run in ways.items():
            torch.manual_seed(round_)
            taken = run()
            if round_:
                seconds[name].append(taken)
    return seconds


def paired_ratio(seconds: Mapping[str, list[float]], name: str, other: str) -> tuple[float, float, float]:
    """How many times faster `name` is than `other`: median, smallest and largest ratio of the paired rounds."""
    ratios = [a / b for a, b in zip(seconds[other], seconds[name], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def best_peer(seconds: Mapping[str, list[float]], precision: str) -> str | None:
    """The fastest row of this precision that is not ours."""
    peers = [name for name in seconds if not name.startswith(OURS) and precision_of(name) == precision]
    return min(peers, key=lambda name: statistics.median(seconds[name]), default=None)


def best_peer_lines(seconds: Mapping[str, list[float]]) -> list[str]:
    """For each of our rows its ratio to the best peer of the same precision; and to the best fp32 peer."""
    lines = []
    for name in seconds:
        for precision in dict.fromkeys((precision_of(name), "fp32")) if name.startswith(OURS) else ():
            if peer := best_peer(seconds, precision):
                median, low, high = paired_ratio(seconds, name, peer)
                lines.append(f"{name}: {median:.2f} times ({low:.2f} to {high:.2f}) the best {precision} peer, {peer}")
    return lines


def missing(peer: str, command: str) -> str:
    """What is printed for an optional peer that is not installed."""
    return f"{peer} is left out because it is not installed: {command}"


def compare(
    ways: Mapping[str, Pass],
    rounds: int,
    amount: int,
    against: Mapping[str, str],
    title: str,
    unit: str = "real tokens",
    flops: float | None = None,
    peaks: Mapping[str, float] | None = None,
    extra: Mapping[str, Callable[[str], str]] | None = None,
) -> dict[str, list[float]]:
    """Run every way once a round, in turns, and print what it does per CPU-second with the medians of paired ratios.

    amount: how much of the unit a pass does. against: heading of a column of ratios -> the way they are taken to.
    flops: of the products of a pass, nothing computed twice or for padding; with them and the peaks of `print_machine`
    a column says which share of the peak of its precision a row reaches. extra: further columns, from the name of a
    row. Returns the CPU-seconds of the rounds.
    """
    seconds = run_rounds(ways, rounds)
    shares = ["share of peak"] if flops and peaks else []
    table = Table("", f"{unit}/CPU-s", *against, "to the best peer", *shares, *(extra or {}), title=title)
    for name, taken in seconds.items():
        median = statistics.median(taken)
        ratios = [paired_ratio(seconds, name, other) for other in against.values()]
        peer = best_peer(seconds, precision_of(name))
        ratios += [paired_ratio(seconds, name, peer)] if peer else []
        cells = [f"{ratio:.2f} ({low:.2f} to {high:.2f})" for ratio, low, high in ratios] + [""] * (not peer)
        if shares:
            peak = peaks.get(precision_of(name))
            cells.append(f"{flops / median / 1e9 / peak:.0%}" if peak else "")
        rate = amount / median
        cells += [column(name) for column in (extra or {}).values()]
        table.add_row(name, f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}", *cells)
    console = Console(width=max(160, Console().width))
    console.print(table)
    console.print("\n".join(best_peer_lines(seconds)), markup=False, highlight=False)
    return seconds
