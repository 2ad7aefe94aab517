"""What a model of labels averages: several SMILES of a molecule, and gradient boosting on fixed features.

The key `averaging` of a checkpoint holds what was chosen on the validation split
(`trimer.evaluation.averaging_choice`), as plain values:
- `random_smiles`: number of random SMILES whose predictions are averaged with that of the canonical one, and `seed`;
- `weight`: of the boosting in the average, 0 to 1, and `boosting` (`trimer.baselines.stored_boosting`).
Evaluations and predictions both use it, so a table measures what `trimer predict` computes. Shapes: n molecules,
K probabilities or numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.data.molecules.random_smiles import RandomSmiles
from trimer.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from trimer.baselines.molecule_baselines import MoleculeBoosting
    from trimer.checkpoint import Loaded

KEY = "averaging"  # of a checkpoint
MOST_SMILES = 100
BOOSTED = "language model + boosting"  # in result tables
ALONE = "language model alone"
CANONICAL = "canonical SMILES alone"


class RandomVariant:
    """A random SMILES of a molecule that depends on the molecule, the seed and the number of the variant only.

    Called as `RandomSmiles`, for batches of labelled rows. Returns the tokens of the canonical SMILES if those of the
    random one exceed max_length.
    """

    def __init__(self, tokenizer: Any, max_length: int, seed: int, number: int):
        self.number, self.random_smiles = number, RandomSmiles(tokenizer, 1.0, max_length, seed)

    def __call__(self, smiles: str, tokens: np.ndarray, epoch: int = 0, row: int = 0) -> np.ndarray:
        digest = hashlib.blake2b(smiles.encode(), digest_size=8).digest()
        return self.random_smiles(smiles, tokens, self.number, int.from_bytes(digest))


@dataclass(frozen=True)
class Averaging:
    """The chosen average; by default the language model on the canonical SMILES alone."""

    random_smiles: int = 0
    seed: int = 0
    weight: float = 0.0
    boosting: MoleculeBoosting | None = None
    boosting_values: Mapping[str, Any] | None = field(default=None, repr=False)  # `boosting` as plain values

    @classmethod
    def of(cls, loaded: Loaded, augment: int | None = None, seed: int = 0) -> Averaging:
        """That of a checkpoint. augment: another number of random SMILES, drawn by the seed; None for the stored one.

        CheckpointError for malformed values, ConfigError if the number is impossible.
        """
        averaging = cls() if loaded.averaging is None else _checked(loaded)
        if augment is None:
            return averaging
        check_augment(augment, loaded.tokenizer)
        return replace(averaging, random_smiles=augment, seed=seed)

    def stored(self) -> dict[str, Any]:
        """The value of the key in a checkpoint."""
        boosting = None if self.boosting_values is None else dict(self.boosting_values)
        return {
            "random_smiles": self.random_smiles, "seed": self.seed, "weight": self.weight, "boosting": boosting,
        }  # fmt: skip

    def variants(self, tokenizer: Any, max_length: int) -> list[RandomVariant]:
        """What rewrites molecules as random SMILES, once for each prediction in the average."""
        return [RandomVariant(tokenizer, max_length, self.seed, number) for number in range(self.random_smiles)]

    def with_boosting(self, predictions: np.ndarray, smiles: Sequence[str]) -> np.ndarray:
        """(n, K) average of the predictions of the language model with those of the boosting for the same molecules."""
        if self.boosting is None or not len(smiles):
            return predictions
        return mixed(predictions, self.boosting.predict(smiles), self.weight)

    def method(self, name: str) -> str:
        """The name of the averaged model in a result table."""
        return name if self.boosting is None else BOOSTED


def mixed(predictions: np.ndarray, boosted: np.ndarray, weight: float) -> np.ndarray:
    """(n, K) weighted mean; boosting has this weight."""
    return ((1 - weight) * predictions + weight * boosted).astype(predictions.dtype)


def check_augment(augment: int, tokenizer: Any) -> None:
    """ConfigError unless a molecule can be written in this number of ways."""
    if not 0 <= augment <= MOST_SMILES:
        raise ConfigError(f"augment={augment} must be 0 to {MOST_SMILES}, a number of random SMILES")
    if augment:
        if not hasattr(tokenizer, "encode_as_written"):
            raise ConfigError(f"augment: {type(tokenizer).__name__} cannot encode a SMILES as it is written")
        tokenizer.encode_as_written("C")  # raises an error if the representation does not support it


def _checked(loaded: Loaded) -> Averaging:
    """The stored values, with the boosting built from its text."""
    from trimer.baselines.stored_boosting import restored

    values, labels = loaded.averaging, loaded.contract.get("labels") or {}
    try:
        if not isinstance(values, Mapping):
            raise TypeError("it is no mapping")
        count, seed, weight = int(values["random_smiles"]), int(values["seed"]), float(values["weight"])
        if not (0 <= count <= MOST_SMILES and seed >= 0 and math.isfinite(weight) and 0 <= weight <= 1):
            raise ValueError("a value is out of range")
        if count:
            check_augment(count, loaded.tokenizer)
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{loaded.path}: the key {KEY} is damaged ({error}); write it again with trimer evaluate ckpt=... "
            "calibrate=true augment=0 boosting=false, or use another checkpoint"
        ) from error
    boosting = values.get("boosting")
    if boosting is not None:
        boosting = restored(boosting, labels.get("target", ""), len(labels.get("classes", ())), loaded.path)
    return Averaging(count, seed, weight, boosting, values.get("boosting"))
