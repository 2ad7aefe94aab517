"""How fast molecules are written: this package beside `transformers` generate, same weights, interleaved in a process.

    python benchmarks/generation.py --inputs 4 16 --repeats 3

A BART of 256 wide, 4 + 4 layers writes 10 samples, then 10 beams, for each of the inputs. Its weights are random, but
ends come where those of molecules do: the chance of `</s>` rises around token 50, as a trained model has it. (With
random ends a few very long texts would keep `transformers` at work long after ours has let the finished rows go.)

Printed are the texts per CPU-second on one thread, and the median ratio of the paired runs; and for beams, how many
inputs get the same hypotheses from both at full precision.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from trimer.flat import Flat
from trimer.generation.beam import beam_search
from trimer.generation.sampling import sample
from trimer.models.bart import POSITION_OFFSET, Bart
from trimer.models.convert.bart import bart_to_huggingface

EOS = 2


def net_with_lengths(vocab_size: int, mean: float, longest: int, seed: int) -> Bart:
    """A random net whose `</s>` has a chance that rises from 1e-5 to 0.2 around the mean length.

    One direction of the hidden state is given to the position, and the embedding of `</s>` points along it.
    """
    torch.manual_seed(seed)
    net = Bart(vocab_size, dropout=0.0).eval()
    places = torch.arange(longest)
    chance = 1e-5 + 0.2 * torch.sigmoid((places - mean) / 3)
    base = float(torch.log(1e-5 / torch.tensor(0.2)))
    with torch.no_grad():
        direction = torch.nn.functional.normalize(torch.randn(net.d_model), dim=0)
        table = net.decoder_embedding.positions.weight
        table -= (table @ direction)[:, None] * direction
        net.tokens.weight -= (net.tokens.weight @ direction)[:, None] * direction
        net.tokens.weight[EOS] = direction
        source = Flat.pack([np.arange(5, 205)])
        target = torch.randint(5, vocab_size, (longest,)).numpy()
        push = torch.zeros(longest)
        for _ in range(6):  # the layers in between bend the direction: bring the chance to where it should be
            table[POSITION_OFFSET : POSITION_OFFSET + longest] += push[:, None] * direction
            logits = net(source, Flat.pack([target]))
            others = logits[:, 5:].logsumexp(-1)
            wanted = others + torch.log(chance / (1 - chance))
            if not net.final_logits_bias[EOS]:
                net.final_logits_bias[EOS] = (wanted - logits[:, EOS]).min() + base / 20
                logits[:, EOS] += net.final_logits_bias[EOS]
            push = (wanted - logits[:, EOS]) / 40
    return net


def sources_of(inputs: int, vocab_size: int, seed: int) -> list[np.ndarray]:
    """Token lengths as spectra have them: mean 285, from 60 to 500."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(275), 0.4, inputs), 60, 500).astype(int)
    return [rng.integers(5, vocab_size, length) for length in lengths]


def theirs(net: Bart, sources: list[np.ndarray], max_length: int, **settings) -> Callable[[], list[list[int]]]:
    """`generate` of transformers as it comes: full precision, padded to the longest source, cached."""
    import transformers

    state, config = bart_to_huggingface(net)
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**config)).eval()
    model.load_state_dict(state)
    rows = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(s) for s in sources], batch_first=True, padding_value=1)
    mask = (torch.arange(rows.shape[1]) < torch.tensor([len(s) for s in sources])[:, None]).long()

    def run() -> list[list[int]]:
        with torch.inference_mode():
            out = model.generate(
                input_ids=rows, attention_mask=mask, num_return_sequences=10, max_length=max_length, **settings
            )
        texts = out[:, 1:].tolist()
        return [text[: text.index(EOS) + 1] if EOS in text else text for text in texts]

    return run


def ours(search: Callable, dtype: torch.dtype) -> Callable[[], list[list[int]]]:
    def run() -> list[list[int]]:
        return [h.tokens for hypotheses in search(dtype=dtype) for h in hypotheses]

    return run


def measure(net: Bart, inputs: int, repeats: int, max_length: int, seed: int, table: Table) -> int:
    """Add the rows of one batch size to the table; returns for how many inputs all ten beams are the same at fp32."""
    sources = sources_of(inputs, net.vocab_size, seed)
    source, keys = Flat.pack(sources), list(range(inputs))

    def sampled(dtype):
        return sample(net, source, keys, 10, max_length=max_length, dtype=dtype)

    def beams(dtype):
        return beam_search(net, source, 10, max_length=max_length, dtype=dtype)

    kinds = {
        "sampling 10": (sampled, {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0}),
        "beam 10": (beams, {"do_sample": False, "num_beams": 10}),
    }
    for kind, (search, settings) in kinds.items():
        ways = {
            "transformers fp32": theirs(net, sources, max_length, **settings),
            "trimer fp32": ours(search, torch.float32),
            "trimer bf16": ours(search, torch.bfloat16),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        texts: dict[str, list[list[int]]] = {}
        for repeat in range(repeats + 1):  # the first is not counted
            for name, run in ways.items():
                torch.manual_seed(repeat)
                before = time.process_time()
                texts[name] = run()
                if repeat:
                    seconds[name].append(time.process_time() - before)
        for name, taken in seconds.items():
            rate = statistics.median(len(texts[name]) / t for t in taken)
            ratio = statistics.median(a / b for a, b in zip(seconds["transformers fp32"], taken, strict=True))
            length = statistics.mean(map(len, texts[name]))
            table.add_row(f"{inputs}", kind, name, f"{rate:.1f}", f"{length:.1f}", f"{ratio:.2f}")
    pairs = zip(texts["transformers fp32"], texts["trimer fp32"], strict=True)  # of the beams, which came last
    equal = [one == two for one, two in pairs]
    return sum(all(equal[i * 10 : (i + 1) * 10]) for i in range(inputs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, nargs="+", default=[4, 16], help="inputs written for at a time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--mean", type=float, default=50.0, help="tokens of a text")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    net = net_with_lengths(options.vocabulary, options.mean, options.max_length, options.seed)
    table = Table("inputs", "", "", "texts/CPU-s", "tokens a text", "ratio", title="Writing molecules")
    console = Console()
    for inputs in options.inputs:
        same = measure(net, inputs, options.repeats, options.max_length, options.seed, table)
        console.print(f"beam 10 at fp32: the same ten hypotheses for {same} of {inputs} inputs")
    console.print(table)


if __name__ == "__main__":
    main()
