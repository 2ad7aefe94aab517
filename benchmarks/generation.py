"""How fast molecules are written: this package beside `transformers` and ctranslate2, same weights, in turns.

    python benchmarks/generation.py --inputs 4 16 --repeats 3

A BART of 256 wide, 4 + 4 layers writes 10 samples, then 10 beams, for each of the inputs. Its weights are random, but
ends come where those of molecules do: the chance of `</s>` rises around token 50, as a trained model has it. (With
random ends a few very long texts would keep `transformers` at work long after ours has let the finished rows go.)
ctranslate2 gets all inputs in one batch, and 4 at a time, with one thread, in fp32 and int8 (it has bf16 on few CPUs).

Printed are the texts per CPU-second on one thread, and the median ratio of the paired runs with the smallest and the
largest one; the mean log-likelihood of the texts and of their tokens, both under the model in fp32, because searches
stop by different rules; and for beams, how many inputs get the same hypotheses from transformers and from ours at fp32.
ctranslate2 stops when it has 10 ended hypotheses; ours and transformers go on until no running beam can become one of
the 10 best. With a patience of 2 or 3 ctranslate2 stops at 20 or 30. Optional peer:

    pip install ctranslate2
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import print_machine
from rich.console import Console
from rich.table import Table
from side_by_side import OURS, missing, paired_ratio, quiet

from trimer.flat import Flat
from trimer.generation.beam import beam_search
from trimer.generation.sampling import sample
from trimer.models.bart import POSITION_OFFSET, Bart
from trimer.models.convert.bart_weights import bart_to_huggingface

EOS = 2
Write = Callable[[], list[list[int]]]  # ids of the texts of all inputs, `</s>` with them


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


def huggingface_model(net: Bart):
    """The same weights in transformers."""
    import transformers

    state, config = bart_to_huggingface(net)
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**config)).eval()
    model.load_state_dict(state)
    return model


def theirs(net: Bart, sources: list[np.ndarray], max_length: int, dtype: torch.dtype, **settings) -> Write:
    """`generate` of transformers as it comes: padded to the longest source, cached. dtype: of the weights."""
    model = huggingface_model(net).to(dtype)
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


def convert(net: Bart, folder: Path) -> Path:
    """The same weights as a model of ctranslate2, whose own loader for BART reads those of transformers."""
    from ctranslate2.converters.transformers import BartLoader

    model = huggingface_model(net)
    model.config.normalize_before = False  # transformers no longer writes it
    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} | {f"t{i}": i for i in range(4, net.vocab_size)}
    tokens = list(ids)
    tokenizer = types.SimpleNamespace(
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        get_vocab=lambda: ids,
        convert_ids_to_tokens=lambda i: tokens[i],
    )
    with torch.no_grad():
        spec = BartLoader()(model, tokenizer)
    spec.validate()
    spec.optimize(quantization=None)
    spec.save(str(folder))
    return folder


def ctranslate2_writes(folder: Path, sources: list[np.ndarray], max_length: int, kind: str, **settings) -> Write:
    """ctranslate2 with one thread, all inputs in a batch. kind: its name of the type of the products."""
    import ctranslate2

    translator = ctranslate2.Translator(
        str(folder), device="cpu", compute_type=kind, inter_threads=1, intra_threads=1, max_queued_batches=-1
    )
    names = ["<s>", "<pad>", "</s>", "<unk>"]
    rows = [[names[i] if i < 4 else f"t{i}" for i in source.tolist()] for source in sources]
    ids = {name: i for i, name in enumerate(names)}

    def run() -> list[list[int]]:
        results = translator.translate_batch(
            rows,
            num_hypotheses=10,
            max_decoding_length=max_length - 1,
            max_input_length=0,
            return_end_token=True,
            **settings,
        )
        return [[ids[t] if t in ids else int(t[1:]) for t in text] for result in results for text in result.hypotheses]

    return run


@torch.inference_mode()
def log_likelihoods(net: Bart, sources: list[np.ndarray], texts: list[list[int]]) -> list[float]:
    """Log-likelihood of each of 10 texts an input, under the model in fp32."""
    sums = []
    for i, source in enumerate(sources):
        some = texts[10 * i : 10 * (i + 1)]
        logits = net(Flat.pack([source] * len(some)), Flat.pack([[0, *text[:-1]] for text in some]))
        labels = torch.tensor([token for text in some for token in text])
        each = torch.log_softmax(logits, -1).gather(1, labels[:, None]).squeeze(1)
        sums += [float(part.sum()) for part in each.split([len(text) for text in some])]
    return sums


def ours(search: Callable, dtype: torch.dtype) -> Write:
    def run() -> list[list[int]]:
        return [h.tokens for hypotheses in search(dtype=dtype) for h in hypotheses]

    return run


def measure(
    net: Bart, inputs: int, repeats: int, max_length: int, seed: int, folder: Path | None, fast: bool, table: Table
) -> list[str]:
    """Add the rows of one batch size to the table; returns what is to be said about them.

    folder: of the model of ctranslate2, None where it is not installed. fast: without transformers, the slowest.
    """
    sources = sources_of(inputs, net.vocab_size, seed)
    source, keys = Flat.pack(sources), list(range(inputs))

    def sampled(dtype):
        return sample(net, source, keys, 10, max_length=max_length, dtype=dtype)

    def beams(dtype):
        return beam_search(net, source, 10, max_length=max_length, dtype=dtype)

    kinds = {
        "sampling 10": (
            sampled,
            {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0},
            {"": {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": 1.0}},
        ),
        "beam 10": (
            beams,
            {"do_sample": False, "num_beams": 10},
            {"": {"beam_size": 10}, "patience 2, ": {"beam_size": 10, "patience": 2}}
            | {"patience 3, ": {"beam_size": 10, "patience": 3}},
        ),
    }
    if inputs > 4:  # small batches stay in the caches of the CPU
        for _, _, their_settings in kinds.values():
            their_settings["4 inputs at a time, "] = their_settings[""] | {"max_batch_size": 4}
    lines = []
    for kind, (search, settings, their_settings) in kinds.items():
        ways = {}
        for name, dtype in () if fast else (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            ways[f"transformers, {name}"] = theirs(net, sources, max_length, dtype, **settings)
        if folder:
            for name, more in their_settings.items():
                ways[f"ctranslate2, {name}fp32"] = ctranslate2_writes(folder, sources, max_length, "float32", **more)
            for name, more in their_settings.items():
                if "patience" in more:
                    continue
                ways[f"ctranslate2, {name}int8"] = ctranslate2_writes(folder, sources, max_length, "int8", **more)
        ways |= {"trimer, fp32": ours(search, torch.float32), "trimer, bf16": ours(search, torch.bfloat16)}
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
            rate = len(texts[name]) / statistics.median(taken)
            length = statistics.mean(map(len, texts[name]))
            likelihood = log_likelihoods(net, sources, texts[name])
            per_token = statistics.mean(a / len(text) for a, text in zip(likelihood, texts[name], strict=True))
            cells = [f"{length:.1f}", f"{statistics.mean(likelihood):.2f}", f"{per_token:.4f}"]
            for other in ("transformers, fp32", "ctranslate2, fp32", "ctranslate2, int8"):
                if other in seconds:
                    ratio, low, high = paired_ratio(seconds, name, other)
                    cells.append(f"{ratio:.2f} ({low:.2f} to {high:.2f})")
                else:
                    cells.append("")
            table.add_row(f"{inputs}", kind, name, f"{rate:.1f}", *cells)
            if name.startswith(OURS):
                peers = [other for other in seconds if not other.startswith(OURS)]
                if not peers:
                    continue
                peer = min(peers, key=lambda other: statistics.median(seconds[other]))
                ratio = paired_ratio(seconds, name, peer)[0]
                lines.append(f"{inputs} inputs, {kind}: {name} is {ratio:.2f} times the fastest peer, {peer}")
    if fast:
        return lines
    pairs = zip(texts["transformers, fp32"], texts["trimer, fp32"], strict=True)  # of the beams, which came last
    equal = [expected == text for expected, text in pairs]
    same = sum(all(equal[i * 10 : (i + 1) * 10]) for i in range(inputs))
    return [*lines, f"{inputs} inputs, beam 10 at fp32: the ten hypotheses of transformers for {same} of {inputs}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, nargs="+", default=[4, 16], help="inputs written for at a time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--mean", type=float, default=50.0, help="tokens of a text")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="without transformers, the slowest")
    options = parser.parse_args()
    quiet()
    print_machine("transformers", "ctranslate2")
    net = net_with_lengths(options.vocabulary, options.mean, options.max_length, options.seed)
    headings = ["inputs", "", "", "texts/CPU-s", "tokens a text", "log p a text", "log p a token"]
    headings += ["to transformers, fp32", "to ctranslate2, fp32", "to ctranslate2, int8"]
    table, lines = Table(*headings, title="Writing molecules"), []
    with tempfile.TemporaryDirectory() as folder:
        converted = None
        if importlib.util.find_spec("ctranslate2"):
            converted = convert(net, Path(folder))
        else:
            print(missing("ctranslate2", "pip install ctranslate2"))
        for inputs in options.inputs:
            lines += measure(
                net, inputs, options.repeats, options.max_length, options.seed, converted, options.fast, table
            )
    console = Console(width=max(200, Console().width))
    console.print(table)
    console.print("\n".join(lines), markup=False, highlight=False)


if __name__ == "__main__":
    main()
