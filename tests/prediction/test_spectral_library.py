"""A library is read back as it was written, in every format; each also has what other programs look for."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

from trimer.data.peptides.fragment_files import FragmentFiles, FragmentTable
from trimer.data.peptides.peptide_files import PeptideFiles
from trimer.errors import ConfigError
from trimer.peptides.channels import channels_of
from trimer.peptides.proforma import read_proforma
from trimer.prediction.library_formats import FORMATS
from trimer.prediction.spectral_library import Entry, LibraryFile

CHANNELS = channels_of(["b1", "y1", "y2", "y1-H3PO4"])
PEPTIDES = [
    "[UNIMOD:1]-AC[UNIMOD:4]DEM[UNIMOD:35]K",
    "AS[UNIMOD:21]K-[UNIMOD:2]",
    "[UNIMOD:737]-PEPK[UNIMOD:737]",
    "AK[Formula:C2H3NO][UNIMOD:1]R",
    "M[Formula:C-2[13C2]H4]K[UNIMOD:259]R",
    "PEPTIDE",
]


def entries() -> list[Entry]:
    out = []
    for number, text in enumerate(PEPTIDES):
        peptide = read_proforma(text)
        values = np.random.default_rng(number).random((len(peptide.letters) - 1, 4))
        values[:, 3] *= "UNIMOD:21" in text
        values = (values / values.max()).round(5)
        beside = {"proteins": "P1;P2", "genes": "G1", "energy": 28.0, "instrument": "Lumos", "unseen": "K[UNIMOD:121]"}
        out.append(Entry(peptide, 2, values, None if number else 12.5, **beside))
    return out


def written(path):
    with LibraryFile(path, CHANNELS, min_intensity=0.0, max_fragments=1000) as target:
        for entry in entries():
            target.add_entry(entry)
    return path


def fragments(table: FragmentTable, row: int) -> dict[tuple, float]:
    here = np.flatnonzero(table.row == row)
    names = ("series", "number", "ion_charge", "loss")
    return {tuple(getattr(table, name)[i] for name in names): float(table.intensity[i]) for i in here}


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read_back(tmp_path, suffix):
    if suffix.startswith(".h"):
        pytest.importorskip("h5py")
    path = written(tmp_path / f"library{suffix}")
    table = FragmentTable.concatenate(list(FragmentFiles(str(path)).chunks()))
    assert not table.problems and table.texts == [entry.peptide.proforma for entry in entries()]
    assert table.charge.tolist() == [2] * len(PEPTIDES)
    for row, entry in enumerate(entries()):
        wanted = {}
        for (site, column), value in np.ndenumerate(entry.intensities):
            kind, sites = CHANNELS[column], len(entry.peptide.letters) - 1
            number = site + 1 if kind.series == "b" else sites - site
            if value > 0:
                wanted["by".index(kind.series), number, kind.charge, kind.loss] = value
        assert fragments(table, row) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".parquet"])
def test_the_retention_times_of_a_library_are_read_back(tmp_path, suffix):
    path = written(tmp_path / f"library{suffix}")
    table = next(iter(PeptideFiles(str(path), "retention").chunks()))
    assert table.texts == [entry.peptide.proforma for entry in entries()] and not table.problems
    assert [value and float(value) for value in table.labels["retention"]] == [12.5, *[None] * 5]


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".parquet"])
def test_a_library_read_to_predict_again_keeps_its_precursors_and_plain_cysteines(tmp_path, suffix, caplog):
    """left_out: a model that was trained with carbamidomethyl, which the library states where it is."""
    path = tmp_path / f"library{suffix}"
    with LibraryFile(path, CHANNELS) as target:
        for text, charge in (("ACDK", 2), ("ACDK", 3), ("PEPTIDE", 2)):
            shape = (len(text) - 1, 4)
            target.add_entry(Entry(read_proforma(text), charge, np.ones(shape)))
    source = PeptideFiles(str(path), "charge", merge=None, fdr=None, left_out="Carbamidomethyl@C")
    with caplog.at_level("INFO"):
        table = next(iter(source.chunks()))
    precursors = list(zip(table.texts, table.labels["charge"], strict=True))
    assert precursors == [("ACDK", "2"), ("ACDK", "3"), ("PEPTIDE", "2")] and not table.problems
    assert "rows of fragments are 3 precursors" in caplog.text and "Carbamidomethyl" not in caplog.text


def test_the_table_for_diann(tmp_path):
    rows = list(csv.DictReader(written(tmp_path / "library.tsv").open(), delimiter="\t"))
    first = rows[0]
    assert first["ModifiedPeptide"] == "(UniMod:1)AC(UniMod:4)DEM(UniMod:35)K" and first["ProteinId"] == "P1;P2"
    assert (first["Genes"], first["Tr_recalibrated"], first["Unseen"]) == ("G1", "12.5000", "K[UNIMOD:121]")
    # residues 677.25128, water 18.01056, modifications 42.01057 + 57.02146 + 15.99491, and two protons
    assert float(first["PrecursorMz"]) == pytest.approx(406.15167, abs=1e-4)
    assert rows[-1]["ModifiedPeptide"] == "PEPTIDE" and rows[-1]["Tr_recalibrated"] == ""


def test_the_table_for_spectronaut(tmp_path):
    rows = list(csv.DictReader(written(tmp_path / "library.csv").open()))
    assert rows[0]["ModifiedPeptide"] == "_[Acetyl (N-term)]AC[Carbamidomethyl (C)]DEM[Oxidation (M)]K_"
    assert (rows[0]["iRT"], rows[0]["CollisionEnergy"], rows[0]["UniProtIds"]) == ("12.5000", "28.0", "P1;P2")


def test_parquet_has_types(tmp_path):
    table = pq.read_table(written(tmp_path / "library.parquet"))
    assert str(table.schema.field("PrecursorMz").type) == "double"
    assert str(table.schema.field("FragmentCharge").type) == "int32"
    assert table["Tr_recalibrated"].to_pylist()[-1] is None


def test_msp_records(tmp_path):
    text = written(tmp_path / "library.msp").read_text()
    record = text.split("\n\n")[0].splitlines()
    assert record[0] == "Name: ACDEMK/2"
    assert "Mods=3/0,A,Acetyl/1,C,Carbamidomethyl/4,M,Oxidation" in record[2] and "iRT=12.5000" in record[2]
    assert 'Protein="P1;P2"' in record[2] and 'Gene="G1"' in record[2]
    peaks = [line.split("\t") for line in record[4:]]
    assert record[3] == f"Num peaks: {len(peaks)}"
    assert [float(mz) for mz, *_ in peaks] == sorted(float(mz) for mz, *_ in peaks)
    assert any(name == '"y1/0.0ppm"' and float(mz) == pytest.approx(147.1128, abs=1e-4) for mz, _, name in peaks)


def test_alphabase_tables_fit_each_other(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(written(tmp_path / "library.hdf")) as file:
        frame, mz = file["library/precursor_df"], file["library/fragment_mz_df"]
        assert set(mz) == {"b_z1", "y_z1", "y_z2", "y_modloss_z1"} == set(file["library/fragment_intensity_df"])
        start, stop = frame["frag_start_idx"][:], frame["frag_stop_idx"][:]
        assert (stop - start == frame["nAA"][:] - 1).all() and (start[1:] == stop[:-1]).all()
        assert frame["mods"].asstr()[0] == "Acetyl@Any_N-term;Carbamidomethyl@C;Oxidation@M"
        assert frame["mod_sites"].asstr()[0] == "0;2;5"
        assert mz["y_z1"][4] == pytest.approx(147.1128, abs=1e-3)  # y1 stands at the last cleavage
        assert np.isnan(frame["rt_pred"][1]) and frame["proteins"].asstr()[0] == "P1;P2"


def test_an_unknown_suffix_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"a spectral library needs one of the suffixes \.tsv, \.csv"):
        LibraryFile(tmp_path / "library.xlsx", CHANNELS)


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_leaves_no_file(tmp_path, suffix):
    with pytest.raises(KeyboardInterrupt), LibraryFile(tmp_path / f"library{suffix}", CHANNELS) as target:
        target.add_entry(entries()[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_while_the_file_is_closed_keeps_the_earlier_library(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"library{suffix}"
    path.write_text("earlier")

    def full(self, complete=True):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FORMATS[suffix], "close", full)
    with pytest.raises(OSError, match="No space left"), LibraryFile(path, CHANNELS) as target:
        target.add_entry(entries()[0])
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "earlier"


def test_tables_of_an_earlier_library_are_replaced(tmp_path):
    path = tmp_path / "library.tsv"
    with LibraryFile(path, CHANNELS) as target:
        target.add([{"row": 1, "id": "a", "sequence": "J", "reason": "line 1: unknown residue"}])
    assert target.reasons.read_text() == "row,id,sequence,reason\n1,a,J,line 1: unknown residue\n"
    target.in_training.write_text("of an earlier library")
    with LibraryFile(path, CHANNELS) as target:
        target.add_entry(entries()[0])
    assert list(tmp_path.iterdir()) == [path]
