"""How fast ESM2 trains on one GPU: this package beside a plain loop over `transformers`, in turns in one process.

    python benchmarks/esm2_gpu.py --model 650m --tokens 32768 --steps 20

The same weights, the same proteins cut to 1,022 residues (in the lengths of UniRef90, or of --fasta), bf16, fused
AdamW. `transformers`: scaled dot product attention, padded to the longest of the batch; ours: flat batches of the same
proteins through the variable-length kernel, as they come and with the parts compiled that work token by token.

Printed are real tokens per second, model-FLOPs utilisation against the dense bf16 peak of the device, peak memory, and
the ratio to `transformers`. The first steps, which compile and warm up, are not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
import yaml
from esm2_training import padded, proteins
from rich.console import Console
from rich.table import Table

from trimer.callbacks.throughput import peak_of
from trimer.flat import Flat
from trimer.models.convert.esm2 import esm2_to_huggingface
from trimer.models.esm2 import Esm2
from trimer.optim import adamw

CONF = Path(__file__).resolve().parents[1] / "conf" / "model"
WARM_UP = 5


def batches(tokens: int, steps: int, fasta: str | None) -> list[list]:
    """Batches of masked proteins of about so many real tokens."""
    items = iter(proteins(steps * tokens // 150, fasta, 1024))
    found = []
    for _ in range(steps):
        batch, size = [], 0
        while size < tokens:
            batch.append(next(items))
            size += len(batch[-1][0])
        found.append(batch)
    return found


def timed(step: Callable[[object], None], prepared: list) -> tuple[float, float]:
    """Seconds of all batches after a warm-up, and the peak of the memory in GiB."""
    for batch in prepared[:WARM_UP]:
        step(batch)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    for batch in prepared:
        step(batch)
    torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated() / 2**30


def theirs(net: Esm2, plan: list[list]) -> tuple[float, float]:
    state, config = esm2_to_huggingface(net)
    model = transformers.EsmForMaskedLM(transformers.EsmConfig(**config, attn_implementation="sdpa")).cuda()
    model.load_state_dict(state, strict=False)
    optimizer = adamw(model.parameters(), lr=1e-4)

    def step(rows: dict) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(**rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return timed(step, [{key: value.cuda() for key, value in padded(batch).items()} for batch in plan])


def ours(net: Esm2, plan: list[list], compiled: bool) -> tuple[float, float]:
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
    first = None
    for name, run in {
        "transformers, sdpa": lambda: theirs(net(), plan),
        "trimer": lambda: ours(net(), plan, compiled=False),
        "trimer, compiled": lambda: ours(net(), plan, compiled=True),
    }.items():
        seconds, memory = run()
        torch.cuda.empty_cache()
        first = first or seconds
        rates = f"{tokens / seconds:,.0f}", f"{flops / seconds / peak:.1%}", f"{memory:.1f}"
        table.add_row(name, *rates, f"{first / seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
