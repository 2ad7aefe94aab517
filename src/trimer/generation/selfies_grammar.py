"""Grammar of SELFIES for generation within a formula (`trimer.generation.formula_grammar`).

A branch and a ring are followed by one or two symbols that are read as a number: the symbols in the branch, or how
many atoms the ring goes back. Inside a branch another one may begin, so a row keeps a stack of open branches (levels).
The rules are those of the package `selfies` 2 with its default bonds, except where it would silently change a symbol
(a double bond where a single one is possible) or skip it: such symbols get no probability.

Shapes: R rows, A allowed tokens, K kinds of atoms, M largest number of atoms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
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

BASE = 16  # of the numbers
LEVELS = 12  # branches open at a time
ENDLESS = 1 << 20  # symbols that the main chain may have
_SHAPE = re.compile(r"\[([=#]?)(Branch|Ring)([12])\]")  # three symbols would count more than 256 atoms
_STEREO = re.compile(r"[@/\\]")
_NH = ("NH1]", "=NH1]", "PH1]")  # hydrogens of aromatic rings
ORDERS = {"": 1, "=": 2, "#": 3, "/": 1, "\\": 1}
BRANCH, RING = 1, 2


def selfies_atom(token: str) -> tuple[int, AtomKind] | None:
    """Bond order and kind of an atom symbol; None for others."""
    from selfies.constants import ORGANIC_SUBSET
    from selfies.grammar_rules import process_atom_symbol

    read = process_atom_symbol(token)
    if read is None:
        return None
    (order, _), atom = read
    if atom.h_count is not None and not atom.charge and atom.element in ORGANIC_SUBSET and token[1:] not in _NH:
        return None  # the same as an atom without brackets, or a radical
    return order, atom_kind(atom.element, atom.charge, atom.h_count, most=atom.bonding_capacity)


@dataclass
class BranchProgress(Progress):
    """count: (R,) atoms so far; kind, used, parent: (R, M) kind, sum of bond orders, and earlier neighbour of each.

    level: (R,) open branches; symbols, valence, last: (R, LEVELS) symbols left on a level, bonds that its last atom may
    have, and that atom. reading: (R,) symbols of a number to come; number: (R,) what was read of it; shape, order: (R,)
    what it belongs to.
    """

    count: Tensor
    kind: Tensor
    used: Tensor
    parent: Tensor
    level: Tensor
    symbols: Tensor
    valence: Tensor
    last: Tensor
    reading: Tensor
    number: Tensor
    shape: Tensor
    order: Tensor


@dataclass(frozen=True)
class Tokens:
    """What each token is. atom: kind, or -1; shape: of a branch or ring, or 0; length: of its number.

    order: of the bond; digit: value in a number, or -1; is_end: whether it ends the text.
    """

    atom: Tensor
    shape: Tensor
    length: Tensor
    order: Tensor
    digit: Tensor
    is_end: Tensor

    def take(self, index: Tensor) -> Tokens:
        """Some of the tokens."""
        return Tokens(*(getattr(self, field.name)[index] for field in fields(self)))


class SelfiesGrammar(FormulaGrammar):
    """Masks of the next token for rows that write a formula and then a molecule as SELFIES."""

    def __init__(self, tokenizer: Any, allowed: Tensor, start: int):
        from selfies.constants import INDEX_CODE

        super().__init__(tokenizer, allowed, start)
        texts = [text if text and (tokenizer.stereo or not _STEREO.search(text)) else "" for text in self.texts]
        atoms = {
            i: atom
            for i, text in enumerate(texts)
            if text and (atom := selfies_atom(text)) and atom[1].element in self.heavy
        }
        kinds = list(dict.fromkeys(kind for _, kind in atoms.values()))
        self.set_kinds(kinds)
        self.most = (self.hydrogens >= 0).sum(1) - 1  # (K,) bonds that an atom may have
        shapes = [_SHAPE.fullmatch(text or "") for text in self.texts]
        tokens = range(len(self.texts))
        self.token = Tokens(
            self.tensor([kinds.index(atoms[i][1]) if i in atoms else -1 for i in tokens]),
            self.tensor([0 if m is None else BRANCH if m[2] == "Branch" else RING for m in shapes]),
            self.tensor([0 if m is None else int(m[3]) for m in shapes]),
            self.tensor([ORDERS[m[1]] if (m := shapes[i]) else atoms[i][0] if i in atoms else 1 for i in tokens]),
            self.tensor([INDEX_CODE.get(text or "", -1) for text in self.texts]),
            self.tensor([text == "" for text in self.texts]),
        )
        usable = (self.token.atom >= 0) | (self.token.shape > 0) | self.token.is_end
        self.usable = usable.nonzero().squeeze(1)  # (U,) tokens that a molecule may have
        self.usable_token = self.token.take(self.usable)

    def start(self, rows: int, length: int) -> BranchProgress:
        """The state of rows that have written nothing; length: the most atoms."""
        atoms = {name: self.zeros(rows, length) for name in ("kind", "used", "parent")}
        levels = {name: self.zeros(rows, LEVELS) for name in ("symbols", "valence", "last")}
        others = {name: self.zeros(rows) for name in ("count", "level", "reading", "number", "shape", "order")}
        state = BranchProgress(**self.begin(rows), **atoms, **levels, **others)
        state.symbols[:, 0] = ENDLESS
        return state

    def mask(self, state: BranchProgress) -> Tensor:
        """(R, A) which tokens may follow; formula tokens are left to the caller."""
        rows, token = torch.arange(len(state.count), device=self.device), self.usable_token
        begun, level = state.count > 0, state.level
        symbols, valence, last = state.symbols[rows, level], state.valence[rows, level], state.last[rows, level]
        current, used = state.kind[rows, last], state.used[rows, last]
        bonded = self.hydrogens[current[:, None], (used[:, None] + self._orders).clamp(max=MOST_BONDS)]  # (R, 4)
        main, any_left = level == 0, state.any_left

        order = torch.where(begun[:, None], token.order, 0)  # (R, A)
        kind, after = token.atom.clamp(min=0), bonded.gather(1, order)
        hydrogens, element = self.hydrogens[kind, order], self.element[kind]
        bare = self.unfilled[current[:, None], (used[:, None] + self._orders).clamp(max=MOST_BONDS)]
        final = torch.where(main, state.left.sum(1) == 1, symbols == 1)[:, None]  # nothing follows the atom
        step = AtomStep(
            kind,
            hydrogens - self.gain[element] + torch.where(begun[:, None], after - bonded[:, :1], -2),
            self.unfilled[kind, order] + torch.where(begun[:, None], bare.gather(1, order) - bare[:, :1], 0),
            torch.where(final & ~main[:, None], 0, self.most[kind] - order),
            self.hypervalent[current][:, None] | (self.hypervalent[kind] & ~final),
            ~main[:, None],
        )
        fits = (token.atom >= 0) & (hydrogens >= 0) & (after >= 0) & (state.left[:, element] > 0)
        fits &= ((order <= valence[:, None]) | ~begun[:, None]) & self.affordable(state, step)
        complete = self.unfilled[kind, order] == 0
        allowed = fits & torch.where(final, complete | (step.spare > 0), step.spare > 0)
        feasible = self.feasible(state, step) | (token.atom < 0)

        spare = (valence[:, None] - token.order) >= 1
        room = (main[:, None] | (symbols[:, None] - 1 - token.length >= 1)) & (level < LEVELS - 1)[:, None]
        possible = (after >= 0) & begun[:, None] & any_left[:, None] & spare & room
        allowed |= (token.shape == BRANCH) & possible

        ring = (token.shape == RING) & (after >= 0) & begun[:, None] & (token.order <= valence[:, None])
        ring &= state.excess[:, None] - 2 * token.order >= -2 * self.hypervalent[current][:, None]
        over = torch.where(main[:, None], ~any_left[:, None], symbols[:, None] - 1 - token.length == 0)
        ring &= (spare | over) & (main[:, None] | (symbols[:, None] - 1 >= token.length))
        targets = self._targets(state, rows, last)  # (R, M, 3)
        distance = last[:, None] - torch.arange(state.kind.shape[1], device=self.device)
        near, far = (distance <= BASE)[..., None], (distance > BASE)[..., None]
        reachable = torch.stack([(targets & near).any(1), (targets & far).any(1)], 1)  # (R, 2, 3)
        allowed |= ring & reachable[:, (token.length.clamp(1, 2) - 1), token.order - 1]

        allowed = prefer(allowed, feasible)
        rings = allowed & (token.shape == RING)
        done = ~any_left & begun
        stuck = done & ((state.excess < 2) | ~rings.any(1))  # no ring can repair it
        allowed |= ((done & state.exact) | stuck)[:, None] & token.is_end

        reading = state.reading > 0
        allowed = torch.where(reading[:, None], self._digits(state, rows, last, symbols, targets), allowed)
        allowed[~allowed.any(1), :] |= token.is_end
        result = state.free[:, None] & ~self.in_formula
        result[:, self.usable] |= allowed
        return result

    @property
    def _orders(self) -> Tensor:
        return torch.arange(4, device=self.device)

    def _targets(self, state: BranchProgress, rows: Tensor, last: Tensor) -> Tensor:
        """(R, M, 3) whether a ring bond of order 1 to 3 may go from the last atom to each atom.

        The atoms at which open branches began keep a valence for what follows the branch.
        """
        atoms = torch.arange(state.kind.shape[1], device=self.device)
        levels = torch.arange(LEVELS, device=self.device)
        waiting = torch.zeros_like(state.used)
        waiting.scatter_reduce_(1, state.last, (levels < state.level[:, None]).long(), "amax")
        after = (state.used + waiting)[..., None] + torch.arange(1, 4, device=self.device)
        free = self.hydrogens[state.kind[..., None], after.clamp(max=MOST_BONDS)] >= 0
        earlier = (atoms < last[:, None]) & (atoms != state.parent[rows, last][:, None])
        return free & earlier[..., None]

    def _digits(self, state: BranchProgress, rows: Tensor, last: Tensor, symbols: Tensor, targets: Tensor) -> Tensor:
        """(R, A) the symbols that may continue a number."""
        number = state.number[:, None] * BASE + torch.arange(BASE, device=self.device)  # (R, BASE)
        smallest = number * torch.where(state.reading > 1, BASE, 1)[:, None] + 1
        most = torch.where(state.shape == BRANCH, symbols, last)
        fits = smallest <= most[:, None]
        target = (last[:, None] - smallest).clamp(min=0)
        closes = targets[rows[:, None], target, (state.order - 1).clamp(min=0)[:, None]]
        fits &= closes | ((state.shape != RING) | (state.reading > 1))[:, None]
        return fits[:, self.usable_token.digit.clamp(min=0)] & (self.usable_token.digit >= 0)

    def advance(self, state: BranchProgress, choice: Tensor) -> None:
        """Update the state by the (R,) indices in A of the tokens that were written."""
        self.read_formula(state, choice)
        rows = torch.arange(len(choice), device=self.device)
        text = ~self.in_formula[choice] & ~state.free & ~self.token.is_end[choice]
        reading = text & (state.reading > 0)
        self._write_atom(state, rows, choice, text & ~reading & (self.token.atom[choice] >= 0))
        shape = text & ~reading & (self.token.shape[choice] > 0)
        state.symbols[rows, state.level] -= shape.long()
        for name in ("shape", "order"):
            value = getattr(self.token, name)[choice]
            setattr(state, name, torch.where(shape, value, getattr(state, name)))
        state.reading = torch.where(shape, self.token.length[choice], state.reading - reading.long())
        digit = state.number * BASE + self.token.digit[choice].clamp(min=0)
        state.number = torch.where(shape, 0, torch.where(reading, digit, state.number))
        state.symbols[rows, state.level] -= reading.long()
        complete = reading & (state.reading == 0)
        self._close_ring(state, rows, complete & (state.shape == RING))
        self._open_branch(state, rows, complete & (state.shape == BRANCH))
        for _ in range(LEVELS):
            ended = (state.symbols[rows, state.level] <= 0) & (state.level > 0) & (state.reading == 0)
            if not ended.any():
                break
            state.level -= ended.long()

    def _bond(self, state: BranchProgress, rows: Tensor, atom: Tensor, order: Tensor) -> None:
        kind, used = state.kind[rows, atom], state.used[rows, atom]
        after = (used + order).clamp(max=MOST_BONDS)
        state.excess += self.change(kind, used, after)
        state.unfilled += self.unfilled[kind, after] - self.unfilled[kind, used]
        state.used[rows, atom] = after

    def _write_atom(self, state: BranchProgress, rows: Tensor, choice: Tensor, atom: Tensor) -> None:
        kind, begun, last = self.token.atom[choice].clamp(min=0), state.count > 0, state.last[rows, state.level]
        order = torch.where(atom & begun, self.token.order[choice], 0)
        self._bond(state, rows, last, order)
        element, new = self.element[kind], state.count.clamp(max=state.kind.shape[1] - 1)
        added = self.hydrogens[kind, order] - self.gain[element] - torch.where(begun, 0, 2)
        state.excess += torch.where(atom, added, 0)
        state.unfilled += torch.where(atom, self.unfilled[kind, order], 0)
        state.charge += torch.where(atom, self.charges[kind], 0)
        state.left[rows, element] -= atom.long()
        for table, value in ((state.kind, kind), (state.used, order), (state.parent, last)):
            table[rows, new] = torch.where(atom, value, table[rows, new])
        for table, value in ((state.last, new), (state.valence, self.most[kind] - order)):
            table[rows, state.level] = torch.where(atom, value, table[rows, state.level])
        state.symbols[rows, state.level] -= atom.long()
        state.count += atom.long()

    def _close_ring(self, state: BranchProgress, rows: Tensor, ring: Tensor) -> None:
        last, order = state.last[rows, state.level], torch.where(ring, state.order, 0)
        self._bond(state, rows, last, order)
        self._bond(state, rows, (last - state.number - 1).clamp(min=0), order)
        state.valence[rows, state.level] -= order

    def _open_branch(self, state: BranchProgress, rows: Tensor, branch: Tensor) -> None:
        last, valence = state.last[rows, state.level], state.valence[rows, state.level]
        order = torch.where(branch, torch.minimum(state.order, valence - 1), 0)
        length = torch.where(branch, state.number + 1, 0)
        state.valence[rows, state.level] -= order
        state.symbols[rows, state.level] -= length
        state.level = (state.level + branch.long()).clamp(max=LEVELS - 1)
        for table, value in ((state.last, last), (state.valence, order), (state.symbols, length)):
            table[rows, state.level] = torch.where(branch, value, table[rows, state.level])
