"""Fragment intensities in the layouts of libraries and search engines, on small files made here."""

import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimer.data.peptides.fragment_files import FragmentFiles, FragmentTable
from trimer.errors import InputError


def whole(path, **settings) -> FragmentTable:
    return FragmentTable.concatenate(list(FragmentFiles(str(path), **settings).chunks()))


def fragments(table: FragmentTable, row: int = 0) -> dict[str, float]:
    """The fragments of a spectrum as {`y3+1-H3PO4`: intensity}."""
    return {
        f"{'by'[table.series[i]]}{table.number[i]}+{table.ion_charge[i]}-{table.loss[i]}": round(
            float(table.intensity[i]), 4
        )
        for i in np.flatnonzero(table.row == row)
    }


def check(table: FragmentTable) -> None:
    """Types and sizes are as promised."""
    assert (np.diff(table.row) >= 0).all() and len(table) == len(table.texts) == len(table.places)
    assert table.series.dtype == np.uint8 and table.intensity.dtype == np.float32 and table.row.dtype == np.int64
    assert table.charge.shape == table.energy.shape == (len(table),)
    sizes = {len(getattr(table, name)) for name in ("row", "series", "number", "ion_charge", "loss", "intensity")}
    assert len(sizes) == 1 and not np.isin(table.row, list(table.problems)).any()
    assert not len(table.row) or (table.intensity.max() == 1 and table.intensity.min() > 0)


def test_deepphospho(tmp_path):
    records = {
        "*AE2K.2": {"y1+1-Noloss": 50.0, "y3+1-1,H3PO4": 100.0, "b3+1-1,H2O;2,H3PO4": 25.0, "b1+1-Noloss": 0},
        "AEK.2": {"y1+1-Noloss": 1},
        "@AEK.2": {"y1-Noloss": 1},
        "@AEKK.2": {"y4+1-Noloss": 1},
        "@AEEK.2": {"y1+1-Noloss": "a lot"},
        "@AEEEK": {"y1+1-Noloss": 1},
        "@AAK.2": {},
        "@AAAK.2": 7,
    }
    path = tmp_path / "dia.json"
    path.write_text(json.dumps(records))
    table = whole(path)
    check(table)
    assert table.texts[0] == "[UNIMOD:1]-AES[UNIMOD:21]K" and table.ids[0] == "*AE2K.2" and table.charge[0] == 2
    assert fragments(table) == {"y1+1-": 0.5, "y3+1-H3PO4": 1.0, "b3+1-H2O+2H3PO4": 0.25}
    assert np.isnan(table.energy).all() and table.instrument[0] is None
    assert table.problems == {
        1: "the first character is neither * nor @",
        2: "fragment 'y1-Noloss' cannot be read",
        3: "fragment y4 of 4 residues",
        4: "the intensity a lot of fragment y1+1-Noloss is not a number of 0 or more",
        5: "no charge",
        6: "no b or y fragment with an intensity",
        7: "its value is not an object of fragments",
    }
    assert table.places[1] == "dia.json, record 2"
    assert len(whole(path, limit=2)) == 2


def test_maxquant(tmp_path, caplog):
    path = tmp_path / "msms.txt"
    rows = [
        "Modified sequence\tCharge\tFragmentation\tMass analyzer\tMatches\tIntensities\tReverse",
        "_AES(ph)K_\t2\tHCD\tFTMS\ty1;y3-H2O;b3*;y2(2+);a2;pS\t10;20;40;5;80;3\t",
        "_AM(Oxidation (M))K_\t2\tHCD\tFTMS\tb2*\t7\t",
        "_AEK_\t2\tHCD\tFTMS\ty1;y2\t7\t",
        "_AEK_\t2\tHCD\tFTMS\t\t\t",
        "_KEA_\t2\tHCD\tFTMS\ty1\t7\t+",
        "_AEK_\t2\tHCD\tFTMS\ty9\t7\t",
    ]
    path.write_text("\n".join(rows) + "\n")
    with caplog.at_level(logging.INFO):
        table = whole(path)
    check(table)
    assert table.texts[:2] == ["AES[UNIMOD:21]K", "AM[UNIMOD:35]K"]
    assert fragments(table) == {"y1+1-": 0.25, "y3+1-H2O": 0.5, "b3+1-H3PO4": 1.0, "y2+2-": 0.125}
    assert fragments(table, 1) == {"b2+1-modloss": 1.0}
    assert table.instrument[0] == "HCD FTMS" and table.ids[0] == "msms.txt:2"
    assert table.problems == {
        2: "2 matches with 1 intensities",
        3: "no b or y fragment with an intensity",
        4: "decoy",
        5: "fragment y9 of 3 residues",
    }
    assert table.places[2] == "msms.txt, line 4"
    assert table.other == {"a": 1, "pS": 1}
    assert "fragments other than b and y are left out: a 1, pS 1" in caplog.text


def test_library(tmp_path):
    path = tmp_path / "library.tsv"
    header = "ModifiedPeptide\tPrecursorCharge\tFragmentType\tFragmentNumber\tFragmentCharge\tRelativeIntensity"
    rows = [
        f"{header}\tFragmentLossType\tCollisionEnergy",
        "_AM[Oxidation (M)]K_\t2\ty\t1\t1\t50\tnoloss\t27",
        "_AM[Oxidation (M)]K_\t2\tb\t2\t1\t100\tH2O\t27",
        "_AM[Oxidation (M)]K_\t3\ty\t2\t2\t0.5\t\t27",
        "_AM[Foo (M)]K_\t3\ty\t2\t2\t0.5\t\t",
        "_AAK_\t2\ty\t1\t1\tbright\t\t",
        "_AAAK_\t2\ty\tx\t1\t1\t\t",
        "_AAAAK_\t2\ty",
    ]
    path.write_text("\n".join(rows) + "\n")
    table = whole(path)
    check(table)
    assert table.texts[:2] == ["AM[UNIMOD:35]K"] * 2 and table.charge[:2].tolist() == [2, 3]
    assert fragments(table) == {"y1+1-": 0.5, "b2+1-H2O": 1.0} and fragments(table, 1) == {"y2+2-": 1.0}
    assert table.energy[0] == 27 and np.isnan(table.energy[2])
    assert table.places[1] == "library.tsv, line 4"
    assert table.problems == {
        2: "unknown modification [Foo (M)]",
        3: "the intensity bright of fragment y1 is not a number of 0 or more",
        4: "line 7: fragment 'yx' of charge '1' cannot be read",
        5: "line 8: fewer cells than the header",
    }


def test_openswath_library(tmp_path):
    path = tmp_path / "library.tsv"
    path.write_text(
        "ModifiedPeptideSequence\tPrecursorCharge\tFragmentType\tFragmentSeriesNumber\tProductCharge\tLibraryIntensity\n"
        ".(UniMod:1)AM(UniMod:35)K\t2\ty\t1\t1\t7\n"
    )
    table = whole(path)
    assert table.texts == ["[UNIMOD:1]-AM[UNIMOD:35]K"] and fragments(table) == {"y1+1-": 1.0}


def test_prosit(tmp_path):
    values = [-1.0] * 174
    values[:6] = [0.5, 0.0, -1.0, 0.25, 0.0, -1.0]  # y1, y1 2+, y1 3+, b1, ...
    values[6:12] = [1.0, 0.125, -1.0, 0.0, 0.0, -1.0]
    columns = {
        "modified_sequence": ["AM[UNIMOD:35]K", "[]-AAK-[]", "AXK"],
        "precursor_charge": [2, 2, 2],
        "aligned_collision_energy": [25.5, None, 30.0],
        "fragmentation": ["HCD", "CID", "HCD"],
        "mass_analyzer": ["FTMS", "ITMS", "FTMS"],
        "intensities_raw": [values, [1.0], values],
    }
    pq.write_table(pa.table(columns), tmp_path / "prosit.parquet")
    table = whole(tmp_path / "prosit.parquet")
    check(table)
    assert fragments(table) == {"y1+1-": 0.5, "b1+1-": 0.25, "y2+1-": 1.0, "y2+2-": 0.125}
    assert table.energy[0] == 25.5 and np.isnan(table.energy[1]) and table.instrument[:2] == ["HCD FTMS", "CID ITMS"]
    assert table.problems == {
        1: "1 values in intensities_raw instead of 174 values",
        2: "residue X is not one of the 20",
    }
    assert table.places[2] == "prosit.parquet, row 3"


def test_alphabase(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "library.hdf"
    with h5py.File(path, "w") as file:
        frame = file.create_group("library/precursor_df")
        texts = {"sequence": ["ASK", "AAK", "AMK"], "mods": ["Phospho@S", "", ""], "mod_sites": ["2", "", ""]}
        for name, values in texts.items():
            frame.create_dataset(name, data=values, dtype=h5py.string_dtype())
        frame["charge"], frame["nce"] = [2, 2, 2], [25.0, 25.0, 25.0]
        frame["frag_start_idx"], frame["frag_stop_idx"] = [2, 0, 3], [4, 1, 5]
        group = file.create_group("library/fragment_intensity_df")
        group["b_z1"], group["y_z1"] = [0, 0, 0.2, 0.4], [0, 0, 1.0, 2.0]
        group["y_modloss_z2"] = [0, 0, 0.0, 0.1]
    table = whole(path)
    check(table)
    assert table.texts == ["AS[UNIMOD:21]K", "AAK", "AMK"] and table.energy.tolist() == [25.0] * 3
    assert fragments(table) == {"b1+1-": 0.1, "b2+1-": 0.2, "y2+1-": 0.5, "y1+1-": 1.0, "y1+2-H3PO4": 0.05}
    assert table.problems == {1: "fragment rows 0 to 1 for 2 cleavages", 2: "fragment rows 3 to 5 of 4"}


def test_unreadable_libraries_raise_input_error(tmp_path):
    path = tmp_path / "strange.csv"
    path.write_text("sequence,irt\nAAK,7\n")
    with pytest.raises(InputError) as error:
        whole(path)
    layouts = "deepphospho, maxquant_msms, library, prosit, alphabase, msp, mzspeclib"
    assert (
        str(error.value)
        == f"{path}: its columns fit no known layout of fragment libraries ({layouts}); name one in layout"
    )
    with pytest.raises(InputError) as error:
        whole(path, layout="library")
    assert str(error.value).startswith(
        f"{path}: a library of fragments needs a column ModifiedPeptide or ModifiedPeptideSequence or"
    )
    path.write_text("{}")
    with pytest.raises(InputError) as error:
        whole(path)
    assert str(error.value) == f"{path}: no spectrum in it"
    with pytest.raises(ValueError) as error:
        FragmentFiles(str(path), layout="skyline")
    assert str(error.value) == f"layout=skyline must be one of {layouts}, or null"


def test_fixed_modifications_that_the_file_omits(tmp_path):
    path = tmp_path / "msms.txt"
    path.write_text("Modified sequence\tCharge\tMatches\tIntensities\n_ACK_\t2\ty1\t7\n")
    assert whole(path, fixed="Carbamidomethyl@C;TMT6plex@N-term").texts == ["[UNIMOD:737]-AC[UNIMOD:4]K"]


def test_fingerprint(tmp_path):
    path = tmp_path / "dia.json"
    path.write_text('{"@AEK.2": {"y1+1-Noloss": 1}}')
    first = FragmentFiles(str(path)).fingerprint()
    assert FragmentFiles(str(path)).fingerprint() == first != FragmentFiles(str(path), limit=1).fingerprint()
