"""How fast ESM2 trains: this package beside the Trainer of `transformers` and fair-esm, interleaved in one process.

    python benchmarks/esm2_training.py --batches 3 --rounds 3
    python benchmarks/esm2_training.py --fasta proteins.fasta.gz

The same weights (8M shape), the same proteins (cut to 510 residues, by default in the lengths of UniRef90), 15 %
masked, the same batch of 16, AdamW on all sides. `transformers` trains as it comes: padded to the longest of the batch,
scaled dot product attention, fp32 or with bf16=True; and padded to 512 with eager attention. Its best configurations
stand beside: batches grouped by length (other batches than those of a shuffle), and each batch sorted by length and cut
in micro-batches whose gradients are accumulated (the same gradient), by a plain loop and by the Trainer (of which the
micro-batches are grouped by length). fair-esm comes without a trainer, so it gets a plain loop. Ours trains as it
comes: the task and the Lightning trainer of `trimer train`.
Each round runs every side over all proteins once; the first round is not counted.

Printed are real tokens (no padding) per CPU-second of one thread, the median ratio of the paired rounds with the
smallest and the largest one, and the share of the product peak: of the products that one training pass needs, without
those for padding.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from functools import partial

import numpy as np
import torch
import transformers
from machine import print_machine
from side_by_side import (
    PRECISIONS,
    Pass,
    compare,
    lightning_trainer,
    missing,
    quiet,
    sorted_micro_batches,
    transformers_trainer,
)

from trimer.data.core.batches import MaskedBatch
from trimer.flat import Flat
from trimer.models.convert.esm2_weights import esm2_to_fair, esm2_to_huggingface
from trimer.models.esm2 import MASK, Esm2
from trimer.optim import adamw
from trimer.tasks.masked_lm import MaskedLM

Masked = tuple[np.ndarray, np.ndarray]  # tokens with masks, what stands behind them (-100 elsewhere)


def proteins(count: int, fasta: str | None, longest: int = 512) -> list[Masked]:
    """Proteins of at most `longest` tokens `<cls> ... <eos>`, 15 % of their residues masked."""
    rng = np.random.default_rng(0)
    if fasta:
        from trimer.data.proteins.protein_files import ProteinFiles
        from trimer.tokenizers.protein import ProteinTokenizer

        tokenizer, sequences = ProteinTokenizer(), []
        for table in ProteinFiles(fasta).chunks():
            tokens = tokenizer.encode_many(table.sequences.values, table.sequences.offsets)
            sequences += [tokens[row] for row in range(len(table)) if row not in table.problems]
        sequences = [sequences[i] for i in rng.permutation(len(sequences))[:count]]
    else:
        lengths = np.clip(rng.lognormal(np.log(277), 0.75, count), 20, 8000).astype(int)
        sequences = [np.r_[0, rng.integers(4, 24, n), 2] for n in lengths]
    masked = []
    for tokens in sequences:
        tokens = np.asarray(tokens if len(tokens) <= longest else np.r_[tokens[: longest - 1], 2], dtype=np.int64)
        hit = (rng.random(len(tokens)) < 0.15) & (tokens > 3)
        masked.append((np.where(hit, MASK, tokens), np.where(hit, tokens, -100)))
    return masked


def padded(items: list[Masked], longest: int | None = None) -> dict[str, torch.Tensor]:
    """Rows padded to the longest, or to a fixed length."""
    width = longest or max(len(tokens) for tokens, _ in items)
    rows = torch.full((len(items), width), 1)
    labels = torch.full((len(items), width), -100)
    for row, label, (tokens, expected) in zip(rows, labels, items, strict=True):
        row[: len(tokens)], label[: len(tokens)] = torch.from_numpy(tokens), torch.from_numpy(expected)
    return {"input_ids": rows, "attention_mask": (rows != 1).long(), "labels": labels}


def length_of(item: Masked) -> int:
    return len(item[0])


def huggingface_model(net: Esm2, attention: str = "sdpa") -> transformers.EsmForMaskedLM:
    """The same weights in transformers."""
    state, config = esm2_to_huggingface(net)
    model = transformers.EsmForMaskedLM(transformers.EsmConfig(**config, attn_implementation=attention))
    model.load_state_dict(state, strict=False)
    return model


def huggingface(
    net: Esm2,
    items: list[Masked],
    batch: int,
    bf16: bool,
    attention: str = "sdpa",
    longest: int | None = None,
    **settings,
) -> Pass:
    """One pass by the Trainer of transformers."""
    collate = partial(padded, longest=longest)
    return transformers_trainer(huggingface_model(net, attention), items, collate, batch, bf16, **settings)


def fair(net: Esm2, items: list[Masked], batch: int) -> Pass:
    """One pass by a plain loop over fair-esm's model, fp32."""
    import esm

    model = esm.model.esm2.ESM2(len(net.layers), net.d_model, net.heads)
    model.load_state_dict(esm2_to_fair(net), strict=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)

    def run() -> float:
        order = torch.randperm(len(items)).tolist()
        started = time.process_time()
        for start in range(0, len(items), batch):
            rows = padded([items[i] for i in order[start : start + batch]])
            logits = model(rows["input_ids"])["logits"]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows["labels"].flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return time.process_time() - started

    return run


def ours(net: Esm2, items: list[Masked], batch: int, precision: str) -> Pass:
    """One pass by our task under Lightning."""

    def collate(some: list[Masked]) -> MaskedBatch:
        labels = torch.from_numpy(np.concatenate([expected for _, expected in some]))
        places = (labels != -100).nonzero().squeeze(1)
        return MaskedBatch(Flat.pack([tokens for tokens, _ in some]), places, labels[places], torch.arange(len(some)))

    return lightning_trainer(MaskedLM(net, None, optimizer=partial(adamw, lr=5e-5)), items, collate, batch, precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=3, help="batches of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--fasta", help="real proteins instead of random ones")
    parser.add_argument("--fast", action="store_true", help="only the two sides as they come")
    parser.add_argument(
        "--micro", type=int, nargs="+", default=[4, 2], help="proteins of a micro-batch of transformers"
    )
    parser.add_argument("--types", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    options = parser.parse_args()
    quiet()
    peaks = print_machine("transformers", "lightning", "fair-esm")
    items = proteins(options.batches * options.batch, options.fasta)
    tokens = sum(len(sequence) for sequence, _ in items)

    def net() -> Esm2:
        torch.manual_seed(0)
        return Esm2()

    shared = (items, options.batch)
    ways = {}
    for kind in options.types:
        bf16 = kind == "bf16"
        ways |= {
            f"transformers Trainer, {kind}": huggingface(net(), *shared, bf16),
            f"transformers Trainer, grouped by length, {kind}": huggingface(net(), *shared, bf16, length=length_of),
        }
        for micro in options.micro:
            ways |= {
                f"transformers Trainer, grouped, {micro} at a time, {kind}": huggingface(
                    net(), *shared, bf16, length=length_of, micro=micro
                ),
                f"transformers loop, sorted, cut in {micro}, {kind}": sorted_micro_batches(
                    huggingface_model(net()), items, padded, options.batch, micro, bf16, length_of
                ),
            }
    if not options.fast:
        ways["transformers eager, padded to 512, fp32"] = huggingface(net(), *shared, False, "eager", 512)
        if importlib.util.find_spec("esm"):
            ways["fair-esm, fp32"] = fair(net(), *shared)
        else:
            print(missing("fair-esm", "pip install fair-esm"))
    ways |= {f"trimer, {kind}": ours(net(), *shared, PRECISIONS[kind]) for kind in options.types}
    against = {f"to their {kind}": f"transformers Trainer, {kind}" for kind in options.types}
    places = sum(int((labels != -100).sum()) for _, labels in items)
    flops = net().training_flops([len(sequence) for sequence, _ in items], places)
    compare(ways, options.rounds, tokens, against, "Training ESM2 8M", flops=flops, peaks=peaks)


if __name__ == "__main__":
    main()
