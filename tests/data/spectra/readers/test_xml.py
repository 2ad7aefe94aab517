"""Readers of mzML and mzXML, compared with pyteomics on tiny runs."""

import base64
import gzip
import zlib

import numpy as np
import pytest

from trimer.data.spectra.readers import read_spectra
from trimer.errors import InputError

MZ, INTENSITY = np.array([138.0662, 110.0713, 69.0447]), np.array([999.0, 20.5, 30.0])


def cv(accession, name, value="", unit=""):
    unit = f' unitCvRef="UO" unitAccession="{unit[:10]}" unitName="{unit[11:]}"' if unit else ""
    return f'<cvParam cvRef="MS" accession="{accession}" name="{name}" value="{value}"{unit}/>'


def array(values, kind):
    text = base64.b64encode(zlib.compress(np.asarray(values, "<f8").tobytes())).decode()
    return (
        f'<binaryDataArray encodedLength="{len(text)}">{cv("MS:1000523", "64-bit float")}'
        f"{cv('MS:1000574', 'zlib compression')}{kind}<binary>{text}</binary></binaryDataArray>"
    )


def mzml_scan(number, level=2, mz=MZ, intensity=INTENSITY, precursor=195.0877, mode="MS:1000127", target=195.1):
    ion = cv("MS:1000744", "selected ion m/z", precursor) + cv("MS:1000041", "charge state", 1) if precursor else ""
    precursors = (
        '<precursorList count="1"><precursor><isolationWindow>'
        + (cv("MS:1000827", "isolation window target m/z", target) if target else "")
        + f'</isolationWindow><selectedIonList count="1"><selectedIon>{ion}</selectedIon></selectedIonList><activation>'
        + cv("MS:1000045", "collision energy", "35.0", "UO:0000266 electronvolt")
        + "</activation></precursor></precursorList>"
    )
    return (
        f'<spectrum index="{number - 1}" id="controllerType=0 controllerNumber=1 scan={number}" '
        f'defaultArrayLength="{len(mz)}">{cv("MS:1000511", "ms level", level)}{cv("MS:1000130", "positive scan")}'
        f"{cv(mode, 'centroid spectrum' if mode == 'MS:1000127' else 'profile spectrum')}"
        f'<scanList count="1"><scan>{cv("MS:1000016", "scan start time", "1.5", "UO:0000031 minute")}</scan></scanList>'
        f"{precursors if level > 1 else ''}"
        '<binaryDataArrayList count="2">'
        + array(mz, cv("MS:1000514", "m/z array"))
        + array(intensity, cv("MS:1000515", "intensity array"))
        + "</binaryDataArrayList></spectrum>\n"
    )


def mzml(*scans):
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1.0"><run id="r">'
        f'<spectrumList count="{len(scans)}">\n{"".join(scans)}</spectrumList></run></mzML>\n'
    ).encode()


def mzxml_scan(number, level=2, precursor="195.0877", extra='polarity="+" centroided="1"'):
    peaks = base64.b64encode(np.column_stack([MZ, INTENSITY]).astype(">f8").tobytes()).decode()
    ion = f'<precursorMz precursorIntensity="1200" precursorCharge="1">{precursor}</precursorMz>' if precursor else ""
    return (
        f'<scan num="{number}" msLevel="{level}" peaksCount="3" {extra} retentionTime="PT90.0S" collisionEnergy="35">'
        f'{ion if level > 1 else ""}<peaks precision="64" byteOrder="network" contentType="m/z-int" '
        f'compressionType="none">{peaks}</peaks></scan>\n'
    )


def mzxml(*scans):
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<mzXML xmlns="http://sashimi.sourceforge.net/schema_revision/mzXML_3.2">'
        f'<msRun scanCount="{len(scans)}">\n{"".join(scans)}</msRun></mzXML>\n'
    ).encode()


def write(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "name", "native"),
    [
        (mzml(mzml_scan(6, level=1), mzml_scan(7)), "a.mzML", "controllerType=0 controllerNumber=1 scan=7"),
        (mzxml(mzxml_scan(6, level=1), mzxml_scan(7)), "a.mzXML", "scan=7"),
    ],
)
def test_fragment_scans(tmp_path, data, name, native):
    plain = read_spectra(write(tmp_path, data, name))
    packed = read_spectra(write(tmp_path, gzip.compress(data), name + ".gz"))
    for table in (plain, packed):
        assert len(table) == 1
        for field, value in {
            "id": native,
            "problem": None,
            "precursor_mz": 195.0877,
            "charge": 1,
            "ms_level": 2,
            "retention_time": 90.0,
            "ion_mode": "positive",
            "collision_energy": "35 eV",
            "line": 7,
        }.items():
            assert table[field][0] == value, field
        assert table.peaks(0)[0].tolist() == [69.0447, 110.0713, 138.0662]
        assert table.peaks(0)[1].tolist() == [30.0, 20.5, 999.0]


def test_mzml_without_selected_ion_uses_the_isolation_window(tmp_path):
    table = read_spectra(write(tmp_path, mzml(mzml_scan(1, precursor=None)), "a.mzML"))
    assert table["precursor_mz"][0] == 195.1 and table["problem"][0] is None


def test_possible_charges_of_mzml_are_a_choice(tmp_path):
    one = cv("MS:1000041", "charge state", 1)
    two, three = (cv("MS:1000633", "possible charge state", charge) for charge in (2, 3))
    scans = [mzml_scan(1).replace(one, two + three), mzml_scan(2).replace(one, two)]
    table = read_spectra(write(tmp_path, mzml(*scans), "a.mzML"))
    assert table["charge"].tolist() == [0, 2] and table["charge_text"].tolist() == ["2 and 3", "2"]


@pytest.mark.parametrize(
    ("data", "name", "says"),
    [
        (mzml(mzml_scan(3, precursor=None, target=None), mzml_scan(4)), "a.mzML", "no precursor m/z"),
        (mzml(mzml_scan(3, mode="MS:1000128"), mzml_scan(4)), "a.mzML", "profile mode"),
        (mzml(mzml_scan(3, intensity=np.array([1.0, np.nan, 2.0])), mzml_scan(4)), "a.mzML", "(110.071, nan)"),
        (mzml(mzml_scan(3, mz=np.zeros(0), intensity=np.zeros(0)), mzml_scan(4)), "a.mzML", "no peaks"),
        (mzxml(mzxml_scan(3, precursor=None), mzxml_scan(4)), "a.mzXML", "no precursor m/z"),
        (mzxml(mzxml_scan(3, extra='centroided="0"'), mzxml_scan(4)), "a.mzXML", "profile mode"),
    ],
)
def test_unusable_scans_are_kept_with_their_problem(tmp_path, data, name, says):
    path = write(tmp_path, data, name)
    table = read_spectra(path)
    assert len(table) == 2 and table["problem"][1] is None
    assert table["problem"][0].startswith(f"{path}, scan 3: ") and says in table["problem"][0]


@pytest.mark.parametrize(
    ("data", "name"),
    [(mzml(*map(mzml_scan, range(1, 6))), "a.mzML"), (mzxml(*map(mzxml_scan, range(1, 6))), "a.mzXML")],
)
def test_a_truncated_run_keeps_its_scans(tmp_path, data, name):
    path = write(tmp_path, data[: data.index(b'scan=4"' if name == "a.mzML" else b'num="4"') + 300], name)
    table = read_spectra(path)
    assert table["problem"][:3].tolist() == [None] * 3
    assert len(table) == 4 and "broken after this scan" in table["problem"][3]


@pytest.mark.parametrize(
    ("data", "name"),
    [(mzml(*map(mzml_scan, range(3, 6))), "a.mzML"), (mzxml(*map(mzxml_scan, range(3, 6))), "a.mzXML")],
)
def test_damaged_peaks_concern_only_their_scan(tmp_path, data, name):
    tag = b"<binary>" if name == "a.mzML" else b'compressionType="none">'
    start = data.index(tag) + len(tag)
    path = write(tmp_path, data[:start] + b"abcde" + data[start:], name)
    table = read_spectra(path)
    assert len(table) == 3 and table["problem"][1:].tolist() == [None, None]
    assert table["problem"][0].startswith(f"{path}, scan 3: the peaks cannot be decoded")


def test_nested_scans_of_mzxml(tmp_path):
    third = mzxml_scan(3, level=3)
    second = mzxml_scan(2).replace("</scan>", third + "</scan>")
    first = mzxml_scan(1, level=1).replace("</scan>", second + mzxml_scan(4) + "</scan>")
    table = read_spectra(write(tmp_path, mzxml(first), "a.mzXML"))
    assert table["line"].tolist() == [2, 3, 4] and table["ms_level"].tolist() == [2, 3, 2]
    assert table.peak_counts.tolist() == [3, 3, 3]


def test_files_without_fragment_scans_raise(tmp_path):
    with pytest.raises(InputError, match="none of its 1 scans has MS level 2"):
        read_spectra(write(tmp_path, mzml(mzml_scan(1, level=1)), "a.mzML"))
    with pytest.raises(InputError, match=r"is not an mzML file .it begins with 'hello'"):
        read_spectra(write(tmp_path, b"hello", "a.mzML"))
    with pytest.raises(InputError, match="damaged or truncated before its first"):
        read_spectra(write(tmp_path, b"<mzML><run", "a.mzML"))
    with pytest.raises(InputError, match="is not an mzXML file"):
        read_spectra(write(tmp_path, b"hello", "a.mzXML"))


@pytest.mark.parametrize("name", ["a.mzML", "a.mzXML"])
def test_agrees_with_matchms(tmp_path, name):
    importing = pytest.importorskip("matchms.importing")
    data = mzml(*map(mzml_scan, range(1, 6))) if name == "a.mzML" else mzxml(*map(mzxml_scan, range(1, 6)))
    load = importing.load_from_mzml if name == "a.mzML" else importing.load_from_mzxml
    path = write(tmp_path, data, name)
    table, spectra = read_spectra(path), list(load(str(path)))
    assert len(table) == len(spectra) == 5
    for row, spectrum in enumerate(spectra):
        assert np.array_equal(table.peaks(row)[0], spectrum.peaks.mz)
        assert np.array_equal(table.peaks(row)[1], spectrum.peaks.intensities.astype(np.float32))
        assert table["precursor_mz"][row] == spectrum.get("precursor_mz")
