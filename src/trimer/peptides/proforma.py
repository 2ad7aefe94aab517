"""Peptides as ProForma (HUPO-PSI, version 2): one letter per residue, followed by its modifications in brackets.

Trimer writes peptides as ProForma with UNIMOD ids: `[UNIMOD:1]-AC[UNIMOD:4]DEM[UNIMOD:35]K`. It reads the 20 amino
acids, modifications of residues and termini, fixed modifications (`<[UNIMOD:4]@C>`) and a charge (`/2`).

Why not `pyteomics.proforma`: it accepts what cannot be used here (residues such as X or p, empty brackets, `/0`,
unknown modifications), so all checks below would remain; it does not resolve the total mass in `M[147]`; its errors
quote the parser's state; and it needs 310 µs for a peptide of 10 residues with three modifications, this module 30 µs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from trimer.peptides.modifications import (
    Modification,
    PeptideError,
    UnknownModification,
    composition_mass,
    modification,
    parse_formula,
)

_FORMULAS = {
    "A": "C3H5NO", "C": "C3H5NOS", "D": "C4H5NO3", "E": "C5H7NO3", "F": "C9H9NO", "G": "C2H3NO", "H": "C6H7N3O",
    "I": "C6H11NO", "K": "C6H12N2O", "L": "C6H11NO", "M": "C5H9NOS", "N": "C4H6N2O2", "P": "C5H7NO", "Q": "C5H8N2O2",
    "R": "C6H12N4O", "S": "C3H5NO2", "T": "C4H7NO2", "V": "C5H9NO", "W": "C11H10N2O", "Y": "C9H9NO2",
}  # fmt: skip
RESIDUES = {letter: composition_mass(parse_formula(text) or ()) for letter, text in _FORMULAS.items()}  # Da
WATER = composition_mass((("H", 2), ("O", 1)))  # Da
HYDROGEN = composition_mass((("H", 1),))  # Da
PROTON = 1.00727646688  # Da

LETTERS = re.compile("[ACDEFGHIKLMNPQRSTVWY]+")
BRACKET = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
CHARGE = re.compile(r"/\+?([1-9]\d*)\+?$", re.ASCII)
TOTAL = re.compile(r"\d+(?:\.\d+)?")
FIXED = re.compile(r"<\[((?:[^\[\]]|\[[^\[\]]*\])*)\]@([A-Z](?:,[A-Z])*)>")
PLACED = tuple[int, str]  # a modification's text at a position: 0 the N terminus, 1 to L, L + 1 the C terminus
# Text that occurs only in unsupported notation -> its meaning; the first match is reported.
UNSUPPORTED = {
    "//": "cross-linked peptides", "{": "labile modifications", "}": "labile modifications", "(?": "ambiguous residues",
    "(": "ranges", ")": "ranges", "]?": "modifications of unknown position", "^": "modifications of unknown position",
    "<": "isotopes and fixed modifications of this kind", "+": "chimeric spectra", "/": "charges of this kind",
}  # fmt: skip


@dataclass(frozen=True)
class Peptide:
    """Residues with their modifications, (position, modification) in order; 0 is the N terminus, L + 1 the C terminus.

    >>> read_proforma("[Acetyl]-AC[Carbamidomethyl]DEM[+15.995]K").proforma
    '[UNIMOD:1]-AC[UNIMOD:4]DEM[UNIMOD:35]K'
    """

    letters: str
    modifications: tuple[tuple[int, Modification], ...] = ()

    @property
    def proforma(self) -> str:
        """The canonical text, equal for all notations of the peptide."""
        if not self.modifications:
            return self.letters
        length = len(self.letters)
        before = "".join(f"[{placed.proforma}]" for position, placed in self.modifications if position == 0)
        parts = [f"{before}-"] if before else []
        done = 0
        for position, placed in self.modifications:
            if 0 < position <= length:
                parts += (self.letters[done:position], f"[{placed.proforma}]")
                done = position
        parts.append(self.letters[done:])
        after = "".join(f"[{placed.proforma}]" for position, placed in self.modifications if position > length)
        return "".join(parts) + (f"-{after}" if after else "")

    @property
    def mass(self) -> float:
        """Monoisotopic mass of the neutral peptide, in Da."""
        modifications = sum(placed.mass for _, placed in self.modifications)
        return WATER + sum(map(RESIDUES.__getitem__, self.letters)) + modifications

    def mz(self, charge: int) -> float:
        """m/z of the peptide with `charge` protons, in Th."""
        return self.mass / charge + PROTON


def read_proforma(text: str) -> Peptide:
    """The peptide of a ProForma text, without its charge; PeptideError with the reason if it cannot be read."""
    return read_proforma_charged(text)[0]


def read_proforma_charged(text: str) -> tuple[Peptide, int | None]:
    """The peptide and its charge, as in `PEPTIDE/2`; the charge is None if the text gives none."""
    text = text.strip()
    if LETTERS.fullmatch(text):
        return Peptide(text), None
    charge = None
    if "/" in text and (match := CHARGE.search(text)) and text[match.start() - 1] != "/":
        charge = int(match[1])
        text = text[: match.start()]
    fixed: list[tuple[str, str]] = []
    while text[:1] == "<" and (match := FIXED.match(text)):
        fixed += [(match[1], letter) for letter in match[2].split(",")]
        text = text[match.end() :]
    letters, placed = _scan(text)
    if fixed:
        placed += [(i + 1, name) for name, letter in fixed for i, residue in enumerate(letters) if residue == letter]
    return assemble(letters, placed), charge


def assemble(letters: str, placed: Sequence[PLACED] = ()) -> Peptide:
    """A peptide from its residues and its modifications as text, in any order; PeptideError if they are invalid."""
    if not LETTERS.fullmatch(letters):
        if not letters:
            raise PeptideError("no residue")
        unknown = next(letter for letter in letters if letter not in RESIDUES)
        if unknown in "[]()":
            raise PeptideError("unclosed bracket")
        shown = unknown if unknown.isprintable() and unknown != " " else repr(unknown)
        raise PeptideError(f"residue {shown} is not one of the 20")
    if not placed:
        return Peptide(letters)
    length = len(letters)
    modifications = []
    for position, text in placed:
        if not 0 <= position <= length + 1:
            raise PeptideError(f"modification [{text}] at position {position} of {length} residues")
        residue = letters[position - 1] if 0 < position <= length else f"-{letters[0 if position == 0 else -1]}"
        modifications.append((position, _named(_as_delta(text, residue), residue)))
    if len(modifications) > 1:
        modifications.sort(key=lambda entry: (entry[0], entry[1].proforma))
    return Peptide(letters, tuple(modifications))


def _as_delta(text: str, residue: str) -> str:
    """A mass delta for `M[147]` and `n[43]`, which give the mass of the modified residue or terminus."""
    if not TOTAL.fullmatch(text):
        return text
    bare = HYDROGEN if residue[0] == "-" else RESIDUES[residue]
    return f"{float(text) - bare:+.{len(text.partition('.')[2])}f}"


def split_marks(parts: Sequence[str]) -> tuple[str, list[PLACED]]:
    """Letters and modifications from the pieces of `re.split` at brackets: letters, inside, letters, ..., letters."""
    placed = []
    position = 0
    for letters, inside in zip(parts[::2], parts[1::2], strict=False):
        position += len(letters)
        placed.append((position, inside))
    return "".join(parts[::2]), placed


def _scan(text: str) -> tuple[str, list[PLACED]]:
    """The residues and modifications of a ProForma text without charge and fixed modifications."""
    parts = BRACKET.split(text)
    outside = parts[::2]
    if not LETTERS.fullmatch("".join(outside).replace("-", "")):
        _reject_unsupported(text, outside)
    if not any(outside):
        raise PeptideError("no residue")
    # The first dash ends N-terminal modifications; another one begins C-terminal modifications.
    start = 0 if outside[0] else next(i for i, part in enumerate(outside) if part)
    if start:
        if outside[start][0] != "-":
            raise PeptideError("no - between the N-terminal modification and the residues")
        parts[2 * start] = outside[start][1:]
    end = len(outside) - 1
    while not outside[end]:
        end -= 1
    ends = end < len(outside) - 1 and outside[end][-1] == "-"
    if ends:
        parts[2 * end] = parts[2 * end][:-1]
    letters, placed = split_marks(parts)
    if "-" in letters:
        raise PeptideError("a - that is not between the residues and a terminal modification")
    if ends:
        placed = [(p + 1 if i >= end else p, name) for i, (p, name) in enumerate(placed)]
    return letters, placed


def _reject_unsupported(text: str, outside: Iterable[str]) -> None:
    """Raise PeptideError for unclosed brackets and unsupported ProForma; return for unknown residues."""
    rest = "[]".join(outside)
    if "[" in rest.replace("[]", "") or "]" in rest.replace("[]", ""):
        raise PeptideError("unclosed bracket")
    for symbol, what in UNSUPPORTED.items():
        if symbol in rest:
            raise PeptideError(f"{what} are not supported")


@lru_cache(maxsize=1 << 16)
def _named(text: str, residue: str) -> Modification:
    """The modification in a pair of brackets: the first known one of its descriptions."""
    if not text.strip():
        raise PeptideError("empty bracket")
    if "#" in text:
        kind = "cross-links" if re.search("#(?:XL|BRANCH)", text) else "ambiguous positions"
        raise PeptideError(f"{kind} are not supported")
    if "|" not in text:
        return modification(text, residue)
    for description in text.split("|"):
        try:
            return modification(description, residue)
        except UnknownModification:
            continue
    raise UnknownModification(f"unknown modification [{text}]")
