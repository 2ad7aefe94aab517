"""How fast proteins are embedded: this package beside a padded loop over `transformers`, interleaved in one process.

    python benchmarks/embedding.py --count 64 --rounds 3
    python benchmarks/embedding.py --fasta proteins.fasta.gz

The same weights (8M shape), the same proteins (by default random ones in the lengths of UniRef90, cut to 1,022), the
mean over residues of the last layer. `transformers`: batches of 8 in the order of the file, padded to the longest, fp32
and scaled dot product attention; and sorted by length in bf16. Ours: what `trimer embed` calls, in bf16 and fp32.

Printed are proteins per CPU-second of one thread, the median ratio of the paired rounds, and how far the vectors are
from those of `transformers` in fp32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
import transformers
from esm2_training import proteins
from rich.console import Console
from rich.table import Table
from side_by_side import quiet

from trimer.data.store import Ragged
from trimer.embedding import embed
from trimer.models.convert.esm2 import esm2_to_huggingface
from trimer.models.esm2 import Esm2


def theirs(net: Esm2, tokens: list[np.ndarray], bf16: bool, batch: int = 8) -> Callable[[], np.ndarray]:
    """A padded loop; bf16: sorted by length too."""
    state, config = esm2_to_huggingface(net)
    model = transformers.EsmForMaskedLM(transformers.EsmConfig(**config, attn_implementation="sdpa")).eval()
    model.load_state_dict(state, strict=False)
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i])) if bf16 else list(range(len(tokens)))

    @torch.inference_mode()
    def run() -> np.ndarray:
        vectors = np.zeros((len(tokens), net.d_model), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(tokens[i]) for i in rows], True, 1)
            with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                hidden = model.esm(ids, (ids != 1).long()).last_hidden_state.float()
            inner = (ids > 2)[..., None]
            vectors[rows] = ((hidden * inner).sum(1) / inner.sum(1)).numpy()
        return vectors

    return run


def ours(net: Esm2, tokens: list[np.ndarray], bf16: bool) -> Callable[[], np.ndarray]:
    """What `trimer embed` calls."""
    packed = Ragged.pack(tokens)

    def run() -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            return np.stack(list(embed(net, packed)))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=64, help="proteins of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fasta", help="real proteins instead of random ones")
    options = parser.parse_args()
    quiet()
    tokens = [np.where(labels >= 0, labels, ids) for ids, labels in proteins(options.count, options.fasta, 1024)]
    torch.manual_seed(0)
    net = Esm2().eval()
    ways = {
        "transformers, fp32, longest of 8": theirs(net, tokens, bf16=False),
        "transformers, bf16, sorted": theirs(net, tokens, bf16=True),
        "trimer, fp32": ours(net, tokens, bf16=False),
        "trimer, bf16": ours(net, tokens, bf16=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = {}
    for round_ in range(options.rounds + 1):
        for name, run in ways.items():
            started = time.process_time()
            found[name] = run()
            if round_:
                seconds[name].append(time.process_time() - started)
    first = next(iter(ways))
    scale = np.linalg.norm(found[first], axis=1)
    table = Table("", "proteins/CPU-s", "ratio", "relative difference", title="Embedding with ESM2 8M")
    for name, taken in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[first], taken, strict=True))
        off = float(np.max(np.linalg.norm(found[name] - found[first], axis=1) / scale))
        table.add_row(name, f"{len(tokens) / statistics.median(taken):.1f}", f"{ratio:.2f}", f"{off:.1e}")
    Console().print(table)


if __name__ == "__main__":
    main()
