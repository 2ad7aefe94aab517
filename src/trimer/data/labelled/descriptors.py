"""Molecules with RDKit descriptors and Morgan counts as labels, for pre-training by multi-task regression.

The method is ChemBERTa-2's MTR (Ahmad et al. 2022), for molecules of any source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import rdkit
from rdkit.Chem import Descriptors, rdFingerprintGenerator

from trimer.chemistry.identifiers import inchikey_block1
from trimer.chemistry.parsed_structures import read_structure
from trimer.data.core.label_table import LabelTable, label_names, limited, settings_text
from trimer.data.core.parallel import in_order
from trimer.data.molecules.molecule_files import MoleculeSource, MoleculeTable
from trimer.data.molecules.molecule_keys import held_out
from trimer.errors import ConfigError

MOST_COUNTS = 4_096
CHUNK = 500  # molecules per task of a worker process
HELD_OUT = "molecule held out elsewhere"
FUNCTIONS = dict(Descriptors.descList)
# Ipc exceeds 1e20; qed is computed from other descriptors and is slow.
DEFAULT = tuple(name for name in FUNCTIONS if name not in ("Ipc", "qed"))


class DescribedMolecules:
    """The molecules of a source with their RDKit descriptors.

    molecules: a source such as SMILES files or PubChem. names: RDKit's names of descriptors; null: all except `Ipc` and
    `qed`. exclude: molecules to drop because a later study is evaluated on them. limit: largest number of molecules.
    workers: worker processes, None for one per CPU core; the values do not depend on it. counts: number of further
    labels, log(1 + count) of Morgan environments of radius 2 folded to so many; None: none. Descriptors that are
    undefined for a molecule, such as partial charges of metals, are missing.
    """

    def __init__(
        self,
        molecules: MoleculeSource,
        names: Sequence[str] | None = None,
        exclude=None,
        limit: int | None = None,
        workers: int | None = None,
        counts: int | None = None,
    ):
        self.names = label_names(names) or list(DEFAULT)
        if unknown := [name for name in self.names if name not in FUNCTIONS]:
            raise ValueError(f"names: RDKit has no descriptor {unknown[0]!r}; choose from {', '.join(FUNCTIONS)}")
        if not 0 <= (counts or 0) <= MOST_COUNTS:
            raise ValueError(f"counts={counts} must be 0 to {MOST_COUNTS:,}, a number of folded Morgan environments")
        self.counts = counts or 0
        self.molecules = molecules
        self.exclude = exclude
        self.limit = limit
        self.workers = workers

    def fingerprint(self) -> str:
        settings = {"names": ",".join(self.names), "limit": self.limit, "rdkit": rdkit.__version__}
        settings |= {"counts": self.counts} if self.counts else {}
        excluded = self.exclude.fingerprint() if self.exclude else None
        return f"{self.molecules.fingerprint()}/{excluded}/{settings_text(settings)}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of a few hundred molecules with the descriptors as labels; there are no other columns."""
        if columns:
            raise ConfigError(
                f"data.split.column={columns[0]}: described molecules have no columns; use data.split.keys"
            )
        return limited(self._tables(), self.limit, "the molecules to describe")

    def _tables(self) -> Iterator[LabelTable]:
        excluded = self.exclude.keys() if self.exclude else frozenset()
        chunks = self.molecules.chunks(CHUNK)
        names = [*self.names, *(f"Morgan {number}" for number in range(self.counts))]
        settings = (self.names, excluded, self.counts)
        for table, (rows, problems) in in_order(_described_table, chunks, self.workers, *settings):
            labels = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
            yield LabelTable(table.ids, table.smiles, labels, {}, list(table.ids), problems | table.problems)


def _described_table(
    table: MoleculeTable, names: Sequence[str], excluded: frozenset[str], counts: int
) -> tuple[list[list[str | None]], dict[int, str]]:
    return described(table.smiles, names, excluded, counts)


def described(
    smiles: Sequence[str], names: Sequence[str], excluded: frozenset[str] = frozenset(), counts: int = 0
) -> tuple[list[list[str | None]], dict[int, str]]:
    """Descriptors and counts of each SMILES as texts, None if undefined, and row -> why it must not be used.

    An invalid SMILES has no descriptors and no problem here; the reader of the sequences reports it.
    """
    rows: list[list[str | None]] = []
    problems: dict[int, str] = {}
    for row, text in enumerate(smiles):
        molecule = read_structure(text)
        if molecule is not None and excluded and held_out(text, [inchikey_block1(molecule)], excluded):
            molecule, problems[row] = None, HELD_OUT
        values = [None if molecule is None else _value(molecule, name) for name in names]
        rows.append(values + _counts(molecule, counts))
    return rows, problems


def _counts(molecule, length: int) -> list[str | None]:
    """log(1 + count) of each folded Morgan environment as text."""
    if not length or molecule is None:
        return [None] * length
    counts = _generator(length).GetCountFingerprintAsNumPy(molecule)
    return [f"{value:.5g}" for value in np.log1p(counts.astype(np.float64))]


@cache
def _generator(length: int) -> Any:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=length)


def _value(molecule, name: str) -> str | None:
    try:
        value = float(FUNCTIONS[name](molecule))
    except (
        ValueError,
        ZeroDivisionError,
        ArithmeticError,
        RuntimeError,
    ):  # for molecules without bonds, or with unusual atoms
        return None
    return f"{value:.7g}" if math.isfinite(value) else None
