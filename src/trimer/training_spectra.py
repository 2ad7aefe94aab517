"""The spectra with molecules a model was trained on, in its checkpoint, in which analogues are looked up.

The key `training_spectra` of a checkpoint holds peaks of S spectra, the PEAKS most intense of each: `mz` float32 (P,),
`intensity` uint8 (P,), the square root relative to the highest peak, `offsets` int32 (S + 1,), `precursor_mz` float32
(S,), `molecule` int32 (S,), the row of its molecule, and `smiles`, the molecules in lines. S is at most LIMIT; of a
larger split a random sample is stored. Only models with `generator.lookup` have it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trimer.baselines.analogue_lookup import AnalogueLibrary
from trimer.baselines.spectrum_baselines import distinct_molecules
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import CheckpointError

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

KEY = "training_spectra"  # of a checkpoint
LIMIT = 50_000  # spectra
PEAKS = 30
TYPES = {
    "mz": torch.float32,
    "intensity": torch.uint8,
    "offsets": torch.int32,
    "precursor_mz": torch.float32,
    "molecule": torch.int32,
}


def training_spectra(table: SpectrumTable, seed: int = 0) -> dict[str, Any]:
    """The value of `training_spectra` in a checkpoint."""
    if len(table) > LIMIT:
        log.warning("the checkpoint stores %s of %s training spectra for the look-up", f"{LIMIT:,}", f"{len(table):,}")
        table = table.take(np.sort(np.random.default_rng(seed).permutation(len(table))[:LIMIT]))
    molecules = distinct_molecules(table)
    mz, intensity = [], []
    for row in range(len(table)):
        masses, heights = table.peaks(row)
        kept = np.sort(np.argsort(-heights, kind="stable")[:PEAKS])
        mz.append(masses[kept].astype(np.float32))
        relative = np.sqrt(np.clip(heights[kept], 0, None) / max(float(heights.max(initial=0.0)), 1e-12))
        intensity.append(np.round(255 * relative).astype(np.uint8))
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in mz])])
    columns: dict[str, np.ndarray] = {
        "mz": np.concatenate([np.zeros(0, np.float32), *mz]),
        "intensity": np.concatenate([np.zeros(0, np.uint8), *intensity]),
        "offsets": offsets.astype(np.int32),
        "precursor_mz": np.asarray(table["precursor_mz"], np.float32),
        "molecule": molecules.of_row.astype(np.int32),
    }
    return {
        **{name: torch.from_numpy(values) for name, values in columns.items()},
        "smiles": "\n".join(molecules.smiles),
    }


def analogues_of(loaded: Loaded) -> AnalogueLibrary | None:
    """The library of a checkpoint; None if it has none, CheckpointError if it is malformed."""
    stored = loaded.training_spectra
    if stored is None:
        return None
    problem = _problem(stored)
    if problem:
        raise CheckpointError(f"{loaded.path}: the key {KEY} {problem}; use another checkpoint")
    values = {name: stored[name].numpy() for name in TYPES}
    smiles = np.array(stored["smiles"].split("\n"), object)[values["molecule"]]
    keys = values["molecule"].astype(str).astype(object)
    intensity = (values["intensity"].astype(np.float32) / 255) ** 2
    columns = {"smiles": smiles, "inchikey1": keys, "precursor_mz": values["precursor_mz"]}
    return AnalogueLibrary(SpectrumTable.build(values["mz"], intensity, values["offsets"], columns))


def _problem(stored: Any) -> str:
    """What is wrong with a stored value; "" if nothing is."""
    if not isinstance(stored, dict) or not isinstance(stored.get("smiles"), str):
        return "must hold peaks and molecules"
    for name, dtype in TYPES.items():
        tensor = stored.get(name)
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != dtype or tensor.ndim != 1:
            return f"must have {name} of type {dtype} and one dimension"
    offsets, molecules = stored["offsets"], stored["molecule"]
    spectra, peaks = len(molecules), len(stored["mz"])
    if not 1 <= spectra <= LIMIT or len(offsets) != spectra + 1 or len(stored["precursor_mz"]) != spectra:
        return f"must hold 1 to {LIMIT:,} spectra with as many precursors"
    if (
        len(stored["intensity"]) != peaks
        or int(offsets[0]) != 0
        or int(offsets[-1]) != peaks
        or (offsets.diff() < 0).any()
    ):
        return "has peaks that do not fit its spectra"
    if not stored["mz"].isfinite().all() or (stored["mz"] < 0).any() or (stored["mz"] > 1e5).any():
        return "has impossible m/z"
    if int(molecules.min()) < 0 or int(molecules.max()) > stored["smiles"].count("\n"):
        return "has spectra of molecules that are not there"
    return ""
