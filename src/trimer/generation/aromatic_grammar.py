"""Which bonds the aromatic atoms of a deepSMILES text still need, and which they may have.

RDKit reads aromatic rings if each atom that has no other double bond and no free pair gets a double bond to such a
neighbour. So their number must be even in each run of aromatic atoms (`trimer.generation.aromatic_path`). An even
number does not suffice in every fused ring.

Shapes: R rows, K kinds of atoms, D largest number of atoms on a path, N partners of a ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trimer.generation.aromatic_path import (
    FORBIDDEN,
    FREE,
    LARGEST,
    LONGEST,
    REQUIRED,
    SMALLEST,
    AromaticPath,
    OpenRuns,
)
from trimer.generation.formula_grammar import HYPERVALENT, MOST_BONDS, AtomKind, AtomStep, FormulaGrammar, Progress

LONE_PAIRS = ("N", "O", "P", "S", "Se")  # other elements of aromatic rings than carbon
MOST_AROMATIC = 3  # neighbours of an aromatic atom


@dataclass
class PathProgress(Progress):
    """order: (R,) of the next bond, and pending: whether it was written; depth: (R,) atoms on the path.

    returned: (R,) whether a branch has ended since the last atom. path, bonds, neighbours: (R, D + 1) kind, sum of bond
    orders and bonded atoms of each; the first column is before the first atom. rings: which are in aromatic rings.
    """

    order: Tensor
    pending: Tensor
    returned: Tensor
    depth: Tensor
    path: Tensor
    bonds: Tensor
    neighbours: Tensor
    rings: AromaticPath


class AromaticGrammar(FormulaGrammar):
    """The part of the grammar of deepSMILES that is about aromatic atoms."""

    def set_atoms(self, kinds: dict[str, AtomKind]) -> None:
        """The tables of atoms, by their text."""
        self.set_kinds(list(kinds.values()))
        self.aromatic = self.tensor([kind.aromatic for kind in kinds.values()])
        self.doubled = self.tensor([kind.doubled for kind in kinds.values()])  # (K, bonds)
        # An aromatic nitrogen gives a hydrogen back when it gets a third bond.
        self.expands = self.hypervalent | self.tensor([text.lstrip("[")[0] in "np" for text in kinds])
        nitrogen = self.tensor([text == "n" for text in kinds])
        self.gives = nitrogen[:, None] & (torch.arange(MOST_BONDS + 1, device=self.device) < 3)  # (K, bonds)
        self.carbon, self.others = (self.tensor([int(e in some) for e in self.heavy]) for some in ("C", LONE_PAIRS))
        self.hypervalent_elements = [self.heavy.index(element) for element in HYPERVALENT]
        self.most = (self.hydrogens >= 0).sum(1) - 1  # (K,) bonds that an atom may have
        self.kinds = torch.arange(len(kinds), device=self.device)

    def _can_bind(self, kind: Tensor, bonds: Tensor, neighbours: Tensor, order: int | Tensor) -> Tensor:
        """Whether an atom can get one more bond of an order; an aromatic one has three neighbours at most."""
        has_valences = self.hydrogens[kind, (bonds + order).clamp(max=MOST_BONDS)] >= 0
        return has_valences & ~(self.aromatic[kind] & (neighbours >= MOST_AROMATIC))

    def _kept_bonds(self, state: PathProgress) -> Tensor:
        """(R, D + 1) bonds that an open atom keeps for its ring: to the atom that closes it, and to the next one."""
        position = torch.arange(state.path.shape[1], device=self.device)
        is_open = state.rings.on_path(state.depth) & ~state.rings.covered
        return is_open * ((~state.rings.joined).long() + (position == state.depth[:, None]))

    def _completes(self, state: PathProgress, step: AtomStep, runs: OpenRuns) -> Tensor:
        """(R, K) whether atoms and excess suffice to close all aromatic rings after an atom."""
        rows = torch.arange(len(state.depth), device=self.device)
        continues = (~state.pending & self.aromatic[state.path[rows, state.depth]])[:, None]
        carbon, others = (
            (state.left * some).sum(1)[:, None] - some[self.element] for some in (self.carbon, self.others)
        )

        def needed(are_left: bool) -> tuple[Tensor, Tensor]:
            now, continued, begun = runs.now(are_left), runs.continued(are_left), runs.begun(are_left)
            choices = [(continued.atoms, begun.atoms, now.atoms), (continued.rings, begun.rings, now.rings)]
            atoms, rings = (
                torch.where(self.aromatic, torch.where(continues, more[:, None], new[:, None]), same[:, None])
                for more, new, same in choices
            )
            return atoms, rings

        atoms, rings = needed(True)
        # Carbon atoms alone make no ring of five.
        is_other = (self.others[self.element] > 0) & (self.aromatic | (state.order > 1)[:, None])
        atoms = torch.where((others > 0) | is_other, atoms, needed(False)[0])
        # The bond that closes a ring takes two hydrogens, and each carbon in it one; a nitrogen may give one back.
        nitrogen = self.heavy.index("N")
        returned = self._returned(state, runs)[:, None] + self.gives[:, 0].long()
        returned += state.left[:, nitrogen][:, None] - (self.element == nitrogen).long()
        least = 2 * rings + (atoms - others).clamp(min=0) - returned
        suffices = (rings == 0) | (state.excess[:, None] + step.excess >= least)
        return (carbon + others >= atoms) & suffices

    def _returned(self, state: PathProgress, runs: OpenRuns) -> Tensor:
        """(R,) hydrogens that aromatic atoms may give back: nitrogen, or carbon with =O at the beginning of a ring."""
        full = ~self.doubled[state.path, (state.bonds + 1).clamp(max=MOST_BONDS)] & runs.first
        return (full | (self.gives[state.path, state.bonds] & state.rings.on_path(state.depth))).sum(1)

    def _can_close(self, state: PathProgress, partner: Tensor, can_divide: Tensor) -> Tensor:
        """(R, N) whether a ring to an atom can be, as far as aromatic atoms tell.

        can_divide: whether a second ring can divide the first one, if that is the outline of two.
        """
        rows = torch.arange(len(state.depth), device=self.device)
        size, aromatic = state.rings.closes(state.depth, partner)
        both = state.rings.aromatic[rows, state.depth][:, None] & state.rings.aromatic.gather(1, partner)
        even = ~self._is_odd(state, partner) | self._may_get_pair(state, partner)
        # The end of an outline gets a second ring, and so no double bond to outside.
        is_single, may_get_double_bond = size <= LARGEST, self._may_get_double_bond(state)[:, None]
        fits = (size >= SMALLEST) & (size <= LONGEST)
        may_divide = (~self._is_odd(state, partner) | self._has_pair(state, partner)) & can_divide
        fits &= torch.where(is_single, even | may_get_double_bond, may_divide)
        fits = torch.where(aromatic, fits, ~both | state.rings.is_same_run(state.depth, partner))
        fits = torch.where(state.pending[:, None], both == (state.order == 1)[:, None], fits)
        divides = state.rings.divides(state.depth, partner) & even
        return torch.where((state.rings.divided > 0)[:, None], divides, fits)

    def _outside(self, state: PathProgress, partner: Tensor) -> Tensor:
        """(R,) whether the last atom must, or may not, get a double bond after a ring to (R,) atoms."""
        partner = partner[:, None]
        size, aromatic = (value[:, 0] for value in state.rings.closes(state.depth, partner))
        decides = aromatic & (size <= LARGEST) & (state.rings.divided == 0)
        is_new, is_whole = state.rings.is_new(state.depth, partner), state.rings.is_whole(state.depth, partner)
        decides &= (is_new | is_whole)[:, 0] & ~self._may_get_pair(state, partner)[:, 0]
        return torch.where(decides, torch.where(self._is_odd(state, partner)[:, 0], REQUIRED, FORBIDDEN), FREE)

    def _double_bonded(self, state: PathProgress) -> Tensor:
        """(R, D + 1) whether an aromatic atom of the path needs a double bond in its ring."""
        return self.doubled[state.path, state.bonds] & state.rings.on_path(state.depth)

    def _is_odd(self, state: PathProgress, partner: Tensor) -> Tensor:
        """(R, N) whether a ring would leave an odd number of atoms for double bonds.

        These are the atoms of the ring if it has none of another one, or all atoms of its run if no other is open.
        """
        rows, depth = torch.arange(len(state.depth), device=self.device), state.depth
        on_path, double_bonded = state.rings.on_path(depth), self._double_bonded(state)
        closed = (self.doubled[state.path, (state.bonds + 1).clamp(max=MOST_BONDS)] & on_path).long()
        number = double_bonded.long().cumsum(1)
        inner = number[rows, (depth - 1).clamp(min=0)][:, None] - number.gather(1, partner)
        ring = inner + closed[rows, depth][:, None] + closed.gather(1, partner)
        change = closed - double_bonded.long()
        run = state.rings.run_numbers(depth, double_bonded)[rows, depth][:, None]
        run = run + change[rows, depth][:, None] + change.gather(1, partner)
        is_new, is_whole = state.rings.is_new(depth, partner), state.rings.is_whole(depth, partner)
        is_new &= (state.rings.divided == 0)[:, None]
        return torch.where(is_new, ring % 2 == 1, is_whole & (run % 2 == 1))

    def _last_odd(self, state: PathProgress) -> Tensor:
        """(R,) the atom before which no branch may lead, as only it or a later one makes a run even; 0: none.

        A run of aromatic atoms needs an even number of atoms with a double bond in a ring. A nitrogen atom is no longer
        one of them when it gets a third bond.
        """
        return state.rings.last_odd(state.depth, self._double_bonded(state), self.gives[state.path, state.bonds])

    def _may_get_double_bond(self, state: PathProgress) -> Tensor:
        """(R,) whether the last atom has valences for a ring and a double bond to an atom that is left."""
        rows = torch.arange(len(state.depth), device=self.device)
        current, used = state.path[rows, state.depth], state.bonds[rows, state.depth]
        number = state.neighbours[rows, state.depth]
        return self._can_bind(current, used + 1, number + 1, 2) & state.any_left & (state.excess >= 3)

    def _may_get_pair(self, state: PathProgress, partner: Tensor) -> Tensor:
        """(R, N) whether an aromatic nitrogen of the ring can get a third bond, by an atom or a second ring."""
        return self._has_pair(state, partner) & (state.any_left | (state.excess >= 4))[:, None]

    def _has_pair(self, state: PathProgress, partner: Tensor) -> Tensor:
        """(R, N) whether the ring, or its run if the ring is not the first one, has a nitrogen with two bonds."""
        rows = torch.arange(len(state.depth), device=self.device)
        number = (self.gives[state.path, state.bonds] & state.rings.on_path(state.depth)).long().cumsum(1)
        is_new = state.rings.is_new(state.depth, partner)
        first = torch.where(is_new, partner, state.rings.run_starts(state.depth)[rows, state.depth][:, None])
        return number[rows, state.depth][:, None] > number.gather(1, (first - 1).clamp(min=0))
