import itertools

import networkx
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt

from trimer.simulate.fragmentation import ATOM_KINDS, fragments, skeleton, unpack

MOLECULES = {
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "flavone": "O=c1cc(-c2ccccc2)oc2ccccc12",
    "spiro": "C1CCC2(CC1)OCCO2",
    "bicycle": "C1CC2CCC1C2",
}


def pieces_of(smiles: str, generations: int = 2) -> tuple:
    frame = skeleton(Chem.MolFromSmiles(smiles))
    return frame, unpack(fragments(frame, generations), frame.atoms)


@pytest.mark.parametrize("smiles", MOLECULES.values(), ids=MOLECULES)
def test_fragments_are_connected_and_distinct(smiles):
    frame, bits = pieces_of(smiles, generations=3)
    graph = networkx.Graph(frame.bonds.tolist())
    assert bits[0].all()
    assert len(np.unique(bits, axis=0)) == len(bits)
    assert all(networkx.is_connected(graph.subgraph(np.flatnonzero(row))) for row in bits)


@pytest.mark.parametrize("smiles", MOLECULES.values(), ids=MOLECULES)
def test_the_first_generation_cuts_one_or_two_bonds(smiles):
    frame, bits = pieces_of(smiles, generations=1)
    graph = networkx.Graph(frame.bonds.tolist())
    expected = set()
    bonds = [tuple(bond) for bond in frame.bonds.tolist()]
    bridges = {tuple(sorted(bond)) for bond in networkx.bridges(graph)}
    pairs = itertools.combinations([b for b in bonds if tuple(sorted(b)) not in bridges], 2)
    for cut in [*((bond,) for bond in bridges), *pairs]:
        opened = graph.copy()
        opened.remove_edges_from(cut)
        parts = list(networkx.connected_components(opened))
        if len(parts) == 2:
            expected |= {frozenset(part) for part in parts}
    generated = {frozenset(np.flatnonzero(row).tolist()) for row in bits[1:]}
    assert generated == expected


def test_fragment_masses_add_up():
    molecule = Chem.MolFromSmiles(MOLECULES["caffeine"])
    assert skeleton(molecule).masses.sum() == pytest.approx(ExactMolWt(molecule), abs=1e-6)


def test_more_than_64_atoms_are_supported():
    frame, bits = pieces_of("C" * 70, generations=1)
    assert frame.sides.shape == (69, 2)
    assert sorted(bits.sum(1).tolist()) == sorted([*range(1, 70), *range(1, 70), 70])
    assert len(np.unique(bits, axis=0)) == len(bits)


def test_a_single_atom_has_no_cut():
    frame, bits = pieces_of("C")
    assert bits.tolist() == [[1]]
    assert frame.bonds.shape == (0, 2)


def test_atom_types_are_distinguished():
    frame, _ = pieces_of(MOLECULES["paracetamol"])
    kinds = [ATOM_KINDS[kind] for kind in frame.kinds]
    assert kinds[1:4] == ["C carboxyl", "O double", "NH amide"]
    assert kinds[8] == "O phenol"
    assert set(kinds[4:8] + kinds[9:]) == {"C aromatic"}
