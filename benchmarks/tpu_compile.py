"""Let the TPU compiler compile whole training steps, on a machine without a TPU.

    .venv-xla/bin/python benchmarks/tpu_compile.py export runs/tpu    # the environment of make test-xla
    python -m venv tpu-compiler && tpu-compiler/bin/pip install "jax>=0.10,<0.11" "libtpu>=0.0.52"
    tpu-compiler/bin/python benchmarks/tpu_compile.py compile runs/tpu --chips v5e v6e

torch-xla traces one step of a task as `trainer=tpu` runs it (a static batch, products in bf16, AdamW) and writes it as
StableHLO. libtpu compiles it ahead of time for a chip that is only described. Printed are the time of the compilation,
the memory of the program beside that of the chip, its floating-point operations, and the tokens per second that the
chip's peak of products would allow. No step is run: what a TPU does in fact is not measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

STUDIES = {
    "esm2_150m": [
        "data=simulated_proteins", "data.source.proteins=600", "data.crop=1022", "task=masked_lm", "model=esm2_150m",
        "data.tokens_per_batch=4096",
    ],
    "bart_base": [
        "data=simulated_spectra", "data.source.molecules=600", "model=bart_base", "data.tokens_per_batch=8192",
    ],
}  # fmt: skip
ROW_LENGTH = {"esm2_150m": 1024, "bart_base": None}  # tokens; None: chosen from the data
# Topology, memory of a chip in GB, peak of bf16 products in TFLOP/s and memory traffic in GB/s, as Google states them.
CHIPS = {"v5e": ("v5e:2x2", 16, 197, 819), "v6e": ("v6e:2x2", 32, 918, 1640), "v5p": ("v5p:2x2x1", 95, 459, 2765)}


def export(folder: Path, names: list[str]) -> None:
    """Write <name>.mlir, the StableHLO of a step, and <name>.json, its tokens and operations."""
    os.environ.setdefault("PJRT_DEVICE", "CPU")
    import lightning
    import torch
    import torch_xla
    import torch_xla.core.xla_model as xm

    from trimer.building import build
    from trimer.cli.configs import compose

    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cfg = compose("train", [*STUDIES[name], "trainer=xla_cpu", f"paths.cache={folder / 'cache'}"])
        data = build(cfg.data)
        data.trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        data.trainer.row_length = ROW_LENGTH[name]
        data.prepare_data()
        data.setup()
        loader = data.train_dataloader()
        batch = loader.dataset[next(iter(loader.sampler.plan.epoch(0)))]
        net = build(cfg.model, vocab_size=len(data.tokenizer))
        task = build(cfg.task, net=net, tokenizer=data.tokenizer, optimizer=build(cfg.optimizer))
        device = torch_xla.device()
        task.to(device).train()
        optimizer = task.configure_optimizers()
        batch = batch.to(device)
        torch_xla.sync()
        with torch.autocast("xla", torch.bfloat16):
            loss = task.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        text = xm.get_stablehlo([loss.detach(), *net.parameters()])
        (folder / f"{name}.mlir").write_text(text)
        facts = {
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "tokens": sum(part.tokens.numel() for part in vars(batch).values() if hasattr(part, "tokens")),
            "real_tokens": batch.real_tokens,
            "rows": [
                [part.rows, part.tokens.numel() // part.rows] for part in vars(batch).values() if hasattr(part, "rows")
            ],
        }
        (folder / f"{name}.json").write_text(json.dumps(facts) + "\n")
        print(f"{name}: {facts}, {len(text):,} characters of StableHLO", flush=True)


def compile_for(folder: Path, chips: list[str]) -> None:
    """Compile every exported step for every chip, and print a row of the table for each."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
    from jax._src.interpreters import mlir
    from jax.experimental import topologies
    from jaxlib import xla_client
    from jaxlib.mlir import ir

    heads = ("step", "parameters", "real tokens", "chip", "compiled in", "arguments", "temporaries", "of the memory")
    print("| " + " | ".join([*heads, "TFLOP a step", "bound on real tokens/s"]) + " |")
    print("| --- | --: | --: | --- | --: | --: | --: | --: | --: | --: |", flush=True)
    for path in sorted(folder.glob("*.mlir")):
        facts = json.loads(path.with_suffix(".json").read_text())
        for chip in chips:
            topology, memory, peak, _ = CHIPS[chip]
            devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
            context = mlir.make_ir_context()
            context.allow_unregistered_dialects = True
            started = time.perf_counter()
            with context:
                module = ir.Module.parse(path.read_text())
                options = xla_client.CompileOptions()
                try:
                    executable = devices[0].client.compile(module, xla_client.DeviceList(tuple(devices[:1])), options)
                except RuntimeError as error:  # what does not fit is an answer too
                    print(f"| {path.stem} | | | {chip} | {str(error).splitlines()[0]} |", flush=True)
                    continue
            seconds = time.perf_counter() - started
            stats, cost = executable.get_compiled_memory_stats(), executable.cost_analysis()
            flops = (cost[0] if isinstance(cost, list) else cost)["flops"]
            used = stats.argument_size_in_bytes + stats.temp_size_in_bytes
            used += stats.output_size_in_bytes - stats.alias_size_in_bytes
            bound = facts["real_tokens"] * peak * 1e12 / flops
            cells = (
                path.stem,
                f"{facts['parameters'] / 1e6:.0f} M",
                f"{facts['real_tokens']:,}",
                chip,
                f"{seconds:.0f} s",
                f"{stats.argument_size_in_bytes / 1e9:.1f} GB",
                f"{stats.temp_size_in_bytes / 1e9:.1f} GB",
                f"{used / 1e9 / memory:.0%} of {memory} GB",
                f"{flops / 1e12:.2f}",
                f"{bound:,.0f}",
            )
            print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["export", "compile"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", nargs="+", choices=list(STUDIES), default=list(STUDIES), help="to export")
    parser.add_argument("--chips", nargs="+", choices=list(CHIPS), default=["v5e", "v6e"])
    options = parser.parse_args()
    if options.what == "export":
        export(options.folder, options.steps)
    else:
        compile_for(options.folder, options.chips)


if __name__ == "__main__":
    main()
