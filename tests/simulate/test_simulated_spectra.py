import re

import numpy as np
import pytest

from trimer.chemistry.identifiers import ADDUCTS, exact_mass, parse
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_spectra import Measurement, SimulatedSpectra, SpectraOfMolecules, simulate_table

SMILES = simulated_molecules(12, seed=5)


@pytest.mark.parametrize("settings", [{"molecules": 0}, {"molecules": -5}, {"spectra_per_molecule": 0}])
def test_an_empty_source_is_rejected(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}=.* must be 1 or more"):
        SimulatedSpectra(**settings)


def same(first: SpectrumTable, second: SpectrumTable) -> bool:
    texts = all(first[key].tolist() == second[key].tolist() for key in ("id", "smiles", "collision_energy", "adduct"))
    return texts and (first.mz == second.mz).all() and (first.intensity == second.intensity).all()


def test_a_spectrum_depends_only_on_seed_and_molecule():
    table = simulate_table(SMILES, seed=3, spectra_per_molecule=2)
    order = np.random.default_rng(0).permutation(len(SMILES))
    shuffled = simulate_table([SMILES[i] for i in order], seed=3, spectra_per_molecule=2)
    rows = np.argsort(np.repeat(order, 2) * 2 + np.tile([0, 1], len(order)))
    assert same(table, shuffled.take(rows))
    halves = SpectrumTable.concatenate([simulate_table(SMILES[:5], 3, 2), simulate_table(SMILES[5:], 3, 2)])
    assert same(table, halves)
    assert not same(table, simulate_table(SMILES, seed=4, spectra_per_molecule=2))


def test_simulated_spectra_are_valid():
    table = simulate_table(SMILES, seed=0, spectra_per_molecule=3)
    assert len(table) == 36
    assert not table["problem"].any()
    assert (table.peak_counts > 0).all()
    assert table.peak_counts.max() <= Measurement().max_peaks + 20
    for row in range(len(table)):
        mz, intensity = table.peaks(row)
        assert (np.diff(mz) >= 0).all()
        assert intensity.max() == 1000
        assert intensity.min() > 0
        mass = exact_mass(parse(table["smiles"][row]))
        assert table["precursor_mz"][row] == pytest.approx(ADDUCTS[table["adduct"][row]].mz(mass), abs=1e-4)
    assert set(table["ms_level"]) == {2}
    assert len(set(table["collision_energy"])) > 10


def test_low_noise_gives_more_explained_peaks():
    quiet = Measurement(chemistry=0.0, scatter=0.0, noise_peaks=0.0, missing=0.0, detection=(0.001, 0.0010001))
    table = simulate_table(SMILES, measurement=quiet)
    again = simulate_table(SMILES, measurement=Measurement(noise_peaks=40.0))
    assert again.peak_counts.mean() > 30
    assert table.peak_counts.mean() > simulate_table(SMILES).peak_counts.mean()


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("not a molecule", "not a SMILES"),
        ("CCO.CCN", "several parts"),
        ("C[N+](C)(C)C", "net charge"),
        ("[13CH4]", "isotope"),
        ("C" * 130, "more than 120"),
        ("C", "no ion above"),
    ],
)
def test_a_molecule_that_cannot_be_simulated_keeps_its_row(smiles, reason):
    table = simulate_table(["CCOC(=O)c1ccccc1", smiles], measurement=Measurement(noise_peaks=0.0))
    assert len(table) == 2
    assert table["problem"][0] is None
    assert table.peak_counts[1] == 0
    assert re.search(reason, table["problem"][1])


def test_only_supported_adducts_are_simulated():
    table = simulate_table(SMILES, adducts={"[M+Na]+": 1.0})
    assert set(table["adduct"]) == {"[M+Na]+"}
    with pytest.raises(ConfigError, match=r"not \[M-H\]-"):
        simulate_table(SMILES, adducts={"[M-H]-": 1.0})


def test_the_simulated_source_returns_a_table():
    source = SimulatedSpectra(molecules=8, spectra_per_molecule=2, seed=1)
    (table,) = source.chunks()
    assert len(table) == 16
    assert same(table, source.read())
    assert source.fingerprint() == SimulatedSpectra(8, 2, 1).fingerprint()
    assert source.fingerprint() != SimulatedSpectra(8, 2, 2).fingerprint()


def test_spectra_of_a_corpus_do_not_depend_on_chunks_or_workers(tmp_path):
    path = tmp_path / "corpus.smi"
    path.write_text("\n".join(SMILES) + "\n")
    corpus = SmilesFiles(str(path))
    alone = SpectrumTable.concatenate(list(SpectraOfMolecules(corpus, seed=2).chunks(size=4)))
    pooled = SpectrumTable.concatenate(list(SpectraOfMolecules(corpus, seed=2, workers=2).chunks(size=5)))
    assert same(alone, pooled)
    half = SpectrumTable.concatenate(list(SpectraOfMolecules(corpus, seed=2, share=0.5).chunks()))
    assert 0 < len(half) < len(alone)
    assert set(half["smiles"]) <= set(alone["smiles"])
