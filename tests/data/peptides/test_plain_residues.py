"""What plain residues carry: each layout states it, and a file that writes carbamidomethyl has free cysteines."""

import json

import pytest
import yaml

from trimer.cli.configs import shipped_folder
from trimer.data.peptides.fragment_files import FragmentFiles
from trimer.data.peptides.peptide_files import PeptideFiles

CYS = "AC[UNIMOD:4]K"
# layout -> a file with one plain cysteine, and what that cysteine is
PLAIN = {
    "maxquant_evidence": ("Modified sequence\tCharge\tRetention time\n_ACK_\t2\t7\n", CYS),
    "deeplc": ("seq,modifications,tr,charge\nACK,,7,2\n", CYS),
    "proteometools": ("sequence,irt,charge\nACK,7,2\n", CYS),
    "prosit": ("modified_sequence,precursor_charge,irt\n[]-ACK-[],2,7\n", CYS),
    "diann": ("Modified.Sequence\tPrecursor.Charge\tRT\nACK\t2\t7\n", "ACK"),
    "spectronaut_report": ("EG.ModifiedSequence\tFG.Charge\tEG.ApexRT\n_ACK_\t2\t7\n", "ACK"),
    "openswath": ("ModifiedPeptideSequence\tPrecursorCharge\tNormalizedRetentionTime\nACK\t2\t7\n", "ACK"),
    "alphabase": ("sequence\tmods\tmod_sites\tcharge\trt\nACK\t\t\t2\t7\n", "ACK"),
    "ms2pip": ("peptide,modifications,charge,rt\nACK,,2,7\n", "ACK"),
    "proforma": ("peptidoform\tretention_time\nACK/2\t7\n", "ACK"),
}


def texts(path, **settings) -> list[str]:
    return next(iter(PeptideFiles(str(path), "charge", **settings).chunks())).texts


@pytest.mark.parametrize("layout", PLAIN)
def test_default_modification_of_plain_cysteine_by_layout(tmp_path, layout):
    text, meant = PLAIN[layout]
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert texts(path) == [meant]
    assert texts(path, fixed="") == ["ACK"] and texts(path, fixed="Carbamidomethyl@C") == [CYS]


@pytest.mark.parametrize("layout", PLAIN)
def test_layouts_that_write_every_modification_ignore_what_training_left_out(tmp_path, layout):
    text, meant = PLAIN[layout]
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert texts(path, left_out="Carbamidomethyl@C") == [CYS if layout == "proforma" else meant]


def test_predictions_of_trimer_are_read_back_as_they_were_written(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("row,id,sequence,peptide,charge,retention,unseen,in_training,reason\n1,a,ACK,ACK,2,7.5,,no,\n")
    assert texts(path, left_out="Carbamidomethyl@C") == ["ACK"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seq,modifications,tr,charge\nACK,,7,2\nACR,2|Carbamidomethyl,7,2\n", ["ACK", "AC[UNIMOD:4]R"]),
        ("Modified sequence\tCharge\n_ACK_\t2\n_AC(ca)R_\t2\n", ["ACK", "AC[UNIMOD:4]R"]),
    ],
)
def test_plain_cysteine_is_free_if_file_writes_carbamidomethyl(tmp_path, text, expected, caplog):
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert texts(path) == expected
    assert "read as Carbamidomethyl@C" not in caplog.text


def test_omitted_modification_of_training_is_assumed_unless_file_writes_it(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("sequence,charge\nACK,2\n")
    assert texts(path, left_out="Carbamidomethyl@C") == [CYS]
    path.write_text("sequence,charge\nACK,2\nAC[UNIMOD:4]K,2\n")
    assert texts(path, left_out="Carbamidomethyl@C") == ["ACK", CYS]


def test_warning_of_fixed_modification_names_file_and_setting(tmp_path, caplog):
    (tmp_path / "evidence.txt").write_text(PLAIN["maxquant_evidence"][0])
    texts(tmp_path / "evidence.txt")
    assert "evidence.txt: this file does not write Carbamidomethyl@C" in caplog.text
    assert "data.source.fixed" in caplog.text


def test_annotated_spectra_follow_the_same_rule(tmp_path):
    deepphospho, msms = tmp_path / "dia.json", tmp_path / "msms.txt"
    deepphospho.write_text(json.dumps({"@AC2K.2": {"y1+1-Noloss": 1}}))
    msms.write_text("Modified sequence\tCharge\tMatches\tIntensities\n_ACSK_\t2\ty1\t7\n")
    for path, text in ((deepphospho, "AC[UNIMOD:4]S[UNIMOD:21]K"), (msms, "AC[UNIMOD:4]SK")):
        assert next(iter(FragmentFiles(str(path)).chunks())).texts == [text]
        assert "UNIMOD:4" not in next(iter(FragmentFiles(str(path), fixed="").chunks())).texts[0]


@pytest.mark.parametrize("name", ["deepphospho", "deepphospho_charges", "proteometools", "deeplc"])
def test_configs_of_alkylated_data_sets_set_fixed_modification(name):
    text = (shipped_folder() / "data" / f"{name}.yaml").read_text()
    assert yaml.safe_load(text)["source"]["fixed"] == "Carbamidomethyl@C"
