"""Let the TPU compiler compile whole training steps, on a machine without a TPU.

    .venv-xla/bin/python benchmarks/tpu_compile.py export runs/tpu    # the environment of make test-xla
    python -m venv tpu-compiler && tpu-compiler/bin/pip install "jax>=0.10,<0.11" "libtpu>=0.0.52"
    tpu-compiler/bin/python benchmarks/tpu_compile.py compile runs/tpu --chips v5e v6e

torch-xla traces one step of a task as `trainer=tpu` runs it (a static batch, products in bf16, AdamW) and writes it as
StableHLO. libtpu compiles it ahead of time for chips that are only described. `export --devices 4` (or 8) writes the
step of `trainer.devices=4`: four times the rows, which the compiler divides among the chips. Printed are the time of
the compilation, the memory of the program beside that of a chip, its floating-point operations, the exchanges between
the chips, and the tokens per second that the chips' peak of products would allow. No step is run: what a TPU does in
fact is not measured here.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

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
# Memory of a chip in GB, and peak of its bf16 products in TFLOP/s, as Google states them.
CHIPS = {"v5e": (16, 197), "v6e": (32, 918), "v5p": (95, 459)}
TOPOLOGY = {1: "2x2", 4: "2x2", 8: "2x4"}  # of the chips that share a step, one of four for one; v5p: with x1


def export(folder: Path, names: list[str], devices: int) -> None:
    """Write <name>_<devices>.mlir, the StableHLO of a step, and <name>_<devices>.json, its tokens and operations."""
    os.environ.setdefault("PJRT_DEVICE", "CPU")
    os.environ["CPU_NUM_DEVICES"] = str(devices)
    import lightning
    import torch
    import torch_xla
    import torch_xla.core.xla_model as xm

    from trimer.accelerators.chips import divide, mesh_of, use_chips
    from trimer.building import build
    from trimer.cli.configs import compose

    if devices > 1:
        use_chips("xla_cpu", devices)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        cfg = compose("train", [*STUDIES[name], "trainer=xla_cpu", f"paths.cache={folder / 'cache'}"])
        data = build(cfg.data)
        data.trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        data.trainer.row_length, data.trainer.chips = ROW_LENGTH[name], devices
        data.prepare_data()
        data.setup()
        loader = data.train_dataloader()
        batch = loader.dataset[next(iter(loader.sampler.plan.epoch(0)))]
        net = build(cfg.model, vocab_size=len(data.tokenizer))
        task = build(cfg.task, net=net, tokenizer=data.tokenizer, optimizer=build(cfg.optimizer))
        device = torch_xla.device()
        task.to(device).train()
        optimizer = task.configure_optimizers()
        torch_xla.sync()
        batch = batch.to(device) if devices == 1 else divide(batch.to(device), mesh_of(devices))
        with torch.autocast("xla", torch.bfloat16):
            loss = task.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        text = xm.get_stablehlo([loss.detach(), *net.parameters()])
        (folder / f"{name}_{devices}.mlir").write_text(text)
        facts = {
            "name": name,
            "devices": devices,
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "tokens": sum(part.tokens.numel() for part in vars(batch).values() if hasattr(part, "tokens")),
            "real_tokens": batch.real_tokens,
            "rows": [
                [part.rows, part.tokens.numel() // part.rows] for part in vars(batch).values() if hasattr(part, "rows")
            ],
        }
        (folder / f"{name}_{devices}.json").write_text(json.dumps(facts) + "\n")
        print(f"{name}: {facts}, {len(text):,} characters of StableHLO", flush=True)


def compile_for(folder: Path, chips: list[str]) -> None:
    """Compile every exported step for every chip, and print a row of the table for each."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}
    heads = ("step", "parameters", "chips", "real tokens", "compiled in", "arguments", "temporaries", "of the memory")
    print("| " + " | ".join([*heads, "exchanged", "TFLOP a step", "bound on real tokens/s"]) + " |")
    print("| --- | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: |", flush=True)
    for path in sorted(folder.glob("*.mlir")):
        facts = json.loads(path.with_suffix(".json").read_text())
        for chip in chips:
            print(row_of(path, facts, chip), flush=True)


def row_of(path: Path, facts: dict, chip: str) -> str:
    """Compile a step for a kind of chip: the row of the table. All but the tokens is of one of the chips."""
    memory, peak = CHIPS[chip]
    devices, name = facts["devices"], facts["name"]
    try:
        executable, seconds = compiled(path.read_text(), chip, devices)
    except RuntimeError as error:  # what does not fit is an answer too
        return f"| {name} | | {devices} {chip} | {str(error).splitlines()[0]} |"
    stats, cost = executable.get_compiled_memory_stats(), executable.cost_analysis()
    flops = (cost[0] if isinstance(cost, list) else cost)["flops"]
    used = stats.argument_size_in_bytes + stats.temp_size_in_bytes
    used += stats.output_size_in_bytes - stats.alias_size_in_bytes
    try:  # jaxlib cannot read each program of a newer libtpu
        exchanges = collectives(executable.hlo_modules()[0].to_string()) if devices > 1 else ""
    except RuntimeError:
        exchanges = "not readable"
    cells = (
        name,
        f"{facts['parameters'] / 1e6:.0f} M",
        f"{devices} {chip}",
        f"{facts['real_tokens']:,}",
        f"{seconds:.0f} s",
        f"{stats.argument_size_in_bytes / 1e9:.1f} GB",
        f"{stats.temp_size_in_bytes / 1e9:.1f} GB",
        f"{used / 1e9 / memory:.0%} of {memory} GB",
        exchanges,
        f"{flops / 1e12:.2f}",
        f"{facts['real_tokens'] * peak * 1e12 / flops:,.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def compiled(text: str, chip: str, devices: int) -> tuple[Any, float]:
    """The executable of a StableHLO module for a number of chips, and the seconds of the compilation."""
    import numpy as np
    from jax._src.interpreters import mlir
    from jax.experimental import topologies
    from jaxlib import xla_client
    from jaxlib.mlir import ir

    name = f"{chip}:{TOPOLOGY[devices]}" + ("x1" if chip == "v5p" else "")
    described = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    options = xla_client.CompileOptions()
    if devices > 1:
        build = options.executable_build_options
        build.num_replicas, build.num_partitions, build.use_spmd_partitioning = 1, devices, True
        build.use_shardy_partitioner = False  # torch-xla annotates for GSPMD
        ids = np.array([[device.id for device in described[:devices]]], np.int32)
        build.device_assignment = xla_client.DeviceAssignment.create(ids)
    context = mlir.make_ir_context()
    context.allow_unregistered_dialects = True
    started = time.perf_counter()
    with context:
        module = ir.Module.parse(text)
        chosen = xla_client.DeviceList(tuple(described[:devices]))
        executable = described[0].client.compile(module, chosen, options)
    return executable, time.perf_counter() - started


def collectives(program: str) -> str:
    """What the chips send each other in a step: number and bytes of the results of each kind of exchange."""
    width = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "s64": 8}
    counts: Counter[str] = Counter()
    bytes_of: Counter[str] = Counter()
    for line in program.splitlines():
        if exchange := re.search(
            r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\(", line
        ):
            counts[exchange[2]] += 1
            for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", exchange[1]):
                bytes_of[exchange[2]] += width.get(kind, 4) * math.prod(int(size) for size in shape.split(",") if size)
    return ", ".join(f"{counts[kind]} {kind} of {size / 1e6:,.0f} MB" for kind, size in bytes_of.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["export", "compile"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", nargs="+", choices=list(STUDIES), default=list(STUDIES), help="to export")
    parser.add_argument("--devices", type=int, choices=list(TOPOLOGY), default=1, help="chips, in export")
    parser.add_argument("--chips", nargs="+", choices=list(CHIPS), default=["v5e", "v6e"])
    options = parser.parse_args()
    if options.what == "export":
        export(options.folder, options.steps, options.devices)
    else:
        compile_for(options.folder, options.chips)


if __name__ == "__main__":
    main()
