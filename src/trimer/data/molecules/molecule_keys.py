"""Molecules with the keys that splits and exclusions need: canonical SMILES, InChIKey block 1, Murcko scaffold.

An InChIKey takes about 0.3 ms, so the keys of a corpus are computed once, in parallel, and cached in a store that is
named by the content of the source.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from trimer.chemistry.identifiers import inchikey_block1, murcko_scaffold, parse
from trimer.chemistry.parsed_structures import read_structure, rejection_reason
from trimer.data.core.digest_set import Seen
from trimer.data.core.draws import digests
from trimer.data.core.drops import DropReport
from trimer.data.core.parallel import in_order
from trimer.data.core.ragged import Ragged
from trimer.data.core.shards import Piece, Shard
from trimer.data.core.store import Column, Store, StoreWriter, cache_folder, cached_store
from trimer.data.molecules.molecule_files import MoleculeSource, MoleculeTable
from trimer.data.molecules.molecule_rules import REPEATED, UNREADABLE

log = logging.getLogger(__name__)

LAYOUT = 2  # increase when the keys change, so that old caches are not read
CHUNK = 2_000  # molecules per task of a worker process
TABLE = ("id", "smiles", "inchikey1", "scaffold")  # columns of the table of a source


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
    source: MoleculeSource,
    cache_root: str | Path,
    stereo: bool = False,
    workers: int | None = 0,
    shards: Iterable[Piece] | None = None,
) -> Store:
    """The distinct molecules of a source as a store with the text columns id, smiles, inchikey1 and scaffold.

    workers: worker processes, None for one per CPU core; the result does not depend on it. shards: the molecules,
    prepared in shards; null: they are read from the source. The manifest holds the drop report (`drops`): unreadable
    molecules, and duplicates by canonical SMILES.
    """
    recipe = {"layout": LAYOUT, "source": source.fingerprint(), "stereo": stereo}
    folder = cache_folder(cache_root, "molecules", recipe)

    def build(writer: StoreWriter) -> None:
        report = DropReport()
        for counted_rule in (UNREADABLE, REPEATED):
            report.add(counted_rule, [])
        for columns, repeated in distinct(
            molecule_pieces(source, stereo, workers) if shards is None else shards, report
        ):
            kept = np.flatnonzero(~repeated)
            writer.append({name: [columns[name][row] for row in kept] for name in TABLE})
        writer.manifest = {"recipe": recipe, "drops": report.to_dict()}
        log.info("keys of molecules in %s\n%s", folder, report)

    return cached_store(folder, build)


def distinct(pieces: Iterable[Piece], report: DropReport) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    """The columns of each piece, and (n,) bool which of its molecules occurred before; adds to the report."""
    seen = Seen()
    for piece in pieces:
        report.merge(piece.report)
        repeated = seen.repeated(np.asarray(piece.columns["digest"]))
        columns: Mapping[str, Any] = piece.columns
        report.add(REPEATED, [columns["id"][row] for row in np.flatnonzero(repeated)])
        yield columns, repeated


def molecule_pieces(
    source: MoleculeSource,
    stereo: bool,
    workers: int | None,
    shard: Shard | None = None,
    encode: Callable[[str], np.ndarray | None] | None = None,
) -> Iterator[Piece]:
    """The readable molecules of each chunk of a source, or of a shard of it, with duplicates.

    Columns: those of the table, and `digest` of the SMILES. encode: tokens of a SMILES, or None; they become the column
    `tokens`, which is empty for None.
    """
    chunks = source.chunks(CHUNK)
    for table, (keys, tokens) in in_order(
        _prepared_chunk, chunks if shard is None else shard.chunks_of_shard(chunks), workers, stereo, encode
    ):
        report = DropReport(len(table))
        kept: list[int] = []
        for row, (name, key) in enumerate(zip(table.ids, keys, strict=True)):
            rule = table.problems.get(row) or key.dropped
            if rule is None:
                kept.append(row)
            else:
                report.add(rule, [f"{name} ({key.why})" if key.why else name])
        columns: dict[str, Column] = {"id": [table.ids[row] for row in kept]}
        columns |= {name: [getattr(keys[row], name) for row in kept] for name in TABLE[1:]}
        columns["digest"] = digests((keys[row].smiles or "").encode() for row in kept)
        if encode is not None:
            columns["tokens"] = Ragged.pack([tokens[row] for row in kept], np.uint16)
        yield Piece(columns, report)


def _prepared_chunk(
    table: MoleculeTable, stereo: bool, encode: Callable[[str], np.ndarray | None] | None
) -> tuple[list[MoleculeKeys], list[np.ndarray]]:
    """Keys and tokens of the molecules of a chunk."""
    keys = keys_of(table.smiles, stereo)
    if encode is None:
        return keys, []
    encoded = [None if key.smiles is None else encode(key.smiles) for key in keys]
    return keys, [np.zeros(0, np.uint16) if ids is None else ids for ids in encoded]
