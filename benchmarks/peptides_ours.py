"""Our side of `peptides.py`: models of this package train from scratch and predict the test rows.

    python benchmarks/peptides_ours.py rt INPUT OUTPUT --seconds 120

The encoders of conf/model/peptides_small.yaml and peptides_fragments.yaml and the tasks as `trimer train` has them,
under Lightning: absolute error for retention time, spectral angle for fragments. The rate rises over 5 % of the
budget, then falls by half a cosine to a tenth, by the clock where the budget is in seconds. All weights but those of
the last step are forgotten.
"""

from __future__ import annotations

import logging
import math
from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import lightning
import numpy as np
import torch
import yaml
from peptides_contract import Clock, Columns, read_columns, side_arguments, write_columns, write_times
from peptides_metrics import CHANNELS, fragment_cells, possible_cells, site_table
from torch.utils.data import DataLoader, IterableDataset

from trimer.accelerators.cpu_speed import cpu_precision
from trimer.data.core.batches import FragmentBatch, LabelledBatch
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import EpochPlan
from trimer.data.labelled.sequence_kinds import Peptides
from trimer.data.peptides.peptide_batches import flat_peptides
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.optim import adamw
from trimer.peptides.conditions import condition_vectors
from trimer.tasks.fragments import FragmentIntensities
from trimer.tasks.regression import Regression
from trimer.tokenizers.protein import ProteinTokenizer

CONF = Path(__file__).resolve().parents[1] / "conf" / "model"
MODEL = {"rt": "peptides_small", "ms2": "peptides_fragments"}
BATCH = {"rt": 256, "ms2": 256}
LR = {"rt": 3e-3, "ms2": 3e-3}


@dataclass
class Trained:
    """What a side leaves: its clocks, the training losses of its epochs and its predictions of the test rows.

    seen: training rows times epochs, as far as they went. predictions: columns as peptides.py says.
    """

    model: str
    parameters: int
    training: Clock
    seen: int
    epochs: float
    losses: list[float]
    prediction: Clock
    predictions: Columns
    precision: str


class Table(IterableDataset):
    """Peptides as batches of about so many; labels are numbers, or the cells of spectra with -1 where none can be."""

    def __init__(self, kind: Peptides, columns: Columns, labels: np.ndarray, size: int, shuffle: bool, seed: int = 0):
        sequences = kind.read(columns["proforma"].tolist())
        if sequences.dropped:
            raise SystemExit(f"peptides that trimer does not read: {sequences.dropped}")
        self.tokens = Ragged.pack(sequences.tokens, np.uint8)
        self.modifications = Ragged.pack(sequences.modifications, np.uint16)
        self.compositions = kind.compositions.astype(np.float32)
        self.labels, self.conditions = labels.astype(np.float32), None
        if "charge" in columns:
            conditions = (columns["charge"], columns["nce"], columns["instrument"].tolist())
            self.conditions = condition_vectors(*conditions)
            sizes = (self.tokens.lengths - 3) * len(CHANNELS)
            self.cells = Ragged.pack(np.split(self.labels, np.cumsum(sizes)[:-1]), np.float32)
        tokens = round(size * float(self.tokens.lengths.mean()))
        self.plan = EpochPlan(self.tokens.lengths, tokens, seed=seed, shuffle=shuffle)
        self.epoch = 0

    def __iter__(self):
        for key in self.plan.epoch(self.epoch):
            rows = key.rows
            conditions = None if self.conditions is None else self.conditions[rows]
            tokens, modifications = self.tokens.take(rows), self.modifications.take(rows)
            peptides = flat_peptides(tokens, modifications, self.compositions, conditions)
            if conditions is None:
                yield LabelledBatch.of(peptides, self.labels[rows, None], rows)
            else:
                yield FragmentBatch.of(peptides, self.cells.take(rows).values.reshape(-1, len(CHANNELS)), rows)
        self.epoch += 1


class Budget(lightning.Callback):
    """Ends the run with its budget, and says how much of it is spent."""

    def __init__(self, options: Namespace, table: Table, clock: Clock):
        self.options, self.table, self.clock = options, table, clock
        self.seen, self.steps, self.losses = 0, 0, []

    def spent(self) -> float:
        if self.options.epochs:
            return self.steps / (self.options.epochs * self.table.plan.batches)
        self.clock.read()
        return self.clock.cpu / self.options.seconds

    def rate(self, step: int) -> float:
        spent = min(self.spent(), 1.0)
        return max(spent / 0.05, 1e-3) if spent < 0.05 else 0.55 + 0.45 * math.cos(math.pi * (spent - 0.05) / 0.95)

    def on_train_batch_end(self, trainer, module, outputs, batch, index: int) -> None:
        self.seen, self.steps = self.seen + len(batch), self.steps + 1
        trainer.should_stop |= self.spent() >= 1

    def on_train_epoch_end(self, trainer, module) -> None:
        self.losses.append(module.epoch_loss())


def train_and_predict(options: Namespace, train: Columns, fragments: Columns | None, test: Columns) -> Trained:
    """One clock from tables in memory to a trained model, another from the test table to numbers."""
    batch, lr = options.batch or BATCH[options.task], options.lr or LR[options.task]
    settings = yaml.safe_load((CONF / "peptides_small.yaml").read_text())
    settings |= yaml.safe_load((CONF / f"{MODEL[options.task]}.yaml").read_text())
    settings = {name: value for name, value in settings.items() if name not in ("_target_", "defaults")}
    kind = Peptides(ProteinTokenizer())
    precision = cpu_precision()  # as it comes: bf16-mixed where its products are faster
    factory = {
        "rt": partial(Regression, error="absolute", head={"pooling": "attention"}),
        "ms2": FragmentIntensities,
    }[options.task]
    with Clock() as training:
        labels = train["retention"] if options.task == "rt" else spectra(train, fragments)
        table = Table(kind, train, labels, batch, shuffle=True, seed=options.seed)
        budget = Budget(options, table, training)
        schedule = partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=budget.rate)
        task = factory(PeptideEncoder(**settings), kind.tokenizer, partial(adamw, lr=lr), schedule)
        task.contract = {}
        names = ["retention"] if options.task == "rt" else [f"{s}{c}{'-' if x else ''}{x}" for s, c, x in CHANNELS]
        target = "regression" if options.task == "rt" else "fragments"
        task.configure_for(
            SimpleNamespace(classes=names, target=target, training_labels=lambda: torch.tensor(labels)[:, None])
        )
        trainer = lightning.Trainer(
            accelerator="cpu",
            precision=precision,
            max_epochs=options.epochs or -1,
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[budget],
        )
        trainer.fit(task, DataLoader(table, batch_size=None))
    net = task.net.eval()
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
    with Clock() as prediction, torch.inference_mode(), half:
        blank = np.zeros(len(test["id"])) if options.task == "rt" else np.where(possible_cells(test), 0.0, -1.0)
        rows, predicted = [], []
        for some in Table(kind, test, blank, 256, shuffle=False):
            raw = net(some.sequence)
            rows.append(some.rows.numpy())
            extra = (some.sequence, some.labels >= 0) if options.task == "ms2" else ()
            predicted.append(net.predictions(raw, *extra).numpy())
        order, values = np.concatenate(rows), np.concatenate(predicted)
        ids = test["id"][order]
        if options.task == "rt":
            predictions = {"id": ids, "retention": values[:, 0].astype(np.float64)}
        else:
            predictions = site_table(ids, np.array([len(test["sequence"][row]) for row in order]), values)
    return Trained(
        model=f"trimer {PeptideEncoder.__name__}, {settings['body']}",
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        training=training,
        seen=budget.seen,
        epochs=round(budget.seen / len(train["id"]), 2),
        losses=budget.losses,
        prediction=prediction,
        predictions=predictions,
        precision=precision,
    )


def spectra(precursors: Columns, fragments: Columns) -> np.ndarray:
    """Cells of all the spectra, one after the other, -1 where none can be."""
    return np.where(possible_cells(precursors), fragment_cells(precursors, fragments), -1.0)


def main() -> None:
    options = side_arguments(__doc__.splitlines()[0])
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    train, test = (read_columns(options.input / f"{part}.parquet") for part in ("train", "test"))
    fragments = read_columns(options.input / "fragments.parquet") if options.task == "ms2" else None
    done = train_and_predict(options, train, fragments, test)
    write_columns(options.output / "predictions.parquet", done.predictions)
    write_times(
        options.output,
        model=done.model,
        parameters=done.parameters,
        training=done.training,
        seen=done.seen,
        prediction=done.prediction,
        rows=len(test["id"]),
        epochs=done.epochs,
        losses=done.losses,
        precision=done.precision,
        threads=torch.get_num_threads(),
        seed=options.seed,
    )


if __name__ == "__main__":
    main()
