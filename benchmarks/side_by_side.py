"""What the training benchmarks share: one pass by each side, clocked in CPU-seconds, and the table of ratios."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import lightning
import torch
import transformers
from rich.console import Console
from rich.table import Table

Pass = Callable[[], float]  # CPU-seconds of one pass over all items


def quiet(threads: int = 1) -> None:
    """One thread, and no words from either side."""
    torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")


def transformers_trainer(model, items: Sequence, collate: Callable, batch: int, bf16: bool) -> Pass:
    """The Trainer of transformers as it comes, over shuffled items."""
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
                per_device_train_batch_size=batch,
                max_steps=len(items) // batch,
                use_cpu=True,
                bf16=bf16,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
            )
            trainer = transformers.Trainer(model, arguments, collate, train_dataset=items, callbacks=[Clock()])
            trainer.train()
        return clock[1] - clock[0]

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


def compare(ways: Mapping[str, Pass], rounds: int, tokens: int, against: Mapping[str, str], title: str) -> None:
    """Run every way once a round, in turns, and print real tokens per CPU-second with the medians of paired ratios.

    The first round is not counted. against: heading of a column of ratios -> the way they are taken to.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, run in ways.items():
            torch.manual_seed(round_)
            taken = run()
            if round_:
                seconds[name].append(taken)
    table = Table("", "real tokens/CPU-s", *against, title=title)
    for name, taken in seconds.items():
        ratios = (
            statistics.median(a / b for a, b in zip(seconds[other], taken, strict=True)) for other in against.values()
        )
        table.add_row(name, f"{tokens / statistics.median(taken):,.0f}", *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)
