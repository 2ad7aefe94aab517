"""FooDB in the layout of its CSV release, on small files; the release itself cannot be had here."""

import logging

import pytest
from table_helpers import whole, write_csv

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.labelled.foodb import FooDB
from trimer.errors import InputError

TRUE = "id public_id name state annotation_quality description cas_number moldb_smiles moldb_inchi moldb_mono_mass \
moldb_inchikey moldb_iupac kingdom superklass klass subklass"
PRINTED = "id public_id name moldb_iupac state annotation_quality description cas_number moldb_inchikey moldb_inchi \
moldb_smiles moldb_mono_mass kingdom superklass klass subklass"
COMPOUNDS = {  # id: public_id, name, description, SMILES, superklass, klass
    "4": ("FDB000004", "Ethanol", 'In "wine",\nand beer', "CCO", "Organic oxygen compounds", "Organooxygen compounds"),
    "7": ("FDB000007", "Benzene", "", "c1ccccc1", "Benzenoids", "NULL"),
    "9": ("FDB000009", "Unknown", "", "", "Benzenoids", ""),
    "12": ("FDB000012", "Methane", "", "C", "", ""),
}
KEYS = {"4": "LFQSCWFLJHTTHZ-UHFFFAOYSA-N", "7": "UHOVQNZJYSORNB-UHFFFAOYSA-N", "9": "", "12": ""}


@pytest.fixture(params=[TRUE, PRINTED], ids=["header as columns", "header of 2020"])
def folder(tmp_path, request):
    rows = [
        [
            i,
            public,
            name,
            "Liquid",
            "low",
            text,
            "1-2-3",
            smiles,
            "InChI=1S/C,H",
            "46.04",
            KEYS[i],
            "x",
            "",
            *classes,
            "",
        ]
        for i, (public, name, text, smiles, *classes) in COMPOUNDS.items()
    ]
    write_csv(tmp_path / "Compound.csv", request.param.split(), rows)
    write_csv(
        tmp_path / "Flavor.csv",
        ["id", "name", "flavor_group", "category"],
        [[1, "sweet", "", "odor"], [2, "wine", "", "odor"]],
    )
    links = [[1, 4, 1, ""], [2, 7, 1, ""], [3, 4, 2, ""], [4, 4, 2, ""], [5, 99, 2, ""], [6, 7, 3, ""]]
    write_csv(tmp_path / "CompoundsFlavor.csv", ["id", "compound_id", "flavor_id", "citations"], links)
    write_csv(tmp_path / "HealthEffect.csv", ["id", "name"], [[5, "pesticide"]])
    write_csv(tmp_path / "CompoundsHealthEffect.csv", ["id", "compound_id", "health_effect_id"], [[1, 12, 5]])
    write_csv(tmp_path / "OntologyTerm.csv", ["id", "term", "level"], [[1, "Role", 1], [2, "Food", 2]])
    write_csv(
        tmp_path / "CompoundOntologyTerm.csv",
        ["id", "compound_id", "ontology_term_id"],
        [[1, 4, 1], [2, 7, 1], [3, 7, 2]],
    )
    return str(tmp_path)


def test_classes(folder):
    table = whole(FooDB(folder), ["moldb_inchikey", "name"])
    assert table.ids == ["FDB000004", "FDB000007", "FDB000009", "FDB000012"]
    assert table.texts == ["CCO", "c1ccccc1", "", "C"]
    assert table.labels == {"superklass": ["Organic oxygen compounds", "Benzenoids", "Benzenoids", None]}
    assert table.columns["moldb_inchikey"] == [KEYS["4"], KEYS["7"], None, None]
    assert table.columns["name"][:2] == ["Ethanol", "Benzene"]
    assert table.problems == {2: NO_SEQUENCE}
    assert table.places == [f"Compound.csv, line {line}" for line in (2, 4, 5, 6)], "one description has two lines"
    assert whole(FooDB(folder, "klass")).labels == {"klass": ["Organooxygen compounds", None, None, None]}
    assert whole(FooDB(folder, limit=2)).ids == ["FDB000004", "FDB000007"]


def test_terms_are_yes_or_no_labels(folder, caplog):
    table = whole(FooDB(folder, "flavors"))
    assert table.labels == {"sweet": ["1", "1", None, None], "wine": ["1", "0", None, None]}
    assert list(table.labels) == ["sweet", "wine"], "the most frequent first"
    assert "dropped 2 of 6 links" in caplog.text
    assert list(whole(FooDB(folder, "flavors", terms=1)).labels) == ["sweet"]
    assert whole(FooDB(folder, "health_effects")).labels == {"pesticide": [None, None, None, "1"]}
    assert whole(FooDB(folder, "ontology")).labels == {"Role": ["1", "1", None, None], "Food": ["0", "1", None, None]}


def test_rows_by_flavour_repeat_molecules(folder, caplog):
    table = whole(FooDB(folder, rows="flavors"))
    assert table.ids == ["FDB000004", "FDB000007", "FDB000004", "FDB000004", "FDB000007"]
    assert table.labels["superklass"] == [
        {"FDB000004": "Organic oxygen compounds", "FDB000007": "Benzenoids"}[name] for name in table.ids
    ]
    assert table.places == [f"CompoundsFlavor.csv, line {line}" for line in (2, 3, 4, 5, 7)]
    assert "5 records of 2 compounds" in caplog.text
    assert len(set(whole(FooDB(folder)).ids)) == len(whole(FooDB(folder))) == 4, "by default a compound is there once"


def test_fingerprints(folder, tmp_path):
    sources = [FooDB(folder), FooDB(folder, "klass"), FooDB(folder, "flavors"), FooDB(folder, rows="flavors")]
    sources += [FooDB(folder, "flavors", terms=1), FooDB(folder, limit=1)]
    before = [source.fingerprint() for source in sources]
    assert len(set(before)) == len(sources)
    (tmp_path / "Flavor.csv").write_text("id,name\n1,sour\n2,wine\n")
    changed = [old != source.fingerprint() for old, source in zip(before, sources, strict=True)]
    assert changed == [False, False, True, False, True, False], "only those that read the table"


def test_missing_or_invalid_files_raise_errors(tmp_path, folder, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(InputError, match=r"nowhere: Compound\.csv is missing; unpack the CSV release"):
        FooDB(str(tmp_path / "nowhere")).fingerprint()
    (tmp_path / "Flavor.csv").unlink()
    with pytest.raises(InputError, match=r"Flavor\.csv is missing"):
        whole(FooDB(folder, "flavors"))
    write_csv(tmp_path / "HealthEffect.csv", ["id", "name"], [[6, "pesticide"]])
    with pytest.raises(InputError, match="no compound has a term of health_effects"):
        whole(FooDB(folder, "health_effects"))
    write_csv(
        tmp_path / "Compound.csv", ["id", "public_id", "moldb_smiles", "superklass"], [[4, "FDB4", KEYS["4"], "x"]]
    )
    with pytest.raises(InputError, match="the column moldb_smiles holds InChIKeys; write the names in the order"):
        whole(FooDB(folder))
    write_csv(tmp_path / "Compound.csv", ["id", "public_id", "moldb_smiles", "superclass"], [[4, "FDB4", "C", "x"]])
    with pytest.raises(InputError, match=r"no column 'superklass', .* did you mean superclass"):
        whole(FooDB(folder))
    for arguments, says in (
        ({"label": "color"}, "label=color must be one of superklass"),
        ({"rows": "foods"}, "rows=foods must be one of compounds, flavors"),
        ({"terms": 0}, "terms=0 must be 1 or more"),
        ({"limit": 0}, "limit=0 must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=says):
            FooDB(folder, **arguments)
