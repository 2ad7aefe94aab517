"""Molecules with RDKit's descriptors as labels: an encoder that has learnt to tell them knows chemistry.

The second pre-training of ChemBERTa-2 (Ahmad et al. 2022, multi-task regression), on molecules of any source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import rdkit
from rdkit.Chem import Descriptors

from trimer.chemistry.identifiers import inchikey_block1
from trimer.chemistry.structures import read_structure
from trimer.data.core.label_table import LabelTable, label_names, limited, settings_text
from trimer.data.core.parallel import in_order
from trimer.data.molecules.molecule_files import MoleculeSource, MoleculeTable
from trimer.data.molecules.molecule_keys import held_out
from trimer.errors import ConfigError

PART = 500  # molecules that one process handles at a time
HELD_OUT = "molecule held out elsewhere"
FUNCTIONS = dict(Descriptors.descList)
# Ipc goes beyond 1e20, qed is made of others and takes as long as a fifth of all the rest together.
DEFAULT = tuple(name for name in FUNCTIONS if name not in ("Ipc", "qed"))


class DescribedMolecules:
    """Every molecule of a source with the descriptors that RDKit computes of it.

    molecules: where they come from, as SMILES files or PubChem. names: of the descriptors, as RDKit calls them; null
    takes all but `Ipc` and `qed`. exclude: molecules that must not be in here, since a later study is judged on them.
    limit: stop after so many. workers: processes, None for one a processor; the values do not depend on it. A
    descriptor that is not defined for a molecule, as the partial charges of metals, is missing.
    """

    def __init__(
        self,
        molecules: MoleculeSource,
        names: Sequence[str] | None = None,
        exclude=None,
        limit: int | None = None,
        workers: int | None = None,
    ):
        self.names = label_names(names) or list(DEFAULT)
        if unknown := [name for name in self.names if name not in FUNCTIONS]:
            raise ValueError(f"names: RDKit has no descriptor {unknown[0]!r}; there are {', '.join(FUNCTIONS)}")
        self.molecules = molecules
        self.exclude = exclude
        self.limit = limit
        self.workers = workers

    def fingerprint(self) -> str:
        settings = {"names": ",".join(self.names), "limit": self.limit, "rdkit": rdkit.__version__}
        excluded = self.exclude.fingerprint() if self.exclude else None
        return f"{self.molecules.fingerprint()}/{excluded}/{settings_text(settings)}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of some hundred molecules with the descriptors as labels; there are no other columns."""
        if columns:
            raise ConfigError(f"data.split.column={columns[0]}: described molecules have no columns; split by keys")
        return limited(self._tables(), self.limit, "the molecules to describe")

    def _tables(self) -> Iterator[LabelTable]:
        excluded = self.exclude.keys() if self.exclude else frozenset()
        parts = self.molecules.chunks(PART)
        for table, (rows, problems) in in_order(_described_part, parts, self.workers, self.names, excluded):
            labels = {name: list(values) for name, values in zip(self.names, zip(*rows, strict=True), strict=True)}
            yield LabelTable(table.ids, table.smiles, labels, {}, list(table.ids), problems | table.problems)


def _described_part(
    table: MoleculeTable, names: Sequence[str], excluded: frozenset[str]
) -> tuple[list[list[str | None]], dict[int, str]]:
    return described(table.smiles, names, excluded)


def described(
    smiles: Sequence[str], names: Sequence[str], excluded: frozenset[str] = frozenset()
) -> tuple[list[list[str | None]], dict[int, str]]:
    """The descriptors of each SMILES as texts, None where there is none, and row -> why it is not to be used.

    A text that is no molecule has no descriptors and no problem: what reads it says so.
    """
    rows: list[list[str | None]] = []
    problems: dict[int, str] = {}
    for row, text in enumerate(smiles):
        molecule = read_structure(text)
        if molecule is not None and excluded and held_out(text, [inchikey_block1(molecule)], excluded):
            molecule, problems[row] = None, HELD_OUT
        rows.append([None if molecule is None else _value(molecule, name) for name in names])
    return rows, problems


def _value(molecule, name: str) -> str | None:
    try:
        value = float(FUNCTIONS[name](molecule))
    except (ValueError, ZeroDivisionError, ArithmeticError, RuntimeError):  # of molecules without bonds, of odd atoms
        return None
    return f"{value:.7g}" if math.isfinite(value) else None
