"""Molecules, proteins and peptides from Python values."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from Bio import SeqIO
from Bio.Align import MultipleSeqAlignment
from Bio.Seq import MutableSeq, Seq
from Bio.SeqRecord import SeqRecord
from rdkit import Chem

from trimer.errors import ConfigError, InputError
from trimer.objects import sequences_of

NO_SEQUENCE = "no sequence"


def named(smiles: str, name: str) -> Chem.Mol:
    molecule = Chem.MolFromSmiles(smiles)
    molecule.SetProp("_Name", name)
    return molecule


def test_molecules():
    table = sequences_of([named("OCC", "ethanol"), " CC", "InChI=1S/CH4/h1H4", None, float("nan"), 3], "molecules")
    assert table.ids == ["ethanol", "2", "3", "4", "5", "6"]
    assert table.texts == ["CCO", "CC", "InChI=1S/CH4/h1H4", "", "", ""]
    assert table.places[1] == "input, record 2"
    assert table.problems == {
        3: NO_SEQUENCE,
        4: NO_SEQUENCE,
        5: "a value of type int is not a molecule: give a SMILES, an InChI or an RDKit Mol",
    }


def test_proteins():
    records = [Seq("MK"), SeqRecord(Seq("MKL"), id="P1"), SeqRecord(Seq("ML")), SeqRecord(None, id="P2"), "mk\n"]
    table = sequences_of(records, "proteins")
    assert table.ids == ["1", "P1", "3", "P2", "5"]
    assert table.texts == ["MK", "MKL", "ML", "", "mk"]
    assert table.problems == {3: NO_SEQUENCE}


def test_iterators_and_containers_of_biopython_and_rdkit_are_several_records(tmp_path):
    (tmp_path / "two.fasta").write_text(">P1\nMKL\n>P2\nMK\n")
    (tmp_path / "two.sdf").write_text("".join(f"{Chem.MolToMolBlock(named('CC', name))}$$$$\n" for name in "ab"))
    parsed = sequences_of(SeqIO.parse(tmp_path / "two.fasta", "fasta"), "proteins")
    assert (parsed.ids, parsed.texts) == (["P1", "P2"], ["MKL", "MK"])
    aligned = MultipleSeqAlignment([SeqRecord(Seq("MK"), id="P1"), SeqRecord(Seq("ML"), id="P2")])
    assert sequences_of(aligned, "proteins").ids == ["P1", "P2"]
    assert sequences_of(MutableSeq("MKL"), "proteins").texts == ["MKL"]
    assert sequences_of(Chem.SDMolSupplier(str(tmp_path / "two.sdf")), "molecules").ids == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "entity", "text"),
    [
        ("CCO", "molecules", "CCO"),
        (Chem.MolFromSmiles("OCC"), "molecules", "CCO"),
        (SeqRecord(Seq("MKL"), id="P1"), "proteins", "MKL"),
        (Seq("MKL"), "proteins", "MKL"),
        ({"sequence": "MKL"}, "proteins", "MKL"),
    ],
)
def test_one_value_alone(value, entity, text):
    assert sequences_of(value, entity).texts == [text]


ROWS = [{"ID": "a", "Smiles": "CCO", "name": "x"}, {"ID": "b", "Smiles": None, "name": "y"}]


@pytest.mark.parametrize(
    "values",
    [
        ROWS,
        {name: [row[name] for row in ROWS] for name in ROWS[0]},
        pd.DataFrame(ROWS),
        pl.DataFrame(ROWS),
        pl.DataFrame(ROWS).lazy(),
        pa.Table.from_pylist(ROWS),
    ],
    ids=["dictionaries", "columns", "pandas", "polars", "lazy", "pyarrow"],
)
def test_tables(values):
    table = sequences_of(values, "molecules")
    assert (table.ids, table.texts, table.problems) == (["a", "b"], ["CCO", ""], {1: NO_SEQUENCE})
    assert sequences_of(values, "molecules", id_column="name").ids == ["x", "y"]
    with pytest.raises(InputError, match=r"input: no column 'structures', there are ID, Smiles, name"):
        sequences_of(values, "molecules", column="structures")


@pytest.mark.parametrize("series", [pd.Series, pl.Series, pa.array, np.array, tuple])
def test_series_of_texts(series):
    assert sequences_of(series(["CCO", "CC"]), "molecules").texts == ["CCO", "CC"]


def test_columns_of_molecules_are_read():
    frame = pd.DataFrame({"mol": [Chem.MolFromSmiles("OCC"), None]})
    table = sequences_of(frame, "molecules")
    assert (table.texts, table.problems) == (["CCO", ""], {1: NO_SEQUENCE})


def test_a_row_without_values_does_not_affect_the_others():
    table = sequences_of([{"smiles": "CCO"}, None, {}, {"smiles": "CC"}], "molecules")
    assert table.texts == ["CCO", "", "", "CC"] and list(table.problems) == [1, 2]


def test_bytes_are_one_record_and_a_numpy_text_too():
    assert "type bytes is not a molecule" in sequences_of(b"CCO", "molecules").problems[0]
    assert sequences_of(np.array("CCO"), "molecules").texts == ["CCO"]


def test_columns_of_arrays_are_ignored():
    frame = pd.DataFrame({"smiles": ["CCO", "CC"], "fingerprint": [np.zeros(3), np.zeros(3)]})
    assert sequences_of(frame, "molecules").texts == ["CCO", "CC"]


def test_two_columns_of_one_name_are_an_error():
    frame = pd.DataFrame([["CCO", "CC"]], columns=["smiles", "smiles"])
    for table in (frame, pa.Table.from_arrays([pa.array(["C"]), pa.array(["C"])], ["smiles", "smiles"])):
        with pytest.raises(InputError, match="several columns 'smiles'; rename or remove"):
            sequences_of(table, "molecules")


def test_peptides_of_a_table_are_read_as_those_of_a_file(tmp_path):
    frame = pd.DataFrame({"sequence": ["ACK", "AMK"], "name": ["a", "b"]})
    frame.to_csv(tmp_path / "peptides.csv", index=False)
    written = {"fixed": "Carbamidomethyl@C", "left_out": None}
    table = sequences_of(frame, "peptides", id_column="name", **written)
    file = sequences_of(tmp_path / "peptides.csv", "peptides", id_column="name", **written)
    assert (table.texts, table.ids) == (file.texts, file.ids) == (["AC[UNIMOD:4]K", "AMK"], ["a", "b"])
    for values in (frame, ["PEPTIDEK"], "PEPTIDEK"):
        with pytest.raises(ConfigError, match="notation=nothing must be one of null, proforma, maxquant"):
            sequences_of(values, "peptides", notation="nothing")


def test_columns_of_different_lengths_are_an_error():
    with pytest.raises(InputError, match="lists of equal length; the lengths are smiles: 2, id: 1"):
        sequences_of({"smiles": ["C", "CC"], "id": ["a"]}, "molecules")


def test_peptides():
    table = sequences_of(["PEPM[Oxidation]K/2", "AXK", "", "ACK"], "peptides")
    assert table.texts == ["PEPM[UNIMOD:35]K", "AXK", "", "ACK"]
    assert table.labels == {"charge": ["2", None, None, None]}
    assert table.problems == {1: "residue X is not one of the 20", 2: NO_SEQUENCE}
    assert sequences_of(["ACK"], "peptides").labels == {}


def test_peptides_of_a_table():
    frame = pd.DataFrame({"peptide": ["PEPK", "ACR", "ACK"], "charge": [2, np.nan, -1], "NCE": [30.0, None, 25]})
    table = sequences_of(frame.assign(instrument=["Lumos", None, None]), "peptides")
    assert table.labels == {"charge": ["2", None, None]}
    assert table.columns == {"energy": ["30.0", None, "25.0"], "instrument": ["Lumos", None, None]}
    assert table.problems == {2: "the charge '-1.0' is not a whole number above 0"}
    assert table.places[0] == "input, record 1"
    behind = sequences_of([{"sequence": "PEPK/2"}, {"sequence": "PEM[Oxidation]K/3"}], "peptides")
    assert (behind.texts, behind.labels) == (["PEPK", "PEM[UNIMOD:35]K"], {"charge": ["2", "3"]})
    written = pd.DataFrame({"Modified sequence": ["_AM(ox)K_"], "Charge": [2], "Retention time": [1.5]})
    assert sequences_of(written, "peptides").texts == ["AM[UNIMOD:35]K"], "layouts of files are known"
    assert len(sequences_of(pd.DataFrame({"peptide": []}), "peptides")) == 0


class PSM:
    """Stands for a PSM of psm_utils, which is optional: like it, it is iterable and yet one record."""

    def __init__(self, peptidoform: str, spectrum_id: str, metadata: dict | None = None):
        self.peptidoform = SimpleNamespace(proforma=peptidoform)
        self.spectrum_id, self.metadata = spectrum_id, metadata

    def __iter__(self):
        return iter(vars(self).items())


class TSVReader(list):
    """Stands for a reader of psm_utils, which yields PSMs."""


PSM.__module__ = TSVReader.__module__ = "psm_utils.psm"


def test_psms():
    psms = [PSM("AM[Oxidation]K/2", "scan 1", {"Collision_energy": 30, "instrument": "Lumos"}), PSM("AXK/3", "scan 2")]
    table = sequences_of(psms, "peptides")
    assert (table.ids, table.texts) == (["scan 1", "scan 2"], ["AM[UNIMOD:35]K", "AXK/3"])
    assert table.labels == {"charge": ["2", None]}
    assert table.columns == {"energy": ["30", None], "instrument": ["Lumos", None]}
    assert table.problems == {1: "residue X is not one of the 20"}
    assert sequences_of(psms[0], "peptides").ids == ["scan 1"]
    assert sequences_of(TSVReader(psms), "peptides").ids == ["scan 1", "scan 2"]


def test_psms_of_psm_utils():
    psm_utils = pytest.importorskip("psm_utils")
    psms = psm_utils.PSMList(psm_list=[psm_utils.PSM(peptidoform="AM[Oxidation]K/2", spectrum_id="scan 1")])
    for values in (psms, psms[0]):
        table = sequences_of(values, "peptides")
        assert (table.ids, table.texts, table.labels) == (["scan 1"], ["AM[UNIMOD:35]K"], {"charge": ["2"]})


def test_a_path_is_a_file_and_a_text_is_a_record(tmp_path):
    (tmp_path / "a.smi").write_text("CCO ethanol\n")
    assert sequences_of(tmp_path / "a.smi", "molecules").ids == ["ethanol"]
    assert sequences_of(str(tmp_path / "a.smi"), "molecules").texts == [str(tmp_path / "a.smi")]


def test_an_unknown_entity_is_an_error():
    with pytest.raises(ConfigError, match="entity=genes must be one of molecules, proteins, peptides"):
        sequences_of(["A"], "genes")


def test_optional_packages_are_not_imported():
    packages = ["matchms", "Bio", "pandas", "polars", "psm_utils"]
    code = (
        "import sys; from trimer.objects import sequences_of, spectra_of; import trimer.results;"
        "sequences_of(['CC'], 'molecules'); sequences_of(['MK'], 'proteins'); sequences_of(['MK'], 'peptides');"
        "spectra_of([([1.0], [1.0], 2.0)]);"
        f"print([name for name in {packages} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
