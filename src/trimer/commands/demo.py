"""`trimer demo`: a shipped model on the example spectra beside look-ups, a page, and a brief fine-tuning; offline."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word
from trimer.errors import CheckpointError, ConfigError
from trimer.pretrained import registry

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded
    from trimer.evaluation.example_evaluation import ExampleEvaluation
    from trimer.reporting.table import ResultTable

BATCH = 16  # pairs of a batch of the validation
SPLIT = "examples"  # folder of the page in the output
# The fine-tuning: simulated spectra, few and small batches, so that it takes less than a minute.
TUNING = (
    "data=simulated_spectra", "data.source.molecules=400", "data.tokens_per_batch=2048", "optimizer.lr=2e-4",
    "scheduler=null", "test=false", "callbacks.best=null", "name=demo",
)  # fmt: skip


def main(cfg: DictConfig) -> None:
    """Evaluate, write the page, fine-tune; each part says what it wrote."""
    from trimer.accelerators.hardware import computing
    from trimer.checkpoint import load
    from trimer.evaluation.example_evaluation import evaluate_examples
    from trimer.run import model_name

    if cfg.steps < 0 or (cfg.spectra is not None and cfg.spectra < 2):
        raise ConfigError(f"steps={cfg.steps} must be 0 or more, and spectra={cfg.spectra} 2 or more, or null")
    loaded, output = demonstrated(cfg.ckpt, load), Path(cfg.output).expanduser()
    predictor, name = predictor_of(loaded, cfg), model_name(loaded.run, loaded.path)
    with computing(cfg.trainer):
        evaluation = evaluate_examples(predictor, name, cfg.spectra)
    whole = whole_fold(loaded)
    show(evaluation, whole, output)
    print(f"page: {write_demo_page(evaluation, whole, output, name)}")
    if cfg.steps:
        print(fine_tuned(loaded, output / "fine_tuned", cfg))
    suggest(f"trimer predict ckpt={word(cfg.ckpt)} input=<your file>", "trimer models lists the other models")


def demonstrated(ckpt: str, load: Any) -> Loaded:
    """The checkpoint of the demonstration; CheckpointError if it generates no molecules."""
    if not registry.names() and not Path(ckpt).expanduser().exists():
        raise CheckpointError(
            f"ckpt={ckpt}: this installation has no shipped models; train them with make models, name a run folder, or "
            "train a small study from nothing with trimer train experiment=demo"
        )
    loaded = load(ckpt)
    if loaded.study.example != "spectra" or not loaded.study.can_predict(loaded.contract):
        raise CheckpointError(
            f"ckpt={ckpt} {loaded.study.description}: trimer demo needs a model that generates molecules"
        )
    return loaded


def predictor_of(loaded: Loaded, cfg: DictConfig) -> Any:
    """The predictor of a checkpoint with the generator settings of the demonstration."""
    from trimer.api import command_config
    from trimer.resuming import plain_dict

    fixed = {"ckpt": str(loaded.path), "output": "-"}
    generator = {key: value for key, value in plain_dict(cfg.generator).items() if value is not None}
    predicting = command_config("predict", fixed, {"generator": generator, "seed": cfg.seed})
    predicting.trainer = cfg.trainer
    return loaded.study.predictor(predicting)


def whole_fold(loaded: Loaded) -> ResultTable | None:
    """The table of the whole test fold from the card of the model, if it has one."""
    from trimer.evaluation.example_evaluation import METRICS
    from trimer.reporting.table import ResultTable
    from trimer.run import read_json

    paths = (loaded.run / "table.json", loaded.run / "test" / "table.json")
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    table = ResultTable.from_dict(read_json(path))
    return ResultTable(metrics=METRICS, rows=table.rows)


def show(evaluation: ExampleEvaluation, whole: ResultTable | None, output: Path) -> None:
    """Print the table of the examples, the lead, and the whole test fold where the sample is too small to rank."""
    from trimer.terminal_tables import print_table

    evaluation.table.save(output / SPLIT)
    count = f"{len(evaluation.predictions)} held-out spectra of as many molecules"
    print_table(evaluation.table.to_rich(count, errors=True), output / SPLIT / "table.md")
    print("\n".join([evaluation.sentence(), *evaluation.overlap]))
    if not evaluation.is_clear and whole is not None:
        spectra = whole.rows[-1]["values"].get("spectra")
        title = "the whole test fold" + (f", {spectra:,.0f} spectra" if spectra else "")
        print_table(whole.to_rich(title, errors=True))


def write_demo_page(evaluation: ExampleEvaluation, whole: ResultTable | None, output: Path, name: str) -> Path:
    """Write the page: the table, the spectra with their molecules, and the table of the whole test fold."""
    from trimer.pretrained.cards import first_upper
    from trimer.reporting.page import Detail
    from trimer.reporting.run_page import write_run_page
    from trimer.reporting.table import column

    details = []
    if whole is not None:
        names = whole.columns
        rows = [
            {
                "Method": row["method"],
                **{column(n).label: text for n, (text, _) in zip(names, whole.cells(row), strict=True)},
            }
            for row in whole.ordered()
        ]
        details.append(
            Detail("The whole test fold", rows, "From the card of the model: its evaluation after training.")
        )
    note = (
        f"{evaluation.sentence()} The look-ups searched the whole training fold; their candidates are stored with the "
        "examples (python -m trimer.examples.draw). ± is the standard error over molecules."
    )
    return write_run_page(
        output,
        SPLIT,
        evaluation.table,
        evaluation.predictions,
        title="Example spectra to structures",
        name=name,
        data=f"{len(evaluation.predictions)} held-out spectra of MassBank",
        subtitle=f"The model {name} generates molecules for {len(evaluation.predictions)} measured spectra of the test "
        f"fold. {first_upper('; '.join(evaluation.overlap))}.",
        note=note,
        records="spectra",
        distributions=evaluation.similarities,
        details=details,
    )


def fine_tuned(loaded: Loaded, run: Path, cfg: DictConfig) -> str:
    """Fine-tune on simulated spectra in another process; returns the validation loss before and after, in words."""
    from trimer.building import build
    from trimer.checkpoint import load
    from trimer.run import RunFolder

    words = [*TUNING, f"ckpt={word(loaded.path.resolve())}", *shape_of(loaded), f"trainer.max_steps={cfg.steps}"]
    words += [f"trainer.val_check_interval={cfg.steps}", "trainer.log_every_n_steps=5", f"seed={cfg.seed}"]
    words += [f"trainer.accelerator={cfg.trainer.accelerator}", f"paths.cache={cfg.paths.cache}"]
    words += [f"hydra.run.dir={run.resolve()}", "trainer.enable_progress_bar=false"]
    print(f"fine-tuning on simulated spectra: {cfg.steps} steps")
    done = subprocess.run([sys.executable, "-m", "trimer", "train", "-q", *words], capture_output=True, text=True)
    if done.returncode:
        command = shlex.join(["trimer", "train", *words])
        raise CheckpointError(f"the fine-tuning failed: {done.stderr.strip()[-500:]}; repeat it with {command}")
    data = build(RunFolder(run).config["data"])
    data.setup()
    before, after = loss_of(loaded.net, data), loss_of(load(run).net, data)
    return f"validation loss on simulated spectra: {before:.3f} before, {after:.3f} after; run folder: {run}"


def loss_of(net: Any, data: Any) -> float:
    """Mean loss of a token of the validation molecules. data: spectra with molecules, after setup."""
    import torch
    from torch.nn import functional

    from trimer.data.core.batches import PairBatch

    rows = data.split.rows("val")
    sources, targets = data.store.ragged("source"), data.store.ragged("target")
    total, tokens = 0.0, 0
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        batch = PairBatch.pack([sources[row] for row in some], [targets[row] for row in some], some)
        with torch.inference_mode():
            scores = net(batch.source, batch.target).float()
        total += float(functional.cross_entropy(scores, batch.labels, reduction="sum"))
        tokens += len(batch.labels)
    return total / tokens


def shape_of(loaded: Loaded) -> list[str]:
    """The overrides that give a training the network and the tokenizer of a checkpoint."""
    from trimer.cli.configs import compose
    from trimer.resuming import plain_dict

    default = plain_dict(compose("train", ["data=simulated_spectra"]))
    contract = loaded.contract
    words = [*differences("model", default["model"], contract["model"])]
    return [*words, *differences("data.tokenizer", default["data"]["tokenizer"], contract["data"]["tokenizer"])]


def differences(key: str, default: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """`key=value` for each value that differs from the default."""
    for name, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(default.get(name), Mapping):
            yield from differences(f"{key}.{name}", default[name], value)
        elif name not in default or default[name] != value:
            yield f"{'' if name in default else '+'}{key}.{name}={json.dumps(value)}"
