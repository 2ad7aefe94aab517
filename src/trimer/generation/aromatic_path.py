"""Aromatic atoms on the path of a deepSMILES text: which are in an aromatic ring, and what the others still need.

RDKit reads an aromatic atom only in a ring whose atoms and bonds are all aromatic. So an aromatic atom is *open* until
a ring of 5 to 7 such atoms closes over it, and the text may neither leave it by a branch nor end before. A fused ring
goes through the bonds that close other rings, so rings are counted along the shortest way.

Shapes: R rows, D largest number of atoms on a path; column 0 is before the first atom. N partners of a ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST, LARGEST = 5, 7  # atoms of an aromatic ring
LONGEST = 2 * LARGEST - 2  # of the outline of two fused rings
FREE, REQUIRED, FORBIDDEN = 0, 1, 2  # a double bond to outside of the ring that the last atom has closed


@dataclass
class Needs:
    """What the open atoms need until they are in rings: (R,) aromatic atoms, and bonds that close a ring."""

    atoms: Tensor
    rings: Tensor


@dataclass
class OpenRuns:
    """The first open atom of each run of aromatic atoms on the path, in the (R, D + 1) table.

    first: whether this is one; size: atoms of the smallest ring from it to the end of its run, with at most two atoms
    in common with another ring. last: first open atom of the run at the end of the path. shared: (R,) atoms of that
    run, at most 2, which a new open atom can have in common with another ring. even: whether the ring needs an even
    number of atoms, because all atoms of its run have a double bond in it.
    """

    first: Tensor
    size: Tensor
    last: Tensor
    shared: Tensor
    even: Tensor

    def now(self, others: bool = True) -> Needs:
        """What is needed as it is: also after an atom that is not aromatic.

        others: whether atoms are left that can make the ring of an odd number.
        """
        return self._sum(self.size, others)

    def continued(self, others: bool = True) -> Needs:
        """What is needed after an aromatic atom that continues the run at the end of the path."""
        needs, begins = self._sum(self.size + self.last.long(), others), (~self.last.any(1)).long()
        return Needs(needs.atoms + begins * (SMALLEST - 1 - self.shared), needs.rings + begins)

    def begun(self, others: bool = True) -> Needs:
        """What is needed after an aromatic atom that begins a run."""
        needs = self.now(others)
        return Needs(needs.atoms + SMALLEST - 1, needs.rings + 1)

    def _sum(self, size: Tensor, others: bool) -> Needs:
        least = SMALLEST + (0 if others else self.even.long())
        return Needs(((least - size).clamp(min=0) * self.first).sum(1), self.first.long().sum(1))


@dataclass
class AromaticPath:
    """State of R rows.

    aromatic, joined, covered: (R, D + 1) whether an atom is aromatic, its bond to the atom before is, and it is in an
    aromatic ring. carried: (R, D + 1) atoms of ended branches with a double bond in a ring, which continue the run of
    an atom. distance: (R, D + 1, D + 1) bonds of the shortest way from an atom, when it was at the end of the path, to
    each earlier one; pure: whether all atoms and bonds of it are aromatic. outside: (R,) FREE, REQUIRED or FORBIDDEN.
    divided: (R,) the other end of a bond that has closed the outline of two fused rings, which the next token must
    divide; 0 if there is none.
    """

    aromatic: Tensor
    joined: Tensor
    covered: Tensor
    carried: Tensor
    distance: Tensor
    pure: Tensor
    outside: Tensor
    divided: Tensor

    @classmethod
    def start(cls, rows: int, length: int, device: torch.device) -> AromaticPath:
        """The state of rows that have written nothing; length: the most atoms."""
        flags = torch.zeros((rows, length + 1), dtype=torch.bool, device=device)
        distance = torch.zeros((rows, length + 1, length + 1), dtype=torch.int16, device=device)
        each = torch.zeros(rows, dtype=torch.long, device=device)
        pure = torch.zeros_like(distance, dtype=torch.bool)
        carried = torch.zeros(flags.shape, dtype=torch.long, device=device)
        return cls(flags, flags.clone(), flags.clone(), carried, distance, pure, each, each.clone())

    def __getitem__(self, rows: Tensor) -> AromaticPath:
        return AromaticPath(*(tensor[rows] for tensor in vars(self).values()))

    def on_path(self, depth: Tensor) -> Tensor:
        """(R, D + 1) aromatic atoms of the path."""
        return self.aromatic & (torch.arange(self.aromatic.shape[1], device=depth.device) <= depth[:, None])

    def last_open(self, depth: Tensor) -> Tensor:
        """(R,) position of the last open atom; 0 if there is none."""
        position = torch.arange(self.aromatic.shape[1], device=depth.device)
        return torch.where(self.on_path(depth) & ~self.covered, position, 0).amax(1)

    def run_starts(self, depth: Tensor) -> Tensor:
        """(R, D + 1) the first atom of the run that an aromatic atom belongs to."""
        aromatic, position = self.on_path(depth), torch.arange(self.aromatic.shape[1], device=depth.device)
        return torch.where(aromatic & ~self.joined, position, 0).cummax(1).values

    def run_numbers(self, depth: Tensor, double_bonded: Tensor) -> Tensor:
        """(R, D + 1) double-bonded atoms of a run up to each atom of it, with those of ended branches."""
        number = torch.where(self.on_path(depth), double_bonded.long() + self.carried, 0).cumsum(1)
        return number - number.gather(1, (self.run_starts(depth) - 1).clamp(min=0))

    def last_odd(self, depth: Tensor, double_bonded: Tensor, can_change: Tensor) -> Tensor:
        """(R,) the last of the atoms that are the first to be able to make their run even.

        Of runs that are odd and without open atoms.
        """
        aromatic, columns = self.on_path(depth), self.aromatic.shape[1]
        position = torch.arange(columns, device=depth.device).expand_as(aromatic)
        is_end = aromatic & ~torch.cat([(aromatic & self.joined)[:, 1:], torch.zeros_like(aromatic[:, :1])], 1)
        start, number = self.run_starts(depth), (aromatic & ~self.covered).long().cumsum(1)
        is_closed = number == number.gather(1, (start - 1).clamp(min=0))
        is_odd = is_end & is_closed & (self.run_numbers(depth, double_bonded) % 2 == 1)
        later = torch.where(aromatic & can_change, position, columns).flip(1).cummin(1).values.flip(1)
        first = torch.minimum(later.gather(1, start), position)  # the end of the run if no atom is able to
        return torch.where(is_odd, first, 0).amax(1)

    def open_runs(self, depth: Tensor, double_bonded: Tensor) -> OpenRuns:
        """The open atoms of each run of aromatic atoms. double_bonded: (R, D + 1) atoms that stay so."""
        aromatic, columns = self.on_path(depth), self.aromatic.shape[1]
        rows, position = torch.arange(len(depth), device=depth.device), torch.arange(columns, device=depth.device)
        position = position.expand_as(aromatic)
        joined, start = aromatic & self.joined, self.run_starts(depth)
        is_open = aromatic & ~self.covered
        number = is_open.long().cumsum(1)
        first = is_open & (number - number.gather(1, (start - 1).clamp(min=0)) == 1)
        ends = torch.cat([~joined[:, 1:], torch.ones_like(joined[:, :1])], 1)
        end = torch.where(ends, position, columns - 1).flip(1).cummin(1).values.flip(1)
        size = self.distance[rows[:, None], end, position] + 1 + (position - start).clamp(max=2)
        is_last, last_start = aromatic[rows, depth], start[rows, depth]
        last = first & (start == last_start[:, None]) & is_last[:, None]
        others = (aromatic & ~double_bonded).long().cumsum(1)
        even = others.gather(1, end) == others.gather(1, (start - 1).clamp(min=0))
        even &= self.pure[rows[:, None], end, position]  # otherwise the size is that of another ring
        return OpenRuns(first, size, last, torch.where(is_last, depth - last_start + 1, 0).clamp(max=2), even)

    def atoms_after_branch(self, runs: OpenRuns, depth: Tensor, after: Tensor, others: Tensor) -> Tensor:
        """(R, N) aromatic atoms that the open runs need when a branch leads back to (R, N) atoms.

        None of these is before an open one. The last of the runs may lose atoms of other rings, which a ring around its
        open atoms could have shared. others: (R,) whether atoms are left that can make the ring of an odd number.
        """
        rows, position = (torch.arange(n, device=depth.device) for n in runs.size.shape)
        first = torch.where(runs.first, position, 0).amax(1)
        shared = (first - self.run_starts(depth)[rows, first]).clamp(max=2)
        size = runs.size[rows, first][:, None]
        left = self.distance[rows[:, None], after, first[:, None]].long() + 1 + shared[:, None]
        least = (SMALLEST + (runs.even[rows, first] & ~others).long())[:, None]
        lost = (least - torch.minimum(left, size)).clamp(min=0) - (least - size).clamp(min=0)
        atoms = torch.where(others, runs.now(True).atoms, runs.now(False).atoms)
        return atoms[:, None] + torch.where(first[:, None] > 0, lost, 0)

    def closes(self, depth: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
        """For a ring from the end of the path to (R, N) atoms: its size, and whether all of its atoms are aromatic."""
        rows = torch.arange(len(depth), device=depth.device)
        size = self.distance[rows, depth].gather(1, partner).long() + 1
        return size, self.pure[rows, depth].gather(1, partner)

    def is_new(self, depth: Tensor, partner: Tensor) -> Tensor:
        """(R, N) whether such a ring has no atom of another one."""
        rows = torch.arange(len(depth), device=depth.device)
        covered = (self.on_path(depth) & self.covered).long().cumsum(1)
        before = covered.gather(1, (partner - 1).clamp(min=0))
        direct = depth[:, None] - partner + 1 == self.closes(depth, partner)[0]
        return direct & (covered[rows, depth][:, None] == before)

    def is_same_run(self, depth: Tensor, partner: Tensor) -> Tensor:
        """(R, N) whether an atom belongs to the run of aromatic atoms at the end of the path."""
        rows = torch.arange(len(depth), device=depth.device)
        start = self.run_starts(depth)[rows, depth]
        return self.aromatic[rows, depth][:, None] & (partner >= start[:, None])

    def is_whole(self, depth: Tensor, partner: Tensor) -> Tensor:
        """(R, N) whether such a ring leaves no open atom in its run."""
        rows = torch.arange(len(depth), device=depth.device)
        is_open = self.on_path(depth) & ~self.covered
        number = is_open.long().cumsum(1)
        start = self.run_starts(depth)[rows, depth][:, None]
        far = torch.where((self.divided > 0)[:, None], self.divided[:, None], partner)
        return (number.gather(1, (far - 1).clamp(min=0)) == number.gather(1, (start - 1).clamp(min=0))) & (far >= start)

    def is_divisible(self, depth: Tensor, partner: Tensor, binds: Tensor) -> Tensor:
        """(R, N) whether a second ring can divide one to an atom into two; binds: (R, N) atoms that it may go to."""
        size, aromatic = self.closes(depth, partner)
        other = size[:, :, None] - size[:, None] + 2  # (R, N, N)
        fits = ((size >= SMALLEST) & (size <= LARGEST) & aromatic & binds)[:, None]
        return (fits & (other >= SMALLEST) & (other <= LARGEST)).any(2)

    def divides(self, depth: Tensor, partner: Tensor) -> Tensor:
        """(R, N) whether a ring from the end of the path to an atom divides an outline into two aromatic rings."""
        size, aromatic = self.closes(depth, partner)
        outline, _ = self.closes(depth, self.divided[:, None])
        other = outline - size + 2
        return aromatic & (size >= SMALLEST) & (size <= LARGEST) & (other >= SMALLEST) & (other <= LARGEST)

    def write_atom(self, is_atom: Tensor, depth: Tensor, aromatic: Tensor, joined: Tensor) -> None:
        """An atom at the (R,) new depth; joined: whether the bond to the atom before can be aromatic."""
        rows, before = torch.arange(len(depth), device=depth.device), (depth - 1).clamp(min=0)
        joined = joined & aromatic & self.aromatic[rows, before]
        flags = (aromatic, joined, torch.zeros_like(joined))
        for table, value in zip((self.aromatic, self.joined, self.covered), flags, strict=True):
            table[rows, depth] = torch.where(is_atom, value, table[rows, depth])
        self.carried[rows, depth] = torch.where(is_atom, 0, self.carried[rows, depth])
        distance, pure = self.distance[rows, before] + 1, self.pure[rows, before] & joined[:, None]
        distance[rows, depth], pure[rows, depth] = 0, aromatic
        self._set_ways(is_atom, depth, distance, pure)

    def write_ring(self, is_ring: Tensor, depth: Tensor, partner: Tensor, joined: Tensor) -> None:
        """A ring from the end of the path to (R,) atoms; joined: whether its bond can be aromatic."""
        position = torch.arange(self.aromatic.shape[1], device=depth.device)
        size, aromatic = (value[:, 0] for value in self.closes(depth, partner[:, None]))
        aromatic &= is_ring & joined & (size >= SMALLEST)
        outline = aromatic & (size > LARGEST) & (self.divided == 0)
        far = torch.where(is_ring & (self.divided > 0), self.divided, partner)
        within = (position >= far[:, None]) & (position <= depth[:, None])
        self.covered |= within & self.aromatic & (aromatic & ~outline)[:, None]
        for other in (far, partner):
            self._connect(is_ring & ~outline, depth, other, joined)
        self.divided = torch.where(is_ring, torch.where(outline, partner, 0), self.divided)

    def end_branch(self, is_end: Tensor, depth: Tensor, after: Tensor, double_bonded: Tensor) -> None:
        """The path ends at the atom `after` again, which keeps the number of double-bonded atoms of its run."""
        rows, position = (torch.arange(n, device=depth.device) for n in self.aromatic.shape)
        ended = self.on_path(depth) & (position > after[:, None]) & (self.run_starts(depth) <= after[:, None])
        number = torch.where(ended, double_bonded.long() + self.carried, 0).sum(1)
        self.carried[rows, after] += torch.where(is_end, number, 0)

    def _connect(self, where: Tensor, depth: Tensor, partner: Tensor, joined: Tensor) -> None:
        """A bond from the end of the path makes some ways shorter."""
        rows, position = (torch.arange(n, device=depth.device) for n in self.aromatic.shape)
        is_later = position > partner[:, None]
        distance = torch.where(is_later, self.distance[rows, :, partner], self.distance[rows, partner]) + 1
        pure = torch.where(is_later, self.pure[rows, :, partner], self.pure[rows, partner])
        pure &= (joined & self.aromatic[rows, depth])[:, None]
        now, now_pure = self.distance[rows, depth], self.pure[rows, depth]
        shorter = (distance < now) & (position != depth[:, None])
        pure = torch.where(shorter, pure, now_pure | (pure & (distance == now)))
        self._set_ways(where, depth, torch.where(shorter, distance, now), pure)

    def _set_ways(self, where: Tensor, depth: Tensor, distance: Tensor, pure: Tensor) -> None:
        rows = torch.arange(len(depth), device=depth.device)
        for table, value in ((self.distance, distance), (self.pure, pure)):
            table[rows, depth] = torch.where(where[:, None], value, table[rows, depth])
