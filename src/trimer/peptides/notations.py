"""Readers of the peptide notations of search engines and spectral libraries.

A text that cannot be read raises PeptideError. Modifications before the first residue are on the N terminus; those with
a C-terminal site (`Amidated (C-term)`) are on the C terminus.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import zip_longest

from trimer.peptides.modifications import Modification, modification
from trimer.peptides.proforma import (
    LETTERS,
    Peptide,
    PeptideError,
    assemble,
    read_proforma,
    read_proforma_charged,
    split_marks,
)

ROUND = re.compile(r"\(((?:[^()]|\([^()]*\))*)\)")
SQUARE = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]")
END = re.compile(rf"\.(?:{ROUND.pattern})+$")
ASSIGNED = re.compile(r"(?:(\d+)[A-Z]|(N-?term|C-?term))\(([^()]+)\)", re.I)
NUMBER = re.compile(r"-?\d+")
N_TERMINUS = "N-term"
# Modifications that a notation leaves out. The other notations write all of them: their plain C is unmodified.
CARBAMIDOMETHYL = "Carbamidomethyl@C"
PLAIN = {"maxquant": CARBAMIDOMETHYL, "deepphospho": CARBAMIDOMETHYL, "prosit": CARBAMIDOMETHYL}
C_TERMINUS = re.compile(r"C-?_?term", re.I)
DEEPPHOSPHO = {
    "1": ("M", "Oxidation"),
    "2": ("S", "Phospho"),
    "3": ("T", "Phospho"),
    "4": ("Y", "Phospho"),
}  # digit -> the residue and its modification


def maxquant(text: str) -> Peptide:
    """`_AM(ox)K_`, `_AM(Oxidation (M))K_` or `_(Acetyl (Protein N-term))AMK_`, as in evidence.txt and msms.txt."""
    return _with_brackets(text.strip().strip("_"), ROUND)


def diann(text: str) -> Peptide:
    """`(UniMod:1)AM(UniMod:35)K`; with dots at the termini (`.(UniMod:1)AMK.(UniMod:2)`) as in OpenSWATH."""
    text = text.strip().removeprefix(".")
    if not (end := END.search(text)):
        return _with_brackets(text.removesuffix("."), ROUND)
    letters, placed = split_marks(ROUND.split(text[: end.start()]))
    return assemble(letters, placed + [(len(letters) + 1, name) for name in ROUND.findall(end[0])])


def spectronaut(text: str) -> Peptide:
    """`_[Acetyl (Protein N-term)]AC[Carbamidomethyl (C)]M_`."""
    return _with_brackets(text.strip().strip("_"), SQUARE)


def prosit(text: str) -> Peptide:
    """`[]-HC[UNIMOD:4]M[UNIMOD:35]K-[]`: ProForma, but unmodified termini may have empty brackets."""
    text = text.strip()
    return read_proforma(text.removeprefix("[]-").removesuffix("-[]"))


def brackets(text: str) -> Peptide:
    """`AC(UniMod:4)K`, `_AC[Carbamidomethyl (C)]K_`, `[UNIMOD:1]-ACK` or `n[43]ACM[147]K`, detected from the text.

    The columns ModifiedPeptide and ModifiedPeptideSequence use all of them.
    """
    text = text.strip().strip("_")
    if "(" in SQUARE.sub("", text):
        return diann(text)
    if text[:1] == "n" or (text[:1] == "[" and "]-" in text) or "-[" in text or "c[" in text:
        text = text.removeprefix("n").replace("c[", "-[")
        end = SQUARE.match(text)
        return prosit(text if end is None or text[end.end() :][:1] == "-" else f"{end[0]}-{text[end.end() :]}")
    return _with_brackets(text, SQUARE)


def fragpipe(sequence: str, assigned: str | None = None) -> Peptide:
    """`ACMK`, `2C(57.0215), 3M(15.9949), N-term(42.0106)`: all modifications of psm.tsv, including fixed ones."""
    placed = []
    for part in filter(None, map(str.strip, (assigned or "").split(","))):
        if not (match := ASSIGNED.fullmatch(part)):
            raise PeptideError(f"assigned modification '{part}' cannot be read")
        position, end, name = match.groups()
        position = int(position) if position else (0 if end[0] in "Nn" else len(sequence.strip()) + 1)
        placed.append((position, name if name[0] in "+-" or not name[0].isdigit() else f"+{name}"))
    return assemble(sequence.strip(), placed)


def alphabase(sequence: str, mods: str | None = None, sites: str | None = None) -> Peptide:
    """`ACM`, `Oxidation@M;Acetyl@Any_N-term`, `3;0`: site 0 is the N terminus, -1 the C terminus."""
    names = (mods or "").split(";") if mods else []
    positions = (sites or "").split(";") if sites else []
    if len(names) != len(positions):
        raise PeptideError(f"{len(names)} modifications at {len(positions)} sites")
    return _at_positions(sequence, names, positions)


def ms2pip(sequence: str, mods: str | None = None) -> Peptide:
    """`ACM`, `0|Acetyl|3|Oxidation`: 0 is the N terminus, -1 the C terminus; `-` or nothing means unmodified."""
    if not mods or mods == "-":
        return assemble(sequence.strip())
    cells = mods.strip().strip("|").split("|")
    if len(cells) % 2:
        raise PeptideError(f"modifications {mods} are not pairs of position|name")
    return _at_positions(sequence, cells[1::2], cells[::2])


def deepphospho(text: str) -> Peptide:
    """`*A1ESDTEEF2K`: `*` is an acetylated, `@` a free N terminus; 1 is oxidised M, 2 to 4 phosphorylated S, T, Y."""
    text = text.strip()
    if text[:1] not in ("*", "@"):
        raise PeptideError("the first character is neither * nor @")
    placed = [(0, "Acetyl")] if text[0] == "*" else []
    letters = text[1:]
    if not LETTERS.fullmatch(letters):
        placed += [(i, DEEPPHOSPHO[mark][1]) for i, mark in enumerate(letters, 1) if mark in DEEPPHOSPHO]
        letters = "".join(DEEPPHOSPHO[mark][0] if mark in DEEPPHOSPHO else mark for mark in letters)
    return assemble(letters, placed)


COLUMNS = {"alphabase": 3, "ms2pip": 2, "fragpipe": 2}  # texts that a notation needs; 1 for the others
# Name -> reader.
NOTATIONS: dict[str, Callable[..., Peptide]] = {
    "proforma": read_proforma,
    "maxquant": maxquant,
    "diann": diann,
    "spectronaut": spectronaut,
    "brackets": brackets,
    "fragpipe": fragpipe,
    "prosit": prosit,
    "alphabase": alphabase,
    "ms2pip": ms2pip,
    "deepphospho": deepphospho,
}


@lru_cache(maxsize=1 << 16)
def canonical(notation: str, fixed: str | None, *texts: str | None) -> tuple[str, str | None]:
    """Canonical ProForma of a peptide in a notation, and its charge or None; PeptideError if it cannot be read.

    fixed: modifications that the notation leaves out, such as `Carbamidomethyl@C;TMT6plex@K;TMT6plex@N-term`. They are
    added to unmodified sites.
    """
    charge = None
    if notation == "proforma":
        peptide, charge = read_proforma_charged(texts[0] or "")
    else:
        peptide = NOTATIONS[notation](*texts)
    if fixed:
        peptide = _add_fixed(peptide, read_fixed(fixed))
    return peptide.proforma, None if charge is None else str(charge)


@lru_cache(maxsize=16)
def read_fixed(text: str) -> tuple[tuple[str, Modification], ...]:
    """`Carbamidomethyl@C;TMT6plex@N-term` as (residue or `N-term`, modification); ValueError if it cannot be read."""
    modifications = []
    for entry in text.split(";"):
        name, _, site = entry.rpartition("@")
        if site != N_TERMINUS and not (len(site) == 1 and LETTERS.fullmatch(site)):
            example = "such as Carbamidomethyl@C"
            raise ValueError(f"fixed={text}: '{entry}' is not name@residue or name@{N_TERMINUS}, {example}")
        try:
            modifications.append((site, modification(name, site)))
        except PeptideError as error:
            raise ValueError(f"fixed={text}: {error}") from error
    return tuple(modifications)


def _add_fixed(peptide: Peptide, fixed: tuple[tuple[str, Modification], ...]) -> Peptide:
    taken = {position for position, _ in peptide.modifications}
    added = [(i, change) for site, change in fixed for i, letter in enumerate(peptide.letters, 1) if letter == site]
    added += [(0, change) for site, change in fixed if site == N_TERMINUS]
    added = [(position, change) for position, change in added if position not in taken]
    if not added:
        return peptide
    return Peptide(peptide.letters, tuple(sorted((*peptide.modifications, *added), key=lambda placed: placed[0])))


def _with_brackets(text: str, bracket: re.Pattern[str]) -> Peptide:
    """The peptide of residues that are followed by their modifications in brackets."""
    if LETTERS.fullmatch(text):
        return Peptide(text)
    letters, placed = split_marks(bracket.split(text))
    last = len(letters)
    return assemble(letters, [(p + (p == last and bool(C_TERMINUS.search(name))), name) for p, name in placed])


def _at_positions(sequence: str, names: list[str], positions: list[str]) -> Peptide:
    """The peptide of residues and modifications at numbered positions; -1 is the C terminus."""
    sequence = sequence.strip()
    placed = []
    for name, text in zip_longest(names, positions, fillvalue=""):
        if not NUMBER.fullmatch(text.strip()):
            raise PeptideError(f"position '{text}' is not a number")
        position = int(text)
        placed.append((len(sequence) + 1 if position == -1 else position, name))
    return assemble(sequence, placed)
