"""How fast BART trains: this package beside the Trainer of `transformers`, interleaved in one process.

    python benchmarks/bart_training.py --steps 4 --rounds 3

The same 256 wide, 4 + 4 layer model, the same pairs (sources of about 285 tokens, targets of about 63), the same batch
of 16, AdamW, dropout 0.1 and clipping on both sides. `transformers` trains as it comes: padded to the longest of the
batch, scaled dot product attention, fp32 or with bf16=True. Its best configurations stand beside: batches grouped by
the length of the source (other batches than those of a shuffle), and each batch sorted by it and cut in micro-batches
whose gradients are accumulated (the same gradient), by a plain loop and by the Trainer (of which the micro-batches are
grouped by length). Ours trains as it comes: the task and the Lightning trainer that `trimer train` runs. Each round
runs every trainer over all pairs once; the first round is not counted.

Printed are real tokens (no padding) per CPU-second of one thread, the median ratio of the paired rounds with the
smallest and the largest one, and the share of the product peak: of the products that one training pass needs, without
those for padding and for masked halves of causal attention.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
import transformers
from machine import print_machine
from side_by_side import PRECISIONS, Pass, compare, lightning_trainer, quiet, sorted_micro_batches, transformers_trainer

from trimer.data.core.batches import PairBatch
from trimer.models.bart import Bart
from trimer.models.convert.bart_weights import bart_to_huggingface
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


def training_flops(net: Bart, pairs: list[Pair]) -> float:
    """Floating-point operations of the products of one training pass over the pairs, forward and backward."""
    width = net.d_model
    feed_forward = [2 * width * layers[0].feed_forward.up.out_features for layers in (net.encoder, net.decoder)]
    total = 0.0
    for source, target in pairs:
        read, written = len(source), len(target) - 1
        encoder = 2 * (4 * width**2 + feed_forward[0]) * read + 4 * width * read**2
        decoder = 2 * (6 * width**2 + feed_forward[1]) * written + 2 * (2 * width**2) * read
        decoder += 4 * width * (written * (written + 1) // 2 + written * read)
        total += len(net.encoder) * encoder + len(net.decoder) * decoder + 2 * width * net.vocab_size * written
    return 3 * total


def source_length(pair: Pair) -> int:
    return len(pair[0])


def huggingface_model(net: Bart) -> transformers.BartForConditionalGeneration:
    """The same weights in transformers."""
    state, config = bart_to_huggingface(net)
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**config, attn_implementation="sdpa"))
    model.load_state_dict(state)
    return model


def padded(items: list[Pair]) -> dict[str, torch.Tensor]:
    """Both sides padded to their longest."""
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    sources = [torch.from_numpy(source) for source, _ in items]
    return {
        "input_ids": pad(sources, padding_value=1),
        "attention_mask": pad([torch.ones_like(source) for source in sources]),
        "labels": pad([torch.from_numpy(target[1:]) for _, target in items], padding_value=-100),
    }


def ours(net: Bart, pairs: list[Pair], batch: int, precision: str) -> Pass:
    """One pass by our task under Lightning."""

    def collate(items: list[Pair]) -> PairBatch:
        sources, targets = zip(*items, strict=True)
        return PairBatch.pack(sources, targets, np.arange(len(items)))

    return lightning_trainer(Seq2Seq(net, None, optimizer=partial(adamw, lr=5e-5)), pairs, collate, batch, precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--micro", type=int, nargs="+", default=[4, 2], help="pairs of a micro-batch of transformers")
    parser.add_argument("--types", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    options = parser.parse_args()
    quiet()
    peaks = print_machine("transformers", "lightning")
    pairs = pairs_of(options.steps * options.batch, options.vocabulary, seed=0)
    tokens = sum(len(source) + len(target) - 1 for source, target in pairs)

    def net() -> Bart:
        torch.manual_seed(0)
        return Bart(options.vocabulary, encoder_heads=options.heads, decoder_heads=options.heads)

    ways = {}
    for kind in options.types:
        bf16 = kind == "bf16"

        def trainer(bf16: bool = bf16, **settings) -> Pass:
            return transformers_trainer(huggingface_model(net()), pairs, padded, options.batch, bf16, **settings)

        ways[f"transformers Trainer, {kind}"] = trainer()
        ways[f"transformers Trainer, grouped by length, {kind}"] = trainer(length=source_length)
        for micro in options.micro:
            ways |= {
                f"transformers Trainer, grouped, {micro} at a time, {kind}": trainer(length=source_length, micro=micro),
                f"transformers loop, sorted, cut in {micro}, {kind}": sorted_micro_batches(
                    huggingface_model(net()), pairs, padded, options.batch, micro, bf16, source_length
                ),
            }
    ways |= {f"trimer, {kind}": ours(net(), pairs, options.batch, precision=PRECISIONS[kind]) for kind in options.types}
    against = {f"to their {kind}": f"transformers Trainer, {kind}" for kind in options.types}
    flops = training_flops(net(), pairs)
    compare(ways, options.rounds, tokens, against, "Training BART", flops=flops, peaks=peaks)


if __name__ == "__main__":
    main()
