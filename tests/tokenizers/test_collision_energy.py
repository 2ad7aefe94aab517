import pytest

from trimer.tokenizers.collision_energy import parse_collision_energy

WRITTEN = {
    "6V": (6, "eV"), "40.0V": (40, "eV"), "30 V (ramped)": (30, "eV"), "35 eV FT-MS II": (35, "eV"), "20eV": (20, "eV"),
    "20-40 eV": (30, "eV"), "RAMP 20.0-30.0 eV": (25, "eV"), "Ramp 22,9-34.3 eV": (28.6, "eV"),
    "20 to 40 eV": (30, "eV"), "eV 20": (20, "eV"), "1.3 keV": (1300, "eV"), "-35 V": (35, "eV"),
    "10 volts": (10, "eV"),
    "35 % (nominal)": (35, "NCE"), "35  (nominal)": (35, "NCE"), "55% (nominal)": (55, "NCE"), "80 NCE": (80, "NCE"),
    "HCD 30 NCE": (30, "NCE"), "NCE 35": (35, "NCE"), "35NCE": (35, "NCE"), "20.0 (NCE 20-30-40%)": (30, "NCE"),
    "25,60,100% (stepped)": (185 / 3, "NCE"), "normalized 35": (35, "NCE"),
    "42% (nominal) with stepped collision energies 30% and 55%": (42, "NCE"),
    "40": (40, None), "31.6361675": (31.6361675, None), "CE60": (60, None), "25,60,100 (stepped)": (185 / 3, None),
    "30HCD": (30, None), "resonance 35": (35, None), 40.0: (40, None),
}  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_notations_of_public_libraries_are_parsed(text):
    value, unit = parse_collision_energy(text)
    assert value == pytest.approx(WRITTEN[text][0])
    assert unit == WRITTEN[text][1]


@pytest.mark.parametrize(
    "text",
    [None, "", "N/A", "nan", float("nan"), "ceV", "15, 30, 45, 60, 70 or 90 (nominal)", "low", "%",
     "160-0.41mz or 15 (mz>350) nominal units", "scaled 80 (m/z=200) to 110 (m/z=120)"],
)  # fmt: skip
def test_text_without_a_single_energy_gives_none(text):
    assert parse_collision_energy(text) == (None, None)
