"""Grammar of deepSMILES for generation within a formula (`trimer.generation.formula_grammar`).

A ring is its size and a branch the number of atoms that it goes back, so the atoms on the path from the first one are
all that the next token can refer to. Aromatic atoms lower the excess by one each, and must get into aromatic rings
(`trimer.generation.aromatic_grammar`). A text can lead to where no token is right, so some texts stay unreadable.

Shapes: R rows, A allowed tokens, K kinds of atoms, D largest number of atoms on a path.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trimer.generation.aromatic_grammar import AromaticGrammar, PathProgress
from trimer.generation.aromatic_path import FORBIDDEN, FREE, REQUIRED, AromaticPath, OpenRuns
from trimer.generation.formula_grammar import MOST_BONDS, AtomKind, AtomStep, atom_kind, prefer

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


class DeepSmilesGrammar(AromaticGrammar):
    """Masks of the next token for rows that write a formula and then a molecule as deepSMILES."""

    def __init__(self, tokenizer: Any, allowed: Tensor, start: int):
        super().__init__(tokenizer, allowed, start)
        kinds = {
            text: kind for text in self.texts if text and (kind := smiles_atom(text)) and kind.element in self.heavy
        }
        self.set_atoms(kinds)
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
        path, bonds, neighbours = (self.zeros(rows, length + 1) for _ in range(3))
        rings = AromaticPath.start(rows, length, self.device)
        return PathProgress(
            **common,
            order=order,
            pending=pending,
            returned=pending.clone(),
            depth=depth,
            path=path,
            bonds=bonds,
            neighbours=neighbours,
            rings=rings,
        )

    def mask(self, state: PathProgress) -> Tensor:
        """(R, A) which tokens may follow; formula tokens are left to the caller."""
        # While atoms are left, an atom on the path must be able to bind them.
        free = self._can_bind(state.path, state.bonds, state.neighbours, 1)
        free[:, 0] = False
        free_up_to = free.long().cummax(1).values > 0  # (R, D + 1)
        rows = torch.arange(len(state.depth), device=self.device)
        current, used = state.path[rows, state.depth], state.bonds[rows, state.depth]
        number = state.neighbours[rows, state.depth]
        still_free = self._can_bind(current, used + state.order, number + 1, 1)
        still_free |= free_up_to[rows, (state.depth - 1).clamp(min=0)]

        stays = self._double_bonded(state) & ~self.gives[state.path, state.bonds] & (state.bonds == state.neighbours)
        runs, last_open = state.rings.open_runs(state.depth, stays), state.rings.last_open(state.depth)
        last_odd = self._last_odd(state)
        atoms, fallback = self._atoms(state, current, used, still_free, runs)
        rings = self._rings(state, current, used, still_free, runs)
        branches = self._branches(state, free, last_open, last_odd, runs)
        begun = state.depth > 0
        spare = (state.left * (self.carbon + self.others)).sum(1) > runs.now().atoms  # not needed by aromatic rings
        goes_on = ~state.pending & begun & (spare | rings.any(1))
        bonds = goes_on[:, None] & self._bonds(state, current, used, runs)
        done = ~state.any_left & ~state.pending & begun
        stuck = done & ((state.excess < 2) | ~rings.any(1))  # no ring can repair it
        complete = done & state.exact & (last_open == 0) & (last_odd == 0)
        end = torch.stack([complete | stuck, torch.zeros_like(done)], 1)
        others = torch.cat([rings, branches, bonds, end], 1)
        atoms = torch.where(atoms.any(1, keepdim=True) | others.any(1, keepdim=True), atoms, fallback)
        columns = torch.cat([atoms, others], 1)

        position = torch.arange(columns.shape[1], device=self.device)
        needs_double = (state.rings.outside == REQUIRED) & ~state.pending & bonds[:, 1]
        columns &= ~needs_double[:, None] | (position == self.bonds + 1)
        columns &= (state.rings.divided == 0)[:, None] | ((position >= self.rings) & (position < self.branches))
        allowed = columns[:, self.column]
        allowed[~allowed.any(1), :] |= self.column == self.end
        return allowed | (state.free[:, None] & ~self.in_formula)

    def _atoms(
        self, state: PathProgress, current: Tensor, used: Tensor, still_free: Tensor, runs: OpenRuns
    ) -> tuple[Tensor, Tensor]:
        """(R, K) which atoms may follow, and which if there is no other token: the rest then misses its goals."""
        begun = state.depth > 0
        after = (used + state.order).clamp(max=MOST_BONDS)
        before, more = self.hydrogens[current, used], self.hydrogens[current, after]
        hydrogens = self.hydrogens.T[torch.where(begun, state.order, 0)]  # (R, K) of a new atom
        change = hydrogens + torch.where(begun, more - before, 0)[:, None] - self.gain[self.element]
        change -= torch.where(begun, 0, 2)[:, None]
        first = torch.where(begun, state.order, 0)
        bare = self.unfilled[current, after] - self.unfilled[current, used]
        step = AtomStep(
            self.kinds,
            change,
            self.unfilled.T[first] + torch.where(begun, bare, 0)[:, None],
            self.most - first[:, None],
            self.expands[current][:, None] | self.expands,
            begun[:, None],
        )
        rows = torch.arange(len(current), device=self.device)
        number, kept = state.neighbours[rows, state.depth], self._kept_bonds(state)[rows, state.depth]
        binds = self._can_bind(current, used, number, state.order) | ~begun
        binds_outside = self._can_bind(current, used, number + kept, state.order) | ~begun
        continues = self.aromatic & ~state.pending[:, None]
        fits = torch.where(continues, binds[:, None], binds_outside[:, None])
        fits &= (hydrogens >= 0) & (state.left[:, self.element] > 0)
        fits &= still_free[:, None] | (step.spare > 0) | (state.left.sum(1) == 1)[:, None]
        fits &= ~(state.pending & (state.order == 1))[:, None] | self.aromatic
        # Two aromatic atoms share no explicit double bond.
        fits &= ~((state.order > 1) & begun & self.aromatic[current])[:, None] | ~self.aromatic
        fits &= self.affordable(state, step)
        completes = self._completes(state, step, runs)
        # A ring to a nitrogen with a free pair takes one hydrogen instead of two.
        gives = self.gives[state.path, state.bonds] & state.rings.on_path(state.depth)
        feasible = self.feasible(state, replace(step, expands=step.expands | gives.any(1, keepdim=True)))
        return fits & completes & feasible, prefer(prefer(fits, completes), feasible)

    def _rings(self, state: PathProgress, current: Tensor, used: Tensor, still_free: Tensor, runs: OpenRuns) -> Tensor:
        """(R, sizes) which rings may follow.

        The decoder binds a ring to the last atom that was written, so none may follow the end of a branch.
        """
        depth, order = state.depth, state.order[:, None]
        number = state.neighbours[torch.arange(len(depth), device=self.device), depth]
        sizes = torch.arange(MOST_RING + 1, device=self.device)
        partner = (depth[:, None] - sizes + 1).clamp(min=0)
        kind, bonds, neighbours, kept = (
            table.gather(1, partner) for table in (state.path, state.bonds, state.neighbours, self._kept_bonds(state))
        )
        binds = self._can_bind(kind, bonds, neighbours, order)  # (R, sizes)
        may_be_aromatic = state.rings.is_same_run(depth, partner) & ~state.pending[:, None]
        rings_outside = self._can_bind(kind, bonds, neighbours + kept, order)
        rings_outside &= self._can_bind(current, used, number + kept[:, 1], state.order)[:, None]
        rings = (sizes >= 3) & (sizes <= depth[:, None]) & binds & (may_be_aromatic | rings_outside)
        rings &= (self._can_bind(current, used, number, state.order) & ~state.returned)[:, None]
        size, aromatic = state.rings.closes(depth, partner)
        rings &= size >= 3  # the two are not bonded yet
        # A ring that is not aromatic leaves enough excess for those that must be.
        reserve = self._returned(state, runs) - 2 * runs.now().rings
        rings &= aromatic | (state.excess[:, None] - 2 * order + reserve[:, None] >= 0)
        rings &= (still_free | ~state.any_left)[:, None]
        returns = (self.expands | self.aromatic)[current][:, None]
        rings &= state.excess[:, None] - 2 * order >= -2 * returns
        can_divide = state.rings.is_divisible(depth, partner, binds)
        can_divide &= self._can_bind(current, used + 1, number + 1, 1)[:, None]
        return rings & self._can_close(state, partner, can_divide)

    def _branches(
        self, state: PathProgress, free: Tensor, last_open: Tensor, last_odd: Tensor, runs: OpenRuns
    ) -> Tensor:
        """(R, lengths) which branches may end.

        free: (R, D + 1) atoms that can bind another one; last_open, last_odd: (R,) no branch may lead before these.
        """
        depth, lengths = state.depth[:, None], torch.arange(MOST_BRANCH + 1, device=self.device)
        position = torch.arange(state.path.shape[1], device=self.device).expand_as(state.path)
        needs_bonds = (self.unfilled[state.path, state.bonds] > 0) & (position >= 1) & (position <= depth)
        last = torch.where(needs_bonds, position, 0).amax(1).maximum(last_open).maximum(last_odd)[:, None]
        # From where a branch leads to, perhaps by way of another one, open rings must have enough atoms.
        others = (state.left * self.others).sum(1)
        atoms = state.rings.atoms_after_branch(runs, state.depth, position, others > 0)
        suffices = (state.left * self.carbon).sum(1)[:, None] + others[:, None] >= atoms
        goes_on = (free & suffices & (position >= last_open[:, None])).long().cummax(1).values > 0
        after = (depth - lengths).clamp(min=0)
        branches = (~state.pending & state.any_left)[:, None] & (lengths >= 1) & (lengths < depth)
        return branches & goes_on.gather(1, after) & (after >= last) & (state.rings.outside != REQUIRED)[:, None]

    def _bonds(self, state: PathProgress, current: Tensor, used: Tensor, runs: OpenRuns) -> Tensor:
        """(R, orders) which bonds may follow."""
        orders = torch.arange(1, len(BONDS) + 1, device=self.device)
        number = state.neighbours[torch.arange(len(current), device=self.device), state.depth]
        number = number + self._kept_bonds(state)[torch.arange(len(current), device=self.device), state.depth]
        bonds = self._can_bind(current[:, None], used[:, None], number[:, None], orders)
        bonds[:, 0] &= self.aromatic[current]  # the single bond between two aromatic atoms; others are not written
        bonds[:, 1] &= state.rings.outside != FORBIDDEN
        expands = self.hypervalent[current] | (state.left[:, self.hypervalent_elements] > 0).any(1)
        excess = state.excess + 4 * expands + state.charge.clamp(min=0) + self.aromatic[current].long()
        excess += self._returned(state, runs) - 2 * runs.now().rings
        return bonds & (excess[:, None] >= 2 * (orders - 1))

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

        partner, joined = (state.depth - size + 1).clamp(min=0), ~state.pending
        state.rings.outside = torch.where(ring & joined, self._outside(state, partner), state.rings.outside)
        state.rings.write_ring(ring, state.depth, partner, joined)
        other, used = state.path[rows, partner], state.bonds[rows, partner]
        more = (used + state.order).clamp(max=MOST_BONDS)
        state.excess += torch.where(ring, self.hydrogens[other, more] - self.hydrogens[other, used], 0)
        state.unfilled += torch.where(ring, self.unfilled[other, more] - self.unfilled[other, used], 0)
        state.bonds[rows, partner] = torch.where(ring, more, used)
        for atom_bonded, end in ((bonded, state.depth), (ring, partner)):
            state.neighbours[rows, end] += atom_bonded.long()

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
        number = state.neighbours[rows, state.depth]
        state.neighbours[rows, state.depth] = torch.where(atom, begun.long(), number)
        state.rings.write_atom(atom, state.depth, self.aromatic[kind] & atom, joined)

        branch = text & (column >= self.branches) & (column < self.bonds)
        after = state.depth - torch.where(branch, column - self.branches, 0)
        state.rings.end_branch(branch, state.depth, after, self._double_bonded(state))
        state.depth = after
        state.returned = branch | (state.returned & ~atom)
        state.rings.outside = torch.where(atom | branch, FREE, state.rings.outside)
        state.pending = text & (column >= self.bonds) & (column < self.end)
        state.order = torch.where(state.pending, column - self.bonds + 1, 1)
