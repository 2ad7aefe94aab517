"""Grammars that keep a generated molecule within the formula that it begins with.

A decoder that was told a formula still miscounts atoms: one in eleven samples of a small model has the formula that it
was given. Here each row counts while it writes: heavy atoms that are left, the bonds of each atom, charge, and the
excess: the hydrogens that the molecule would have if the rest were added by single bonds, minus those of the formula.
Tokens that cannot lead to the formula get no probability: an atom that is used up, a bond of an atom without a free
valence, a ring to an atom that is not there, the end before the last atom.

The excess falls by two with each ring and double bond. It must be zero at the end, and so must the charge.

Shapes: R rows, A allowed tokens, K kinds of atoms, E elements.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Protocol, Self

import torch
from rdkit import Chem
from torch import Tensor

from trimer.generation.cache import EOS

MOST_BONDS = 8
HYPERVALENT = ("P", "S", "Se", "I")  # their double bonds may give hydrogens back


@dataclass(frozen=True)
class AtomKind:
    """What a token of an atom adds. hydrogens, unfilled: by the sum of its bond orders, -1 where there are too many.

    hydrogens: those that it would have without further bonds. unfilled: those of them that an atom in brackets does
    not have, which must be replaced by bonds. doubled: whether it then has a double bond in an aromatic ring.
    """

    element: str
    charge: int
    hydrogens: tuple[int, ...]
    unfilled: tuple[int, ...]
    aromatic: bool = False
    doubled: tuple[bool, ...] = ()


@cache
def valences(element: str, charge: int) -> tuple[int, ...]:
    """Allowed sums of bond orders, with hydrogens: those of the neutral atom with as many electrons."""
    table = Chem.GetPeriodicTable()
    if charge and element in ("B", "C", "Si"):  # fewer bonds for a cation; one more for the anion of boron
        return (3,) if charge > 0 or element != "B" else (4,)
    number = table.GetAtomicNumber(element) - charge
    return tuple(v for v in table.GetValenceList(number) if v >= 0)


def atom_kind(element: str, charge: int, explicit: int | None, aromatic: bool = False, most: int = MOST_BONDS):
    """The kind of an atom; explicit: hydrogens in brackets, None for an atom without. most: bonds that it may have."""
    hydrogens, unfilled, doubled = [], [], []
    for bonds in range(MOST_BONDS + 1):
        total = bonds + (explicit or 0)
        free = _free(element, charge, explicit, total, aromatic) if bonds <= most else None
        hydrogens.append(-1 if free is None else free + (explicit or 0))
        unfilled.append(-1 if free is None else 0 if explicit is None else free)
        doubled.append(aromatic and _is_doubled(element, charge, explicit, total))
    return AtomKind(element, charge, tuple(hydrogens), tuple(unfilled), aromatic, tuple(doubled))


def _is_doubled(element: str, charge: int, explicit: int | None, total: int) -> bool:
    """Whether an aromatic atom has a double bond in its ring: no lone pair, and valences that its bonds leave."""
    valence = next(iter(valences(element, charge)), 0)
    has_lone_pair = valence == 2 or (valence == 3 and explicit and not charge)  # furan, thiophene, pyrrole
    return not has_lone_pair and total < valence


def _free(element: str, charge: int, explicit: int | None, total: int, aromatic: bool) -> int | None:
    """Free valences of an atom whose bonds and hydrogens add up to `total`; None if these are too many.

    An aromatic atom has one valence less, which is its electron in the ring, unless its bonds need them all.
    """
    allowed = valences(element, charge)
    if not aromatic:
        return next((valence - total for valence in allowed if valence >= total), None)
    valence = allowed[0] if allowed else 0
    if total > valence:
        return None
    return valence - total - int(_is_doubled(element, charge, explicit, total))


@dataclass
class Progress:
    """State of R rows. free: rows without a known formula, which may write anything.

    left: (R, E) heavy atoms; target: (R,) hydrogens of the formula; excess, unfilled, charge: (R,).
    """

    free: Tensor
    left: Tensor
    target: Tensor
    excess: Tensor
    unfilled: Tensor
    charge: Tensor

    def select(self, rows: Tensor) -> Self:
        """Some of the rows."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def any_left(self) -> Tensor:
        """(R,) whether heavy atoms are left."""
        return self.left.sum(1) > 0

    @property
    def exact(self) -> Tensor:
        """(R,) whether what is written has the formula."""
        return ~self.any_left & (self.excess == 0) & (self.unfilled == 0) & (self.charge == 0)


class Grammar(Protocol):
    """What generation needs of a grammar; the state is its own."""

    def start(self, rows: int, length: int) -> Any:
        """The state of rows that have written nothing; length: the most atoms."""

    def mask(self, state: Any) -> Tensor:
        """(R, A) which tokens may follow; those of formulas are left to the caller."""

    def advance(self, state: Any, choice: Tensor) -> None:
        """Update the state by the (R,) indices in A of the tokens that were written."""


@dataclass(frozen=True)
class AtomStep:
    """What each of N tokens would do if it wrote an atom. excess, unfilled: changes, with those of the atom before.

    spare: bonds that it may have after that; expands: whether one of the two gives hydrogens back when it gets more
    bonds; returns: whether earlier atoms can still get bonds.
    """

    kind: Tensor
    excess: Tensor
    unfilled: Tensor
    spare: Tensor
    expands: Tensor
    returns: Tensor


class FormulaGrammar:
    """What the grammars share: the formula at the beginning of a row, and the atoms of tokens.

    tokenizer: of molecules, with formulas, local ids. allowed: (A,) global ids of the tokens that are generated; start:
    the global id of the tokenizer's first token.
    """

    def __init__(self, tokenizer: Any, allowed: Tensor, start: int):
        self.device = allowed.device
        self.texts = [
            "" if token == EOS else tokenizer.tokens[token - start] if 0 <= token - start < len(tokenizer) else None
            for token in allowed.tolist()
        ]  # "": the end; None: of another language
        formula_tokens = tokenizer.formula
        self.heavy = [element for element in formula_tokens.elements if element != "H"]
        self.cations = self.tensor([int(element in ("N", "P", "S")) for element in self.heavy])
        self.anions = self.tensor([int(element in ("O", "S", "N")) for element in self.heavy])
        self.gain = self.tensor([valences(element, 0)[0] - 2 for element in self.heavy])  # hydrogens that an atom adds
        formula = [self._formula_part(text) for text in self.texts]
        self.formula_element, self.formula_count = self.tensor(formula).T
        self.formula_end = self.tensor([text == formula_tokens.end for text in self.texts])
        self.formula_unknown = self.tensor([text == formula_tokens.unknown for text in self.texts])
        self.in_formula = (self.formula_element >= 0) | self.formula_end | self.formula_unknown

    def tensor(self, values: Any) -> Tensor:
        """A tensor on the device of the tokens."""
        return torch.tensor(values, device=self.device)

    def zeros(self, *shape: int) -> Tensor:
        """Whole numbers."""
        return torch.zeros(shape, dtype=torch.long, device=self.device)

    def set_kinds(self, kinds: list[AtomKind]) -> None:
        """The tables of atoms, by their kind."""
        self.hydrogens = self.tensor([kind.hydrogens for kind in kinds])  # (K, bonds)
        self.unfilled = self.tensor([kind.unfilled for kind in kinds])
        self.charges = self.tensor([kind.charge for kind in kinds])
        self.element = self.tensor([self.heavy.index(kind.element) for kind in kinds])
        self.hypervalent = self.tensor([kind.element in HYPERVALENT for kind in kinds])

    def _formula_part(self, text: str | None) -> tuple[int, int]:
        match = re.fullmatch(r"<([A-Z][a-z]?)(\d+)>", text or "")
        if match is None:
            return -1, 0
        return len(self.heavy) if match[1] == "H" else self.heavy.index(match[1]), int(match[2])

    def begin(self, rows: int) -> dict[str, Tensor]:
        """The fields of Progress before anything is written."""
        free = torch.zeros(rows, dtype=torch.bool, device=self.device)
        counts = {name: self.zeros(rows) for name in ("target", "excess", "unfilled", "charge")}
        return {"free": free, "left": self.zeros(rows, len(self.heavy)), **counts}

    def read_formula(self, state: Progress, choice: Tensor) -> None:
        """Take the tokens of formulas among the (R,) indices in A that were written."""
        element, count = self.formula_element[choice], self.formula_count[choice]
        rows = torch.arange(len(choice), device=self.device)
        heavy, hydrogen = (element >= 0) & (element < len(self.heavy)), element == len(self.heavy)
        index = element.clamp(0, len(self.heavy) - 1)
        state.left[rows, index] = torch.where(heavy, count, state.left[rows, index])
        state.target = torch.where(hydrogen, count, state.target)
        saturated = (state.left * self.gain).sum(1) + 2  # hydrogens of a chain
        state.excess = torch.where(self.formula_end[choice], saturated - state.target, state.excess)
        state.free |= self.formula_unknown[choice] | (self.formula_end[choice] & ~state.any_left)

    def change(self, kind: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Change of the excess by more bonds of atoms."""
        return self.hydrogens[kind, after] - self.hydrogens[kind, before]

    def feasible(self, state: Progress, step: AtomStep) -> Tensor:
        """(R, N) whether the rest of the formula can still be met, as far as charge, valences and a last atom tell."""
        left = state.left.sum(1)[:, None] - 1
        excess, unfilled = state.excess[:, None] + step.excess, state.unfilled[:, None] + step.unfilled
        # Each free valence of this atom and the later ones can lower the excess by two, in a ring to an earlier atom.
        # Where the text can go back, halogens may be left to earlier atoms, and these may get rings too.
        gain, element = self.gain.clamp(min=0), self.element[step.kind]
        onward = (state.left * self.gain).sum(1)[:, None] - self.gain[element]
        back = (state.left * gain).sum(1)[:, None] - gain[element] + 3
        rest = 2 * (torch.where(step.returns, back, onward) + step.spare)
        met = (excess == 0) & (unfilled == 0)
        closes = (excess >= 2 - 4 * step.expands) & (step.spare > 0)
        charge = state.charge[:, None] + self.charges[step.kind]
        cations, anions = (
            (state.left * sign).sum(1)[:, None] - sign[element] for sign in (self.cations, self.anions)
        )  # atoms that could make up for the charge
        able = torch.where(charge < 0, cations, anions)
        return (charge.abs() <= able) & (excess <= rest) & (met | closes | (left > 0))

    def affordable(self, state: Progress, step: AtomStep) -> Tensor:
        """(R, N) whether the excess stays at zero or above, or what lowers it further will raise it again.

        That is a charge, to be made up for by its opposite, and an atom of `AtomStep.expands`.
        """
        anions = (-state.charge[:, None] - self.charges[step.kind]).clamp(min=0)
        excess = state.excess[:, None] + step.excess
        return (excess >= -anions - 2 * step.expands) | (step.excess >= 0)


def prefer(allowed: Tensor, condition: Tensor) -> Tensor:
    """The allowed tokens of each row that meet a condition; all where none does."""
    best = allowed & condition
    return torch.where(best.any(1)[:, None], best, allowed)
