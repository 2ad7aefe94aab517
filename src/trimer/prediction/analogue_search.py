"""Training molecules like that of a spectrum: by shared peaks and losses, and by a fingerprint predicted from it.

The fingerprint is predicted by ridge regression from the mean hidden state of the encoder over the spectrum to the bits
of the Morgan fingerprint (radius 2, 2048 bits) of its molecule, as CSI:FingerID (Dührkop et al. 2015) predicts
fingerprints by other means. It is fitted on the training spectra after the training, each molecule with equal weight.
The key `fingerprint_regression` of a checkpoint holds it. Shapes: n spectra, D width of the encoder, B bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trimer.baselines.analogue_lookup import AnalogueLibrary
from trimer.baselines.spectrum_baselines import distinct_molecules
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import CheckpointError
from trimer.flat import Flat
from trimer.metrics.molecule_properties import BITS
from trimer.metrics.packed_fingerprints import bits_of

KEY = "fingerprint_regression"  # of a checkpoint
PENALTY = 10.0  # of the squared weights of standardised states; 10 and 100 were equal on validation spectra
LIMIT = 20_000  # training spectra that are used
BATCH = 64  # spectra
STEPS = 127  # of an int8 weight in each direction


@dataclass(frozen=True)
class FingerprintRegression:
    """mean, deviation: (D,) of the states of the training spectra. weights: (D + 1, B); the last row is constant."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor

    @classmethod
    @torch.autocast("cpu", enabled=False)  # full precision, also after a training in bf16
    def fit(cls, states: Tensor, molecule: np.ndarray, smiles: Sequence[str]) -> FingerprintRegression:
        """states: (n, D) float32. molecule: (n,) row of `smiles`, the SMILES of the molecules."""
        mean, deviation = states.mean(0), states.std(0, correction=0).clamp(min=1e-6)
        bits = torch.from_numpy(bits_of(smiles).astype(np.float32))[molecule]
        share = torch.from_numpy((1 / np.bincount(molecule)[molecule]).astype(np.float32))[:, None]
        x = with_constant((states - mean) / deviation)
        products = (x * share).T @ x + PENALTY * torch.eye(x.shape[1])
        return cls(mean, deviation, torch.linalg.solve(products, (x * share).T @ bits))

    @torch.autocast("cpu", enabled=False)  # full precision, also in a prediction in bf16
    def predict(self, states: Tensor) -> np.ndarray:
        """(n, D) states -> (n, B) float32 expected bits, from 0 to 1."""
        return (with_constant((states - self.mean) / self.deviation) @ self.weights).clamp(0, 1).numpy()

    def stored(self) -> dict[str, Tensor]:
        """The value in a checkpoint: the weights as int8 with a scale for each bit."""
        scale = self.weights.abs().amax(0).clamp(min=1e-12) / STEPS
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "weights": (self.weights / scale).round().to(torch.int8),
            "scale": scale,
        }

    @classmethod
    def of_checkpoint(cls, stored: Mapping[str, Any] | None) -> FingerprintRegression | None:
        """The inverse of `stored`, up to rounding; None for None, CheckpointError if the value is malformed."""
        if stored is None:
            return None
        names = ("mean", "deviation", "weights", "scale")
        tensors = [tensor for name in names if isinstance(tensor := stored.get(name), Tensor)]
        if len(tensors) < len(names) or not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise CheckpointError(f"the key {KEY} must hold finite tensors: use another checkpoint")
        mean, deviation, weights, scale = tensors
        width = len(mean)
        if mean.shape != deviation.shape or weights.shape != (width + 1, BITS) or scale.shape != (BITS,):
            raise CheckpointError(f"the key {KEY} has tensors that do not fit each other: use another checkpoint")
        return cls(mean.float(), deviation.float(), weights.float() * scale.float())


def with_constant(x: Tensor) -> Tensor:
    """(n, D) -> (n, D + 1), the last column 1."""
    return torch.cat([x, torch.ones(len(x), 1)], dim=1)


@torch.inference_mode()
def mean_states(net: Any, sources: Sequence[np.ndarray]) -> Tensor:
    """(n, D) float32 mean hidden states of the encoder over the tokens of each spectrum, on the CPU."""
    device, training = next(net.parameters()).device, net.training
    net.eval()
    order = np.argsort([len(source) for source in sources], kind="stable")
    rows: dict[int, Tensor] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH].tolist()
        flat = Flat.pack([sources[row] for row in batch])
        with torch.autocast(device.type, enabled=False):  # full precision, also in a prediction in bf16
            states = net.encode(flat.to(device)).float().cpu().split([len(sources[row]) for row in batch])
        rows |= {row: state.mean(0) for row, state in zip(batch, states, strict=True)}
    net.train(training)
    return torch.stack([rows[row] for row in range(len(sources))])


def fit_fingerprints(net: nn.Module, table: SpectrumTable, sources: Sequence[np.ndarray]) -> FingerprintRegression:
    """The regression of the training spectra; sources: their tokens."""
    molecules = distinct_molecules(table)
    return FingerprintRegression.fit(mean_states(net, sources), molecules.of_row, molecules.smiles)


class AnalogueSearch:
    """Weights of training molecules for spectra. regression: None looks up peaks and losses only."""

    def __init__(self, library: AnalogueLibrary, regression: FingerprintRegression | None, net: nn.Module):
        self.library, self.regression, self.net = library, regression, net

    def weights(self, table: SpectrumTable, sources: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """SMILES -> weight, in all 1, for each spectrum; sources: their tokens."""
        if self.regression is None or not len(table):
            return self.library.weights(table)
        return self.library.weights(table, self.regression.predict(mean_states(self.net, sources)))
