"""Our side of `peptides.py`: models of this package train from scratch and predict the test rows.

python benchmarks/peptides_ours.py rt INPUT OUTPUT --seconds 120
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass

import torch
from peptides_contract import Clock, Columns, read_columns, side_arguments, write_columns, write_times


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


def train_and_predict(options: Namespace, train: Columns, fragments: Columns | None, test: Columns) -> Trained:
    """TO BE FILLED IN when the models of peptides are here.

    Within `with Clock() as training:` everything from these tables to a trained model (tokens, batches, steps), for
    options.seconds of training.cpu (or options.epochs), with options.seed; within `with Clock() as prediction:`
    everything from `test` to numbers. options.batch and options.lr are None where ours are to be taken. Loader workers
    are 0: the clock counts the CPU-seconds of this process only.
    """
    raise SystemExit("peptides_ours.py has no models yet: fill in train_and_predict")


def main() -> None:
    options = side_arguments(__doc__.splitlines()[0])
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
        threads=torch.get_num_threads(),
        seed=options.seed,
    )


if __name__ == "__main__":
    main()
