"""Readers of GNPS JSON and MassSpecGym TSV."""

import gzip
import json
import re

import numpy as np
import pytest

from trimer.data.spectra.readers import read_spectra
from trimer.errors import InputError

GNPS = {
    "spectrum_id": "CCMSLIB00000579358",
    "ms_level": "2",
    "peaks_json": "[[179.057495,129907.101562],[164.033997,32294.5]]",
    "splash": "null-null-null-null",
    "Compound_Name": "Theophyllin",
    "Ion_Source": "LC-ESI",
    "Instrument": "Orbitrap",
    "Adduct": "M-H",
    "Precursor_MZ": "179.057",
    "Charge": "1",
    "CAS_Number": "N/A",
    "Smiles": "CN1C2=C(NC=N2)C(=O)N(C)C1=O",
    "INCHI_AUX": "N/A",
    "Ion_Mode": " Negative",
    "InChIKey_smiles": "ZFXYFBGIUFBOJW-UHFFFAOYSA-N",
    "InChIKey_inchi": "None",
    "Formula_smiles": "C7H8N4O2",
    "annotation_history": [{"Compound_Name": "Theophyllin"}],
}


def gnps(tmp_path, *entries, name="g.json"):
    path = tmp_path / name
    path.write_text(json.dumps(list(entries)))
    return path


def test_gnps_record(tmp_path):
    table = read_spectra(gnps(tmp_path, GNPS, {**GNPS, "Smiles": "N/A", "peaks_json": [[50.5, 1]]}))
    assert table["problem"].tolist() == [None, None]
    for field, value in {
        "id": "CCMSLIB00000579358",
        "name": "Theophyllin",
        "adduct": "M-H",
        "ion_mode": "negative",
        "charge": -1,
        "ms_level": 2,
        "precursor_mz": 179.057,
        "smiles": "CN1C2=C(NC=N2)C(=O)N(C)C1=O",
        "inchikey": "ZFXYFBGIUFBOJW-UHFFFAOYSA-N",
        "formula": "C7H8N4O2",
        "instrument": "Orbitrap",
        "instrument_type": "LC-ESI-Orbitrap",
        "splash": None,
        "line": 1,
    }.items():
        assert table[field][0] == value, field
    assert table["smiles"][1] is None
    assert table.peaks(0)[0].tolist() == [164.033997, 179.057495]
    assert table.peaks(1)[0].tolist() == [50.5]


def test_gnps_irregular_input(tmp_path):
    entries = [
        {**GNPS, "peaks_json": "[[50"},
        {**GNPS, "peaks_json": [[50.0, float("nan")], [60.0, 1.0]]},
        {**GNPS, "Precursor_MZ": "0.0"},
        {**GNPS, "peaks_json": "[]"},
        "not a record",
        {**GNPS, "peaks_json": None},
        GNPS,
    ]
    path = gnps(tmp_path, *entries)
    table = read_spectra(path)
    assert len(table) == len(entries)
    says = ["not a list of", "(60, 1)", "no precursor m/z", "no peaks", "the entry is str", "no peaks"]
    says[1] = "(50, nan)"
    for row, text in enumerate(says):
        assert text in table["problem"][row] and f"{path}, record {row + 1}: " in table["problem"][row]
    assert table["problem"][-1] is None


def test_gnps_truncated_download(tmp_path):
    path = tmp_path / "g.json.gz"
    text = json.dumps([GNPS, GNPS, GNPS], indent=1).encode()
    for data in (gzip.compress(text[:-90]), gzip.compress(text)[:-20]):
        path.write_bytes(data)
        table = read_spectra(path)
        *kept, end = table["problem"].tolist()
        assert kept in ([None], [None, None])
        assert re.search(r"the file is truncated here.*(line \d+: not valid JSON|not a complete gzip)", end)
    path.write_bytes(gzip.compress(text[:90]))
    with pytest.raises(InputError, match=r"line \d+: not valid JSON"):
        read_spectra(path)


def test_gnps_agrees_with_matchms(tmp_path):
    importing = pytest.importorskip("matchms.importing")
    path = gnps(tmp_path, *[{**GNPS, "spectrum_id": f"s{i}", "Precursor_MZ": str(150 + i)} for i in range(5)])
    table = read_spectra(path)
    for row, spectrum in enumerate(importing.load_from_json(str(path))):
        assert np.array_equal(table.peaks(row)[0], spectrum.peaks.mz)
        assert np.array_equal(table.peaks(row)[1], spectrum.peaks.intensities.astype(np.float32))
        assert table["precursor_mz"][row] == spectrum.get("precursor_mz")
        assert table["smiles"][row] == spectrum.get("smiles")


HEADER = [
    "identifier", "mzs", "intensities", "smiles", "inchikey", "formula", "precursor_formula", "parent_mass",
    "precursor_mz", "adduct", "instrument_type", "collision_energy", "fold", "simulation_challenge",
]  # fmt: skip
ROW = [
    "MassSpecGymID0000001", "91.0542,125.0233,155.0577", "0.2447,1.0,0.07", "CC(=O)N", "ABCDEFGHIJKLMN", "C16H17NO4",
    "C16H18NO4",    "287.115", "288.1225", "[M+H]+", "Orbitrap", "30.0", "train", "True",
]  # fmt: skip


def tsv(tmp_path, *rows, header=HEADER, ends="\n"):
    path = tmp_path / "MassSpecGym.tsv"
    path.write_text(ends.join("\t".join(row) for row in [header, *rows]) + ends, newline="")
    return path


def change(**cells):
    return [cells.get(name, value) for name, value in zip(HEADER, ROW, strict=True)]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_massspecgym_rows(tmp_path, ends):
    path = tsv(tmp_path, ROW, change(mzs='"70.5,60.5"', intensities="1.0,0.5", collision_energy=""), ends=ends)
    table = read_spectra(path)
    assert table["problem"].tolist() == [None, None]
    for field, value in {
        "id": "MassSpecGymID0000001",
        "smiles": "CC(=O)N",
        "precursor_mz": 288.1225,
        "adduct": "[M+H]+",
        "instrument_type": "Orbitrap",
        "collision_energy": "30.0",
        "fold": "train",
        "simulation_challenge": "True",
        "precursor_formula": "C16H18NO4",
        "line": 2,
    }.items():
        assert table[field][0] == value, field
    assert table["collision_energy"][1] is None
    assert table.peaks(0)[0].tolist() == [91.0542, 125.0233, 155.0577]
    assert table.peaks(1)[0].tolist() == [60.5, 70.5]


def test_massspecgym_agrees_with_pandas(tmp_path):
    import pandas

    rng = np.random.default_rng(0)
    rows = []
    for _ in range(30):
        mz = np.sort(rng.uniform(50, 900, int(rng.integers(1, 50))))
        rows.append(
            change(mzs=",".join(map(repr, mz.tolist())), intensities=",".join(f"{x:.6f}" for x in rng.random(len(mz))))
        )
    path = tsv(tmp_path, *rows)
    table, frame = read_spectra(path), pandas.read_csv(path, sep="\t")
    for row, cells in frame.iterrows():
        assert table.peaks(row)[0].tolist() == [float(x) for x in str(cells["mzs"]).split(",")]
        assert np.array_equal(
            table.peaks(row)[1], np.array([float(x) for x in str(cells["intensities"]).split(",")], np.float32)
        )


def test_massspecgym_irregular_input(tmp_path):
    rows = [
        change(intensities="1.0,0.5"),
        change(mzs="91.0,x,155.0"),
        change(intensities="1.0,nan,0.5"),
        change(precursor_mz=""),
        change(mzs="", intensities=""),
        ROW[:5],
        ROW,
    ]
    path = tsv(tmp_path, *rows)
    table = read_spectra(path)
    says = [
        "3 values in mzs, but 2",
        "(nan, 1)",
        "(125.023, nan)",
        "no precursor m/z",
        "no peaks",
        "fewer cells",
    ]
    for row, text in enumerate(says):
        assert text in table["problem"][row] and f"{path}, line {row + 2}: " in table["problem"][row]
    assert table["problem"][-1] is None and table.peak_counts[-1] == 3


def test_other_tables_are_not_massspecgym(tmp_path):
    with pytest.raises(InputError, match="columns mzs, intensities are missing"):
        read_spectra(tsv(tmp_path, ["a", "1"], header=["name", "precursor_mz"]))
    with pytest.raises(InputError, match="only a header"):
        read_spectra(tsv(tmp_path))


def test_other_json_raises(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"settings\.json holds no spectrum: an object with neither 'spectra' nor"):
        read_spectra(path)
