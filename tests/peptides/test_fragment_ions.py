"""Fragment masses agree with pyteomics."""

import numpy as np
import pytest

from trimer.peptides.fragment_ions import LOSSES, PROTON, fragment_masses, fragment_mz
from trimer.peptides.proforma import Peptide, read_proforma

B = [98.06004, 227.102633, 324.155397, 425.203076, 538.28714, 653.314083]  # PEPTIDE, one proton
Y = [148.060434, 263.087377, 376.171441, 477.21912, 574.271884, 703.314477]
MODIFIED = read_proforma("[Acetyl]-AC[Carbamidomethyl]DEM[Oxidation]S[Phospho]PEPK")


def test_fragment_masses_agree_with_pyteomics():
    peptide = read_proforma("PEPTIDE")
    b, y = fragment_masses(peptide)
    assert b.shape == y.shape == (6,) and b.dtype == y.dtype == np.float64
    np.testing.assert_allclose(b + PROTON, B, atol=1e-6)
    np.testing.assert_allclose(y + PROTON, Y, atol=1e-6)
    np.testing.assert_allclose(b + y[::-1], peptide.mass)


@pytest.mark.parametrize(
    "series, number, charge, loss, mz",
    [
        ("b", 1, 1, "", 114.054955),
        ("b", 2, 1, "", 274.085603),
        ("b", 6, 1, "", 832.188898),
        ("b", 6, 2, "H3PO4", 367.60964),
        ("b", 9, 3, "", 385.783857),
        ("y", 1, 1, "", 147.112804),
        ("y", 5, 1, "", 637.259284),
        ("y", 5, 1, "H3PO4", 539.282389),
        ("y", 9, 2, "", 594.701072),
        ("y", 3, 1, "H2O", 355.197596),
        ("y", 3, 1, "NH3", 356.181612),
    ],
)
def test_fragment_mz_agree_with_pyteomics(series, number, charge, loss, mz):
    assert fragment_mz(MODIFIED, series, number, charge, loss) == pytest.approx(mz, abs=1e-6)


def test_terminal_modifications_and_short_peptides_are_supported():
    b, y = fragment_masses(read_proforma("AK-[Amidated]"))
    assert y[0] + PROTON == pytest.approx(147.112804 - 0.984016, abs=1e-6)
    assert b[0] + PROTON == pytest.approx(72.04439, abs=1e-6)
    assert [len(part) for part in fragment_masses(Peptide("K"))] == [0, 0]


def test_neutral_losses_have_their_masses():
    assert pytest.approx({"": 0, "H3PO4": 97.976896, "H2O": 18.010565, "NH3": 17.026549}, abs=1e-6) == LOSSES


@pytest.mark.parametrize(
    "given, message",
    [
        (("a", 1, 1), "series=a must be b or y"),
        (("b", 0, 1), "number=0 must be 1 to 9"),
        (("y", 10, 1), "number=10 must be 1 to 9"),
        (("y", 1, 0), "charge=0 must be 1 or more"),
        (("y", 1, 1, "CO"), "loss=CO must be one of H3PO4, H2O, NH3, or empty"),
    ],
)
def test_invalid_arguments_raise_errors(given, message):
    with pytest.raises(ValueError) as error:
        fragment_mz(MODIFIED, *given)
    assert str(error.value) == message
