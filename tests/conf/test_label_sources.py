"""The sources of the labelled data sets in conf/data, built from their YAML and read from files of the same layout."""

import pytest
from omegaconf import OmegaConf

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core.label_table import LabelTable
from trimer.data.core.splits import column_split
from trimer.data.labelled.deeploc import LOCATIONS

MOLECULENET = {  # data set: file, the header as published, a row, its id and labels
    "superclass": (
        "superclass.csv",
        "smiles,inchikey,superclass,name,cas",
        "CCO,LFQSCWFLJHTTHZ-UHFFFAOYSA-N,Organic oxygen compounds,Ethanol,64-17-5",
        "64-17-5",
        {"superclass": "Organic oxygen compounds"},
    ),
    "bace": (
        "moleculenet/bace.csv",
        "smiles,CID,Class,Model,pIC50",
        "CCO,BACE_1,1,Train,9.15",
        "BACE_1",
        {"Class": "1"},
    ),
    "clintox": (
        "moleculenet/clintox.csv",
        "smiles,FDA_APPROVED,CT_TOX",
        "CCO,1,0",
        "clintox.csv:2",
        {"FDA_APPROVED": "1", "CT_TOX": "0"},
    ),
    "tox21": (
        "moleculenet/tox21.csv",
        "NR-AR,NR-AR-LBD,NR-AhR,NR-Aromatase,NR-ER,NR-ER-LBD,NR-PPAR-gamma,SR-ARE,SR-ATAD5,SR-HSE,SR-MMP,SR-p53,"
        "mol_id,smiles",
        "0,0,1,,,0,0,1,0,0,0,1,TOX3021,CCO",
        "TOX3021",
        {"NR-AR": "0", "NR-AR-LBD": "0", "NR-AhR": "1", "NR-Aromatase": None, "NR-ER": None, "NR-ER-LBD": "0"}
        | {"NR-PPAR-gamma": "0", "SR-ARE": "1", "SR-ATAD5": "0", "SR-HSE": "0", "SR-MMP": "0", "SR-p53": "1"},
    ),
    "esol": (
        "moleculenet/esol.csv",
        "Compound ID,ESOL predicted log solubility in mols per litre,Minimum Degree,Molecular Weight,"
        "Number of H-Bond Donors,Number of Rings,Number of Rotatable Bonds,Polar Surface Area,"
        "measured log solubility in mols per litre,smiles",
        "Amigdalin,-0.97,1,457.4,7,3,7,202.3,-0.77,CCO ",
        "Amigdalin",
        {"measured log solubility in mols per litre": "-0.77"},
    ),
    "lipophilicity": (
        "moleculenet/Lipophilicity.csv",
        "CMPD_CHEMBLID,exp,smiles",
        "C1,3.54,CCO",
        "C1",
        {"exp": "3.54"},
    ),
}
TARGETS = {"single", "multi", "regression"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMER_DATA", str(tmp_path))
    return tmp_path


def read(name: str, *overrides: str):
    """The records, the split's settings, and the whole node of conf/data/<name>.yaml."""
    node = compose("train", [f"data={name}", *overrides]).data
    assert node.entity in ("molecules", "proteins")
    split = OmegaConf.to_container(node.split)
    tables = build(node.source).chunks([split["column"]] if split["column"] else [])
    return LabelTable.concatenate(list(tables)), split, node


@pytest.mark.parametrize("name", MOLECULENET)
def test_published_molecules(data, name):
    path, header, row, record, labels = MOLECULENET[name]
    (data / "molecules" / path).parent.mkdir(parents=True)
    (data / "molecules" / path).write_text(f"{header}\n{row}\n")
    table, _, node = read(name)
    assert (table.ids, table.texts, table.problems) == ([record], ["CCO"], {})
    assert table.labels == {label: [text] for label, text in labels.items()}
    assert node.entity == "molecules"
    assert node.target in TARGETS
    assert (node.target == "multi") == (len(labels) > 1)


@pytest.mark.parametrize("labels", ["location", "membrane"])
def test_deeploc1(data, labels):
    (data / "proteins").mkdir()
    (data / "proteins" / "deeploc1_train_2768.fasta").write_text(">P1 Nucleus-S test\nMK\n>P2 Plastid-M test\nML\n")
    (data / "proteins" / "deeploc1_eval_1678.fasta").write_text(">P3 Nucleus-S\nMM\n")
    table, split, _ = read(f"deeploc1_{labels}")
    assert list(table.labels) == [labels]
    parts = column_split(table.columns[split["column"]], split["names"])
    assert {name: [table.ids[row] for row in parts.rows(name)] for name in parts.names} == {
        "train": ["P1", "P2"],
        "test": ["P3"],
    }


def test_deeploc2(data):
    header = ["", "ACC", "Kingdom", "Partition", "Membrane", *LOCATIONS, "Sequence"]
    rows = [[str(i), f"P{i}", "Fungi", str(i % 5), "0.0", *["1.0"] * 10, "MK"] for i in range(10)]
    (data / "a.csv").write_text("\n".join(",".join(row) for row in (header, *rows)) + "\n")
    table, split, _ = read("deeploc2", f"data.source.path={data / 'a.csv'}")
    assert {name: set(values) for name, values in table.labels.items()} == {name: {"1"} for name in LOCATIONS}
    parts = column_split(table.columns[split["column"]], split["names"])
    assert {name: len(parts.rows(name)) for name in parts.names} == {"train": 6, "val": 2, "test": 2}


def test_foodb(data):
    (data / "molecules" / "foodb").mkdir(parents=True)
    (data / "molecules" / "foodb" / "Compound.csv").write_text(
        "id,public_id,moldb_smiles,superklass\n1,FDB1,CCO,Organic oxygen compounds\n"
    )
    table, _, node = read("foodb")
    assert (table.ids, table.labels) == (["FDB1"], {"superklass": ["Organic oxygen compounds"]})
    assert (node.entity, node.source.rows) == ("molecules", "compounds")


def test_files_of_your_own(data):
    (data / "a.csv").write_text("smiles,y,z\nC,1,0\n")
    (data / "b.csv").write_text("sequence,y\nMK,1\n")
    (data / "c.fasta").write_text(">P1 family=kinase\nMK\n")
    table, *_ = read("labelled_molecules", f"data.source.paths={data / 'a.csv'}", "data.source.labels=[y,z]")
    assert (table.texts, table.labels) == (["C"], {"y": ["1"], "z": ["0"]})
    table, *_ = read("labelled_proteins", f"data.source.paths={data / 'b.csv'}", "data.source.labels=null")
    assert (table.texts, table.labels) == (["MK"], {"y": ["1"]})
    pattern = r"""data.source.pattern='family=(?P<family>\w+)'"""
    table, *_ = read("labelled_fasta", f"data.source.paths={data / 'c.fasta'}", pattern)
    assert (table.texts, table.labels) == (["MK"], {"family": ["kinase"]})
