"""The peer's side of `peptides.py`: peptdeep trains its own default models from scratch and predicts the test rows.

    <python with peptdeep> benchmarks/peptides_peer.py rt INPUT OUTPUT --seconds 120

Its own model classes, batches by peptide length, L1 loss, Adam, gradient norm of 1, and linear warm-up (for a quarter
of the epochs, as it has for retention time) before a cosine. Only the number of epochs is chosen here, so that the
schedule ends with the budget: a quarter of the batches goes through a model that is thrown away, and is not counted.
The model classes are made without its ModelManager, which would download pretrained weights. Batch and learning rate
are the best of a few that were tried from scratch (README.md). Its predictions are not clipped at zero.
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from peptdeep.model.model_interface import CallbackHandler, ModelInterface  # noqa: E402
from peptdeep.model.ms2 import pDeepModel  # noqa: E402
from peptdeep.model.rt import AlphaRTModel  # noqa: E402
from peptides_contract import Clock, read_columns, side_arguments, write_columns, write_times  # noqa: E402
from peptides_metrics import CHANNELS, fragment_cells, site_table  # noqa: E402

BATCH = {"rt": 128, "ms2": 128}
LR = {"rt": 1e-3, "ms2": 3e-4}
NAMES = [f"{series}{'_modloss' if loss else ''}_z{charge}" for series, charge, loss in CHANNELS]


class Budget(CallbackHandler):
    """Keeps the loss of each epoch, and stops where another epoch would end further from the budget."""

    def __init__(self, seconds: float | None):
        self.seconds, self.losses, self.clock = seconds, [], Clock()

    def epoch_callback(self, epoch: int, epoch_loss: float) -> bool:
        self.losses.append(float(epoch_loss))
        self.clock.read()
        return self.seconds is None or self.clock.cpu * (1 + 0.5 / len(self.losses)) < self.seconds


def train(make: Callable[[], ModelInterface], rows: pd.DataFrame, options: Namespace, **tables) -> tuple:
    """A model trained within the budget, its clock and the loss of each epoch."""

    def run(model: ModelInterface, some: pd.DataFrame, epochs: int, seconds: float | None) -> Budget:
        budget = Budget(seconds)
        model.set_callback_handler(budget)
        with budget.clock:
            model.train(
                some, batch_size=options.batch, epoch=epochs, warmup_epoch=max(1, epochs // 4), lr=options.lr, **tables
            )
        return budget

    epochs = options.epochs
    if not epochs:
        quarter = rows[(rows.groupby("nAA").cumcount() // options.batch) % 4 == 0].copy()
        run(make(), quarter.iloc[: options.batch], 1, None)  # what is only slow once
        per_row = run(make(), quarter, 1, None).clock.cpu / len(quarter)
        epochs = max(1, round(options.seconds / (per_row * len(rows))))
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    model = make()
    budget = run(model, rows, epochs, options.seconds)
    return model, budget.clock, budget.losses


def read_rows(path) -> pd.DataFrame:
    """Peptides sorted by length, as peptdeep wants them."""
    rows = pd.DataFrame(read_columns(path))
    rows["nAA"] = rows["sequence"].str.len()
    return rows.sort_values("nAA", kind="stable").reset_index(drop=True)


def retention(options: Namespace) -> tuple:
    """Retention time, scaled to 0 ... 1 by the training rows."""
    rows, test = (read_rows(options.input / f"{part}.parquet") for part in ("train", "test"))
    low, high = rows["retention"].min(), rows["retention"].max()
    rows["rt_norm"] = (rows["retention"] - low) / (high - low)

    def make() -> AlphaRTModel:
        model = AlphaRTModel(device="cpu")
        model.min_pred_value = -np.inf
        return model

    model, training, losses = train(make, rows, options)
    with Clock() as prediction:
        predicted = model.predict(test, batch_size=1024)
    predictions = {"id": predicted["id"].to_numpy(), "retention": predicted["rt_pred"].to_numpy() * (high - low) + low}
    return model, len(rows), training, losses, len(test), prediction, predictions


def fragments(options: Namespace) -> tuple:
    """Intensities of b and y ions, all eight channels, the modloss ones by the second branch of the model."""
    rows, test = (read_rows(options.input / f"{part}.parquet") for part in ("train", "test"))
    stops = (rows["nAA"] - 1).cumsum()
    rows["frag_start_idx"], rows["frag_stop_idx"] = stops - (rows["nAA"] - 1), stops
    precursors = {name: rows[name].to_numpy() for name in ("id", "sequence")}
    cells = fragment_cells(precursors, read_columns(options.input / "fragments.parquet"))
    measured = pd.DataFrame(cells.reshape(-1, len(NAMES)).astype(np.float32), columns=NAMES)

    def make() -> pDeepModel:
        model = pDeepModel(charged_frag_types=NAMES, device="cpu")
        model.min_inten = -np.inf
        return model

    # The batches take the columns as they come, so they have to be in the order of the model.
    model, training, losses = train(make, rows, options, fragment_intensity_df=measured[make().charged_frag_types])
    with Clock() as prediction:
        predicted = model.predict(test, batch_size=512)
    return (
        model,
        len(rows),
        training,
        losses,
        len(test),
        prediction,
        site_table(test["id"].to_numpy(), test["nAA"].to_numpy(), predicted[NAMES].to_numpy()),
    )


def main() -> None:
    options = side_arguments(__doc__.splitlines()[0])
    options.batch, options.lr = options.batch or BATCH[options.task], options.lr or LR[options.task]
    torch.set_num_threads(options.threads)  # peptdeep sets two when it is imported
    side = {"rt": retention, "ms2": fragments}[options.task]
    model, rows, training, losses, tested, prediction, predictions = side(options)
    write_columns(options.output / "predictions.parquet", predictions)
    write_times(
        options.output,
        model=f"peptdeep {type(model.model).__name__}",
        parameters=int(model.get_parameter_num()),
        training=training,
        seen=rows * len(losses),
        prediction=prediction,
        rows=tested,
        epochs=len(losses),
        losses=losses,
        batch=options.batch,
        lr=options.lr,
        threads=torch.get_num_threads(),
        seed=options.seed,
    )


if __name__ == "__main__":
    main()
