"""Molecule drawings are well-formed and self-contained, and never raise an exception."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from rdkit import Chem

from trimer.reporting.drawing import molecule_png, molecule_svg, shared_parts

ODD = [None, "", "C1CC", "not a molecule", "<script>", "[Na+].[Cl-]", "C", "[H][H]", "*C", "CCO" * 60]


@pytest.mark.parametrize("smiles", ["Cn1c(=O)c2c(ncn2C)n(C)c1=O", *ODD])
def test_svg_is_well_formed_and_png_is_png(smiles):
    drawing = molecule_svg(smiles, shared_with="CCO")
    assert ElementTree.fromstring(drawing).tag.endswith("svg")
    assert "<script>" not in drawing
    assert molecule_png(smiles, shared_with="CCO").startswith(b"\x89PNG")


def test_molecules_that_cannot_be_drawn_show_the_reason():
    assert "not readable" in molecule_svg("C1CC")
    assert "no molecule" in molecule_svg(None)


def test_bonds_use_the_text_colour_and_heteroatoms_their_own():
    drawing = molecule_svg("CCO")
    assert "currentColor" in drawing
    assert "#C8431A" in drawing.upper()


def test_the_shared_substructure_is_highlighted_in_both_molecules():
    ester, acid = Chem.MolFromSmiles("CCOC(=O)c1ccccc1"), Chem.MolFromSmiles("OC(=O)c1ccccc1")
    atoms, bonds = shared_parts(ester, acid)
    ring = {atom.GetIdx() for atom in ester.GetAtoms() if atom.GetIsAromatic()}
    assert ring <= set(atoms)
    assert 0 not in atoms  # the methyl of the ester is not in the acid
    assert shared_parts(ester, ester)[1] == list(range(ester.GetNumBonds()))
    assert shared_parts(ester, None) == ([], [])
    assert bonds
