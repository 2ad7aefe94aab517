"""Fixed features of molecules, computed once for each SMILES: for baselines, and beside the hidden states of a model.

Names of features: "counts" of Morgan environments (radius 2, folded to 2048), "keys" (the 167 MACCS keys),
"descriptors" (RDKit's, without slow ones), or the name of one descriptor, such as "MolLogP". Shapes: n molecules,
F features, D descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.rdMolDescriptors import GetMACCSKeysFingerprint
from rdkit.DataStructs import ConvertToNumpyArray
from scipy import sparse

from trimer.chemistry import identifiers as chemistry
from trimer.data.labelled.descriptors import DEFAULT, FUNCTIONS
from trimer.errors import ConfigError, InputError
from trimer.metrics.molecule_properties import BITS, RADIUS

KEYS = 167  # MACCS; key 0 is never set
WIDTHS = {"counts": BITS, "keys": KEYS}
# A third of the time of all descriptors; topological indices and eigenvalues that the others nearly determine.
SLOW = ("AvgIpc", "BertzCT", "SPS", *(name for name in DEFAULT if name.startswith("BCUT")))
DESCRIPTORS = tuple(name for name in DEFAULT if name not in SLOW)
LARGEST = 1e6  # of a descriptor: partition indices of large molecules grow without bound
CHUNK = 2_000  # molecules
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


def descriptors(texts: Sequence[str], names: Sequence[str] | None = None) -> np.ndarray:
    """(n, D) RDKit's descriptors within ±1e6, float32; NaN for one that is undefined for the molecule."""
    chosen = DESCRIPTORS if names is None else tuple(names)
    return _stacked([_descriptors(_readable(text, row), chosen) for row, text in enumerate(texts)], len(chosen))


def listed(names: Sequence[str]) -> list[str]:
    """The names with each descriptor by its own name; ConfigError for one that this RDKit does not have.

    Stored with a model, this list keeps its features the same for another version of RDKit with more descriptors.
    """
    features = [part for name in names for part in (DESCRIPTORS if name == "descriptors" else [str(name)])]
    for name in features:
        if name not in WIDTHS and name not in FUNCTIONS:
            raise ConfigError(
                f"features: {name!r} is unknown; use {', '.join(WIDTHS)}, descriptors, or a descriptor of RDKit "
                f"{rdBase.rdkitVersion}"
            )
        if features.count(name) > 1:
            raise ConfigError(f"features names {name!r} twice")
    return features


def width(names: Sequence[str]) -> int:
    """F, the number of features of a list as `listed` gives it."""
    return sum(WIDTHS.get(name, 1) for name in names)


def matrix(texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """(n, F) float32 features of the list, NaN for a descriptor that is undefined. names: as `listed` gives them."""
    single = [name for name in names if name not in WIDTHS]
    of_single = descriptors(texts, single) if single else np.zeros((len(texts), 0), np.float32)
    columns = {name: of_single[:, [number]] for number, name in enumerate(single)}
    if "counts" in names:
        columns["counts"] = counts(texts).toarray()
    if "keys" in names:
        columns["keys"] = keys(texts)
    parts = [columns[name] for name in names]
    return np.concatenate([np.zeros((len(texts), 0), np.float32), *parts], axis=1)


def statistics(texts: Sequence[str], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(F,) float32 mean and standard deviation of the features of molecules; 0 and 1 where there is nothing to scale.

    Undefined descriptors are left out. Computed in chunks, since the matrix of a large train split is large.
    """
    count, total, squares = np.zeros((3, width(names)))
    for start in range(0, len(texts), CHUNK):
        values = matrix(texts[start : start + CHUNK], names).astype(np.float64)
        count += np.isfinite(values).sum(0)
        values = np.nan_to_num(values)
        total, squares = total + values.sum(0), squares + (values**2).sum(0)
    mean = total / np.maximum(count, 1)
    variance = squares / np.maximum(count, 1) - mean**2
    varies = variance > 1e-9 * np.maximum(1.0, mean**2)  # not only by rounding
    deviation = np.sqrt(variance, out=np.ones_like(variance), where=varies)
    return mean.astype(np.float32), deviation.astype(np.float32)


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
def _descriptors(smiles: str, names: tuple[str, ...]) -> np.ndarray:
    molecule = _molecule(smiles)
    values = np.array([_value(molecule, name) for name in names])
    return np.where(np.isfinite(values), np.clip(values, -LARGEST, LARGEST), np.nan).astype(np.float32)


def _value(molecule: Chem.Mol | None, name: str) -> float:
    try:
        return float(FUNCTIONS[name](molecule))
    except (ValueError, ArithmeticError, RuntimeError):  # without bonds, or with unusual atoms
        return float("nan")
