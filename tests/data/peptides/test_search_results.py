"""What search engines say against a row: decoys, ranks, q-values, labelled peptides, modifications in other columns."""

import gzip
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from trimer.data.core.label_table import LabelTable
from trimer.data.labelled.peptide_labels import LabelledPeptides
from trimer.data.peptides.peptide_files import PeptideFiles

CASES = Path(__file__).parents[2] / "cases" / "peptides"


def whole(path, what="retention", columns=(), **settings) -> LabelTable:
    return LabelTable.concatenate(list(PeptideFiles(str(path), what, **settings).chunks(columns)))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- modifications beside the sequence


def test_assigned_modifications_of_fragpipe_are_read():
    table = whole(CASES / "psm.tsv")
    assert table.texts[0] == "GENFYWYTC[UNIMOD:4]M[UNIMOD:35]K" and not table.problems
    assert all("[UNIMOD:4]" in text and "[UNIMOD:35]" in text for text in table.texts) and len(table) == 20


@pytest.mark.parametrize("column", ["Modifications", "assigned_mods", "Mods", "ptm", "mod_names"])
def test_row_with_unread_modifications_is_dropped(tmp_path, column):
    column = {"assigned_mods": "Assigned Modifications"}.get(column, column)
    path = write(tmp_path / "own.csv", f"sequence,{column},rt\nAMK,2:Oxidation,7\nAAK,Unmodified,8\nAM[+16]K,x,9\n")
    table = whole(path)
    reason = (
        f"column '{column}' has modifications that are not read: name the column in modifications, and its notation"
    )
    assert table.problems == {0: reason}
    assert table.texts[1:] == ["AAK", "AM[UNIMOD:35]K"]


def test_labelled_peptides_with_unread_modifications_are_dropped(tmp_path):
    path = write(tmp_path / "own.csv", "sequence,Modifications,rt\nAMK,M2(Oxidation),7\nAAK,,8\nAM[+16]K,x,9\n")
    table = LabelTable.concatenate(list(LabelledPeptides(str(path), "sequence", "rt").chunks()))
    assert list(table.problems) == [0] and "'Modifications' has modifications that are not read" in table.problems[0]
    assert table.labels == {"rt": ["7", "8", "9"]} and not table.columns


# ---------------------------------------------------------------- decoys, ranks, error rates


def test_decoys_and_lower_ranks_of_sage_are_dropped():
    table = whole(CASES / "sage_decoy.tsv")
    assert table.problems == {2: "decoy", 3: "rank below the first"}
    assert table.texts[:2] == ["LQSRPAAPPAPGPGQLTLR", "AAC[UNIMOD:4]DEFK"]
    assert whole(CASES / "sage_decoy.tsv", fdr=None).problems == {2: "decoy"}


# layout -> header, the cells of a good row, and of bad rows with the reason to drop them
QUALITY = {
    "maxquant": (
        "Modified sequence\tCharge\tRetention time\tPEP\tReverse\n",
        "_AK_\t2\t7\t0.001\t\n",
        {"_AR_\t2\t7\t0.02\t\n": "PEP above 0.01", "_RA_\t2\t7\t0.001\t+\n": "decoy"},
    ),
    "diann": (
        "Modified.Sequence\tPrecursor.Charge\tRT\tQ.Value\tPEP\tDecoy\n",
        "AK\t2\t7\t0.009\t0.5\t0\n",  # the q-value decides
        {"AR\t2\t7\t0.011\t0.001\t0\n": "q-value above 0.01", "RA\t2\t7\t0\t0\t1\n": "decoy"},
    ),
    "spectronaut": (
        "EG.ModifiedSequence\tFG.Charge\tEG.ApexRT\tEG.Qvalue\tEG.IsDecoy\n",
        "_AK_\t2\t7\tNaN\tFalse\n",
        {"_AR_\t2\t7\t0.5\tFalse\n": "q-value above 0.01", "_RA_\t2\t7\t0\tTrue\n": "decoy"},
    ),
    "fragpipe": (
        "Peptide\tAssigned Modifications\tCharge\tRetention\tProbability\tProtein\n",
        "AK\t\t2\t7\t0.99\tsp|P1|X\n",
        {
            "AR\t\t2\t7\t0.95\tsp|P1|X\n": "PEP (1 - probability) above 0.01",
            "RA\t\t2\t7\t0.999\trev_sp|P1|X\n": "decoy",
        },
    ),
    "openswath": (
        "FullUniModPeptideName\tPrecursorCharge\tTr_recalibrated\tm_score\tdecoy\n",
        "AK\t2\t7\t0.001\t0\n",
        {"AR\t2\t7\t0.1\t0\n": "q-value above 0.01", "RA\t2\t7\t0\t1\n": "decoy"},
    ),
    "alphabase": (
        "sequence\tmods\tmod_sites\tcharge\trt\tfdr\tdecoy\n",
        "AK\t\t\t2\t7\t0.001\t0\n",
        {"AR\t\t\t2\t7\t0.1\t0\n": "q-value above 0.01", "RA\t\t\t2\t7\t0\t1\n": "decoy"},
    ),
    "proforma": (
        "peptidoform\tretention_time\tq_value\trank\tproteins\tis_decoy\n",
        "AK/2\t7\t0.001\t1\trev_A;B\tFalse\n",  # one of its proteins is a target
        {
            "AR/2\t7\t0.1\t1\tB\tFalse\n": "q-value above 0.01",
            "RA/2\t7\t0\t2\tB\tFalse\n": "rank below the first",
            "RK/2\t7\t0\t1\tDECOY_A;DECOY_B\tFalse\n": "decoy",
            "KK/2\t7\tgood\t1\tB\tFalse\n": "q-value good (column 'q_value') is not a number",
        },
    ),
}


@pytest.mark.parametrize("what", ["retention", "charge", "charges"])
@pytest.mark.parametrize("layout", QUALITY)
def test_every_layout_drops_decoys_and_matches_above_one_percent_fdr(tmp_path, layout, what):
    header, good, bad = QUALITY[layout]
    path = write(tmp_path / "table.tsv", header + good + "".join(bad))
    assert whole(path, what).problems == dict(enumerate(bad.values(), 1))
    kept = {row: why for row, why in enumerate(bad.values(), 1) if "above" not in why and "rank" not in why}
    kept = {row: why for row, why in kept.items() if "number" not in why}
    assert whole(path, what, fdr=None).problems == kept


def test_fdr_is_configurable(tmp_path):
    header, good, bad = QUALITY["diann"]
    path = write(tmp_path / "table.tsv", header + good + "".join(bad))
    assert whole(path, fdr=0.05).problems == {2: "decoy"}
    assert PeptideFiles(str(path), "charge").fingerprint() != PeptideFiles(str(path), "charge", fdr=0.05).fingerprint()


def test_all_rows_are_kept_for_prediction(tmp_path):
    header, good, bad = QUALITY["diann"]
    path = write(tmp_path / "table.tsv", header + good + "".join(bad))
    assert not whole(path, "nothing").problems


# ---------------------------------------------------------------- labelled peptides, several runs


def test_labelled_peptides_and_runs_are_never_averaged():
    table = whole(CASES / "ev_silac.txt")
    reason = "labelled peptide (labeling state 1): the file does not state which residues carry the label"
    assert table.problems == {1: reason}
    assert table.texts == ["PEPTIDEK", "PEPTIDEK", "PEPTIDER", "PEPTIDER"]
    assert table.labels["retention"] == ["10", "10.4", "700", "11"]


def peptides(count: int) -> list[str]:
    return [f"A{'ACDEFGHILM'[n % 10]}{'ACDEFGHILM'[n // 10]}K" for n in range(count)]


def test_runs_with_shared_peptides_are_aligned_linearly(tmp_path, caplog):
    caplog.set_level("INFO")
    rows = ["Modified sequence\tCharge\tRetention time\tRaw file"]
    rows += [f"_{text}_\t2\t{10 + n}\tlong" for n, text in enumerate(peptides(60))]
    rows += [f"_{text}_\t2\t{(10 + n) / 2 - 3}\tshort" for n, text in enumerate(peptides(30))]
    rows += ["_AAAAAK_\t2\t7\tshort"]  # 2 * (7 + 3) = 20 on the long gradient
    table = whole(write(tmp_path / "evidence.txt", "\n".join(rows) + "\n"), fixed="")
    retention = dict(zip(table.texts, map(float, table.labels["retention"]), strict=True))
    assert len(table) == 61
    assert [retention[text] for text in peptides(60)] == pytest.approx([10 + n for n in range(60)])
    assert retention["AAAAAK"] == pytest.approx(20)
    assert "aligned 1 run to long" in caplog.text


def test_runs_that_cannot_be_aligned_stay_separate(tmp_path, caplog):
    rows = ["Modified sequence\tCharge\tRetention time\tRaw file"]
    rows += [f"_{text}_\t2\t{10 + n}\ta" for n, text in enumerate(peptides(60))]
    rows += [f"_{text}_\t2\t{10 + n * 37 % 30}\tb" for n, text in enumerate(peptides(30))]  # in another order
    table = whole(write(tmp_path / "evidence.txt", "\n".join(rows) + "\n"), fixed="")
    assert len(table) == 90
    assert "1 of 2 runs (b) could not be aligned to a" in caplog.text


def test_files_are_runs_unless_times_are_indexed(tmp_path):
    for name, time in (("a.csv", 10), ("b.csv", 700)):
        write(tmp_path / name, f"seq,modifications,tr\nAAK,,{time}\n")
        write(tmp_path / f"i{name}", f"sequence,irt\nAAK,{time}\n")
    assert whole(tmp_path / "[ab].csv").labels["retention"] == ["10", "700"]
    assert whole(tmp_path / "i[ab].csv").labels["retention"] == ["355.0"]


def test_fragpipe_run_is_taken_from_spectrum_name(tmp_path):
    text = "Spectrum\tPeptide\tAssigned Modifications\tCharge\tRetention\n"
    text += "r1.0.0.2\tAAK\t\t2\t10\nr1.7.7.3\tAAK\t\t3\t12\nr2.0.0.2\tAAK\t\t2\t700\n"
    assert whole(write(tmp_path / "psm.tsv", text)).labels["retention"] == ["11.0", "700"]


# ---------------------------------------------------------------- psm_utils


@pytest.mark.parametrize("name", ["result.idXML", "result.idXML.gz"])
def test_gzipped_files_are_unzipped_for_psm_utils(tmp_path, monkeypatch, name):
    """psm_utils cannot read gzip; a stand-in records the file that it gets."""
    read_files = []

    def psm(text: str, **changes) -> SimpleNamespace:
        form = SimpleNamespace(proforma=text, precursor_charge=2)
        fields = {"retention_time": 7.0, "spectrum_id": "1", "run": "a", "is_decoy": False, "qvalue": 0.0, "pep": None}
        return SimpleNamespace(peptidoform=form, **fields | {"rank": 1, "protein_list": ["P1"]} | changes)

    def read_file(path: str, filetype: str) -> list:
        read_files.append((Path(path).name, Path(path).read_text(), filetype))
        return [psm("AM[UNIMOD:35]K/2"), psm("AAK/2", qvalue=0.5), psm("KAA/2", rank=2), psm("ARK/2", is_decoy=True)]

    monkeypatch.setitem(sys.modules, "psm_utils", ModuleType("psm_utils"))
    monkeypatch.setitem(sys.modules, "psm_utils.io", SimpleNamespace(read_file=read_file))
    text = b"<IdXML/>"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    table = whole(tmp_path / name)
    assert read_files[0] == ("result.idXML", "<IdXML/>", "infer")
    assert table.texts[0] == "AM[UNIMOD:35]K" and table.labels["retention"][0] == "7.0"
    assert table.problems == {1: "q-value above 0.01", 2: "rank below the first", 3: "decoy"}


# ---------------------------------------------------------------- reasons


def test_drop_reasons_describe_the_problem():
    table = whole(CASES / "bad.csv", merge=None)
    assert table.problems == {
        2: "retention inf is not a number",
        5: "retention 12:30 is not a number: write it as one number, in minutes or seconds",
        6: "retention 1,234.5 is not a number: use a decimal point, and no thousands separator",
        10: "retention 12.5 min is not a number: write it without its unit",
    }
    charges = whole(CASES / "bad.csv", "charge")
    bad = {text: why for row, why in charges.problems.items() if (text := charges.texts[row]).startswith("VVV")}
    assert bad == {
        "VVVVVVVV[UNIMOD:1]": "charge 0 is not a whole number above 0",
        "VVVVVVVK": "charge -1 is not a whole number above 0",
        "VVVVVVVM": "charge 2.5 is not a whole number above 0",
        "VVVVVVVQ": "charge 2;3 lists several charges: write one row for each",
    }
    assert charges.labels["charge"][charges.texts.index("VVVVVVVA")] == "2"
