from trimer.data.core.drops import DropReport
from trimer.data.molecules import molecule_keys as module
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.data.molecules.molecule_keys import molecule_keys, molecule_table
from trimer.data.molecules.molecule_rules import REPEATED, UNREADABLE

TEXT = ["OCC", "c1ccccc1C", "nonsense", "CCO", "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "Oc1ccccn1", "O=c1cccc[nH]1"]


def corpus(tmp_path) -> SmilesFiles:
    path = tmp_path / "corpus.smi"
    path.write_text("\n".join(TEXT) + "\n")
    return SmilesFiles(str(path))


def test_keys_of_a_molecule():
    keys = molecule_keys("C1=CC=CC=C1C[C@H](N)O")
    assert keys.smiles == "NC(O)Cc1ccccc1"
    assert keys.scaffold == "c1ccccc1"
    assert len(keys.inchikey1) == 14
    assert molecule_keys("C[C@H](N)O", stereo=True).smiles == "C[C@H](N)O"
    assert molecule_keys("CCO").scaffold == ""
    assert molecule_keys("nonsense").dropped == UNREADABLE


def test_tautomers_share_the_key():
    assert molecule_keys("Oc1ccccn1").inchikey1 == molecule_keys("O=c1cccc[nH]1").inchikey1


def test_dropped_molecules_are_counted(tmp_path):
    store = molecule_table(corpus(tmp_path), tmp_path / "cache")
    assert store.columns == ["id", "smiles", "inchikey1", "scaffold"]
    assert store.strings("smiles") == ["CCO", "Cc1ccccc1", "CC(N)C(=O)O", "Oc1ccccn1", "O=c1cccc[nH]1"]
    assert store.strings("id")[0] == "corpus.smi:1"
    report = DropReport.from_dict(store.manifest["drops"])
    dropped = {row["rule"]: row["dropped"] for row in report.rules}
    assert dropped == {UNREADABLE: 1, REPEATED: 2}
    assert report.records == 8
    assert report.left == 5


def test_stereo_distinguishes_enantiomers(tmp_path):
    store = molecule_table(corpus(tmp_path), tmp_path / "cache", stereo=True)
    assert len(store) == 6
    assert store.strings("inchikey1").count(molecule_keys("CC(N)C(=O)O").inchikey1) == 2


def test_keys_are_cached_and_independent_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    source = corpus(tmp_path)
    alone = molecule_table(source, tmp_path / "one")
    pooled = molecule_table(source, tmp_path / "two", workers=2)
    assert [pooled.strings(name) for name in pooled.columns] == [alone.strings(name) for name in alone.columns]
    monkeypatch.setattr(module, "keys_of", lambda *_: 1 / 0)
    assert len(molecule_table(source, tmp_path / "one")) == 5
