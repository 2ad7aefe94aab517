"""Peptides in the layouts of search engines and libraries, on small files made here."""

import gzip
import json
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from table_helpers import whole

from trimer.data.peptides.peptide_files import PeptideFiles
from trimer.errors import InputError

OX = "AM[UNIMOD:35]K"
EVIDENCE = """Sequence\tModified sequence\tCharge\tRetention time\tReverse\tPotential contaminant\tExperiment
AMK\t_AM(Oxidation (M))K_\t2\t10.5\t\t\ta
AMK\t_AM(ox)K_\t3\t11.5\t\t\ta
AMK\t_AM(ox)K_\t3\t40\t\t\tb
PEPTIDE\t_(Acetyl (Protein N-term))PEPTIDE_\t2\t20\t\t+\ta
KEDITPEP\t_KEDITPEP_\t2\t30\t+\t\ta
AMK\t_AM(foo)K_\t2\t10\t\t\ta
AMK\t_AMK_\tx\tlate\t\t\tb
NAN\t_NAN_\t9\t\t\t\tb
"""


def write(path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def evidence(tmp_path):
    return write(tmp_path / "evidence.txt", EVIDENCE)


# ---------------------------------------------------------------- what


def test_retention_is_the_median_over_rows_of_a_peptide(evidence, caplog):
    with caplog.at_level(logging.INFO):
        table = whole(PeptideFiles(evidence, "retention"))
    assert table.texts == [OX, "[UNIMOD:1]-PEPTIDE", "KEDITPEP", "_AM(foo)K_", "_AMK_", "NAN"]
    assert table.labels == {"retention": ["11.5", "20", "30", None, None, None]}
    assert table.problems == {2: "decoy", 3: "unknown modification [foo]", 4: "retention late is not a number"}
    assert table.ids[:2] == ["evidence.txt:2", "evidence.txt:5"]
    assert table.places[3] == "evidence.txt, line 7"
    assert "merged 5 rows into 3 peptides with the median retention time" in caplog.text


def test_peptides_are_merged_within_requested_columns(evidence):
    table = whole(PeptideFiles(evidence, "retention"), ["Experiment", "file"])
    assert table.texts[:3] == [OX, OX, "[UNIMOD:1]-PEPTIDE"]
    assert table.labels["retention"][:2] == ["11.0", "40"]
    assert table.columns["Experiment"][:2] == ["a", "b"]
    assert table.columns["file"][0] == "evidence.txt"


def test_every_row_is_kept_without_merge(evidence):
    table = whole(PeptideFiles(evidence, "retention", merge=None))
    assert table.labels["retention"][:3] == ["10.5", "11.5", "40"] and len(table) == 8
    assert len(whole(PeptideFiles(evidence, "retention", merge=None, limit=3))) == 3


def test_charge_gives_one_record_per_row(evidence):
    table = whole(PeptideFiles(evidence, "charge"))
    assert table.labels == {"charge": ["2", "3", "3", "2", "2", None, None, "9"]}
    assert table.problems[6] == "charge x is not a whole number above 0"


def test_charges_of_a_peptide_are_collected(evidence):
    table = whole(PeptideFiles(evidence, "charges"))
    assert list(table.labels) == list("123456")
    assert [label[0] for label in table.labels.values()] == ["0", "1", "1", "0", "0", "0"]
    assert [label[1] for label in table.labels.values()] == ["0", "1", "0", "0", "0", "0"]
    assert table.problems[5] == "charge 9 is above 6" and table.labels["2"][5] is None


# ---------------------------------------------------------------- layouts

LAYOUT_FILES = {
    "maxquant_msms": (
        "Modified sequence\tCharge\tRetention time\tMatches\tReverse\n_AM(ox)K_\t2\t7.5\ty1\t\n",
        "msms.txt",
    ),
    "diann": ("Modified.Sequence\tPrecursor.Charge\tRT\nAM(UniMod:35)K\t2\t7.5\n", "report.tsv"),
    "spectronaut_report": (
        "EG.ModifiedSequence\tFG.Charge\tEG.ApexRT\n_AM[Oxidation (M)]K_\t2\t7.5\n",
        "report.tsv",
    ),
    "spectronaut_library": ("ModifiedPeptide\tPrecursorCharge\tiRT\n_AM[Oxidation (M)]K_\t2\t7.5\n", "library.tsv"),
    "openswath": (
        "ModifiedPeptideSequence\tPrecursorCharge\tNormalizedRetentionTime\n.AM(UniMod:35)K\t2\t7.5\n",
        "library.tsv",
    ),
    "alphabase": ("sequence\tmods\tmod_sites\tcharge\trt\nAMK\tOxidation@M\t2\t2\t7.5\n", "precursors.tsv"),
    "ms2pip": ("peptide,modifications,charge,rt\nAMK,2|Oxidation,2,7.5\n", "peptides.peprec"),
    "deeplc": ("seq,modifications,tr,charge\nAMK,2|Oxidation,7.5,2\n", "dia.csv"),
    "prosit": ("modified_sequence,precursor_charge,irt\n[]-AM[UNIMOD:35]K-[],2,7.5\n", "prosit.csv"),
    "proteometools": ("sequence,irt,charge\nAM[Oxidation]K,7.5,2.0\n", "train.csv"),
    "fragpipe": ("Peptide\tAssigned Modifications\tCharge\tRetention\nAMK\t2M(15.9949)\t2\t7.5\n", "psm.tsv"),
    "sage": ("peptide\tscannr\tlabel\tcharge\trt\nAM[+15.9949]K\t1\t1\t2\t7.5\n", "results.sage.tsv"),
    "koina": ("peptide_sequences,precursor_charges,irt\n[]-AM[UNIMOD:35]K-[],2,7.5\n", "koina.csv"),
    "proforma": ("peptidoform\tretention_time\nAM[Oxidation]K/2\t7.5\n", "psm.tsv"),
}


@pytest.mark.parametrize("layout", LAYOUT_FILES)
def test_layout_is_detected_from_header(tmp_path, layout):
    text, name = LAYOUT_FILES[layout]
    path = write(tmp_path / name, text)
    for named in (None, layout):
        assert whole(PeptideFiles(path, "retention", layout=named)).labels == {"retention": ["7.5"]}
        table = whole(PeptideFiles(path, "charge", layout=named))
        assert (table.texts, table.labels, table.problems) == ([OX], {"charge": ["2"]}, {})


def test_diann_parquet_with_decoys(tmp_path):
    columns = {
        "Modified.Sequence": ["AM(UniMod:35)K", "KMA"],
        "Precursor.Charge": [2, 2],
        "RT": [7.5, 8.0],
        "Decoy": [0, 1],
    }
    pq.write_table(pa.table(columns), tmp_path / "report.parquet")
    table = whole(PeptideFiles(str(tmp_path / "report.parquet"), "retention"))
    assert table.texts == [OX, "KMA"] and table.labels["retention"][0] == "7.5" and table.problems == {1: "decoy"}
    assert table.places[1] == "report.parquet, row 2"


def test_charge_states_as_lists(tmp_path):
    columns = {
        "modified_sequence": ["[]-AM[UNIMOD:35]K-[]", "[]-AAK-[]", "[]-CCK-[]"],
        "observed_charge_states": [[0, 1, 1, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 0, 0, 1]],
    }
    pq.write_table(pa.table(columns), tmp_path / "charge.parquet")
    table = whole(PeptideFiles(str(tmp_path / "charge.parquet"), "charges"))
    assert [label[0] for label in table.labels.values()] == ["0", "1", "1", "0", "0", "0"]
    assert table.problems[1] == "charges [0, 0, 0, 0, 0, 0] is not a list of at most six 0 and 1 with at least one 1"
    assert sorted(table.problems) == [1, 2]


def test_deepphospho(tmp_path):
    records = {"*AE2K.2": {"y1+1-Noloss": 100.0}, "*AE2K.3": {}, "AEK.2": {}, "@AEK": {}}
    path = tmp_path / "dia.json.gz"
    path.write_bytes(gzip.compress(json.dumps(records).encode()))
    table = whole(PeptideFiles(str(path), "charge"))
    assert table.texts == ["[UNIMOD:1]-AES[UNIMOD:21]K", "[UNIMOD:1]-AES[UNIMOD:21]K", "AEK", "AEK"]
    assert table.labels == {"charge": ["2", "3", None, None]}
    assert table.problems == {2: "the first character is neither * nor @"}
    assert table.places[2] == "dia.json.gz, record 3"
    path = write(tmp_path / "bad.json", '{"*AEK.2": {\n')
    with pytest.raises(InputError, match=r"bad.json, line 2: .*export or download it again"):
        whole(PeptideFiles(path, "charge"))


def test_alphabase_hdf(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "library.hdf"
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        frame = file.create_group("library/precursor_df")
        frame["charge"], frame["rt_norm"], frame["mod_seq_charge_hash"] = [2, 3], [0.5, float("nan")], [7, 8]
        apart = file.create_group("library/mod_seq_df")
        apart["mod_seq_charge_hash"] = [8, 7]
        for name, values in {"sequence": ["AAK", "AMK"], "mods": ["", "Oxidation@M"], "mod_sites": ["", "2"]}.items():
            apart.create_dataset(name, data=values, dtype=text)
    table = whole(PeptideFiles(str(path), "retention"), ["charge"])
    assert table.texts == [OX, "AAK"]
    assert table.labels == {"retention": ["0.5", None]} and table.columns == {"charge": ["2", "3"]}


def test_psm_utils(tmp_path):
    pytest.importorskip("psm_utils")
    text = "peptidoform\tspectrum_id\tretention_time\tis_decoy\nAM[Oxidation]K/2\t1\t7.5\tFalse\nKMA/2\t2\t8\tTrue\n"
    path = write(tmp_path / "psms.tsv", text)
    table = whole(PeptideFiles(path, "retention", layout="psm_utils:tsv"))
    assert table.texts == [OX, "KMA"] and table.labels["retention"][0] == "7.5" and table.problems == {1: "decoy"}
    assert whole(PeptideFiles(path, "charge", layout="psm_utils:tsv")).labels["charge"] == ["2", "2"]


def test_missing_package_raises_input_error(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psm_utils.io", None)
    path = write(tmp_path / "psms.idXML", "<x/>")
    with pytest.raises(InputError) as error:
        whole(PeptideFiles(path, "retention"))
    expected = f"{path} is read with psm_utils, which is missing: pip install 'trimer[peptides]'"
    assert str(error.value) == expected


# ---------------------------------------------------------------- named columns, errors


def test_columns_can_be_named(tmp_path):
    path = write(tmp_path / "own.csv", "name,pep,minutes\nfirst,_AM(ox)K_,7.5\n,_AAK_,8\nshort\n")
    source = PeptideFiles(path, "retention", notation="maxquant", sequence="pep", retention="minutes", id_column="name")
    table = whole(source)
    assert table.texts == [OX, "AAK", ""] and table.ids == ["first", "own.csv:3", "short"]
    assert table.labels == {"retention": ["7.5", "8", None]}
    assert table.problems == {2: "fewer cells than the header"}


def test_notation_overrides_that_of_the_layout(tmp_path):
    path = write(tmp_path / "old.csv", "modified_sequence,irt\nAM(ox)K,7.5\n")
    assert whole(PeptideFiles(path, "retention", notation="maxquant")).texts == [OX]


def test_fixed_modifications_that_the_file_omits(tmp_path):
    path = write(tmp_path / "evidence.txt", "Modified sequence\tCharge\tRetention time\n_AC(ox)MCK_\t2\t7.5\n")
    assert whole(PeptideFiles(path, "charge", fixed="Carbamidomethyl@C")).texts == ["AC[UNIMOD:35]MC[UNIMOD:4]K"]
    with pytest.raises(ValueError) as error:
        PeptideFiles(path, "charge", fixed="Carbamidomethyl")
    assert str(error.value) == (
        "fixed=Carbamidomethyl: 'Carbamidomethyl' is not name@residue or name@N-term, such as Carbamidomethyl@C"
    )
    with pytest.raises(ValueError, match=r"fixed=Foo@C: unknown modification \[Foo\]"):
        PeptideFiles(path, "charge", fixed="Foo@C")


def test_fingerprint_changes_with_file_and_settings(evidence):
    first = PeptideFiles(evidence, "retention").fingerprint()
    assert PeptideFiles(evidence, "retention").fingerprint() == first
    assert PeptideFiles(evidence, "charge").fingerprint() != first
    assert PeptideFiles(evidence, "retention", merge=None).fingerprint() != first


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"what": "rt"}, "what=rt must be one of retention, charge, charges"),
        ({"what": "charge", "merge": "mean"}, "merge=mean must be one of median, null"),
        ({"what": "charge", "fdr": 2}, "fdr=2 must be above 0 and at most 1, or null"),
        ({"what": "charge", "limit": 0}, "limit=0 must be 1 or more, or null"),
        (
            {"what": "charge", "notation": "skyline"},
            "notation=skyline must be one of proforma, maxquant, diann, spectronaut, brackets, fragpipe, prosit, "
            "alphabase, ms2pip, deepphospho",
        ),
    ],
)
def test_invalid_settings_raise_value_error(settings, message):
    with pytest.raises(ValueError) as error:
        PeptideFiles("x.csv", **settings)
    assert str(error.value) == message


def test_unknown_layout_raises_value_error():
    with pytest.raises(ValueError, match=r"layout=skyline must be one of maxquant_msms, .*, psm_utils"):
        PeptideFiles("x.csv", "charge", layout="skyline")


def test_missing_columns_raise_input_error(tmp_path, evidence):
    path = write(tmp_path / "strange.csv", "letters,minutes\nAAK,7\n")
    with pytest.raises(InputError) as error:
        whole(PeptideFiles(path, "retention"))
    assert str(error.value) == (
        f"{path}: the columns letters, minutes fit no known layout of peptides: name the column of the "
        "peptides (data.source.sequence, or column to predict), and their notation if it is not ProForma"
    )
    with pytest.raises(InputError) as error:
        whole(PeptideFiles(path, "retention", sequence="letters"))
    assert str(error.value) == f"{path}: this layout has no column for retention; name the column in retention"
    with pytest.raises(InputError, match=r"no column 'RT', there are Sequence"):
        whole(PeptideFiles(evidence, "retention", retention="RT"))
    path = write(tmp_path / "no_rt.csv", "sequence,mods,mod_sites\nAAK,,\n")
    with pytest.raises(InputError, match=r"no_rt.csv: none of the columns rt, rt_observed, rt_norm, irt; name the"):
        whole(PeptideFiles(path, "retention"))
