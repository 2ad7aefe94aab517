"""How fast BART trains: this package beside the Trainer of `transformers`, interleaved in one process.

    python benchmarks/bart_training.py --steps 4 --rounds 3

The same 256 wide, 4 + 4 layer model, the same pairs (sources of about 285 tokens, targets of about 63), the same batch
of 16, AdamW, dropout 0.1 and clipping on both sides. `transformers` trains as it comes: padded to the longest of the
batch, scaled dot product attention, fp32 or with bf16=True. Ours trains as it comes: the task and the Lightning trainer
that `trimer train` runs. Each round runs every trainer over all pairs once; the first round is not counted.

Printed are real tokens (no padding) per CPU-second of one thread, and the median ratio of the paired rounds.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial

import lightning
import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table

from trimer.data.batches import PairBatch
from trimer.models.bart import Bart
from trimer.models.convert.bart import bart_to_huggingface
from trimer.optim import adamw
from trimer.tasks.seq2seq import Seq2Seq

Pair = tuple[np.ndarray, np.ndarray]


def pairs_of(count: int, vocab_size: int, seed: int) -> list[Pair]:
    """Random tokens in the lengths of spectra and molecules; both sides are `<s> ... </s>`."""
    rng = np.random.default_rng(seed)
    sources = np.clip(rng.lognormal(np.log(260), 0.45, count), 40, 700).astype(int)
    targets = np.clip(rng.normal(63, 18, count), 16, 140).astype(int)
    sequences = ([np.r_[0, rng.integers(5, vocab_size, n - 2), 2] for n in lengths] for lengths in (sources, targets))
    return list(zip(*sequences, strict=True))


def theirs(net: Bart, pairs: list[Pair], batch: int, steps: int, bf16: bool) -> Callable[[], float]:
    """CPU-seconds of one pass by the Trainer of transformers."""
    state, config = bart_to_huggingface(net)
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**config))
    model.load_state_dict(state)
    clock = [0.0, 0.0]

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 0:
                clock[0] = time.process_time()

        def on_step_end(self, args, state, control, **kwargs):
            clock[1] = time.process_time()

    def collate(items: list[Pair]) -> dict[str, torch.Tensor]:
        pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
        sources = [torch.from_numpy(source) for source, _ in items]
        return {
            "input_ids": pad(sources, padding_value=1),
            "attention_mask": pad([torch.ones_like(source) for source in sources]),
            "labels": pad([torch.from_numpy(target[1:]) for _, target in items], padding_value=-100),
        }

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=batch,
                max_steps=steps,
                use_cpu=True,
                bf16=bf16,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
            )
            trainer = transformers.Trainer(model, arguments, collate, train_dataset=pairs, callbacks=[Clock()])
            trainer.train()
        return clock[1] - clock[0]

    return run


def ours(net: Bart, pairs: list[Pair], batch: int, steps: int, precision: str) -> Callable[[], float]:
    """CPU-seconds of one pass by our task under Lightning."""
    clock = [0.0, 0.0]

    class Clock(lightning.Callback):
        def on_train_batch_start(self, trainer, task, pair_batch, index):
            if index == 0:
                clock[0] = time.process_time()

        def on_train_batch_end(self, trainer, task, outputs, pair_batch, index):
            clock[1] = time.process_time()

    def collate(items: list[Pair]) -> PairBatch:
        sources, targets = zip(*items, strict=True)
        return PairBatch.pack(sources, targets, np.arange(len(items)))

    task = Seq2Seq(net, None, optimizer=partial(adamw, lr=5e-5))

    def run() -> float:
        trainer = lightning.Trainer(
            accelerator="cpu",
            precision=precision,
            max_steps=steps,
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[Clock()],
        )
        trainer.fit(task, torch.utils.data.DataLoader(pairs, batch, shuffle=True, collate_fn=collate))
        return clock[1] - clock[0]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--heads", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    pairs = pairs_of(options.steps * options.batch, options.vocabulary, seed=0)
    tokens = sum(len(source) + len(target) - 1 for source, target in pairs)

    def net() -> Bart:
        torch.manual_seed(0)
        return Bart(options.vocabulary, encoder_heads=options.heads, decoder_heads=options.heads)

    shared = (pairs, options.batch, options.steps)
    ways = {
        "transformers Trainer, fp32": theirs(net(), *shared, bf16=False),
        "transformers Trainer, bf16": theirs(net(), *shared, bf16=True),
        "trimer, fp32": ours(net(), *shared, precision="32-true"),
        "trimer, bf16": ours(net(), *shared, precision="bf16-mixed"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(options.rounds + 1):
        for name, run in ways.items():
            torch.manual_seed(round_)
            taken = run()
            if round_:
                seconds[name].append(taken)
    table = Table("", "real tokens/CPU-s", "to their fp32", "to their bf16", title="Training BART")
    for name, taken in seconds.items():
        ratios = (
            statistics.median(a / b for a, b in zip(seconds[f"transformers Trainer, {kind}"], taken, strict=True))
            for kind in ("fp32", "bf16")
        )
        table.add_row(name, f"{tokens / statistics.median(taken):,.0f}", *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)


if __name__ == "__main__":
    main()
