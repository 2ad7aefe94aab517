"""mzXML files (the predecessor of mzML), read by pyteomics."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trimer.data.spectra.readers.mzml import (
    PROFILE,
    add_broken_end,
    parser_errors,
    peaks_of,
    table_of,
    text_of,
    unit_of,
)
from trimer.data.spectra.readers.record_table import Records
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.opening import open_bytes


def read_mzxml(path: Path) -> SpectrumTable:
    """The scans of MS level 2 and above of an mzXML file; `line` holds the scan number."""
    from pyteomics import mzxml
    from pyteomics.xml import XML

    records, survey_scans = Records(unit="scan"), 0
    with open_bytes(path) as file:
        try:
            reader = mzxml.MzXML(file, use_index=False, iterative=True, decode_binary=False)
            # the iterators of MzXML buffer scans to sort nested ones, and would lose them in a truncated file
            for scan in XML.iterfind(reader, "scan"):
                if scan.get("msLevel", 2) < 2:
                    survey_scans += 1
                    continue
                mz, intensity, problem = peaks_of(scan)
                profile = PROFILE if scan.get("centroided") is False else None
                number = int(scan.get("num", len(records) + survey_scans + 1))
                records.add(path, mz, intensity, _fields(scan), number, profile or problem)
        except parser_errors() as error:
            add_broken_end(records, path, error)
    table = table_of(records, path, survey_scans)
    return table.take(np.argsort(table["line"], kind="stable"))  # nested scans end before their parent


def _fields(scan: dict) -> dict[str, str | None]:
    precursor = (scan.get("precursorMz") or [{}])[0]
    time = scan.get("retentionTime")
    seconds = None if time is None else float(time) * (60.0 if unit_of(time, "minute") == "minute" else 1.0)
    energy = scan.get("collisionEnergy")
    return {
        "id": f"scan={scan['num']}" if "num" in scan else None,
        "precursor_mz": text_of(precursor.get("precursorMz")),
        "precursor_intensity": text_of(precursor.get("precursorIntensity")),
        "charge": text_of(precursor.get("precursorCharge")),
        "ms_level": text_of(scan.get("msLevel")),
        "rtinseconds": text_of(seconds),
        "ion_mode": scan.get("polarity"),
        "collision_energy": None if energy is None else f"{float(energy):g} eV",
    }
