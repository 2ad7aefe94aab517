"""How fast ESM2 trains on one GPU: this package compared with a plain loop over `transformers`, in one process.

    python benchmarks/esm2_gpu.py --model 650m --tokens 32768 --steps 20

Every row trains the same weights on the same proteins, cut to 1,022 residues (in the lengths of UniRef90, or of
--fasta), in bf16 with fused AdamW. `transformers` gets each batch sorted by length and cut into micro-batches of at
most --micro padded tokens, whose gradients are summed: once with scaled dot product attention, once with flash-attn,
which computes no padding inside attention. Ours is one flat batch, eager and with the token-wise parts compiled.

Printed are real tokens per second, model-FLOPs utilisation (MFU) of the dense bf16 peak, peak memory, and the speed
relative to the fastest row of `transformers`. The first steps, which compile and warm up, are not counted. A row that
runs out of memory, or lacks a package, says so, and the others still run.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
import yaml
from esm2_training import Masked, padded, proteins
from rich.console import Console
from rich.table import Table

from trimer.callbacks.throughput import peak_of
from trimer.flat import Flat
from trimer.models.convert.esm2_weights import esm2_to_huggingface
from trimer.models.esm2 import Esm2
from trimer.optim import adamw

CONF = Path(__file__).resolve().parents[1] / "conf" / "model"
WARM_UP = 5


class Row(NamedTuple):
    """Seconds of all batches and the peak memory in GiB, or the reason why there are none."""

    seconds: float = 0.0
    memory: float = 0.0
    failure: str = ""


def batches(tokens: int, steps: int, fasta: str | None) -> list[list[Masked]]:
    """Batches of masked proteins of about so many real tokens."""
    items = iter(proteins(steps * tokens // 150, fasta, 1024))
    batches_of_steps = []
    for _ in range(steps):
        batch, size = [], 0
        while size < tokens:
            batch.append(next(items))
            size += len(batch[-1][0])
        batches_of_steps.append(batch)
    return batches_of_steps


def micro_batches(batch: list[Masked], padded_tokens: int) -> list[list[Masked]]:
    """The proteins of a batch, sorted by length and cut where padding to the longest would pass so many tokens.

    A protein longer than that is a micro-batch of its own.
    """
    cut: list[list[Masked]] = []
    for item in sorted(batch, key=lambda protein: len(protein[0])):
        if cut and (len(cut[-1]) + 1) * len(item[0]) <= padded_tokens:
            cut[-1].append(item)
        else:
            cut.append([item])
    return cut


def guarded(run: Callable[[], Row]) -> Row:
    """The row, or one that states why there is none; the memory of the failed row is free afterwards."""
    try:
        return run()
    except torch.OutOfMemoryError:
        return Row(failure="out of memory")
    except ImportError as error:
        return Row(failure=str(error).splitlines()[0])
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def timed(step: Callable[[object], None], prepared: list) -> Row:
    """All batches, after a warm-up that is not counted."""
    for batch in prepared[:WARM_UP]:
        step(batch)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for batch in prepared:
        step(batch)
    torch.cuda.synchronize()
    return Row(time.perf_counter() - started, torch.cuda.max_memory_allocated() / 2**30)


def theirs(net: Esm2, plan: list[list[Masked]], attention: str, micro: int) -> Row:
    state, config = esm2_to_huggingface(net)
    model = transformers.EsmForMaskedLM(transformers.EsmConfig(**config, attn_implementation=attention)).cuda()
    model.load_state_dict(state, strict=False)
    optimizer = adamw(model.parameters(), lr=1e-4)

    def step(parts: list[tuple[dict, float]]) -> None:
        for rows, share in parts:
            with torch.autocast("cuda", torch.bfloat16):
                loss = model(**rows).loss
            (loss * share).backward()  # their loss is the mean over the masked tokens of the micro-batch
        optimizer.step()
        optimizer.zero_grad()

    prepared = []
    for batch in plan:
        rows = [padded(part) for part in micro_batches(batch, micro)]
        masked = [int((part["labels"] != -100).sum()) for part in rows]
        prepared.append(
            [
                ({key: value.cuda() for key, value in part.items()}, count / sum(masked))
                for part, count in zip(rows, masked, strict=True)
                if count
            ]
        )
    return timed(step, prepared)


def ours(net: Esm2, plan: list[list[Masked]], compiled: bool) -> Row:
    net = net.cuda()
    if compiled:
        net.compile_parts()
    optimizer = adamw(net.parameters(), lr=1e-4)

    def step(batch: tuple) -> None:
        flat, places, labels = batch
        with torch.autocast("cuda", torch.bfloat16):
            logits = net(flat, places)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    prepared = []
    for batch in plan:
        labels = torch.cat([torch.from_numpy(expected) for _, expected in batch])
        places = (labels != -100).nonzero().squeeze(1)
        flat = Flat.pack([tokens for tokens, _ in batch])
        prepared.append((flat.to("cuda"), places.cuda(), labels[places].cuda()))
    return timed(step, prepared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="650m", help="8m, 35m, 150m, 650m or 3b")
    parser.add_argument("--tokens", type=int, default=32768, help="real tokens of a batch")
    parser.add_argument("--micro", type=int, default=16384, help="padded tokens of a micro-batch of transformers")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--fasta", help="real proteins instead of random ones")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device")
    settings = yaml.safe_load((CONF / f"esm2_{options.model}.yaml").read_text())
    settings.pop("_target_")
    plan = batches(options.tokens, options.steps, options.fasta)
    tokens = sum(len(sequence) for batch in plan for sequence, _ in batch)
    device = torch.cuda.get_device_name()
    peak = (peak_of(device) or float("nan")) * 1e12

    def net() -> Esm2:
        torch.manual_seed(0)
        return Esm2(**settings)

    shape = net()
    flops = sum(
        shape.training_flops([len(s) for s, _ in batch], sum(int((e != -100).sum()) for _, e in batch))
        for batch in plan
    )
    table = Table("", "real tokens/s", "MFU", "memory (GiB)", "ratio", title=f"Training ESM2 {options.model}, {device}")
    ways = {
        "transformers, sdpa": lambda: theirs(net(), plan, "sdpa", options.micro),
        "transformers, flash-attn": lambda: theirs(net(), plan, "flash_attention_2", options.micro),
        "trimer": lambda: ours(net(), plan, compiled=False),
        "trimer, compiled": lambda: ours(net(), plan, compiled=True),
    }
    rows = {name: guarded(run) for name, run in ways.items()}
    best = min((row.seconds for name, row in rows.items() if "transformers" in name and not row.failure), default=None)
    for name, (seconds, memory, failure) in rows.items():
        if failure:
            table.add_row(name, failure)
            continue
        ratio = "" if best is None else f"{best / seconds:.2f}"
        table.add_row(name, f"{tokens / seconds:,.0f}", f"{flops / seconds / peak:.1%}", f"{memory:.1f}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
