"""SDF files of predictions."""

from __future__ import annotations

import csv

import pytest
from rdkit import Chem

from trimer.errors import ConfigError
from trimer.prediction.prediction_tables import PredictionFile
from trimer.prediction.structure_file import reasons_path, write_sdf

COLUMNS = ("row", "id", "precursor_mz", "adduct", "smiles", "p_molecule", "probability of <a>", "reason")
NASTY = "<script>alert(1)</script>\n$$$$\n> <id>"


def row(number: int, name: str, smiles: str | None, reason: str | None = None, **values: object) -> dict:
    return {**dict.fromkeys(COLUMNS), "row": number, "id": name, "smiles": smiles, "reason": reason, **values}


ROWS = [
    row(1, NASTY, "OCC1OC(O)C(O)C(O)C1O", precursor_mz=180.0655, adduct="[M+H]+", **{"probability of <a>": 0.25}),
    row(2, "empty", None, "line 7: no precursor m/z"),
    row(3, "$$$$", "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3", p_molecule=0.5),
    row(4, "no molecule", "this is no molecule"),
]


@pytest.fixture
def path(tmp_path):
    write_sdf(tmp_path / "out.sdf", COLUMNS, ROWS, "smiles")
    return tmp_path / "out.sdf"


def test_each_predicted_molecule_is_a_record_with_coordinates_and_the_columns_as_fields(path):
    first, second, unreadable = Chem.SDMolSupplier(str(path))
    assert Chem.MolToSmiles(first) == "OCC1OC(O)C(O)C(O)C1O" and Chem.MolToSmiles(second) == "CCO"
    assert first.GetPropsAsDict() == {
        "row": 1, "id": "<script>alert(1)</script> $$$$ > <id>", "precursor_mz": 180.0655, "adduct": "[M+H]+",
        "smiles": "OCC1OC(O)C(O)C(O)C1O", "probability of _a_": 0.25,
    }  # fmt: skip
    assert first.GetProp("_Name") == "<script>alert(1)</script> $$$$ > <id>"
    assert not first.GetConformer().Is3D() and first.GetConformer().GetPositions()[:, :2].std() > 0.5
    assert second.GetProp("id").strip() == "$$$$" and second.GetDoubleProp("p_molecule") == 0.5
    assert unreadable.GetNumAtoms() == 0 and unreadable.GetProp("smiles") == "this is no molecule"


def test_rows_without_a_prediction_are_listed_with_their_reasons(path):
    listed = list(csv.DictReader(reasons_path(path).open()))
    assert listed == [
        {"row": "2", "id": "empty", "precursor_mz": "", "adduct": "", "reason": "line 7: no precursor m/z"}
    ]
    write_sdf(path, COLUMNS, ROWS[:1], "smiles")
    assert not reasons_path(path).exists(), "those of the earlier file are gone"


def test_an_error_leaves_the_earlier_file(path):
    before = path.read_bytes()
    with pytest.raises(KeyError):
        write_sdf(path, COLUMNS, [*ROWS, {"reason": None}], "smiles")
    assert path.read_bytes() == before and {one.name for one in path.parent.iterdir()} == {"out.sdf", "out.reasons.csv"}


def test_predictions_without_molecules_have_no_sdf(tmp_path):
    with pytest.raises(ConfigError, match=r"the suffix must be one of \.csv, \.parquet, \.json$"):
        PredictionFile(tmp_path / "out.sdf", COLUMNS, "sequences")
