from pathlib import Path

import numpy as np
import pytest

from trimer.data.spectra.cleaning import (
    Adducts,
    Duplicates,
    ExcludeInstruments,
    IntensityThreshold,
    MassAgreement,
    MsLevel,
    MzWindow,
    PeakCount,
    PrecursorWindow,
    Readable,
    RemovePrecursorPeak,
    Structure,
    clean,
    clean_rows,
)
from trimer.data.spectra.readers import read_spectra
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError

CAFFEINE = "CN1C=NC2=C1C(=O)N(C)C(=O)N2C"
LIBRARY = Path(__file__).parents[4] / "shared" / "data" / "spectra" / "massbank_pos.mgf"


def spectra(*peak_lists, **columns):
    """A table from lists of (m/z, intensity)."""
    peaks = [p for peaks in peak_lists for p in peaks]
    counts = [len(peaks) for peaks in peak_lists]
    columns.setdefault("id", [f"s{i}" for i in range(len(peak_lists))])
    return SpectrumTable.build(
        np.array([p[0] for p in peaks]),
        np.array([p[1] for p in peaks]),
        np.concatenate([[0], np.cumsum(counts)]),
        columns,
    )


def rows(n, **columns):
    return spectra(*[[(50.0, 1.0), (60.0, 2.0)]] * n, **columns)


def keeps(step, table):
    return step(table)[1].tolist()


def test_readable_quotes_the_reader():
    table = rows(3, problem=[None, "a.mgf, line 9: no precursor m/z", None])
    assert keeps(Readable(), table) == [True, False, True]
    _, report = clean(table, {"readable": Readable()})
    assert report.rules[0] == {"rule": "readable", "dropped": 1, "examples": ["a.mgf, line 9: no precursor m/z"]}


def test_ms_level_passes_what_is_not_stated():
    table = rows(4, ms_level=[1, 2, 3, 0])
    assert keeps(MsLevel(), table) == [False, True, False, True]
    assert keeps(MsLevel([2, 3]), table) == [False, True, True, True]


def test_adducts_are_harmonised_and_unknown_ones_named():
    table = rows(
        6,
        adduct=["M+H", "[M+Na]1+", "[M+K]+", "[M+Foo]+", None, None],
        ion_mode=[None, None, None, None, None, "negative"],
    )
    table, keep = Adducts()(table)
    assert keep.tolist() == [True, True, False, False, True, False]
    assert table["adduct"][:4].tolist() == ["[M+H]+", "[M+Na]+", "[M+K]+", None]
    assert "the adduct '[M+Foo]+' is none of [M+H]+, [M+Na]+" in table["problem"][3]
    assert "the ion mode is negative" in table["problem"][5]
    with pytest.raises(ConfigError, match=r"'\[M\+Foo\]\+' is no adduct: 'Foo' is neither"):
        Adducts(["[M+Foo]+"])


def test_precursor_window():
    table = rows(4, precursor_mz=[5.0, 500.0, 1000.5, np.nan])
    assert keeps(PrecursorWindow(), table) == [False, True, False, False]
    with pytest.raises(ConfigError, match="min 20 is above max 10"):
        PrecursorWindow(min=20, max=10)


def test_mz_window_removes_peaks_and_drops_empty_spectra():
    table, keep = MzWindow(min=10, max=100)(spectra([(5, 1), (10, 2), (100, 3), (101, 4)], [(200, 1)], [(50, 1)]))
    assert table.mz.tolist() == [10, 100, 50]
    assert keep.tolist() == [True, False, True]


def test_intensity_threshold_scales_to_the_base_peak():
    table, keep = IntensityThreshold(0.01)(
        spectra([(50, 1000), (60, 10), (70, 9.9), (80, 0)], [(50, 0)], [], [(50, 3)])
    )
    assert keep.tolist() == [True, False, False, True]
    assert table.mz.tolist() == [50, 60, 50]
    np.testing.assert_allclose(table.intensity, [1.0, 0.01, 1.0], rtol=1e-6)
    again, _ = IntensityThreshold(0.01)(table)  # cleaning what is clean changes nothing
    assert np.array_equal(again.intensity, table.intensity)


def test_precursor_peak():
    table = spectra(
        [(99, 1), (99.8, 1), (100.4, 1), (101, 1)], [(99, 1), (100, 1)], [(100, 1)], precursor_mz=[100, np.nan, 100]
    )
    cut, keep = RemovePrecursorPeak(0.5)(table)
    assert cut.mz.tolist() == [99, 101, 99, 100] and keep.tolist() == [True, True, False]
    assert RemovePrecursorPeak(0.5, above=True)(table)[0].mz.tolist() == [99, 99, 100]


def test_peak_count_keeps_the_most_intense():
    table, keep = PeakCount(min=2, max=3)(
        spectra([(50, 5), (60, 1), (70, 9), (80, 7)], [(50, 1)], [(50, 1), (60, 1), (70, 1), (80, 1)])
    )
    assert keep.tolist() == [True, False, True]
    assert table.peaks(0)[0].tolist() == [50, 70, 80]
    assert table.peaks(2)[0].tolist() == [50, 60, 70]  # among equals the lower m/z


@pytest.mark.parametrize(
    ("instrument", "kept"),
    [
        ("LC-ESI-QTOF", True), ("LC-ESI-QFT", True), ("LC-ESI-ITFT", True), ("ESI-ITTOF", True),
        ("Orbitrap", True), ("Linear Ion Trap-Orbitrap", True), ("Quadrupole TOF", True), (None, True),
        ("LC-ESI-IT-TOF", True), ("LC-ESI-qTof", True),
        ("LC-ESI-QQ", False), ("LC-ESI-QQQ", False), ("LC-ESI-IT", False), ("ESI-Ion Trap", False),
        ("LC-ESI-QTRAP", False),
        ("triple quadrupole", False), ("Triple-Quad", False), ("MALDI-TOFTOF", False), ("LC-APCI-QTOF", False),
        ("GC-EI-TOF", False), ("EI-B", False), ("FAB-EBEB", False), ("LC-ESI-Q", False),
    ],
)  # fmt: skip
def test_low_resolution_instruments(instrument, kept):
    table = rows(2, instrument_type=[instrument, None], instrument=["anything", instrument])
    assert keeps(ExcludeInstruments(), table) == [kept, kept]


def test_instrument_patterns_are_the_users():
    table = rows(2, instrument_type=["LC-ESI-QTOF", "LC-ESI-QFT"])
    assert keeps(ExcludeInstruments(["tof$"]), table) == [False, True]
    with pytest.raises(ConfigError, match="no regular expression"):
        ExcludeInstruments(["("])


def test_structure_writes_identity():
    table, keep = Structure()(
        rows(6, smiles=["C[C@H](N)C(=O)O", "C[N+](C)(C)C", "CCO.Cl", "nonsense", None, "O=[N+]([O-])c1ccccc1"])
    )
    assert keep.tolist() == [True, False, False, False, False, True]
    assert table["smiles"][0] == "CC(N)C(=O)O"
    assert table["inchikey1"][0] == "QNAYBMKLOCPYGJ"
    assert table["scaffold"][[0, 5]].tolist() == ["", "c1ccccc1"]
    for row, says in {1: "is charged", 2: "more than one part", 3: "cannot be read", 4: "no SMILES"}.items():
        assert says in table["problem"][row]
    assert Structure(stereo=True)(rows(1, smiles=["C[C@H](N)C(=O)O"]))[0]["smiles"][0] == "C[C@H](N)C(=O)O"


def test_structures_have_no_wildcard_and_the_charge_that_the_adduct_names_and_may_be_radicals():
    cation = "C[N+](C)(C)CCO"
    structures = ["*N", "C[CH2]", "C~C", cation, cation, "CCO", "CCO"]
    table = rows(7, smiles=structures, adduct=["[M+H]+"] * 3 + ["[M+H]+", "[M]+", "[M]+", "[Cat]+"])
    table, keep = Structure()(table)
    assert keep.tolist() == [False, True, False, False, True, True, False]
    for row, says in {0: "wildcard", 2: "wildcard", 3: "is charged", 6: "is charged"}.items():
        assert says in table["problem"][row]


def test_the_mass_of_a_cation_is_that_of_its_ion():
    choline = 5 * 12 + 14 * 1.00782503207 + 14.0030740048 + 15.99491461956 - 0.00054857990907
    table = rows(2, smiles=["C[N+](C)(C)CCO"] * 2, adduct=["[M]+", "[M]+"], precursor_mz=[choline, choline - 0.0005])
    assert keeps(MassAgreement(tolerance=1, unit="ppm"), table) == [True, False]


def test_structure_from_inchi():
    methane, columns = "InChI=1S/CH4/h1H4", {}
    columns["smiles"] = [None, "not a SMILES", methane, "CC", None, None]
    columns["inchi"] = [methane, "1S/CH4/h1H4", None, methane, "InChI=1S/nonsense", None]
    table, keep = Structure()(rows(6, **columns))
    assert keep.tolist() == [True, True, True, True, False, False]
    assert table["smiles"][:4].tolist() == ["C", "C", "C", "CC"]  # a SMILES that can be read comes first
    assert "the InChI 'InChI=1S/nonsense' cannot be read" in table["problem"][4]
    assert "no SMILES and no InChI" in table["problem"][5]
    agree = rows(1, inchi=[methane], adduct=["[M+H]+"], precursor_mz=[17.0386])
    assert MassAgreement()(agree)[1].tolist() == [True]


def test_mass_agreement():
    table = rows(
        6,
        smiles=[CAFFEINE, CAFFEINE, CAFFEINE, CAFFEINE, None, CAFFEINE],
        adduct=["[M+H]+", "[M+Na]+", "[M+H]+", "[M+Foo]+", "[M+H]+", "[M+H]+"],
        precursor_mz=[195.0877, 217.0696, 195.1000, 195.0877, 195.0877, np.nan],
    )
    assert keeps(MassAgreement(), table) == [True, True, False, False, False, False]
    assert keeps(MassAgreement(tolerance=0.1), table)[2]
    assert not keeps(MassAgreement(tolerance=50, unit="ppm"), table)[2]
    assert keeps(MassAgreement(tolerance=70, unit="ppm"), table)[2]
    assert "195.1000 is not the 195.0877 of the structure" in MassAgreement()(table)[0]["problem"][2]
    with pytest.raises(ConfigError, match="'Da' or 'ppm'"):
        MassAgreement(unit="mDa")


def test_duplicates_by_splash_and_molecule():
    table = rows(
        5, splash=["a", "a", "a", "b", "a"], inchikey=["X" * 14 + "-1", "X" * 14 + "-2", "Y" * 14, "X" * 14, None]
    )
    assert keeps(Duplicates(), table) == [True, False, True, True, True]


def test_duplicates_without_splash_are_found_by_their_peaks():
    table = spectra([(50, 1), (60, 2)], [(50, 10), (60, 20)], [(50, 1), (60, 2.5)], [], [])
    assert keeps(Duplicates(), table) == [True, False, True, True, True]


def test_what_prediction_leaves_out():
    assert Structure.needs_label and MassAgreement.needs_label and not Adducts.needs_label
    assert Duplicates.training_only and not Duplicates.needs_label


STEPS = {
    "readable": Readable(),
    "ms_level": MsLevel(),
    "adducts": Adducts(),
    "precursor_window": PrecursorWindow(),
    "mz_window": MzWindow(),
    "intensity": IntensityThreshold(),
    "peaks": PeakCount(min=2),
}


def dirty():
    return spectra(
        [(50, 1), (60, 2)], [(50, 1), (60, 2)], [(50, 1)], [(2000, 1)], [(50, 1), (60, 2)], [(50, 1), (60, 2)],
        precursor_mz=[100, np.nan, 100, 100, 100, 2000],
        ms_level=[2, 2, 2, 2, 1, 2],
        adduct=["M+H"] * 6,
        problem=[None, "f.mgf, line 4: no precursor m/z", None, None, None, None],
        file=["f.mgf"] * 6,
        line=[1, 2, 3, 4, 5, 6],
    )  # fmt: skip


def test_every_record_is_counted_once():
    table, report = clean(dirty(), STEPS)
    assert len(table) == report.left == 1 and report.records == 6
    assert [row["rule"] for row in report.rules] == list(STEPS)
    assert [row["dropped"] for row in report.rules] == [1, 1, 0, 1, 1, 0, 1]
    assert report.rules[1]["examples"] == ["s4"]
    assert table["id"].tolist() == ["s0"] and table["adduct"][0] == "[M+H]+" and table["problem"][0] is None


def test_every_row_of_the_input_has_an_answer_or_a_reason():
    table, kept, reasons = clean_rows(dirty(), STEPS)
    assert kept.tolist() == [0] and len(table) == 1
    assert reasons[0] is None
    assert reasons[1] == "f.mgf, line 4: no precursor m/z"
    for row, says in {2: "fewer than 2 peaks", 3: "no peak between", 4: "the MS level", 5: "the precursor m/z"}.items():
        assert says in reasons[row] and reasons[row].startswith(f"f.mgf, line {row + 1} (s{row}): ")


def test_an_empty_table_stays_empty():
    empty = dirty().take(np.zeros(6, bool))
    all_steps = {
        **STEPS,
        "s": Structure(),
        "m": MassAgreement(),
        "d": Duplicates(),
        "p": RemovePrecursorPeak(),
        "i": ExcludeInstruments(),
    }
    table, report = clean(empty, all_steps)
    assert len(table) == 0 and report.left == 0


def test_steps_state_themselves():
    """The text of a step is part of the key under which prepared data are cached."""
    assert repr(PeakCount()) == "PeakCount(min=3, max=60)"
    assert repr(MsLevel()) == "MsLevel(levels=[2])"


@pytest.mark.skipif(not LIBRARY.exists(), reason="the MassBank library is not beside the repository")
def test_a_real_library():
    table = read_spectra(LIBRARY)
    assert len(table) == 17114 and np.equal(table["problem"], None).all()
    steps = {**STEPS, "mass": MassAgreement(), "instruments": ExcludeInstruments()}
    left, report = clean(table, steps)
    assert report.records == 17114 and report.left == len(left) > 16500
    assert left.intensity.max() == 1.0 and left.peak_counts.max() <= 60
