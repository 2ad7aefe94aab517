"""Structures as users write them, and RDKit's message where it rejects one."""

from __future__ import annotations

import pytest
from rdkit import Chem, RDLogger

from trimer.chemistry.identifiers import parse
from trimer.chemistry.parsed_structures import read_structure, rejection_reason


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CN(C)(C)(C)C", "Explicit valence for atom # 1 N, 5, is greater than permitted"),
        ("c1ccccc", "unclosed ring"),
        ("CCO;", "syntax error while parsing: CCO;, around position 4"),
        ("c1cccc1", "Can't kekulize mol"),
        ("InChI=1S/nonsense", "not a valid InChI"),
        ("", "empty text"),
        ("CCÖ", "'Ö' is not a sign of SMILES"),
        ("CCO\nCCN", "'\\n' is not a sign of SMILES"),
        ("CC\0", "is not a sign of SMILES"),
        ("CCO.CC(=O)O>[H+]>CCOC(C)=O", "it is a reaction"),
        ("CCO>>CC=O", "it is a reaction"),
    ],
)
def test_the_reason_comes_from_rdkit_and_nothing_is_printed(text, says, capfd):
    RDLogger.DisableLog("rdApp.*")  # other tests import matchms, which enables the RDKit log
    assert read_structure(text) is None
    assert says in rejection_reason(text)
    assert Chem.MolFromSmiles("c1ccccc") is None
    out, err = capfd.readouterr()
    assert (out, err) == ("", ""), "RDKit is silent again afterwards"


def test_a_name_may_follow_the_smiles():
    for text in ("CCO éthanol", "CCO\tethanol", "CCO |$a;;$|"):
        assert Chem.MolToSmiles(read_structure(text)) == "CCO"


def test_inchi_and_smiles_give_the_same_molecule():
    molecule = read_structure("InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3")
    assert Chem.MolToSmiles(molecule) == Chem.MolToSmiles(read_structure("OCC")) == "CCO"


def test_a_smiles_longer_than_the_limit_is_rejected_at_once():
    assert parse("C" * 10_001) is None and parse("C" * 300) is not None
    assert rejection_reason("C" * 100_000) == "100,000 characters, more than the 10,000 that are read"
