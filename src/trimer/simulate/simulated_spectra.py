"""Simulated tandem mass spectra of molecules, with measurement errors.

`trimer.simulate.ions` predicts the ions of a molecule and their intensities. This module simulates the measurement: a
collision energy, mass error, a detection limit, noise peaks, and intensities that scatter around the rule. A spectrum
depends only on the seed and on the SMILES of its molecule, not on the order or chunks of the input.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from trimer.chemistry.identifiers import ADDUCTS, parse
from trimer.data.core.parallel import in_order
from trimer.data.molecules.molecule_files import MoleculeSource
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError
from trimer.simulate.fragmentation import skeleton
from trimer.simulate.ions import LOWEST_MZ, Ions, log_energy, predict_ions
from trimer.simulate.simulated_molecules import simulated_molecules

# Instrument settings of MassBank's high-resolution positive records, with about their frequencies there: share,
# instrument type, unit of the energy, its format, energies, mass error (standard deviation in ppm).
_VOLTS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
_HIGH_VOLTS = (40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0, 130.0, 140.0, 150.0)
_NORMALISED = (15.0, 30.0, 35.0, 45.0, 60.0, 75.0, 90.0)
INSTRUMENTS = (
    (0.22, "LC-ESI-QTOF", "QTOF volts", "{:g}", _HIGH_VOLTS, 4.0),
    (0.20, "LC-ESI-QTOF", "QTOF volts", "{:g}", _VOLTS[:4], 4.0),
    (0.13, "LC-ESI-QTOF", "eV", "{:g} eV", _VOLTS, 4.0),
    (0.18, "LC-ESI-ITFT", "NCE", "{:g} % (nominal)", (*_NORMALISED, 20.0, 40.0, 50.0, 55.0, 70.0, 80.0), 2.0),
    (0.15, "LC-ESI-QFT", "NCE", "{:g} (nominal)", (*_NORMALISED, 120.0, 150.0, 180.0), 2.0),
    (0.12, "LC-ESI-QFT", "NCE", "{:g}", _NORMALISED, 2.0),
)
RULE = 2  # part of the cache key: increase it when the rule or its weights change
ADDUCT_NAMES = ("[M+H]+", "[M+Na]+")
LARGEST = 120  # heavy atoms


@dataclass(frozen=True)
class Measurement:
    """Deviation of simulated spectra from the rule.

    chemistry: standard deviation of the log intensity of each ion, the same in all spectra of a molecule (errors of the
    rule itself). scatter: the same, drawn for each spectrum and ion. detection: range of the detection limit relative
    to the base peak, drawn log-uniformly for each spectrum. noise_peaks: mean number of noise peaks. missing:
    probability that an ion above the limit is not detected. max_peaks: largest number of ion peaks.
    """

    chemistry: float = 1.2
    scatter: float = 0.4
    detection: tuple[float, float] = (0.002, 0.02)
    noise_peaks: float = 2.0
    missing: float = 0.05
    max_peaks: int = 150


def simulate_table(
    smiles: Sequence[str],
    seed: int = 0,
    spectra_per_molecule: int = 1,
    adducts: dict[str, float] | None = None,
    measurement: Measurement | None = None,
) -> SpectrumTable:
    """Simulated spectra: spectra_per_molecule rows for each molecule, in the given order.

    adducts: shares of '[M+H]+' and '[M+Na]+', by default 0.99 and 0.01 as in MassBank. A molecule that cannot be
    fragmented (not parsable, several components, a net charge, more than 120 heavy atoms, too small) keeps its rows,
    without peaks and with the reason in `problem`.
    """
    adducts = {"[M+H]+": 0.99, "[M+Na]+": 0.01} if adducts is None else adducts
    unknown = [name for name in adducts if name not in ADDUCT_NAMES]
    if unknown or not adducts:
        raise ConfigError(
            f"adducts of the simulation are {', '.join(ADDUCT_NAMES)}, not {', '.join(unknown) or 'none'}"
        )
    measurement = measurement or Measurement()
    mz: list[np.ndarray] = []
    intensity: list[np.ndarray] = []
    rows: list[dict] = []
    for text in smiles:
        for peaks, row in _spectra(text, seed, spectra_per_molecule, adducts, measurement):
            mz.append(peaks[0])
            intensity.append(peaks[1])
            rows.append(row)
    offsets = np.concatenate([[0], np.cumsum([len(peaks) for peaks in mz])]).astype(np.int64)
    names = ("id", "adduct", "formula", "smiles", "instrument_type", "collision_energy", "precursor_mz", "problem")
    columns: dict[str, Sequence[Any]] = {name: [row.get(name) for row in rows] for name in names}
    columns["precursor_mz"] = [row.get("precursor_mz", np.nan) for row in rows]
    count = len(rows)
    columns |= {"ion_mode": ["positive"] * count, "charge": [1] * count, "ms_level": [2] * count}
    columns["file"] = ["simulated"] * count
    columns["line"] = list(range(1, count + 1))
    return SpectrumTable.build(
        np.concatenate(mz) if mz else np.zeros(0), np.concatenate(intensity) if mz else np.zeros(0), offsets, columns
    )


def _spectra(text: str, seed: int, count: int, adducts: dict[str, float], measurement: Measurement) -> Iterator[tuple]:
    """((m/z, intensity), columns) of each spectrum of one molecule."""
    digest = hashlib.sha256(f"{seed}\t{text}".encode()).digest()
    identity = digest.hex()[:12]
    molecule = parse(text)
    problem = _problem(text, molecule)
    empty = (np.zeros(0), np.zeros(0, np.float32))
    if molecule is None or problem:
        for k in range(count):
            yield empty, {"id": f"sim-{identity}-{k}", "smiles": text, "problem": problem}
        return
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    formula = CalcMolFormula(molecule)
    frame = skeleton(molecule)
    names, shares = list(adducts), np.cumsum(list(adducts.values()))
    ions_of: dict[str, tuple[Ions, np.ndarray]] = {}
    for k in range(count):
        adduct = names[int(np.searchsorted(shares, random.random() * shares[-1], side="right").clip(0, len(names) - 1))]
        if adduct not in ions_of:
            ions = predict_ions(frame, adduct)
            # Seeded by molecule and adduct only, so that spectra at different energies share these deviations.
            ion_seed = [int.from_bytes(digest[16:24], "little"), names.index(adduct)]
            ion_random = np.random.Generator(np.random.PCG64(ion_seed))
            ions_of[adduct] = ions, ion_random.normal(0.0, measurement.chemistry, len(ions.mz))
        precursor = ADDUCTS[adduct].mz(float(frame.masses.sum()))
        instrument_index = min(
            int(np.searchsorted(_CUMULATIVE_SHARES, random.random() * _CUMULATIVE_SHARES[-1])), len(INSTRUMENTS) - 1
        )
        _, instrument, setting, energy_format, energies, ppm = INSTRUMENTS[instrument_index]
        energy = energies[int(random.integers(len(energies)))]
        peaks = measure(*ions_of[adduct], log_energy(energy, setting, precursor), precursor, ppm, measurement, random)
        row = {
            "id": f"sim-{identity}-{k}",
            "adduct": adduct,
            "formula": formula,
            "smiles": text,
            "instrument_type": instrument,
            "collision_energy": energy_format.format(energy),
            "precursor_mz": precursor,
        }
        if not len(peaks[0]):
            row["problem"] = f"simulated spectrum of {text}: no ion above m/z {LOWEST_MZ}"
        yield peaks, row


_CUMULATIVE_SHARES = np.cumsum([instrument[0] for instrument in INSTRUMENTS])


def _problem(text: str, molecule: Chem.Mol | None) -> str | None:
    """Why a molecule cannot be simulated, or None."""
    if molecule is None:
        return f"'{text}' is not a SMILES that RDKit can read"
    if "." in text:
        return f"'{text}' has several parts; give the one that is measured"
    if Chem.GetFormalCharge(molecule):
        return f"'{text}' carries a net charge; the simulation protonates neutral molecules"
    if molecule.GetNumHeavyAtoms() > LARGEST:
        return f"'{text}' has more than {LARGEST} heavy atoms"
    if any(atom.GetIsotope() or atom.GetAtomicNum() in (0, 1) for atom in molecule.GetAtoms()):
        return f"'{text}' has isotope labels, explicit hydrogens or unknown atoms"
    return None


def measure(
    ions: Ions,
    chemistry: np.ndarray,
    energy: float,
    precursor: float,
    ppm: float,
    measurement: Measurement,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Measured peaks of the ions: ascending m/z, and intensities with base peak 1000.

    chemistry: (U,) deviation of the log intensity of each m/z. precursor: m/z. ppm: mass error, standard deviation.
    """
    if not len(ions.mz):
        return np.zeros(0), np.zeros(0, np.float32)
    expected = ions.intensities(energy)
    detected = expected * np.exp(chemistry + random.normal(0.0, measurement.scatter, len(expected)))
    low, high = np.log(measurement.detection)
    limit = np.exp(random.uniform(low, high))
    bright = np.flatnonzero(detected > limit * detected.max())
    bright = bright[(random.random(len(bright)) >= measurement.missing) | (detected[bright] == detected.max())]
    if len(bright) > measurement.max_peaks:
        bright = np.sort(bright[np.argsort(-detected[bright])[: measurement.max_peaks]])
    mz = ions.mz[bright] * (1 + 1e-6 * random.normal(random.normal(0.0, ppm / 2), ppm, len(bright)))
    intensity = detected[bright] / detected.max()
    noise = int(random.poisson(measurement.noise_peaks))
    if noise:
        noise_mz = random.uniform(LOWEST_MZ, precursor, noise)
        # Close to the mass defect of organic ions: the exact mass exceeds the nominal mass by about 0.5 mTh per Th.
        noise_mz = np.round(noise_mz) + 5e-4 * noise_mz + random.normal(0.0, 0.03, noise)
        mz = np.concatenate([mz, noise_mz])
        intensity = np.concatenate([intensity, limit * (1 + random.exponential(1.0, noise))])
    order = np.argsort(mz)
    return mz[order].round(5), (1000 * np.minimum(intensity[order], 1.0)).astype(np.float32)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} must be 1 or more")


@dataclass(frozen=True)
class SimulatedSpectra:
    """Simulated molecules with simulated spectra; the same arguments give the same spectra."""

    simulated: ClassVar[bool] = True

    molecules: int = 2000
    spectra_per_molecule: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        _check_counts(molecules=self.molecules, spectra_per_molecule=self.spectra_per_molecule)

    def fingerprint(self) -> str:
        """Cache key: differs if the spectra differ."""
        return f"simulated-spectra/{RULE}/{self.molecules}/{self.spectra_per_molecule}/{self.seed}"

    def read(self) -> SpectrumTable:
        """All spectra; those of one molecule are in consecutive rows."""
        return simulate_table(simulated_molecules(self.molecules, self.seed), self.seed, self.spectra_per_molecule)

    def chunks(self) -> Iterator[SpectrumTable]:
        """All spectra as one table."""
        yield self.read()


@dataclass(frozen=True)
class SpectraOfMolecules:
    """Simulated spectra of the molecules of another source, for pre-training on pairs.

    share: share of the molecules that are used, selected by a hash of seed and SMILES. workers: number of processes,
    None for one per CPU; the result does not depend on it.
    """

    simulated: ClassVar[bool] = True

    source: MoleculeSource
    spectra_per_molecule: int = 1
    seed: int = 0
    share: float = 1.0
    workers: int | None = None

    def __post_init__(self) -> None:
        _check_counts(spectra_per_molecule=self.spectra_per_molecule)
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} must be above 0 and at most 1")

    def fingerprint(self) -> str:
        """Cache key: differs if the spectra differ."""
        settings = f"{self.spectra_per_molecule}/{self.seed}/{self.share}"
        return f"spectra-of-molecules/{RULE}/{settings}/{self.source.fingerprint()}"

    def chunks(self, size: int = 2000) -> Iterator[SpectrumTable]:
        """Tables of up to `size` molecules; molecules that cannot be simulated keep their rows with a `problem`."""
        settings = (self.seed, self.spectra_per_molecule)
        return (table for _, table in in_order(simulate_table, self._selected_smiles(size), self.workers, *settings))

    def _selected_smiles(self, size: int) -> Iterator[list[str]]:
        hash_limit = self.share * 2**32
        for table in self.source.chunks(size):
            yield [text for text in table.smiles if text and zlib.crc32(f"{self.seed}\t{text}".encode()) < hash_limit]
