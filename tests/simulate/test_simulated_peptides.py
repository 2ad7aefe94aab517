"""Simulated peptides: reproducible, tryptic, and with labels that follow the stated rules."""

import numpy as np
import pytest
from table_helpers import whole

from trimer.data.peptides.fragment_files import FragmentTable
from trimer.errors import ConfigError
from trimer.peptides.proforma import Peptide, read_proforma
from trimer.simulate.simulated_peptides import (
    SimulatedFragments,
    SimulatedPeptides,
    charge_shares,
    fragment_intensities,
    retention,
)


@pytest.fixture(scope="module")
def spectra() -> FragmentTable:
    return FragmentTable.concatenate(list(SimulatedFragments(300, seed=1).chunks()))


def test_the_same_seed_gives_the_same_records_and_a_smaller_count_a_prefix():
    few, many = whole(SimulatedPeptides(60, seed=1)), whole(SimulatedPeptides(2100, seed=1))
    assert few.texts == many.texts[:60] and few.labels["retention"] == many.labels["retention"][:60]
    assert few.texts != whole(SimulatedPeptides(60, seed=2)).texts
    assert few.texts == whole(SimulatedPeptides(60, "charges", seed=1)).texts
    assert [len(table) for table in SimulatedPeptides(2100).chunks()] == [2000, 100]
    sources = [SimulatedPeptides(60), SimulatedPeptides(61), SimulatedPeptides(60, "charge"), SimulatedFragments(60)]
    assert len({source.fingerprint() for source in sources}) == 4


def test_peptides_are_tryptic():
    table = whole(SimulatedPeptides(2000, seed=3), ["letters"])
    peptides = [read_proforma(text) for text in table.texts]
    assert [peptide.proforma for peptide in peptides] == table.texts
    assert [peptide.letters for peptide in peptides] == table.columns["letters"]
    lengths = np.array([len(peptide.letters) for peptide in peptides])
    assert lengths.min() == 7 and 25 < lengths.max() <= 30 and 11 <= np.median(lengths) <= 15
    assert {peptide.letters[-1] for peptide in peptides} == {"K", "R"}
    names = [modification.name for peptide in peptides for _, modification in peptide.modifications]
    assert 0.17 < np.mean([bool(peptide.modifications) for peptide in peptides]) < 0.23
    assert set(names) == {"Acetyl", "Oxidation", "Phospho"}
    assert not table.problems and len(set(table.ids)) == 2000
    bare = whole(SimulatedPeptides(200, modified=0.0))
    assert not any("[" in text for text in bare.texts)


def test_retention_times_follow_the_stated_rule():
    assert retention(Peptide("GGGGGGGGGG")) == pytest.approx(-0.2 * (7 + 0.6 + 0.8 + 0.9))
    assert retention(Peptide("LAAAAAAAAK")) < retention(Peptide("AAAALAAAAK")), "the amine lessens the first residue"
    bare, oxidised = retention(read_proforma("AAAMAAAAAK")), retention(read_proforma("AAAM[Oxidation]AAAAAK"))
    assert oxidised == pytest.approx(bare - 4)
    long = Peptide("AAAL" + "L" * 20 + "K")
    plain = sum({"A": 2.0, "L": 8.1, "K": -2.1}[letter] for letter in long.letters) - 2 * (0.4 + 0.2 + 0.1)
    squeezed = plain * (1 - 0.014 * 5)
    assert retention(long) == pytest.approx(38 + 0.7 * (squeezed - 38))
    table = whole(SimulatedPeptides(500, seed=1))
    errors = [
        float(t) - retention(read_proforma(x)) for x, t in zip(table.texts, table.labels["retention"], strict=True)
    ]
    assert 0.4 < np.std(errors) < 0.6 and abs(np.mean(errors)) < 0.1


def test_charges_follow_the_stated_rule():
    shares = charge_shares(Peptide("AAAAAAK"))
    assert shares.shape == (6,) and shares.sum() == pytest.approx(1)
    assert shares[:3] == pytest.approx(np.array([0.75 * 0.1 + 0.25 * 0.9, 0.75 * 0.9, 0]) / 0.975)
    assert charge_shares(Peptide("AHAKAAK")).argmax() + 1 == 3
    assert charge_shares(read_proforma("[Acetyl]-AAAAAAK"))[0] == pytest.approx(1)
    assert charge_shares(Peptide("K" * 12)).sum() == pytest.approx(1)
    many = whole(SimulatedPeptides(300, "charges", seed=1))
    assert list(many.labels) == list("123456") and {*many.labels["2"], *many.labels["4"]} == {"0", "1"}
    one = whole(SimulatedPeptides(300, "charge", seed=1))
    assert set(one.labels["charge"]) <= set("123456") and one.labels["charge"].count("2") > 100


def test_only_possible_fragments_have_intensities(spectra):
    assert len(spectra) == 300 and not spectra.problems
    assert spectra.texts == whole(SimulatedPeptides(300, seed=1)).texts
    lengths = np.array([len(read_proforma(text).letters) for text in spectra.texts])
    assert (spectra.number >= 1).all() and (spectra.number < lengths[spectra.row]).all()
    assert (spectra.ion_charge <= spectra.charge[spectra.row]).all()
    assert spectra.intensity.max() == 1 and spectra.intensity.min() >= 0.01
    assert set(spectra.loss) == {"", "H3PO4", "H2O", "NH3"}
    phosphorylated = np.array(["UNIMOD:21" in text for text in spectra.texts])
    assert phosphorylated[spectra.row[spectra.loss == "H3PO4"]].all()
    assert (spectra.energy >= 20).all() and (spectra.energy <= 35).all()
    again = FragmentTable.concatenate(list(SimulatedFragments(300, seed=1).chunks()))
    assert (again.intensity == spectra.intensity).all()


def brightness(text: str, charge: int) -> dict[tuple[str, int], float]:
    summed: dict[tuple[str, int], float] = {}
    for series, number, _, _, value in fragment_intensities(read_proforma(text), charge, 27.0):
        summed[series, number] = summed.get((series, number), 0.0) + value
    return summed


def test_fragment_intensities_follow_the_stated_rule():
    proline = brightness("AAAAPAAAK", 2)
    assert max(proline, key=proline.get) == ("y", 5), "the bond in front of P"
    assert proline["y", 4] < proline["y", 3], "the bond behind P"
    mobile, fixed = brightness("AAADAAAAR", 2), brightness("AAADAAAAR", 1)
    share = [intensities["y", 5] / sum(intensities.values()) for intensities in (mobile, fixed)]
    assert share[1] > 2 * share[0], "behind D where no proton is mobile"
    assert brightness("AAAAAAAAR", 1)["y", 4] > brightness("RAAAAAAAA", 1)["y", 4], "the basic end keeps the charge"
    lost = {loss for *_, loss, _ in fragment_intensities(read_proforma("AAS[Phospho]AAAK"), 2, 27.0)}
    assert "H3PO4" in lost
    plain = {loss for *_, loss, _ in fragment_intensities(Peptide("AASAAAK"), 2, 27.0)}
    assert "H3PO4" not in plain


def test_invalid_arguments_raise_errors():
    with pytest.raises(ConfigError, match="no column fold, only letters"):
        next(SimulatedPeptides(10).chunks(["fold"]))
    with pytest.raises(ValueError, match="count=0 must be 1 or more"):
        SimulatedPeptides(0)
    with pytest.raises(ValueError, match="what=rt must be one of retention, charge, charges"):
        SimulatedPeptides(10, "rt")
    with pytest.raises(ValueError, match=r"modified=1.5 must be from 0 to 1"):
        SimulatedFragments(10, modified=1.5)
    with pytest.raises(ValueError, match="noise=-1 must be 0 or more"):
        SimulatedFragments(10, noise=-1)
