"""Fit the weights of the simulated fragmentation rule to a spectral library.

Run from the root of the checkout:

    python experiments/spectrums/fit_ion_weights.py LIBRARY --fold train

LIBRARY is any file that `trimer` reads, with structures, collision energies and a FOLD column. The weights are written
to `ions.json` of the installed `trimer.simulate`, or to --output. The shipped ones came from the training fold of the
MassBank records of the study (`RESULTS.md`; CC BY, dl-de/by-2-0 and CC0); no molecule of the validation and test
folds was used.

The rule is log-linear, so this is multinomial regression: within a spectrum, it predicts the share of the square-rooted
intensity that falls on each candidate ion; the cross-entropy is averaged over spectra.

Shapes within a batch: F fragments, N ions, U distinct m/z, S spectra.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from trimer.chemistry.identifiers import harmonise_adduct, parse
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import InputError
from trimer.simulate.fragmentation import ATOM_KINDS, BOND_KINDS, Skeleton, skeleton
from trimer.simulate.ions import (
    COLUMNS,
    INTENSITY_POWER,
    SETTINGS,
    SHIFTS,
    allowed_shifts,
    bond_classes,
    energy_setting,
    feature_names,
    fragment_features,
    ion_mz,
    log_energy,
    pieces,
)

TOLERANCE = 10e-6  # relative; at least 0.7 mTh, because small m/z are rounded to 0.1 mTh
LARGEST = 60  # heavy atoms
LEAST_EXPLAINED = 0.3  # least share of the intensity on candidate ions; other spectra are not fitted


@dataclass(frozen=True)
class Example:
    """A molecule's candidate ions and what was measured of them.

    lost, lost_counts: bond classes lost by each fragment, concatenated. features: (F, D). broken: (F,). row, column,
    peak: (N,) fragment, shift, m/z of each ion. energies, settings: (S,). targets: (S, U) rows that sum to 1.
    """

    lost: np.ndarray
    lost_counts: np.ndarray
    features: np.ndarray
    broken: np.ndarray
    row: np.ndarray
    column: np.ndarray
    peak: np.ndarray
    energies: np.ndarray
    settings: np.ndarray
    targets: np.ndarray


def examples(table: SpectrumTable, molecules: int | None = None, seed: int = 0) -> list[Example]:
    """One example per molecule with its [M+H]+ spectra that have an energy; the seed determines the order."""
    smiles = np.array([text or "" for text in table["smiles"]])
    distinct, molecule_of_row = np.unique(smiles, return_inverse=True)
    usable = []
    for index in np.random.default_rng(seed).permutation(len(distinct))[:molecules]:
        molecule = parse(distinct[index])
        if molecule is None or not 2 <= molecule.GetNumHeavyAtoms() <= LARGEST:
            continue
        rows = [
            int(row)
            for row in np.flatnonzero(molecule_of_row == index)
            if harmonise_adduct(table["adduct"][row]) == "[M+H]+"
        ]
        example = _example(table, rows, skeleton(molecule))
        if example is not None:
            usable.append(example)
    return usable


def _example(table: SpectrumTable, rows: list[int], frame: Skeleton) -> Example | None:
    candidates = pieces(frame)
    row, column = allowed_shifts(candidates.broken, candidates.mass)
    mz, peak = np.unique(ion_mz(candidates.mass[row], SHIFTS[column]), return_inverse=True)
    energies, settings, targets = [], [], []
    for spectrum in rows:
        setting = energy_setting(table["collision_energy"][spectrum], table["instrument_type"][spectrum])
        if setting is None or len(mz) < 2:
            continue
        observed, intensity = table.peaks(spectrum)
        right = np.clip(np.searchsorted(mz, observed), 1, len(mz) - 1)
        nearest = np.where(mz[right] - observed < observed - mz[right - 1], right, right - 1)
        matched = abs(mz[nearest] - observed) <= np.maximum(TOLERANCE * observed, 7e-4)
        if intensity[matched].sum() <= LEAST_EXPLAINED * intensity.sum():
            continue
        target = np.bincount(nearest[matched], intensity[matched] ** INTENSITY_POWER, len(mz))
        targets.append((target / target.sum()).astype(np.float32))
        value, name = setting
        energies.append(log_energy(value, name, table["precursor_mz"][spectrum], calibrated=False))
        settings.append(SETTINGS.index(name))
    if not targets:
        return None
    classes = np.concatenate(bond_classes(frame))
    fragment, bond = np.nonzero(candidates.lost)
    return Example(
        classes[bond].astype(np.int16),
        np.bincount(fragment, minlength=len(candidates.mass)).astype(np.int16),
        fragment_features(frame, candidates.bits, candidates.broken).astype(np.float16),
        candidates.broken.astype(np.int8),
        row.astype(np.int16),
        column.astype(np.int8),
        peak.astype(np.int32),
        np.array(energies, np.float32),
        np.array(settings),
        np.stack(targets),
    )


def initial_parameters() -> dict[str, Tensor]:
    """Initial weights: -1 for each break and -2 for radicals, which gives plausible spectra; 0 for all others."""
    kinds, width = len(ATOM_KINDS), len(COLUMNS)
    parameters = {
        "inside": torch.zeros(kinds, width),
        "outside": torch.zeros(kinds, width),
        "bond": torch.zeros(len(BOND_KINDS), width),
        "pair": torch.zeros(kinds, kinds, width),
        "features": torch.zeros(len(feature_names()), 3),
        "shifts": torch.zeros(8, 2, len(SHIFTS), 2),
        "energy": torch.zeros(len(SETTINGS), 2),
    }
    parameters["inside"][:, 0] = -1.0
    parameters["shifts"][:, 1, :, 0] = -2.0
    return {name: value.requires_grad_() for name, value in parameters.items()}


def loss(parameters: dict[str, Tensor], batch: list[Example]) -> Tensor:
    """Mean cross-entropy over the spectra of a batch of molecules, in nats."""
    bonds = parameters["inside"][:, None, None] + parameters["outside"][None, :, None] + parameters["bond"]
    table = (bonds + parameters["pair"][:, :, None]).reshape(-1, len(COLUMNS))
    total, spectra = torch.zeros(()), 0
    for example in batch:
        counts = torch.from_numpy(example.lost_counts.astype(np.int64))
        lost = embedding_bag(
            torch.from_numpy(example.lost.astype(np.int64)), table, counts.cumsum(0) - counts, mode="sum"
        )
        kept_atoms = torch.from_numpy(example.features.astype(np.float32)) @ parameters["features"]
        row, column = (torch.from_numpy(x.astype(np.int64)) for x in (example.row, example.column))
        shift = torch.from_numpy(SHIFTS)[column]
        broken = torch.from_numpy(example.broken.astype(np.int64))[row]
        radical = (shift - broken) % 2
        shift_weights = parameters["shifts"][broken.clamp(max=7), radical, column]
        share = lost[:, 2:] / counts.clamp(min=1)[:, None]
        constant = (lost[:, 0] + kept_atoms[:, 0])[row] + share[row, 0] * shift + share[row, 1] * radical
        constant = constant + shift_weights[:, 0]
        slope = (lost[:, 1] + kept_atoms[:, 1])[row] + shift_weights[:, 1]
        calibration = parameters["energy"][torch.from_numpy(example.settings)]
        energy = torch.from_numpy(example.energies)
        energy = (energy + calibration[:, 0] + calibration[:, 1] * energy)[:, None]
        score = constant + energy * (slope + energy * kept_atoms[row, 2])  # (S, N)
        score = score - score.max(1, keepdim=True).values.detach()
        targets = torch.from_numpy(example.targets)
        peaks = torch.zeros_like(targets).index_add(1, torch.from_numpy(example.peak.astype(np.int64)), score.exp())
        log_share = torch.log(peaks + 1e-12) - torch.log(peaks.sum(1, keepdim=True))
        total = total - (targets * log_share).sum()
        spectra += len(targets)
    return total / spectra


def fit(
    train: list[Example],
    validation: list[Example],
    steps: int = 600,
    molecules_per_step: int = 48,
    learning_rate: float = 0.05,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Adam with a linearly decreasing learning rate; prints the validation loss every 50 steps."""
    parameters = initial_parameters()
    optimizer = torch.optim.Adam(parameters.values(), lr=learning_rate)
    random = np.random.default_rng(seed)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps) + 0.001
        batch = [train[i] for i in random.choice(len(train), min(molecules_per_step, len(train)), replace=False)]
        penalty = sum((1e-4 if name == "pair" else 1e-5) * (value**2).sum() for name, value in parameters.items())
        optimizer.zero_grad()
        (loss(parameters, batch) + penalty).backward()
        optimizer.step()
        if validation and (step % 50 == 0 or step == steps - 1):
            with torch.no_grad():
                print(f"step {step:>5}  validation {loss(parameters, validation):.3f} nats", flush=True)
    return {name: value.detach() for name, value in parameters.items()}


def write_weights(parameters: dict[str, Tensor], path: Path) -> None:
    """Write the weights as JSON, each under its name; negligible pair weights are omitted."""

    def rounded(values: Tensor) -> list:
        return np.round(values.numpy().astype(float), 3).tolist()

    pairs = {
        f"{first} | {second}": rounded(parameters["pair"][i, j])
        for i, first in enumerate(ATOM_KINDS)
        for j, second in enumerate(ATOM_KINDS)
        if parameters["pair"][i, j].abs().max() > 0.05
    }
    data = {
        "inside": dict(zip(ATOM_KINDS, rounded(parameters["inside"]), strict=True)),
        "outside": dict(zip(ATOM_KINDS, rounded(parameters["outside"]), strict=True)),
        "bond": dict(zip(BOND_KINDS, rounded(parameters["bond"]), strict=True)),
        "pair": pairs,
        "features": dict(zip(feature_names(), rounded(parameters["features"]), strict=True)),
        "shifts": rounded(parameters["shifts"]),
        "energy": dict(zip(SETTINGS, rounded(parameters["energy"]), strict=True)),
    }
    path.write_text(_one_entry_a_line(data) + "\n", encoding="utf-8")


def _one_entry_a_line(data: dict) -> str:
    sections = []
    for name, entries in data.items():
        named = isinstance(entries, dict)
        rows = (
            [f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in entries.items()]
            if named
            else [f"  {json.dumps(row)}" for row in entries]
        )
        opening, closing = "{}" if named else "[]"
        sections.append(f" {json.dumps(name)}: {opening}\n" + ",\n".join(rows) + f"\n {closing}")
    return "{\n" + ",\n".join(sections) + "\n}"


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("library", help="spectral library with structures, collision energies and a FOLD column")
    parser.add_argument("--fold", default="train")
    parser.add_argument("--molecules", type=int, default=None)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--output", type=Path, default=Path(str(files("trimer.simulate") / "ions.json")))
    arguments = parser.parse_args()
    from trimer.data.spectra.readers import read_spectra

    table = read_spectra(arguments.library)
    table = table.take(table["fold"] == arguments.fold)
    if not len(table):
        raise InputError(f"{arguments.library} has no spectrum with FOLD={arguments.fold}")
    molecules = examples(table, arguments.molecules)
    held_out = max(1, len(molecules) // 16)
    spectra = sum(len(example.targets) for example in molecules)
    print(f"{len(molecules):,} molecules, {spectra:,} spectra, {held_out} molecules held out for validation")
    torch.set_num_threads(1)
    write_weights(fit(molecules[held_out:], molecules[:held_out], arguments.steps), arguments.output)


if __name__ == "__main__":
    main()
