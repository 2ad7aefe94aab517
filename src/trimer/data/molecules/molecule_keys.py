"""Molecules with the keys that splits and exclusions need: canonical SMILES, InChIKey block 1, Murcko scaffold.

An InChIKey takes about 0.3 ms, so the keys of a corpus are computed once, in parallel, and cached in a store that is
named by the content of the source.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from rdkit import Chem

from trimer.chemistry.identifiers import inchikey_block1, murcko_scaffold, parse
from trimer.chemistry.structures import read_structure, rejection_reason
from trimer.data.core.drops import DropReport
from trimer.data.core.parallel import in_order
from trimer.data.core.store import Store, StoreWriter, cache_folder, cached_store
from trimer.data.molecules.molecule_files import MoleculeSource, MoleculeTable
from trimer.data.molecules.molecule_rules import REPEATED, UNREADABLE

log = logging.getLogger(__name__)

LAYOUT = 2  # increase when the keys change, so that old caches are not read
CHUNK = 2_000  # molecules per task of a worker process


@dataclass(frozen=True)
class MoleculeKeys:
    """Keys of one molecule. dropped: the rule by which it has none. why: RDKit's message."""

    smiles: str | None = None
    inchikey1: str | None = None
    scaffold: str | None = None
    dropped: str | None = None
    why: str | None = None


def molecule_keys(text: str, stereo: bool = False) -> MoleculeKeys:
    """Canonical SMILES, InChIKey block 1 and scaffold (empty text without rings) of one SMILES or InChI.

    Polymers, R groups and some complexes have no InChIKey or no scaffold: it is replaced by their canonical SMILES
    without stereochemistry.
    """
    molecule = read_structure(text)
    if molecule is None:
        return MoleculeKeys(dropped=UNREADABLE, why=rejection_reason(text))
    try:
        plain = Chem.MolToSmiles(molecule, isomericSmiles=False)
        smiles = Chem.MolToSmiles(molecule) if stereo else plain
    except Exception as error:  # RDKit reads some molecules that it cannot write
        return MoleculeKeys(dropped=UNREADABLE, why=f"RDKit cannot write its SMILES ({str(error).splitlines()[0]})")
    scaffold = murcko_scaffold(molecule)
    return MoleculeKeys(smiles, inchikey_block1(molecule) or plain, plain if scaffold is None else scaffold)


def keys_of(smiles: Sequence[str], stereo: bool = False) -> list[MoleculeKeys]:
    """The keys of molecules, in the same order."""
    return [molecule_keys(text, stereo) for text in smiles]


def held_out(smiles: str | None, keys: Sequence[str | None], excluded: Set[str]) -> bool:
    """Whether a molecule is excluded: by one of its keys, or by a component of a salt or mixture."""
    if not excluded or any(key in excluded for key in keys):
        return bool(excluded)
    components = smiles.split(".") if smiles else []
    return len(components) > 1 and any(inchikey_block1(parse(text)) in excluded for text in components)


def molecule_table(
    source: MoleculeSource, cache_root: str | Path, stereo: bool = False, workers: int | None = 0
) -> Store:
    """The distinct molecules of a source as a store with the text columns id, smiles, inchikey1 and scaffold.

    workers: worker processes, None for one per CPU core; the result does not depend on it. The manifest holds the drop
    report (`drops`): unreadable molecules, and duplicates by canonical SMILES.
    """
    recipe = {"layout": LAYOUT, "source": source.fingerprint(), "stereo": stereo}
    folder = cache_folder(cache_root, "molecules", recipe)

    def build(writer: StoreWriter) -> None:
        report = DropReport()
        for counted_rule in (UNREADABLE, REPEATED):
            report.add(counted_rule, [])
        seen: set[int] = set()
        for table, keys in in_order(_keys_of_table, source.chunks(CHUNK), workers, stereo):
            report.records += len(table)
            kept: list[tuple[str, MoleculeKeys]] = []
            for row, (name, key) in enumerate(zip(table.ids, keys, strict=True)):
                rule = table.problems.get(row) or key.dropped
                if rule is None:
                    # 64-bit hashes: 100 million molecules need a few GB, with 1 false duplicate in 4,000 such corpora.
                    number = hash(key.smiles)
                    rule = REPEATED if number in seen else None
                    seen.add(number)
                if rule is None:
                    kept.append((name, key))
                else:
                    report.add(rule, [f"{name} ({key.why})" if key.why else name])
            writer.append(
                {
                    "id": [name for name, _ in kept],
                    "smiles": [key.smiles for _, key in kept],
                    "inchikey1": [key.inchikey1 for _, key in kept],
                    "scaffold": [key.scaffold for _, key in kept],
                }
            )
        writer.manifest = {"recipe": recipe, "drops": report.to_dict()}
        log.info("keys of molecules in %s\n%s", folder, report)

    return cached_store(folder, build)


def _keys_of_table(table: MoleculeTable, stereo: bool) -> list[MoleculeKeys]:
    return keys_of(table.smiles, stereo)
