"""Fixed features of molecules for classical models, computed once for each SMILES and shared by all baselines.

Counts of Morgan environments (radius 2, folded to 2048), the 167 MACCS keys, and RDKit's descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.rdMolDescriptors import GetMACCSKeysFingerprint
from rdkit.DataStructs import ConvertToNumpyArray
from scipy import sparse

from trimer.chemistry import identifiers as chemistry
from trimer.data.labelled.descriptors import DEFAULT, FUNCTIONS
from trimer.errors import InputError
from trimer.metrics.molecule_properties import BITS, RADIUS

KEYS = 167  # MACCS; key 0 is never set
# A third of the time of all descriptors; topological indices and eigenvalues that the others nearly determine.
SLOW = ("AvgIpc", "BertzCT", "SPS", *(name for name in DEFAULT if name.startswith("BCUT")))
DESCRIPTORS = tuple(name for name in DEFAULT if name not in SLOW)
LARGEST = 1e6  # of a descriptor: partition indices of large molecules grow without bound
CACHE = 100_000  # molecules whose features are kept
_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def counts(texts: Sequence[str]) -> sparse.csr_matrix:
    """(n, 2048) how often each folded Morgan environment occurs, at most 255, float32."""
    rows = [_counts(_readable(text, row)) for row, text in enumerate(texts)]
    starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    columns = np.concatenate([np.zeros(0, np.uint16), *(columns for columns, _ in rows)]).astype(np.int32)
    values = np.concatenate([np.zeros(0, np.uint8), *(values for _, values in rows)]).astype(np.float32)
    return sparse.csr_matrix((values, columns, starts), shape=(len(rows), BITS))


def bits(texts: Sequence[str]) -> np.ndarray:
    """(n, 2048) whether each folded Morgan environment occurs, float32."""
    return (counts(texts) > 0).toarray().astype(np.float32)


def keys(texts: Sequence[str]) -> np.ndarray:
    """(n, 167) MACCS keys, float32."""
    return _stacked([_keys(_readable(text, row)) for row, text in enumerate(texts)], KEYS)


def descriptors(texts: Sequence[str]) -> np.ndarray:
    """(n, D) RDKit's descriptors within ±1e6, float32; NaN for one that is undefined for the molecule."""
    return _stacked([_descriptors(_readable(text, row)) for row, text in enumerate(texts)], len(DESCRIPTORS))


def _stacked(vectors: list[np.ndarray], width: int) -> np.ndarray:
    return np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, width), np.float32)


def _readable(smiles: str, row: int) -> str:
    """The SMILES, if RDKit can read it."""
    if _molecule(smiles) is None:
        raise InputError(
            f"row {row}: '{smiles}' cannot be read as SMILES, so it has no fingerprint; correct or drop it"
        )
    return smiles


@lru_cache(maxsize=1000)
def _molecule(smiles: str) -> Chem.Mol | None:
    return chemistry.parse(smiles)


@lru_cache(maxsize=CACHE)
def _counts(smiles: str) -> tuple[np.ndarray, np.ndarray]:
    """The columns that are not 0, uint16, and their counts, uint8."""
    vector = _MORGAN.GetCountFingerprintAsNumPy(_molecule(smiles))
    columns = np.flatnonzero(vector)
    return columns.astype(np.uint16), np.minimum(vector[columns], 255).astype(np.uint8)


@lru_cache(maxsize=CACHE)
def _keys(smiles: str) -> np.ndarray:
    vector = np.zeros(KEYS, np.uint8)
    ConvertToNumpyArray(GetMACCSKeysFingerprint(_molecule(smiles)), vector)
    return vector


@lru_cache(maxsize=CACHE)
def _descriptors(smiles: str) -> np.ndarray:
    molecule = _molecule(smiles)
    values = np.array([_value(molecule, name) for name in DESCRIPTORS])
    return np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), np.nan).astype(np.float32)


def _value(molecule: Chem.Mol | None, name: str) -> float:
    try:
        return float(FUNCTIONS[name](molecule))
    except (ValueError, ArithmeticError, RuntimeError):  # without bonds, or with unusual atoms
        return float("nan")
