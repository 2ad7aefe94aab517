"""The fragments of a molecule: connected sets of heavy atoms, stored as bit masks.

A fragment results from cutting one bridge bond, or two bonds of one ring that together separate the molecule. Fragments
are cut again, up to `generations` times. Losses of small neutrals (H2O, NH3, CO, HF, HCl, CH3OH, ...) are such cuts, so
they need no separate rule. For speed no RDKit fragment is built: a fragment is a row of 64-bit words, all cuts of all
fragments are one array operation, and masses are products with the mass vector of the atoms.

Shapes: A heavy atoms, B bonds, C cuts, F fragments, W words of 64 atoms (1 up to 64 heavy atoms).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rdkit import Chem

HYDROGEN = 1.00782503207  # Da
_TABLE = Chem.GetPeriodicTable()
_MASSES = np.array([0.0] + [_TABLE.GetMostCommonIsotopeMass(z) for z in range(1, 104)])


@dataclass(frozen=True)
class Skeleton:
    """A molecule as arrays.

    masses: (A,) Da, each atom with its hydrogens. hydrogens: (A,) their number. kinds: (A,) index into ATOM_KINDS.
    bonds: (B, 2) atom indices. orders: (B,) valences broken with the bond: 1, 2, 3; aromatic bonds 1 or 2 as in one
    Kekule structure. bond_kinds: (B,) index into BOND_KINDS.
    sides: (C, W) uint64, the atoms on one side of each cut. cut_bonds: (C, 2) bonds of each cut, the same bond twice
    for a bridge. rings: (C, W) uint64, atoms of the ring that a two-bond cut opens, 0 for a bridge.
    """

    masses: np.ndarray
    hydrogens: np.ndarray
    kinds: np.ndarray
    bonds: np.ndarray
    orders: np.ndarray
    bond_kinds: np.ndarray
    sides: np.ndarray
    cut_bonds: np.ndarray
    rings: np.ndarray

    @property
    def atoms(self) -> int:
        return len(self.masses)


ATOM_KINDS = (
    "C aromatic", "C aromatic next to heteroatom", "C carboxyl", "C carbonyl", "C unsaturated", "CH3 on heteroatom",
    "C between heteroatoms", "C benzylic next to heteroatom", "C branched next to heteroatom", "C next to heteroatom",
    "C benzylic branched", "C benzylic", "CH3", "C branched", "C alkyl",
    "N aromatic", "NH amide", "N amide", "N aniline", "NH2", "NH", "N tertiary", "N unsaturated", "N nitro",
    "O hydroxyl", "O phenol", "O acyl", "OH acid", "O ether", "O double",
    "S aromatic", "S", "S oxidised", "P", "F", "Cl", "Br", "I", "other",
)  # fmt: skip
BOND_KINDS = ("single", "double", "triple", "ring single", "ring double", "aromatic")


def skeleton(molecule: Chem.Mol) -> Skeleton:
    """Convert a sanitised RDKit molecule (no explicit hydrogens) to arrays and find its cuts."""
    atoms = list(molecule.GetAtoms())
    numbers = [atom.GetAtomicNum() for atom in atoms]
    hydrogens = np.array([atom.GetTotalNumHs() for atom in atoms])
    masses = _MASSES[numbers] + hydrogens * HYDROGEN
    kekule = Chem.Mol(molecule)
    Chem.Kekulize(kekule)
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    orders = [int(bond.GetBondTypeAsDouble()) for bond in kekule.GetBonds()]
    aromatic = [bond.GetIsAromatic() for bond in molecule.GetBonds()]
    neighbours: list[list[tuple[int, int]]] = [[] for _ in atoms]
    for index, (a, b) in enumerate(bonds):
        neighbours[a].append((b, index))
        neighbours[b].append((a, index))
    rings = [list(ring) for ring in molecule.GetRingInfo().BondRings()]
    in_ring = {bond for ring in rings for bond in ring}
    bond_kinds = [
        5 if aromatic[i] else (min(orders[i], 2) + 2 if i in in_ring else min(orders[i], 3) - 1)
        for i in range(len(bonds))
    ]
    kinds = _atom_kinds(numbers, hydrogens.tolist(), neighbours, orders, aromatic)
    sides, cut_bonds, opened = _cuts(bonds, neighbours, rings, in_ring)
    words = (len(atoms) + 63) // 64
    return Skeleton(
        masses,
        hydrogens,
        np.array(kinds),
        np.array(bonds, np.int64).reshape(-1, 2),
        np.array(orders, np.int64),
        np.array(bond_kinds, np.int64),
        _pack(sides, words),
        np.array(cut_bonds, np.int64).reshape(-1, 2),
        _pack(opened, words),
    )


def _atom_kinds(
    numbers: list[int],
    hydrogens: list[int],
    neighbours: list[list[tuple[int, int]]],
    orders: list[int],
    aromatic: list[bool],
) -> list[int]:
    """Index into ATOM_KINDS of each atom, from its element, its hydrogens and what it is bonded to."""
    ring_atom = [any(aromatic[bond] for _, bond in around) for around in neighbours]
    double = [[j for j, bond in around if orders[bond] > 1 and not aromatic[bond]] for around in neighbours]
    oxidised = [any(numbers[j] in (8, 16) for j in bonded) and numbers[i] != 8 for i, bonded in enumerate(double)]
    hetero = [sum(numbers[j] != 6 for j, _ in around) for around in neighbours]
    kinds = []
    for i, z in enumerate(numbers):
        around = [j for j, _ in neighbours[i]]
        if z == 6:
            name = _carbon_kind(i, around, hydrogens[i], ring_atom, double, oxidised, hetero, numbers)
        elif z == 7:
            if ring_atom[i]:
                name = "N aromatic"
            elif oxidised[i]:
                name = "N nitro"
            elif double[i]:
                name = "N unsaturated"
            elif any(oxidised[j] for j in around):
                name = "NH amide" if hydrogens[i] else "N amide"
            elif any(ring_atom[j] for j in around):
                name = "N aniline"
            else:
                name = ("N tertiary", "NH", "NH2")[min(hydrogens[i], 2)]
        elif z == 8:
            if double[i]:
                name = "O double"
            elif any(oxidised[j] for j in around):
                name = "OH acid" if hydrogens[i] else "O acyl"
            elif hydrogens[i]:
                name = "O phenol" if any(ring_atom[j] for j in around) else "O hydroxyl"
            else:
                name = "O ether"
        elif z == 16:
            name = "S aromatic" if ring_atom[i] else ("S oxidised" if oxidised[i] else "S")
        else:
            name = {15: "P", 9: "F", 17: "Cl", 35: "Br", 53: "I"}.get(z, "other")
        kinds.append(_KIND_INDEX[name])
    return kinds


def _carbon_kind(
    i: int,
    around: list[int],
    hydrogens: int,
    ring_atom: list[bool],
    double: list[list[int]],
    oxidised: list[bool],
    hetero: list[int],
    numbers: list[int],
) -> str:
    """Name in ATOM_KINDS of carbon i. around: its neighbours. The other lists are by atom, as in `_atom_kinds`."""
    if ring_atom[i]:
        return (
            "C aromatic next to heteroatom" if any(numbers[j] != 6 and ring_atom[j] for j in around) else "C aromatic"
        )
    if oxidised[i]:
        return "C carboxyl" if hetero[i] > 1 else "C carbonyl"
    if double[i]:
        return "C unsaturated"
    conjugated = any(ring_atom[j] or (double[j] and numbers[j] == 6) for j in around)
    if hetero[i]:
        if hydrogens == 3:
            return "CH3 on heteroatom"
        if hetero[i] > 1:
            return "C between heteroatoms"
        if conjugated:
            return "C benzylic next to heteroatom"
        return "C branched next to heteroatom" if hydrogens < 2 else "C next to heteroatom"
    if conjugated:
        return "C benzylic branched" if hydrogens < 2 else "C benzylic"
    return "CH3" if hydrogens == 3 else ("C branched" if hydrogens < 2 else "C alkyl")


_KIND_INDEX = {name: index for index, name in enumerate(ATOM_KINDS)}


def _cuts(
    bonds: list[tuple[int, int]], neighbours: list[list[tuple[int, int]]], rings: list[list[int]], in_ring: set[int]
) -> tuple[list[int], list[tuple[int, int]], list[int]]:
    """Every bridge bond, and every pair of ring bonds, that separates the molecule when cut.

    Returns one side of each cut as a bit mask, its two bonds, and the atoms of the ring that it opens as a bit mask.
    """

    def reach(start: int, closed: set[int]) -> int:
        """Bit mask of the atoms connected to `start` without the bonds in `closed`."""
        seen, todo = 1 << start, [start]
        while todo:
            for atom, bond in neighbours[todo.pop()]:
                if bond not in closed and not seen >> atom & 1:
                    seen |= 1 << atom
                    todo.append(atom)
        return seen

    sides: list[int] = []
    cut_bonds: list[tuple[int, int]] = []
    opened: list[int] = []
    for bond, (a, _) in enumerate(bonds):
        if bond not in in_ring:
            sides.append(reach(a, {bond}))
            cut_bonds.append((bond, bond))
            opened.append(0)
    # Two ring bonds separate the molecule exactly when they belong to the same set of rings.
    rings_of_bond: dict[int, list[int]] = {}
    for index, ring in enumerate(rings):
        for bond in ring:
            rings_of_bond.setdefault(bond, []).append(index)
    classes: dict[tuple[int, ...], list[int]] = {}
    for bond, ring_indices in rings_of_bond.items():
        classes.setdefault(tuple(ring_indices), []).append(bond)
    for shared_rings, members in classes.items():
        if len(members) < 2:
            continue
        ring_atoms = 0
        for bond in rings[shared_rings[0]]:
            ring_atoms |= 1 << bonds[bond][0] | 1 << bonds[bond][1]
        closed = set(members)
        # Without the member bonds the ring falls into beads; walk around it: bead, member, bead, member, ...
        bead_of: dict[int, int] = {}
        beads: list[int] = []
        for bond in members:
            for atom in bonds[bond]:
                if atom not in bead_of:
                    bead = reach(atom, closed)
                    for other in members:
                        for end in bonds[other]:
                            if bead >> end & 1:
                                bead_of[end] = len(beads)
                    beads.append(bead)
        links: dict[int, list[tuple[int, int]]] = {}
        for bond in members:
            a, b = (bead_of[atom] for atom in bonds[bond])
            links.setdefault(a, []).append((b, bond))
            links.setdefault(b, []).append((a, bond))
        order: list[int] = []
        chain: list[int] = []
        bead, last = 0, -1
        for _ in members:
            next_bead, bond = next(link for link in links[bead] if link[1] != last)
            chain.append(bead)
            order.append(bond)
            bead, last = next_bead, bond
        # order[i] joins chain[i] and chain[i + 1]; the beads between order[i] and order[j] are chain[i + 1..j]
        for i in range(len(order)):
            side = 0
            for j in range(i + 1, len(order)):
                side |= beads[chain[j]]
                sides.append(side)
                cut_bonds.append((order[i], order[j]))
                opened.append(ring_atoms)
    return sides, cut_bonds, opened


def _pack(masks: list[int], words: int) -> np.ndarray:
    """(F, W) uint64 from Python integers used as bit masks."""
    low = (1 << 64) - 1
    return np.array([[mask >> 64 * w & low for w in range(words)] for mask in masks], np.uint64).reshape(-1, words)


def unpack(masks: np.ndarray, atoms: int) -> np.ndarray:
    """(F, A) uint8, 1 where the atom is in the fragment."""
    return np.unpackbits(
        masks.view(np.uint8).reshape(len(masks), 8 * masks.shape[1]), axis=1, count=atoms, bitorder="little"
    )


def fragments(skeleton: Skeleton, generations: int = 2, widest: int = 150) -> np.ndarray:
    """(F, W) uint64: the whole molecule first, then every distinct fragment, generation by generation.

    From the second generation on, only the `widest` fragments with the fewest broken bonds (largest first) are cut
    again.
    """
    words = (skeleton.atoms + 63) // 64
    whole = _pack([(1 << skeleton.atoms) - 1], words)
    if not len(skeleton.sides):
        return whole
    collected, parents = whole, whole
    for generation in range(generations):
        children = _children(parents, skeleton)
        merged = np.concatenate([collected, children])
        _, first = np.unique(_keys(merged), return_index=True)
        new = first[first >= len(collected)]
        parents = np.ascontiguousarray(merged[new])
        collected = np.concatenate([collected, parents])
        if generation + 1 < generations and len(parents) > widest:
            bits = unpack(parents, skeleton.atoms)
            broken = (bits[:, skeleton.bonds[:, 0]] != bits[:, skeleton.bonds[:, 1]]) @ skeleton.orders
            parents = parents[np.lexsort((-bits.sum(1), broken))[:widest]]
    return collected


def _keys(masks: np.ndarray) -> np.ndarray:
    """(F,) uint64, one key per mask: the mask itself up to 64 atoms, a hash above."""
    return masks[:, 0] if masks.shape[1] == 1 else masks @ _ODD[: masks.shape[1]]


_ODD = np.random.default_rng(0).integers(1, 2**63, 64, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _children(parents: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Both sides of every cut that separates a parent into two connected fragments."""
    inside = parents[:, None, :] & skeleton.sides  # (F, C, W)
    outside = parents[:, None, :] & ~skeleton.sides
    proper = (inside != 0).any(-1) & (outside != 0).any(-1)
    # Two ring bonds are cut only if the parent has the whole ring. In an open ring, cutting one bond is enough.
    bits = unpack(parents, skeleton.atoms).astype(bool)
    present = bits[:, skeleton.bonds[:, 0]] & bits[:, skeleton.bonds[:, 1]]  # (F, B)
    cut_present = present[:, skeleton.cut_bonds]  # (F, C, 2)
    ring_whole = ((parents[:, None, :] & skeleton.rings) == skeleton.rings).all(-1)
    clean = np.where(cut_present.all(-1), ring_whole, cut_present.any(-1))
    keep = proper & clean
    return np.concatenate([inside[keep], outside[keep]])
