"""Grammar of deepSMILES for generation within a formula (`trimer.generation.formula_grammar`).

A ring is its size and a branch the number of atoms that it goes back, so the atoms on the path from the first one are
all that the next token can refer to. Aromatic atoms lower the excess by one each. Whether a ring can be aromatic is not
checked, so a few texts stay unreadable.

Shapes: R rows, A allowed tokens, K kinds of atoms, D largest number of atoms on a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trimer.generation.formula_grammar import (
    MOST_BONDS,
    AtomKind,
    AtomStep,
    FormulaGrammar,
    Progress,
    atom_kind,
    prefer,
)

BONDS = "-=#"  # of order 1, 2, 3
MOST_RING, MOST_BRANCH = 29, 24
_BRACKET = re.compile(r"\[([A-Z][a-z]?|[a-z]{1,2})(@{0,2})(?:H(\d?))?([+-]\d?)?\]")
_ORGANIC = {"B", "C", "N", "O", "P", "S", "F", "Cl", "Br", "I", "b", "c", "n", "o", "p", "s"}


def smiles_atom(token: str) -> AtomKind | None:
    """The kind of an atom token of SMILES; None for other tokens."""
    if token in _ORGANIC:
        symbol, explicit, charge = token, None, 0
    elif match := _BRACKET.fullmatch(token):
        symbol, _, hydrogens, sign = match.groups()
        explicit = 0 if hydrogens is None else int(hydrogens or 1)
        charge = 0 if sign is None else int(sign + "1" if len(sign) == 1 else sign)
    else:
        return None
    return atom_kind(symbol.capitalize(), charge, explicit, symbol.islower())


@dataclass
class PathProgress(Progress):
    """order: (R,) of the next bond, and pending: whether it was written; depth: (R,) atoms on the path.

    path, bonds: (R, D + 1) kind and sum of bond orders of each; the first column is before the first atom.
    """

    order: Tensor
    pending: Tensor
    depth: Tensor
    path: Tensor
    bonds: Tensor


class DeepSmilesGrammar(FormulaGrammar):
    """Masks of the next token for rows that write a formula and then a molecule as deepSMILES."""

    def __init__(self, tokenizer: Any, allowed: Tensor, start: int):
        super().__init__(tokenizer, allowed, start)
        kinds = {
            text: kind for text in self.texts if text and (kind := smiles_atom(text)) and kind.element in self.heavy
        }
        self.set_kinds(list(kinds.values()))
        # An aromatic nitrogen gives a hydrogen back when it gets a substituent.
        self.expands = self.hypervalent | self.tensor([text.lstrip("[")[0].islower() for text in kinds])
        self.most = (self.hydrogens >= 0).sum(1) - 1  # (K,) bonds that an atom may have
        self.kinds = torch.arange(len(kinds), device=self.device)
        # Columns of the mask by what a token is: atoms, rings by size, branches by length, bonds, the end, all others.
        self.rings = len(kinds)
        self.branches = self.rings + MOST_RING + 1
        self.bonds = self.branches + MOST_BRANCH + 1
        self.end, self.other = self.bonds + len(BONDS), self.bonds + len(BONDS) + 1
        self.column = self.tensor([self._column(text, list(kinds)) for text in self.texts])  # (A,)

    def _column(self, text: str | None, kinds: list[str]) -> int:
        if text == "":
            return self.end
        if text in kinds:
            return kinds.index(text)
        if text and text in BONDS:
            return self.bonds + BONDS.index(text)
        if text and (size := re.fullmatch(r"%?(\d+)", text)) and 3 <= int(size[1]) <= MOST_RING:
            return self.rings + int(size[1])
        if text and set(text) == {")"} and len(text) <= MOST_BRANCH:
            return self.branches + len(text)
        return self.other

    def start(self, rows: int, length: int) -> PathProgress:
        """The state of rows that have written nothing; length: the most atoms."""
        common = self.begin(rows)
        order, pending, depth = self.zeros(rows) + 1, torch.zeros_like(common["free"]), self.zeros(rows)
        path, bonds = self.zeros(rows, length + 1), self.zeros(rows, length + 1)
        return PathProgress(**common, order=order, pending=pending, depth=depth, path=path, bonds=bonds)

    def mask(self, state: PathProgress) -> Tensor:
        """(R, A) which tokens may follow; formula tokens are left to the caller."""
        rows, order = torch.arange(len(state.depth), device=state.depth.device), state.order[:, None]
        depth = state.depth
        current, used = state.path[rows, depth], state.bonds[rows, depth]
        before, begun = self.hydrogens[current, used], depth > 0
        more = self.hydrogens[current, (used + state.order).clamp(max=MOST_BONDS)]  # of the current atom with a bond
        hydrogens = self.hydrogens.T[torch.where(begun, state.order, 0)]  # (R, atoms) of a new atom
        change = hydrogens + torch.where(begun, more - before, 0)[:, None] - self.gain[self.element]
        change -= torch.where(begun, 0, 2)[:, None]
        first = torch.where(begun, state.order, 0)
        bare = self.unfilled[current, (used + state.order).clamp(max=MOST_BONDS)] - self.unfilled[current, used]
        step = AtomStep(
            self.kinds,
            change,
            self.unfilled.T[first] + torch.where(begun, bare, 0)[:, None],
            self.most - first[:, None],
            self.expands[current][:, None] | self.expands,
            begun[:, None],
        )
        fits = (hydrogens >= 0) & ((more >= 0) | ~begun)[:, None] & (state.left[:, self.element] > 0)
        # While atoms are left, an atom on the path must be able to bind them.
        free = self.hydrogens[state.path, (state.bonds + 1).clamp(max=MOST_BONDS)] >= 0
        free[:, 0] = False
        free_up_to = free.long().cummax(1).values > 0  # (R, D + 1)
        still_free = self.hydrogens[current, (used + state.order + 1).clamp(max=MOST_BONDS)] >= 0
        still_free |= free_up_to[rows, (depth - 1).clamp(min=0)]
        fits &= still_free[:, None] | (step.spare > 0) | (state.left.sum(1) == 1)[:, None]
        atoms = prefer(fits & self.affordable(state, step), self.feasible(state, step))

        sizes = torch.arange(MOST_RING + 1, device=depth.device)
        partner = (depth[:, None] - sizes + 1).clamp(min=0)
        used_partner = state.bonds.gather(1, partner)
        partner_more = self.hydrogens[state.path.gather(1, partner), (used_partner + order).clamp(max=MOST_BONDS)]
        rings = (sizes >= 3) & (sizes <= depth[:, None]) & (more >= 0)[:, None] & (partner_more >= 0)
        any_left = state.any_left
        rings &= (still_free | ~any_left)[:, None]
        rings &= state.excess[:, None] - 2 * order >= -2 * self.expands[current][:, None]

        lengths = torch.arange(MOST_BRANCH + 1, device=depth.device)
        branches = ~state.pending[:, None] & (lengths >= 1) & (lengths < depth[:, None])
        branches &= free_up_to.gather(1, (depth[:, None] - lengths).clamp(min=0)) | ~any_left[:, None]

        goes_on = ~state.pending & begun & (any_left | rings.any(1))
        higher = (used[:, None] + torch.arange(1, len(BONDS) + 1, device=depth.device)).clamp(max=MOST_BONDS)
        bonds = goes_on[:, None] & (self.hydrogens[current[:, None], higher] >= 0)
        done = ~any_left & ~state.pending & begun
        stuck = done & (state.excess < 2) | done & ~rings.any(1) & ~branches.any(1)  # no ring can repair it
        end = torch.stack([(done & state.exact) | stuck, torch.zeros_like(done)], 1)
        allowed = torch.cat([atoms, rings, branches, bonds, end], 1)[:, self.column]
        allowed[~allowed.any(1), :] |= self.column == self.end
        return allowed | (state.free[:, None] & ~self.in_formula)

    def advance(self, state: PathProgress, choice: Tensor) -> None:
        """Update the state by the (R,) indices in A of the tokens that were written."""
        self.read_formula(state, choice)
        rows, column = torch.arange(len(choice), device=choice.device), self.column[choice]
        current, used = state.path[rows, state.depth], state.bonds[rows, state.depth]
        text = ~self.in_formula[choice] & ~state.free

        atom = text & (column < self.rings)
        kind = torch.where(atom, column, 0)
        ring = text & (column >= self.rings) & (column < self.branches)
        size = torch.where(ring, column - self.rings, 1)
        begun = state.depth > 0
        bonded = (atom & begun) | ring
        more = (used + state.order).clamp(max=MOST_BONDS)
        gain = self.hydrogens[current, more] - self.hydrogens[current, used]
        state.excess += torch.where(bonded, gain, 0)
        state.unfilled += torch.where(bonded, self.unfilled[current, more] - self.unfilled[current, used], 0)
        state.bonds[rows, state.depth] = torch.where(bonded, more, used)

        partner = (state.depth - size + 1).clamp(min=0)
        other, used = state.path[rows, partner], state.bonds[rows, partner]
        more = (used + state.order).clamp(max=MOST_BONDS)
        state.excess += torch.where(ring, self.hydrogens[other, more] - self.hydrogens[other, used], 0)
        state.unfilled += torch.where(ring, self.unfilled[other, more] - self.unfilled[other, used], 0)
        state.bonds[rows, partner] = torch.where(ring, more, used)

        first = torch.where(begun, state.order, 0)
        element = self.element[kind]
        added = self.hydrogens[kind, first] - self.gain[element] - torch.where(begun, 0, 2)
        state.excess += torch.where(atom, added, 0)
        state.unfilled += torch.where(atom, self.unfilled[kind, first], 0)
        state.charge += torch.where(atom, self.charges[kind], 0)
        state.left[rows, element] -= atom.long()
        state.depth += atom.long()
        state.path[rows, state.depth] = torch.where(atom, kind, state.path[rows, state.depth])
        state.bonds[rows, state.depth] = torch.where(atom, first, state.bonds[rows, state.depth])

        branch = text & (column >= self.branches) & (column < self.bonds)
        state.depth -= torch.where(branch, column - self.branches, 0)
        state.pending = text & (column >= self.bonds) & (column < self.end)
        state.order = torch.where(state.pending, column - self.bonds + 1, 1)
