"""How much simulated spectra look like measured ones, and how fast they come.

    python benchmarks/simulation.py LIBRARY.mgf --fold val

For [M+H]+ spectra of a library: the share of the measured intensity and peaks that lie within 10 ppm of a candidate ion
(and the same for spectra shifted by 20 mTh, which says how much is chance), and spectra simulated at the same energies
beside the measured ones: peaks, spectral entropy, and the cosine (square-rooted intensities, 0.02-Th bins) to the
measured spectrum, against that of the measured spectrum of the molecule nearest in mass.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from trimer.chemistry.identifiers import harmonise_adduct, parse
from trimer.data.spectra.readers import read_spectra
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.simulate.fragmentation import skeleton
from trimer.simulate.ions import energy_setting, log_energy, predict_ions
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_spectra import Measurement, measure, simulate_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library")
    parser.add_argument("--fold", default="val")
    parser.add_argument("--spectra", type=int, default=1000)
    arguments = parser.parse_args()
    table = _usable(read_spectra(arguments.library), arguments.fold, arguments.spectra)
    for line in [*_explained(table), *_resemblance(table), *_speed(table)]:
        print(line)


def _usable(table: SpectrumTable, fold: str, count: int) -> SpectrumTable:
    good = [
        row
        for row in range(len(table))
        if table["fold"][row] == fold
        and harmonise_adduct(table["adduct"][row]) == "[M+H]+"
        and energy_setting(table["collision_energy"][row], table["instrument_type"][row])
        and parse(table["smiles"][row])
    ]
    return table.take(np.sort(np.random.default_rng(0).permutation(good)[:count]))


def _explained(table: SpectrumTable) -> list[str]:
    shares: dict[str, list[float]] = {"intensity": [], "intensity, shifted by 20 mTh": [], "peaks": [], "fragments": []}
    ions = {text: predict_ions(skeleton(parse(text))).mz for text in set(table["smiles"])}
    for row in range(len(table)):
        mz, intensity = table.peaks(row)
        candidates = ions[table["smiles"][row]]
        near = _near(candidates, mz)
        shares["intensity"].append(intensity[near].sum() / intensity.sum())
        shares["intensity, shifted by 20 mTh"].append(intensity[_near(candidates, mz + 0.02)].sum() / intensity.sum())
        shares["peaks"].append(near.mean())
        broken = mz < table["precursor_mz"][row] - 0.5
        if broken.any():
            shares["fragments"].append(intensity[near & broken].sum() / intensity[broken].sum())
    lines = [f"share within 10 ppm of a candidate ion ({len(table):,} spectra, {len(ions):,} molecules)"]
    return lines + [f"  {name:<32} {np.mean(values):.3f}" for name, values in shares.items()]


def _near(candidates: np.ndarray, mz: np.ndarray) -> np.ndarray:
    right = np.clip(np.searchsorted(candidates, mz), 1, len(candidates) - 1)
    return np.minimum(abs(candidates[right] - mz), abs(candidates[right - 1] - mz)) <= 1e-5 * mz


def _resemblance(table: SpectrumTable) -> list[str]:
    measurement, random = Measurement(), np.random.default_rng(0)
    measured, expected, simulated = [], [], []
    ions = {text: predict_ions(skeleton(parse(text))) for text in set(table["smiles"])}
    chemistry = {text: random.normal(0, measurement.chemistry, len(ion.mz)) for text, ion in ions.items()}
    for row in range(len(table)):
        text, precursor = table["smiles"][row], table["precursor_mz"][row]
        energy = log_energy(*energy_setting(table["collision_energy"][row], table["instrument_type"][row]), precursor)
        measured.append(table.peaks(row))
        ion = ions[text]
        share = ion.intensities(energy)
        expected.append((ion.mz[share > 0.005 * share.max()], share[share > 0.005 * share.max()]))
        simulated.append(measure(ion, chemistry[text], energy, precursor, 3.0, measurement, random))
    order = np.argsort(table["precursor_mz"], kind="stable")
    other = np.empty(len(table), np.int64)  # the spectrum nearest in mass that belongs to another molecule
    for place, row in enumerate(order):
        away = [o for o in order[max(0, place - 60) : place + 60] if table["smiles"][o] != table["smiles"][row]]
        gaps = [abs(table["precursor_mz"][o] - table["precursor_mz"][row]) for o in away]
        other[row] = away[int(np.argmin(gaps))] if away else row
    lines = [f"{'':<44}{'peaks 25/50/75 %':>18}{'entropy':>10}{'cosine to measured':>20}"]
    for name, spectra in (
        ("measured", None),
        ("the rule without noise", expected),
        ("simulated", simulated),
        ("measured, another molecule of like mass", [measured[o] for o in other]),
    ):
        shown = measured if spectra is None else spectra
        peaks = "/".join(f"{value:.0f}" for value in np.percentile([len(mz) for mz, _ in shown], [25, 50, 75]))
        entropy = np.mean([_entropy(intensity) for _, intensity in shown])
        cosine = (
            ""
            if spectra is None
            else f"{np.mean([_cosine(*pair) for pair in zip(measured, spectra, strict=True)]):.3f}"
        )
        lines.append(f"  {name:<42}{peaks:>18}{entropy:>10.2f}{cosine:>20}")
    return lines


def _entropy(intensity: np.ndarray) -> float:
    share = intensity / intensity.sum()
    return float(-(share * np.log(np.maximum(share, 1e-12))).sum())


def _cosine(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    vectors = []
    for mz, intensity in (first, second):
        vector = np.zeros(60_000)
        np.add.at(vector, np.minimum((mz / 0.02).astype(np.int64), 59_999), np.sqrt(intensity))
        vectors.append(vector / np.linalg.norm(vector))
    return float(vectors[0] @ vectors[1])


def _speed(table: SpectrumTable) -> list[str]:
    lines = ["molecules per CPU-second, one spectrum each"]
    for name, smiles in (("of the library", sorted(set(table["smiles"]))), ("simulated", simulated_molecules(300))):
        rates = []
        for seed in range(3):
            start = time.process_time()
            simulate_table(smiles, seed)
            rates.append(len(smiles) / (time.process_time() - start))
        lines.append(f"  {name:<32} {np.median(rates):.0f}")
    return lines


if __name__ == "__main__":
    main()
