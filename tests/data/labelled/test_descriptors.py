"""Described molecules: RDKit's values, what is missing, what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from trimer.chemistry.identifiers import inchikey_block1
from trimer.data.labelled.descriptors import DEFAULT, HELD_OUT, DescribedMolecules
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.errors import ConfigError

SMILES = ["CCO", "c1ccccc1O", "no molecule", "C[Hg]C", "CC(=O)Oc1ccccc1C(=O)O"] * 150


@pytest.fixture
def molecules(tmp_path):
    path = tmp_path / "some.smi"
    path.write_text("".join(f"{text.replace(' ', '_')} m{row}\n" for row, text in enumerate(SMILES)))
    return SmilesFiles(str(path))


class Held:
    def __init__(self, *smiles):
        self.smiles = smiles

    def keys(self):
        return frozenset(inchikey_block1(Chem.MolFromSmiles(text)) for text in self.smiles)

    def fingerprint(self):
        return "/".join(self.smiles)


def test_descriptors_equal_rdkit(molecules):
    tables = list(DescribedMolecules(molecules).chunks())
    assert sum(len(table) for table in tables) == len(SMILES)
    first = tables[0]
    assert first.ids[:2] == ["m0", "m1"]
    assert list(first.labels) == list(DEFAULT) and len(DEFAULT) > 200
    aspirin = Chem.MolFromSmiles(SMILES[4])
    for name in ("MolLogP", "TPSA", "fr_ester", "BertzCT"):
        assert float(first.labels[name][4]) == pytest.approx(dict(Descriptors.descList)[name](aspirin), rel=1e-5)
    assert all(values[2] is None for values in first.labels.values())  # what reads it says that it is no molecule
    assert first.labels["MaxPartialCharge"][3] is None  # metals have no partial charges
    assert not first.problems


def test_descriptors_do_not_depend_on_workers(molecules):
    one, two = (
        list(DescribedMolecules(molecules, names=["TPSA", "MolWt"], workers=workers).chunks()) for workers in (1, 2)
    )
    assert [(table.ids, table.labels) for table in one] == [(table.ids, table.labels) for table in two]


def test_held_out_molecules_are_dropped_and_counted(molecules):
    source = DescribedMolecules(molecules, names=["MolWt"], exclude=Held("Oc1ccccc1"))
    table = next(source.chunks())
    assert {SMILES[row] for row in table.problems} == {"c1ccccc1O"} and set(table.problems.values()) == {HELD_OUT}
    assert source.fingerprint() != DescribedMolecules(molecules, names=["MolWt"]).fingerprint()


def test_invalid_settings_raise_errors(molecules):
    with pytest.raises(ValueError, match="no descriptor 'Weight'"):
        DescribedMolecules(molecules, names=["Weight"])
    with pytest.raises(ConfigError, match="have no columns"):
        next(DescribedMolecules(molecules).chunks(["fold"]))
    assert sum(map(len, DescribedMolecules(molecules, names="MolWt", limit=7).chunks())) == 7


def test_counts_are_further_labels(molecules):
    source = DescribedMolecules(molecules, names=["MolWt"], counts=16, limit=5, workers=1)
    table = next(source.chunks())
    assert list(table.labels) == ["MolWt", *(f"Morgan {number}" for number in range(16))]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=16)
    for row in (0, 1, 3, 4):
        expected = np.log1p(generator.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(SMILES[row])))
        assert [float(values[row]) for values in table.labels.values()][1:] == pytest.approx(expected, abs=1e-4)
    assert all(values[2] is None for values in table.labels.values()), "no molecule"
    assert source.fingerprint() != DescribedMolecules(molecules, names=["MolWt"], limit=5).fingerprint()
    with pytest.raises(ValueError, match="counts=-1 must be 0 to 4,096"):
        DescribedMolecules(molecules, counts=-1)
