"""DeepLoc 1.0 and 2.0 in their publisher's layouts, on small files."""

import pytest
from table_helpers import whole

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.labelled.deeploc import BOTH, LOCATIONS, NO_FLAG, OTHER_LOCATION, TWO_LOCATIONS, DeepLoc1, DeepLoc2
from trimer.data.labelled.label_files import NO_MATCH
from trimer.errors import InputError

FASTA = f"""\
>Q9H400 Cell.membrane-M test
MGLPV
SWAPP
>P1 Lysosome/Vacuole-U
MK
>P2 Cytoplasm-S
ML
>P3 {BOTH}-U
MM
>P4 Nowhere-S
MN
>P5
MP
"""
HEADER = ["", "ACC", "Kingdom", "Partition", "Membrane", *LOCATIONS, "Sequence"]


def test_deeploc1_has_one_location_per_protein(tmp_path):
    (tmp_path / "a.fasta").write_text(FASTA)
    table = whole(DeepLoc1(str(tmp_path / "a.fasta")), ["set"])
    assert table.ids == ["Q9H400", "P1", "P2", "P3", "P4", "P5"]
    assert table.texts[:2] == ["MGLPVSWAPP", "MK"]
    assert table.labels == {"location": ["Cell.membrane", "Lysosome/Vacuole", "Cytoplasm", BOTH, "Nowhere", None]}
    assert table.columns == {"set": ["test"] + ["train"] * 5}
    assert table.problems == {3: TWO_LOCATIONS, 4: OTHER_LOCATION, 5: NO_MATCH}


def test_deeploc1_membrane_label(tmp_path):
    (tmp_path / "a.fasta").write_text(FASTA)
    source = DeepLoc1(str(tmp_path / "a.fasta"), "membrane")
    table = whole(source)
    assert table.labels == {"membrane": ["M", None, "S", None, "S", None]}
    assert table.problems == {5: NO_MATCH}, "the location is not used here"
    assert source.fingerprint() != DeepLoc1(str(tmp_path / "a.fasta")).fingerprint()
    with pytest.raises(ValueError, match="labels=place must be one of location, membrane"):
        DeepLoc1("a.fasta", "place")


def deeploc2(tmp_path, *rows) -> str:
    path = tmp_path / "swissprot.csv"
    lines = [HEADER, *([str(i), *row] for i, row in enumerate(rows))]
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    return str(path)


def flags(*names: str) -> list[str]:
    return ["1.0" if name in names else "0.0" for name in LOCATIONS]


def test_deeploc2_has_several_locations(tmp_path):
    path = deeploc2(
        tmp_path,
        ["P1", "Metazoa", "0", "0.0", *flags("Cytoplasm", "Nucleus"), "MK"],
        ["P2", "Fungi", "4", "1.0", *flags("Cell membrane"), "MKL"],
        ["P3", "Fungi", "3", "", *(["2.0"] + [""] * 9), "ML"],
        ["P4", "Fungi", "3", "1.0", *flags(), ""],
    )
    table = whole(DeepLoc2(path), ["Partition"])
    assert list(table.labels) == list(LOCATIONS)
    labels = {name: texts[:2] for name, texts in table.labels.items()}
    assert labels == {
        name: [str(int(name in ("Cytoplasm", "Nucleus"))), str(int(name == "Cell membrane"))] for name in labels
    }
    assert table.labels["Nucleus"] == ["1", "0", None, "0"]
    assert table.columns == {"Partition": ["0", "4", "3", "3"]}
    assert (table.ids[:2], table.texts[:2]) == (["P1", "P2"], ["MK", "MKL"])
    assert table.problems == {2: NO_FLAG, 3: NO_SEQUENCE}
    assert whole(DeepLoc2(path, "membrane")).labels == {"Membrane": ["0", "1", None, "1"]}


def test_header_cell_may_contain_a_line_break(tmp_path):
    """Copies of the table are about whose id column is called "ACC\\n"."""
    path = deeploc2(tmp_path, ["P1", "Metazoa", "0", "0.0", *flags("Plastid"), "MK"])
    text = (tmp_path / "swissprot.csv").read_text()
    (tmp_path / "swissprot.csv").write_text(text.replace("ACC", '"ACC\n"'))
    table = whole(DeepLoc2(path))
    assert (table.ids, table.labels["Plastid"], table.places) == (["P1"], ["1"], ["swissprot.csv, line 3"])


def test_no_download_if_path_is_set(tmp_path, monkeypatch):
    wanted = []
    path = deeploc2(tmp_path, ["P1", "Metazoa", "0", "0.0", *flags("Plastid"), "MK"])

    def download(url, folder, sha256=None):
        wanted.append((url, folder))
        return path

    monkeypatch.setattr("trimer.data.text.download.download", download)
    assert whole(DeepLoc2(folder="data/d")).ids == ["P1"]
    assert wanted == [(DeepLoc2().url, "data/d")]
    DeepLoc2(path).fingerprint()
    assert len(wanted) == 1
    with pytest.raises(InputError, match="no such file"):
        DeepLoc2(str(tmp_path / "none.csv")).fingerprint()
