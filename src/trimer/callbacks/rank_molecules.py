"""Top-k accuracy of generated molecules during training, on a sample of the validation spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L

from trimer.accelerators.cpu_evaluation import any_shapes
from trimer.errors import ConfigError
from trimer.evaluation.molecule_evaluation import evaluate_pairs
from trimer.reporting.attempts import attempt

COLUMNS = ("id", "precursor m/z", "true", "generated", "true SMILES", "generated SMILES", "Tanimoto", "count")


class RankMolecules(L.Callback):
    """Generates molecules for some validation spectra at the end of a validation and logs their ranking metrics.

    sample: number of spectra; the same ones at every validation, drawn with `seed`. k: ranks of top-k accuracy and
    Tanimoto@k. every: measure at every N-th validation. Logs `val/top1_accuracy`, `val/tanimoto@1`, `val/validity`, ...
    W&B gets a table of `pictures` spectra with drawings of the true and the generated molecules.
    """

    def __init__(self, sample: int = 64, k: Sequence[int] = (1, 10), every: int = 1, seed: int = 0, pictures: int = 16):
        if not k or min(k) < 1:
            raise ConfigError(f"callbacks.ranking.k={list(k)} must hold ranks of 1 or more")
        self.sample = sample
        self.k = list(k)
        self.every = every
        self.seed = seed
        self.pictures = pictures
        self._validations = 0

    def setup(self, trainer: Any, module: Any, stage: str) -> None:
        if not getattr(trainer.datamodule, "has_labels", True):
            raise ConfigError(
                "callbacks=ranking compares generated with true molecules, and these data have no molecules: use "
                "callbacks=default"
            )

    def state_dict(self) -> dict:
        return {"validations": self._validations}

    def load_state_dict(self, state: dict) -> None:
        self._validations = state["validations"]

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        if trainer.sanity_checking:
            return
        self._validations += 1
        if (self._validations - 1) % self.every:
            return
        with trainer.precision_plugin.forward_context(), any_shapes(module):
            measured = evaluate_pairs(
                module.net,
                module.tokenizer,
                module.generator,
                trainer.datamodule,
                "val",
                baselines=False,
                k=self.k,
                bootstrap=0,
                limit=self.sample,
                seed=self.seed,
            )
        module.log_dict({f"val/{name}": value for name, value in measured.metrics.items()}, rank_zero_only=False)
        predictions = measured.predictions[: self.pictures]
        attempt("val/predictions of the tracker", log_prediction_table, trainer, "val/predictions", predictions)


def log_prediction_table(trainer: L.Trainer, name: str, predictions: Sequence[dict]) -> None:
    """Log a table with drawings of the true and the generated molecules to every W&B run."""
    from trimer.reporting.drawing import molecule_png
    from trimer.trackers.publishing import image_of
    from trimer.trackers.wandb_run import wandb_runs

    for run in wandb_runs(trainer):
        import wandb

        table = wandb.Table(columns=[*COLUMNS])
        for record in predictions:
            best = record["candidates"][0] if record["candidates"] else None
            table.add_data(
                record["id"],
                record["precursor_mz"],
                image_of(molecule_png(record["smiles"])),
                image_of(molecule_png(best["smiles"])) if best else None,
                record["smiles"],
                best["smiles"] if best else None,
                record["scores"].get("tanimoto@1"),
                best["count"] if best else 0,
            )
        run.log_objects({name: table})
