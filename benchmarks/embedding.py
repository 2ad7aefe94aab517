"""How fast proteins are embedded: this package beside transformers, ONNX Runtime and esm-cpp, in turns in one process.

    python benchmarks/embedding.py --count 64 --rounds 3
    python benchmarks/embedding.py --fasta proteins.fasta.gz

The same weights (8M shape), the same proteins (by default random ones in the lengths of UniRef90, cut to 1,022), the
mean over residues of the last layer. `transformers`: scaled dot product attention, batches of 8 in the order of the
file, padded to the longest; batches of 8 sorted by length; and one protein at a time, which needs no padding. ONNX
Runtime and esm-cpp: one protein at a time, fp32 and int8 (products of quantised weights). Ours: what `trimer embed`
calls.

Printed are proteins per CPU-second of one thread, the median ratio of the paired rounds with the smallest and the
largest one, and how far the vectors are from those of `transformers` in fp32. Optional peers:

    pip install onnx onnxscript onnxruntime
    pip install --no-deps esm-cpp    # it asks for numpy below 2, but works with numpy 2
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from esm2_training import huggingface_model, proteins
from machine import print_machine
from side_by_side import Pass, compare, missing, quiet

from trimer.accelerators.hardware import with_int8_weights
from trimer.data.core.ragged import Ragged
from trimer.models.esm2 import Esm2
from trimer.prediction.embedding import embed

Embed = Callable[[], np.ndarray]  # (proteins, width)


def theirs(net: Esm2, tokens: list[np.ndarray], bf16: bool, batch: int, in_order: bool = True) -> Embed:
    """A loop over transformers, each batch padded to its longest protein; a batch of 1 has neither padding nor mask."""
    model = huggingface_model(net).eval()
    order = list(range(len(tokens))) if in_order else sorted(range(len(tokens)), key=lambda i: len(tokens[i]))

    @torch.inference_mode()
    def run() -> np.ndarray:
        vectors = np.zeros((len(tokens), net.d_model), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(tokens[i]) for i in rows], True, 1)
            mask = (ids != 1).long() if batch > 1 else None
            with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                hidden = model.esm(ids, mask).last_hidden_state.float()
            inner = (ids > 2)[..., None]
            vectors[rows] = ((hidden * inner).sum(1) / inner.sum(1)).numpy()
        return vectors

    return run


def onnx_runtime(net: Esm2, tokens: list[np.ndarray], int8: bool, folder: Path) -> Embed:
    """The encoder of transformers exported to ONNX.

    Exported with eager attention, which ONNX Runtime computes 1.7 times as fast as the exported scaled dot product.
    """
    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)
    encoder = huggingface_model(net, "eager").eval().esm

    class LastLayer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.encoder(ids, torch.ones_like(ids)).last_hidden_state

    path = folder / "esm2.onnx"
    if not path.exists():
        shapes = ({1: torch.export.Dim("length", min=4, max=2048)},)
        ids = (torch.from_numpy(tokens[0])[None],)
        torch.onnx.export(LastLayer().eval(), ids, dynamic_shapes=shapes, dynamo=True, verbose=False).save(path)
    if int8:
        quantize_dynamic(path, folder / "esm2_int8.onnx")
        path = folder / "esm2_int8.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run() -> np.ndarray:
        return np.stack([session.run(None, {name: ids[None]})[0][0, 1:-1].mean(0) for ids in tokens])

    return run


def esm_cpp(net: Esm2, tokens: list[np.ndarray], int8: bool, folder: Path) -> Embed:
    """esm-cpp on the same weights; int8: smoothed and quantised as its own command does, calibrated on the proteins."""
    os.environ.setdefault("ESM_NUM_THREADS", "1")
    import esm_cpp
    from safetensors.torch import save_file

    path = folder / "esm2.safetensors"
    state = {key: value.clone().contiguous() for key, value in huggingface_model(net).state_dict().items()}
    frequencies = state.pop("esm.rotary_embeddings.inv_freq")  # it looks for them in each layer, as older files have it
    for i in range(len(net.layers)):
        state[f"esm.encoder.layer.{i}.attention.self.rotary_embeddings.inv_freq"] = frequencies.clone()
    save_file(state, path, {"format": "pt"})
    model = esm_cpp.Model.load_from_safetensors(str(path))
    rows = [ids.astype(np.int32) for ids in tokens]
    if int8:
        observer = esm_cpp.ActivationObserver()
        for ids in rows:
            model.forward_with_observer(ids, np.ones_like(ids), observer)
        model.apply_smoothquant(observer.percentile(99.9), 0.5)
        model.quantize_weights()

    def run() -> np.ndarray:
        return np.stack([model.forward_with_hidden_states(ids, None)[1][-1][1:-1].mean(0) for ids in rows])

    return run


def ours(net: Esm2, tokens: list[np.ndarray], bf16: bool) -> Embed:
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
    peaks = print_machine("transformers", "onnxruntime", "esm-cpp")
    tokens = [np.where(labels >= 0, labels, ids) for ids, labels in proteins(options.count, options.fasta, 1024)]
    torch.manual_seed(0)
    net = Esm2().eval()
    ways: dict[str, Embed] = {}
    for kind, bf16 in (("fp32", False), ("bf16", True)):
        ways |= {
            f"transformers, longest of 8, {kind}": theirs(net, tokens, bf16, 8),
            f"transformers, sorted, 8 at a time, {kind}": theirs(net, tokens, bf16, 8, in_order=False),
            f"transformers, one by one, {kind}": theirs(net, tokens, bf16, 1),
        }
    optional = {
        "ONNX Runtime": (onnx_runtime, ("onnxruntime", "onnxscript"), "pip install onnx onnxscript onnxruntime"),
        "esm-cpp": (esm_cpp, ("esm_cpp",), "pip install --no-deps esm-cpp"),
    }
    with tempfile.TemporaryDirectory() as folder:
        for peer, (build, modules, command) in optional.items():
            if not all(map(importlib.util.find_spec, modules)):
                print(missing(peer, command))
                continue
            for kind in ("fp32", "int8"):
                ways[f"{peer}, one by one, {kind}"] = build(net, tokens, kind == "int8", Path(folder))
    ways |= {"trimer, fp32": ours(net, tokens, bf16=False), "trimer, bf16": ours(net, tokens, bf16=True)}
    ways["trimer, int8"] = ours(with_int8_weights(copy.deepcopy(net)), tokens, bf16=False)
    vectors: dict[str, np.ndarray] = {}

    def clocked(name: str) -> Pass:
        def run() -> float:
            started = time.process_time()
            vectors[name] = ways[name]()
            return time.process_time() - started

        return run

    reference = "transformers, one by one, fp32"

    def difference(name: str) -> str:
        off = np.linalg.norm(vectors[name] - vectors[reference], axis=1) / np.linalg.norm(vectors[reference], axis=1)
        return f"{off.max():.0e}"

    places = sum(map(len, tokens))
    head = net.training_flops([0], places)  # embedding asks for no scores
    flops = (net.training_flops([len(ids) for ids in tokens], places) - head) / 3
    compare(
        {name: clocked(name) for name in ways},
        options.rounds,
        len(tokens),
        {"to theirs as it comes": "transformers, longest of 8, fp32"},
        "Embedding with ESM2 8M",
        unit="proteins",
        flops=flops,
        peaks=peaks,
        extra={"relative difference": difference},
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
