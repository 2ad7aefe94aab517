"""Drawings of molecules: SVG for pages, PNG for figures and trackers; bonds shared with another one are tinted."""

from __future__ import annotations

import functools
import re
from typing import Any

from markupsafe import Markup, escape
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdFingerprintGenerator
from rdkit.Chem.Draw import rdMolDraw2D

from trimer.chemistry import identifiers as chemistry
from trimer.reporting.colours import INK

# Heteroatoms as chemists expect them, in shades that stay apart for the colour-blind and on white paper.
_PALETTE = {
    -1: INK, 0: INK, 1: INK, 6: INK, 7: "#0b62b0", 8: "#c8431a", 9: "#00857a", 15: "#b36b00", 16: "#8a6d00",
    17: "#00857a", 35: "#7a3b1d", 53: "#5d3a8c",
}  # fmt: skip
SHARED = "#f3dfae"  # behind atoms that have the same surroundings in both molecules
_RADIUS = 2
_MORGAN = rdFingerprintGenerator.GetMorganGenerator(radius=_RADIUS, fpSize=1 << 20)


def molecule_svg(smiles: str | None, width: int = 220, height: int = 160, shared_with: str | None = None) -> Markup:
    """An inline SVG without background; lines follow the text colour of the page.

    shared_with: a second SMILES; bonds around which both molecules agree up to two bonds away are tinted.
    Text that cannot be read as a molecule gives a box with a note.
    """
    molecule = _laid_out(smiles)
    if smiles is None or molecule is None:
        return _placeholder(smiles, width, height)
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    _draw(drawer, molecule, width, shared_with, clear=False)
    return _compact(drawer.GetDrawingText(), width, height, _title(smiles))


def molecule_png(smiles: str | None, width: int = 300, height: int = 220, shared_with: str | None = None) -> bytes:
    """A PNG on white; `shared_with` as in `molecule_svg`. Text that cannot be read as a molecule gives a note."""
    molecule = _laid_out(smiles)
    drawer = rdMolDraw2D.MolDraw2DCairo(width, height)
    if molecule is None:
        options: Any = drawer.drawOptions()
        options.legendFontSize = 16
        drawer.DrawMolecule(Chem.MolFromSmiles(""), legend="no molecule" if not smiles else "not readable")
        drawer.FinishDrawing()
    else:
        _draw(drawer, molecule, width, shared_with, clear=True)
    return drawer.GetDrawingText()


@functools.lru_cache(maxsize=4096)
def _laid_out(smiles: str | None) -> Chem.Mol | None:
    molecule = chemistry.parse(smiles) if smiles else None
    if molecule is None:
        return None
    rdDepictor.SetPreferCoordGen(True)
    rdDepictor.Compute2DCoords(molecule)
    rdDepictor.NormalizeDepiction(molecule, canonicalize=1)  # the long side lies flat
    rdDepictor.StraightenDepiction(molecule)
    return molecule


def _draw(drawer: Any, molecule: Chem.Mol, width: int, shared_with: str | None, clear: bool) -> None:
    options = drawer.drawOptions()
    options.clearBackground = clear
    options.setAtomPalette({number: _rgb(colour) for number, colour in _PALETTE.items()})
    options.bondLineWidth = 1.3 if width < 260 else 1.6
    options.padding = 0.06
    options.minFontSize, options.maxFontSize = 7, 15
    options.fixedBondLength = 20 if width < 260 else 26  # small molecules do not fill the box with huge bonds
    options.fillHighlights = True
    options.highlightBondWidthMultiplier = 16
    options.highlightRadius = 0.28
    options.continuousHighlight = True
    atoms, bonds = shared_parts(molecule, chemistry.parse(shared_with)) if shared_with else ([], [])
    tint = _rgb(SHARED)
    rdMolDraw2D.PrepareAndDrawMolecule(
        drawer,
        molecule,
        highlightAtoms=atoms,
        highlightBonds=bonds,
        highlightAtomColors=dict.fromkeys(atoms, tint),
        highlightBondColors=dict.fromkeys(bonds, tint),
    )
    drawer.FinishDrawing()


def shared_parts(molecule: Chem.Mol, other: Chem.Mol | None) -> tuple[list[int], list[int]]:
    """Atoms and bonds of a molecule in Morgan environments of radius 2 that the other molecule has too.

    These are the largest fragments that the Tanimoto similarity counts.
    """
    if other is None:
        return [], []
    theirs = set(_environments(other))
    bonds: set[int] = set()
    for bit, places in _environments(molecule).items():
        if bit in theirs:
            for atom, radius in places:
                if radius == _RADIUS:
                    bonds.update(Chem.FindAtomEnvironmentOfRadiusN(molecule, radius, atom))
    ends = [molecule.GetBondWithIdx(bond) for bond in bonds]
    atoms = {end for bond in ends for end in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())}
    return sorted(atoms), sorted(bonds)


def _environments(molecule: Chem.Mol) -> dict[int, tuple]:
    info = rdFingerprintGenerator.AdditionalOutput()
    info.AllocateBitInfoMap()
    _MORGAN.GetSparseFingerprint(molecule, additionalOutput=info)
    return info.GetBitInfoMap()


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _title(smiles: str) -> Markup:
    return escape(smiles if len(smiles) <= 200 else smiles[:197] + "...")


def _compact(svg: str, width: int, height: int, title: Markup) -> Markup:
    """The drawing with coordinates of one decimal and without redundant attributes: a third of the size."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    body = re.sub(r"<!--.*?-->|<rect[^>]*</rect>|\s*class='[^']*'", "", body, flags=re.DOTALL)
    body = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number.group()):.1f}".removesuffix(".0"), body)
    body = re.sub(r"style='([^']*)'", _attributes, body)
    body = re.sub(INK, "currentColor", body, flags=re.IGNORECASE)
    body = re.sub(r"\s*\n\s*", "", body)
    head = f'<svg class="molecule" viewBox="0 0 {width} {height}" role="img"'
    return Markup(f"{head} xmlns='http://www.w3.org/2000/svg'><title>{title}</title>{body}</svg>")


_DEFAULTS = {"fill-rule": "evenodd", "fill-opacity": "1", "stroke-opacity": "1", "stroke-linejoin": "miter"}


def _attributes(style: re.Match) -> str:
    """A style as attributes, without those at their default."""
    pairs = [part.split(":", 1) for part in style.group(1).split(";") if ":" in part]
    kept = {k: v.removesuffix("px") for k, v in pairs if _DEFAULTS.get(k) != v}
    return " ".join(f'{key}="{value}"' for key, value in kept.items())


def _placeholder(smiles: str | None, width: int, height: int) -> Markup:
    text = "no molecule" if not smiles else "not readable"
    box = f'x="{width * 0.2:.0f}" y="{height * 0.32:.0f}" width="{width * 0.6:.0f}" height="{height * 0.36:.0f}" rx="6"'
    middle = f'x="{width / 2:.0f}" y="{height / 2 + 4:.0f}" text-anchor="middle" font-size="12"'
    return Markup(
        f'<svg class="molecule" viewBox="0 0 {width} {height}" role="img" xmlns=\'http://www.w3.org/2000/svg\'>'
        f"<title>{_title(smiles or text)}</title>"
        f'<rect {box} fill="none" stroke="currentColor" stroke-opacity="0.35" stroke-dasharray="4 4"/>'
        f'<text {middle} fill="currentColor" fill-opacity="0.6">{text}</text></svg>'
    )
