"""MCES distance: the bonds to remove until two molecules share the rest (Kretschmer et al., Nat. Commun. 2025).

Needs the extra `trimer[mces]` and an integer linear program per pair, so validation never uses it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from trimer.errors import ConfigError
from trimer.metrics.molecule_metrics import MoleculeMetric, SpectrumPrediction

INVALID = 100.0  # MassSpecGym's distance for a candidate that is not a molecule
THRESHOLD = 15.0  # above it the number is a lower bound, not a distance


class MCES(MoleculeMetric):
    """Lowest MCES distance to the true molecule among the first k candidates, averaged over spectra; lower is better.

    Weak models score near 100 because their candidates are invalid: compare it with the validity.
    """

    higher_is_better = False

    def __init__(self, k: Sequence[int] = (1, 10), threshold: float = THRESHOLD, **kwargs):
        self.k = list(k)
        self.threshold = threshold
        _solver()
        super().__init__([f"mces@{k}" for k in self.k], **kwargs)

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        distances = [
            INVALID if candidate is None else mces_distance(candidate.smiles, prediction.target.smiles, self.threshold)
            for candidate in prediction.candidates[: max(self.k)]
        ]
        return [min(distances[:k], default=INVALID) for k in self.k]


@functools.lru_cache(maxsize=100_000)
def mces_distance(smiles: str, other: str, threshold: float = THRESHOLD) -> float:
    """The distance of two SMILES, exact up to the threshold and a lower bound above it."""
    from myopic_mces.myopic_mces import MCES as distance_of

    _, distance, _, _ = distance_of(smiles, other, threshold=threshold, solver=_solver(), solver_options={"msg": 0})
    return float(distance)


@functools.cache
def _solver() -> str:
    """A solver that this machine can run."""
    try:
        import myopic_mces  # noqa: F401
        import pulp
    except ImportError as error:
        raise ConfigError("the MCES metric needs myopic-mces: pip install 'trimer[mces]', or set mces=false") from error
    available = pulp.listSolvers(onlyAvailable=True)
    if not available:
        raise ConfigError("the MCES metric needs a solver for pulp: install the CBC solver, or set mces=false")
    return next((name for name in ("PULP_CBC_CMD", "COIN_CMD") if name in available), available[0])
