"""Simulated drug-like molecules: a scaffold, often a linker to a second ring, and substituents.

The building blocks are common in medicinal and natural product chemistry; every combination is a valid molecule.
Attachment points are `{}`, filled in order.
"""

from __future__ import annotations

import numpy as np

from trimer.chemistry.identifiers import canonical_smiles
from trimer.errors import ConfigError

# {} becomes a branch, so every substituent starts at the atom it is bonded to.
SCAFFOLDS = (
    "c1ccc({})c({})c1", "c1cc({})ccc1{}", "c1c({})cc({})cc1{}", "c1ccnc({})c1{}", "c1cc({})cnc1{}",
    "c1nc({})cc({})n1", "c1cc2cc({})ccc2nc1{}", "c1ccc2c(c1)c({})cn2{}", "c1ccc2[nH]c({})nc2c1{}",
    "c1cc2ccc({})cc2cc1{}", "c1csc({})c1{}", "c1cc({})oc1{}", "c1nc({})sc1{}", "n1nc({})oc1{}", "c1cn({})nc1{}",
    "c1c({})nnn1{}", "O=C1C=C({})Oc2c1cc({})cc2", "O=c1cc({})oc2cc({})ccc12", "C1CCC({})CC1{}", "C1CCN({})CC1{}",
    "C1CN({})CCN1{}", "C1COCCN1{}", "C1CC({})N({})C1", "O=C1CCCN1C({})C{}", "O=C1NC(=O)C({})({})N1",
    "C1CCc2cc({})c({})cc2C1", "c1ccc2c(c1)CCN({})C2{}", "C1CC1({})C{}", "Cn1c(=O)c2c(nc({})n2{})n(C)c1=O",
    "c1nc(N{})c2ncn({})c2n1", "c1cc2c(cc1{})OCO2", "C1CC2CCC({})(C1)N2{}",
)  # fmt: skip
LINKERS = (
    "C(=O)N{}", "NC(=O){}", "C{}", "CC{}", "O{}", "OC{}", "CO{}", "S(=O)(=O)N{}", "NS(=O)(=O){}", "N{}", "CN{}",
    "C(=O){}", "C(=O)O{}", "OC(=O){}", "S{}", "NC(=O)N{}", "C(=O)NC{}", "CCN(C){}", "/C=C/{}", "C(O){}", "OCCN{}",
    "C(=O)NCC{}", "{}",
)  # fmt: skip
SUBSTITUENTS = (
    "[H]", "[H]", "C", "CC", "C(C)C", "C(C)(C)C", "CCC", "O", "OC", "OCC", "F", "Cl", "Br", "C(F)(F)F",
    "OC(F)(F)F", "C#N", "N", "NC", "N(C)C", "NC(C)=O", "C(=O)O", "C(=O)OC", "C(=O)OCC", "C(=O)N", "C(=O)NC",
    "C(=O)N(C)C", "C(C)=O", "CO", "CN(C)C", "CCO", "CCN", "CC(=O)O", "S(C)(=O)=O", "S(N)(=O)=O", "SC", "C1CC1",
    "N1CCOCC1", "N1CCCC1", "C(O)C", "CCOC", "C=C", "CC(C)C", "OCCN(C)C", "C(=O)NC(C)C", "CNC(C)=O",
    "OCC(O)CNC(C)C",
)  # fmt: skip
# The second ring; the linker is bonded to its first atom.
RINGS = (
    "c1ccccc1", "c1ccc({})cc1", "c1cccc({})c1", "c1ccc({})c({})c1", "c1ccncc1", "c1cccnc1{}", "c1cc({})sc1",
    "c1ccco1", "C1CCCCC1", "C1CCCC1", "C1CCOCC1", "C1CCN({})CC1", "c1ccc2[nH]ccc2c1", "c1ccc2ccccc2c1",
    "c1cnn({})c1", "c1nccs1", "c1ccc2c(c1)OCO2", "c1ncc({})cn1", "C1CC1", "c1cc(OC)c(OC)c(OC)c1",
    "c1ccc(O)c({})c1", "C1CCCN1{}",
)  # fmt: skip


def simulated_molecules(n: int, seed: int = 0) -> list[str]:
    """n distinct molecules as canonical SMILES; a smaller n gives the first molecules of a larger one."""
    random = np.random.Generator(np.random.PCG64(seed))
    distinct: dict[str, None] = {}
    attempts = 0
    while len(distinct) < n:
        attempts += 1
        if attempts > 20 * n + 1000:
            raise ConfigError(
                f"the simulated source has no {n:,} distinct molecules, only {len(distinct):,}: ask for fewer"
            )
        smiles = canonical_smiles(_assemble(random))
        if smiles is not None:
            distinct.setdefault(smiles)
    return list(distinct)


def _assemble(random: np.random.Generator) -> str:
    """SMILES of a random combination of building blocks."""

    def pick(blocks: tuple[str, ...]) -> str:
        return blocks[int(random.integers(len(blocks)))]

    scaffold = pick(SCAFFOLDS)
    sites = scaffold.count("{}")
    linked_site = int(random.integers(sites)) if random.random() < 0.7 else -1
    branches = []
    for site in range(sites):
        if site == linked_site:
            ring = pick(RINGS).replace("1", "8").replace("2", "9")  # ring closure digits that no scaffold uses
            ring = ring.format(*(pick(SUBSTITUENTS).replace("1", "7") for _ in range(ring.count("{}"))))
            branches.append(pick(LINKERS).format(ring))
        else:
            branches.append(pick(SUBSTITUENTS).replace("1", "7"))
    # A branch needs parentheses, unless the scaffold already has them around the attachment point.
    pieces = scaffold.split("{}")
    smiles = pieces[0]
    for branch, rest in zip(branches, pieces[1:], strict=True):
        in_parentheses = smiles.endswith("(") and rest.startswith(")")
        smiles += (branch if in_parentheses else f"({branch})") + rest
    return smiles
