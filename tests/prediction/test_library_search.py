"""The most similar spectrum of a library."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.data.spectra.cleaning import Readable
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError, InputError
from trimer.prediction.library_search import SpectrumLibrary

RECORD = "BEGIN IONS\nTITLE={}\nPEPMASS={}\nADDUCT=[M+H]+\n{}{}\nEND IONS\n\n"
PEAKS = "85.03 20\n97.03 30\n127.04 100"
OTHERS = "60.01 20\n70.01 30\n127.04 100"
STEPS = {"readable": Readable()}


@pytest.fixture
def library(tmp_path) -> str:
    path = tmp_path / "library.mgf"
    records = [
        ("far", 200.0, "SMILES=CCO\nNAME=ethanol\n", PEAKS),
        ("near", 180.0655, "SMILES=CCN\n", OTHERS),
        ("twin", 180.0655, "", OTHERS),
        ("alone", 300.0, "", "500.0 10\n501.0 20\n502.0 3"),
    ]
    path.write_text("".join(RECORD.format(*record) for record in records))
    return str(path)


def spectra(*precursors: float) -> SpectrumTable:
    peaks = [85.03, 97.03, 127.04]
    count = len(precursors)
    offsets = np.arange(count + 1) * 3
    columns = {"id": [str(i) for i in range(count)], "precursor_mz": list(precursors)}
    return SpectrumTable.build(peaks * count, [20, 30, 100] * count, offsets, columns)


def hits(library: SpectrumLibrary, table: SpectrumTable) -> list[dict]:
    found = zip(library.search(table), table["precursor_mz"].tolist(), strict=True)
    return [library.columns(hit, precursor_mz) for hit, precursor_mz in found]


def test_the_precursor_limits_the_hits_unless_any_is_allowed(library):
    query = spectra(180.0655, 180.0655 * (1 + 15e-6), 180.0655 * (1 + 25e-6), np.nan)
    within = hits(SpectrumLibrary(library, STEPS, 20.0), query)
    assert [hit.get("library_id") for hit in within] == ["near", "near", None, None]
    assert within[0]["library_smiles"] == "CCN" and within[0]["library_inchikey"] == "QUSNBJAOOMFDIB"
    assert within[0]["library_cosine"] == pytest.approx(100 / 150, abs=1e-4)
    assert within[0]["library_precursor_mz"] == 180.0655
    (hit,) = hits(SpectrumLibrary(library, STEPS, None), spectra(180.0655))
    assert (hit["library_id"], hit["library_name"], hit["library_cosine"]) == ("far", "ethanol", 1.0)


def test_spectra_without_a_hit_have_a_reason(library):
    within, of_any = SpectrumLibrary(library, STEPS, 20.0), SpectrumLibrary(library, STEPS, None)
    no_peak, no_precursor = (row["library_reason"] for row in hits(within, spectra(300.0, np.nan)))
    assert no_peak == "no spectrum of the library within 20 ppm of the precursor m/z shares a peak with this one"
    assert no_precursor.startswith("no precursor m/z is stated: set library_ppm=null")
    assert of_any.columns(None, np.nan) == {"library_reason": "no spectrum of the library shares a peak with this one"}
    assert "library_reason" not in hits(of_any, spectra(np.nan))[0]
    assert hits(within, spectra()) == []


def test_hits_do_not_depend_on_the_other_spectra(library, monkeypatch):
    searched = SpectrumLibrary(library, STEPS, None)
    together = hits(searched, spectra(180.0655, 200.0, 300.0))
    monkeypatch.setattr("trimer.baselines.spectrum_baselines.CHUNK_CELLS", 4)
    assert hits(searched, spectra(180.0655, 200.0, 300.0)) == together
    assert hits(searched, spectra(200.0)) == together[1:2]


def test_a_library_without_usable_spectra_or_a_wrong_tolerance_raises_an_error(tmp_path, library):
    path = tmp_path / "bad.mgf"
    path.write_text(RECORD.format("a", 100.0, "", "85.028 nan\n97 1\n98 1"))
    with pytest.raises(InputError, match=r"none of 1 spectrum can be used; the first: .*is not a positive m/z"):
        SpectrumLibrary(str(path), STEPS, 20.0)
    with pytest.raises(ConfigError, match="library_ppm=0"):
        SpectrumLibrary(library, STEPS, 0)
