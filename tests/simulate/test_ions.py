import numpy as np
import pytest
from rdkit import Chem

from trimer.simulate.fragmentation import skeleton
from trimer.simulate.ions import energy_setting, log_energy, predict_ions


def ions_of(smiles: str, adduct: str = "[M+H]+"):
    return predict_ions(skeleton(Chem.MolFromSmiles(smiles)), adduct)


# Known fragments, from the MassBank records of these compounds.
KNOWN = {
    "paracetamol": ("CC(=O)Nc1ccc(O)cc1", [152.0706, 110.0600, 93.0335, 65.0386]),
    "caffeine": ("Cn1c(=O)c2c(ncn2C)n(C)c1=O", [195.0877, 138.0662, 110.0713]),
    "benzocaine": ("CCOC(=O)c1ccc(N)cc1", [166.0863, 138.0550, 120.0444, 94.0651]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_fragments_are_candidates(name):
    smiles, expected = KNOWN[name]
    mz = ions_of(smiles).mz
    for peak in expected:
        assert np.min(abs(mz - peak)) < 1e-5 * peak, f"{peak} of {name}"


def test_the_amide_bond_breaks_before_the_ring():
    """Paracetamol loses ketene to 110.06 at any energy; its carbon skeleton breaks at higher energies."""
    ions = ions_of(KNOWN["paracetamol"][0])
    share = ions.intensities(log_energy(30, "NCE", 152.07))
    assert abs(ions.mz[share.argsort()[-2:]] - 110.06).min() < 0.001


def test_higher_energy_gives_more_fragments():
    ions = ions_of("CCN(CC)CCNC(=O)c1ccc(N)cc1")
    means = [(ions.intensities(log_energy(value, "NCE", ions.mz.max())) * ions.mz).sum() for value in (15, 30, 60, 120)]
    assert means == sorted(means, reverse=True)
    assert means[0] - means[-1] > 30


def test_intensities_are_fractions():
    ions = ions_of("CC(=O)Nc1ccc(O)cc1")
    share = ions.intensities(0.0)
    assert share.sum() == pytest.approx(1.0)
    assert (share >= 0).all()
    assert (np.diff(ions.mz) > 0).all()


def test_sodium_stays_with_the_molecule():
    ions = ions_of("CC(=O)Nc1ccc(O)cc1", "[M+Na]+")
    assert np.min(abs(ions.mz - 174.0525)) < 0.001
    assert ions.mz[ions.intensities(0.0).argmax()] == pytest.approx(174.0525, abs=0.001)


def test_collision_energy_notations_of_libraries_are_read():
    assert energy_setting("30 eV", "LC-ESI-QTOF") == (30.0, "eV")
    assert energy_setting("45 % (nominal)", "LC-ESI-ITFT") == (45.0, "NCE")
    assert energy_setting("40", "LC-ESI-QTOF") == (40.0, "QTOF volts")
    assert energy_setting("40", "LC-ESI-QFT") == (40.0, "NCE")
    assert energy_setting(None, None) is None
    assert log_energy(40, "eV", 500, calibrated=False) == pytest.approx(0.0)
    assert log_energy(1e9, "NCE", 500, calibrated=False) == 2.0
