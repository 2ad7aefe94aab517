import math

import numpy as np
import pytest

from trimer.chemistry.adducts import COMMON
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError
from trimer.tokenizers.spectrum import ADDUCT_FORMS, SpectrumTokenizer

MZ = [113.01973, 140.03063, 141.01465, 158.04005, 159.04406]
INTENSITY = [38.23, 5.0, 1000.0, 472.15, 32.17]
SETTINGS = [
    {}, {"order": "mz"}, {"repeat_intensity": True}, {"intensity_bins": 0}, {"intensity_scale": "linear"},
    {"intensity_scale": "sqrt", "intensity_bins": 2}, {"decimals": 0}, {"decimals": 1}, {"decimals": 3, "max_peaks": 5},
    {"adduct": False, "collision_energy": False}, {"precursor": False}, {"max_mz": 300, "order": "mz"},
    {"adduct": False, "precursor": False, "collision_energy": False},
]  # fmt: skip
SCALES = {"linear": lambda x: x, "sqrt": np.sqrt, "log": lambda x: np.clip(1 + np.log10(x) / 2, 0, 1)}


def words(tokenizer, ids):
    return " ".join(tokenizer.tokens[i] for i in ids)


def random_table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 90, n)
    counts[rng.integers(0, n, 5)] = 0
    mz = np.concatenate([np.sort(rng.uniform(10, 1010, c)) for c in counts])
    mz[rng.integers(0, len(mz), 40)] = 99.996
    mz = np.concatenate([np.sort(m) for m in np.split(mz, np.cumsum(counts)[:-1])])
    intensity = 10 ** rng.uniform(-1, 3, len(mz))
    intensity[rng.integers(0, len(mz), 20)] = rng.choice([0.0, -1.0, np.nan, np.inf], 20)
    columns = {
        "precursor_mz": rng.choice([np.nan, 0.0, 460.98889, 99.996, 1200.0, 333.3], n),
        "adduct": rng.choice(["[M+H]+", "M+Na", "[M-H]-", "?", None], n),
        "collision_energy": rng.choice(["40", "6V", "35 % (nominal)", "", None, "500 eV"], n),
    }
    return SpectrumTable.build(mz, intensity, np.concatenate([[0], np.cumsum(counts)]), columns)


def test_a_spectrum_has_the_expected_tokens():
    tokenizer = SpectrumTokenizer()
    ids = tokenizer.encode(MZ, INTENSITY, 460.98889, "[M+H]+", "40 eV")
    assert words(tokenizer, ids) == (
        "[M+H]+ mz460 .99 <40 eV> i9 mz141 .01 i8 mz158 .04 i3 mz113 .02 i2 mz159 .04 i0 mz140 .03"
    )
    tokenizer = SpectrumTokenizer(order="mz", decimals=1, intensity_bins=3, max_peaks=3, repeat_intensity=True)
    ids = tokenizer.encode(MZ, INTENSITY)
    assert words(tokenizer, ids) == "<adduct?> <precursor?> <ce?> i1 mz113 .0 i2 mz141 .0 i2 mz158 .0"


def test_rounding_carries_to_the_next_digit():
    tokenizer = SpectrumTokenizer(intensity_bins=0)
    ids = tokenizer.encode([99.996, 199.994, 299.995001], [3, 2, 1], 399.997)
    assert words(tokenizer, ids) == "<adduct?> mz400 .00 <ce?> mz100 .00 mz199 .99 mz300 .00"


def test_energies_of_different_units_have_different_tokens():
    tokenizer = SpectrumTokenizer(precursor=False, adduct=False)
    texts = [
        words(tokenizer, tokenizer.encode([], [], collision_energy=e))
        for e in ("40", "40V", "40%", "44 eV", "9999", "x")
    ]
    assert texts == ["<40 ?>", "<40 eV>", "<40 NCE>", "<40 eV>", "<200 ?>", "<ce?>"]


def test_peaks_without_a_token_are_skipped_and_reported():
    tokenizer = SpectrumTokenizer(max_mz=500, intensity_bins=0, adduct=False, collision_energy=False)
    mz, intensity = (
        [-1, np.nan, 100, 200, 300, 400, 500.994, 500.996, 1e300, np.inf],
        [1, 1, 1, 0, -1, np.nan, 2, 3, 4, 5],
    )
    table = SpectrumTable.build(mz, intensity, [0, 10], {"precursor_mz": [501.0]})
    assert np.flatnonzero(tokenizer.encodable(table)).tolist() == [2, 6]
    assert words(tokenizer, tokenizer.encode_table(table)[0]) == "<precursor?> mz500 .99 mz100 .00"


def test_peaks_with_the_same_rounded_mz_are_summed():
    tokenizer = SpectrumTokenizer(adduct=False, precursor=False, collision_energy=False, intensity_scale="linear")
    decoded = tokenizer.decode(tokenizer.encode([100.001, 100.004, 150, 200], [30, 30, 100, 60]))
    assert decoded.mz.tolist() == [150, 100, 200]
    assert decoded.intensity[1] == decoded.intensity[2] == pytest.approx(5 / 9)


def test_the_order_of_peaks_does_not_matter():
    tokenizer = SpectrumTokenizer()
    expected = tokenizer.encode(MZ, INTENSITY)
    assert (tokenizer.encode(MZ[::-1], INTENSITY[::-1]) == expected).all()
    assert (tokenizer.encode(MZ, np.array(INTENSITY) * 1e-6) == expected).all()


def by_hand(tokenizer, mz, intensity, precursor_mz, adduct, collision_energy):
    """The tokens of one spectrum, computed by a loop."""
    unit = 10**tokenizer.decimals
    highest = (int(tokenizer.max_mz) + 1) * unit

    def number(place):
        return [f"mz{place // unit}"] + ([f".{place % unit:0{tokenizer.decimals}d}"] if tokenizer.decimals else [])

    token_texts = []
    if tokenizer.adduct:
        token_texts.append({"[M+H]+": "[M+H]+", "M+Na": "[M+Na]+", "[M-H]-": "[M-H]-"}.get(adduct, "<adduct?>"))
    if tokenizer.precursor:
        known = precursor_mz > 0 and math.floor(precursor_mz * unit + 0.5) < highest
        token_texts += number(math.floor(precursor_mz * unit + 0.5)) if known else ["<precursor?>"]
    if tokenizer.collision_energy:
        names = {"40": "<40 ?>", "6V": "<10 eV>", "35 % (nominal)": "<40 NCE>", "500 eV": "<200 eV>"}
        token_texts.append(names.get(collision_energy, "<ce?>"))
    peaks: dict[int, float] = {}
    for m, i in zip(mz, intensity, strict=True):
        if math.isfinite(i) and i > 0 and math.floor(m * unit + 0.5) < highest:
            peaks[math.floor(m * unit + 0.5)] = peaks.get(math.floor(m * unit + 0.5), 0.0) + float(i)
    base = max(peaks.values(), default=1.0)
    relative = {place: peaks[place] / base for place in peaks}
    best = sorted(peaks, key=lambda place: (-relative[place], place))[: tokenizer.max_peaks]
    before = None
    for place in sorted(best) if tokenizer.order == "mz" else best:
        if tokenizer.intensity_bins:
            level = round(SCALES[tokenizer.intensity_scale](relative[place]) * (tokenizer.intensity_bins - 1))
            token_texts += [f"i{level}"] if level != before or tokenizer.repeat_intensity else []
            before = level
        token_texts += number(place)
    return " ".join(token_texts)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_vectorized_encoding_agrees_with_a_loop(settings):
    tokenizer, table = SpectrumTokenizer(**settings), random_table()
    values, offsets = tokenizer.encode_table(table)
    assert values.dtype == np.int32 and offsets.dtype == np.int64 and offsets[-1] == len(values)
    for row in range(len(table)):
        record = [*table.peaks(row), *(table[key][row] for key in ("precursor_mz", "adduct", "collision_energy"))]
        assert words(tokenizer, values[offsets[row] : offsets[row + 1]]) == by_hand(tokenizer, *record)
        assert (tokenizer.encode(*record) == values[offsets[row] : offsets[row + 1]]).all()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_tokens_round_trip(settings):
    """m/z agree to half of the last decimal, and encoding the decoded spectrum gives the same tokens."""
    tokenizer, table = SpectrumTokenizer(**settings), random_table(seed=1)
    values, offsets = tokenizer.encode_table(table)
    for row in range(len(table)):
        ids = values[offsets[row] : offsets[row + 1]]
        decoded = tokenizer.decode(ids)
        mz, _ = table.peaks(row)
        usable = tokenizer.encodable(table)[table.offsets[row] : table.offsets[row + 1]]
        for value in decoded.mz:
            assert np.abs(mz[usable] - value).min() <= 0.5 * 10.0**-tokenizer.decimals + 1e-9
        if tokenizer.precursor and 0 < table["precursor_mz"][row] < tokenizer.max_mz:
            assert abs(decoded.precursor_mz - table["precursor_mz"][row]) <= 0.5 * 10.0**-tokenizer.decimals + 1e-9
        else:
            assert decoded.precursor_mz is None
        again = tokenizer.encode(
            decoded.mz, decoded.intensity, decoded.precursor_mz, decoded.adduct, decoded.collision_energy
        )
        if tokenizer.order == "mz":
            assert (again == ids).all()
        else:  # peaks of one level come back in order of m/z
            assert sorted(again.tolist()) == sorted(ids.tolist())


@pytest.mark.parametrize("scale", SCALES)
def test_intensity_is_known_to_half_a_level(scale):
    tokenizer = SpectrumTokenizer(
        intensity_scale=scale, intensity_bins=10, order="mz", max_peaks=1000, repeat_intensity=True
    )
    relative = np.concatenate([[1.0], np.geomspace(1e-3, 1, 500)])
    decoded = tokenizer.decode(tokenizer.encode(np.arange(100, 601), relative))
    assert np.abs(SCALES[scale](decoded.intensity) - SCALES[scale](relative)).max() <= 0.5 / 9 + 1e-6
    assert decoded.intensity[0] == 1 and decoded.intensity.min() > 0


def test_repeated_intensity_tokens_decode_to_the_same_value():
    short, full = SpectrumTokenizer(), SpectrumTokenizer(repeat_intensity=True)
    rng = np.random.default_rng(0)
    mz, intensity = rng.uniform(50, 500, 40), rng.exponential(1, 40)
    a, b = short.decode(short.encode(mz, intensity)), full.decode(full.encode(mz, intensity))
    assert (a.mz == b.mz).all() and (a.intensity == b.intensity).all()
    assert len(short.encode(mz, intensity)) <= 3 + 2 * 40 + 10 < len(full.encode(mz, intensity)) == 3 + 3 * 40


def test_any_sequence_of_tokens_can_be_decoded():
    rng = np.random.default_rng(0)
    for settings in SETTINGS:
        tokenizer = SpectrumTokenizer(**settings)
        for _ in range(30):
            decoded = tokenizer.decode(rng.integers(0, len(tokenizer), rng.integers(0, 40)))
            assert len(decoded.mz) == len(decoded.intensity)
    tokenizer = SpectrumTokenizer(precursor=False, intensity_bins=0)
    ids = [tokenizer.tokens.index(token) for token in ("mz100", "mz101", ".50", ".25", "mz7", "<ce?>", ".11")]
    assert tokenizer.decode(ids).mz.tolist() == [101.5]


def test_an_empty_table_gives_no_tokens():
    values, offsets = SpectrumTokenizer().encode_table(SpectrumTable.build([], [], [0], {}))
    assert len(values) == 0 and offsets.tolist() == [0]


def test_the_vocabulary_is_fixed():
    assert len(SpectrumTokenizer()) == 20 + 1 + 64 + 1001 + 100 + 10
    assert COMMON[: len(ADDUCT_FORMS)] == ADDUCT_FORMS
    assert len(set(SpectrumTokenizer().tokens)) == len(SpectrumTokenizer())


@pytest.mark.parametrize("settings", [
    {"order": "random"}, {"decimals": 4}, {"intensity_bins": 1}, {"intensity_scale": "cube"}, {"max_peaks": 0},
    {"max_mz": 0},
], ids=str)  # fmt: skip
def test_invalid_settings_raise_errors(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        SpectrumTokenizer(**settings)
