"""Display, indexing and conversion of tables of spectra."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from trimer.data.spectra.matchms_spectra import to_matchms
from trimer.data.spectra.readers import read_spectra
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import InputError
from trimer.objects.spectra import spectra_of

matplotlib.use("Agg")

MGF = """BEGIN IONS
TITLE=<b>a</b>
PEPMASS=300.1
CHARGE=1+
ADDUCT=[M+H]+
COLLISION_ENERGY=20 eV
RTINSECONDS=12.5
SMILES=CCO
ORIGIN=mine
50.25 1
100.5 4
END IONS
BEGIN IONS
TITLE=b
PEPMASS=200.2
END IONS
"""


@pytest.fixture
def table(tmp_path) -> SpectrumTable:
    (tmp_path / "a.mgf").write_text(MGF)
    return read_spectra(tmp_path / "a.mgf")


def test_repr_describes_the_table(table):
    text = repr(table)
    assert text.startswith("SpectrumTable of 2 spectra with 2 peaks, precursor m/z 200.2000 to 300.1000, 1 unusable")
    assert "smiles" in text and "inchikey" not in text, "empty columns are left out"
    assert repr(table[1:1]) == "SpectrumTable of 0 spectra with 0 peaks; columns: "


def test_html_is_escaped(table):
    html = table._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;a&lt;/b&gt;" in html
    assert "2 spectra" in html and "<svg" not in html
    assert "<b>" not in table[0]._repr_html_() and "&lt;b&gt;" in table[0]._repr_html_()


def test_indexing_by_column_row_and_rows(table):
    assert table["adduct"].tolist() == ["[M+H]+", None]
    spectrum = table[0]
    assert (len(spectrum), spectrum.mz.tolist(), spectrum.intensity.tolist()) == (2, [50.25, 100.5], [1.0, 4.0])
    assert spectrum.fields["retention_time"] == 12.5
    assert spectrum.fields["origin"] == "mine"
    assert "inchi" not in spectrum.fields
    assert repr(spectrum) == "Spectrum(<b>a</b>, precursor m/z 300.1000, [M+H]+, 2 peaks)"
    assert "no peaks" in repr(table[-1])
    assert table[::-1]["id"].tolist() == ["b", "<b>a</b>"]
    assert table[np.array([False, True])]["id"].tolist() == ["b"]
    assert [len(one) for one in table] == [2, 0]
    with pytest.raises(IndexError):
        table[2]


def test_conversion_to_pandas(table):
    frame = table.to_pandas()
    assert frame["id"].tolist() == ["<b>a</b>", "b"]
    assert frame["mz"][0].tolist() == [50.25, 100.5]
    assert frame["intensity"][1].tolist() == []


def test_conversion_to_arrow(table):
    arrow = table.to_arrow()
    assert arrow.column_names == list(table.to_pandas().columns)
    assert arrow["id"].to_pylist() == ["<b>a</b>", "b"]
    assert arrow["mz"].to_pylist() == [[50.25, 100.5], []] and arrow["intensity"].to_pylist() == [[1.0, 4.0], []]
    assert arrow["charge"].to_pylist() == [1, None] and arrow["retention_time"].to_pylist() == [12.5, None]
    assert arrow["origin"].to_pylist() == ["mine", None]
    assert table[1:].to_arrow()["mz"].to_pylist() == [[]]


def test_spectra_are_plotted(table):
    axes = table.plot()
    axes[0].figure.canvas.draw()
    assert len(axes) == 2 and "300.1000" in axes[0].get_title(loc="left")
    assert table[:1].plot(axes[1]) is axes[1]
    with pytest.raises(InputError, match="no spectra"):
        table[:0].plot()


def test_matchms_and_back(table):
    spectra = to_matchms(table)
    assert spectra[0].peaks.mz.tolist() == [50.25, 100.5]
    assert spectra[0].get("precursor_mz") == 300.1
    assert spectra[0].get("retention_time") == 12.5
    assert spectra[0].get("collision_energy") == "20 eV"
    assert "no peaks" in spectra[1].get("problem")
    back = spectra_of(spectra)
    np.testing.assert_array_equal(back.mz, table.mz)
    np.testing.assert_array_equal(back.intensity, table.intensity)
    for name in ("id", "adduct", "charge", "precursor_mz", "collision_energy", "retention_time", "smiles", "origin"):
        assert (
            back[name].tolist() == pytest.approx(table[name].tolist(), nan_ok=True)
            if name in ("precursor_mz", "retention_time")
            else back[name].tolist() == table[name].tolist()
        ), name
    assert back["problem"].tolist() == [None, "input, spectrum 2: no peaks"]
    assert [one.peaks.mz.tolist() for one in table.to_matchms()] == [[50.25, 100.5], []]


def test_rdkit_is_silent_with_matchms(table):
    code = (
        "import numpy as np; from rdkit import Chem; from trimer.data.spectra.spectrum_table import SpectrumTable;"
        "from trimer.chemistry.identifiers import parse;"
        "SpectrumTable.build([50.0], [1.0], [0, 1], {}).to_matchms(); assert parse('c1cccc') is None"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_spectrum_is_plotted(table):
    from matplotlib import pyplot

    axes = table[0].plot()
    axes.figure.canvas.draw()
    heights = [segment[1][1] for segment in axes.collections[0].get_segments()]
    assert heights == [25.0, 100.0]
    assert "300.1000" in axes.get_title(loc="left")
    assert table[1].plot(axes) is axes, "no peaks is no error"
    pyplot.close("all")


def test_json_of_matchms_is_read(table, tmp_path):
    from matchms.exporting import save_as_json

    save_as_json(to_matchms(table)[:1], str(tmp_path / "a.json"))
    read = read_spectra(tmp_path / "a.json")
    assert (read["id"].tolist(), read["precursor_mz"].tolist()) == (["<b>a</b>"], [300.1])
    np.testing.assert_array_equal(read.mz, table.mz)


@pytest.mark.parametrize("name", ["a.pickle", "a.pkl"])
def test_pickles_are_never_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch pickled'\ntR.")
    with pytest.raises(InputError, match=r"pickles are not read.*save it as MGF, MSP or JSON"):
        read_spectra(tmp_path / name)
