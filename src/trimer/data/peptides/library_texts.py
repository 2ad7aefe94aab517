"""Spectral libraries of peptides as text, record by record: MSP (NIST, SpectraST, Prosit) and mzSpecLib.

Both write every modification, so plain residues are unmodified.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from trimer.data.peptides.annotated_spectra import Fragment, Spectrum, Unreadable, make_spectrum, read_intensity
from trimer.data.peptides.fragment_annotations import read_annotation
from trimer.data.peptides.psm_quality import FDR
from trimer.data.spectra.readers.msp import msp_records
from trimer.data.text.opening import broken_end, lines_until_break
from trimer.errors import BrokenOff, InputError
from trimer.peptides.modifications import COMMON, PeptideError, modification
from trimer.peptides.proforma import assemble

Peaks = list[tuple[str, str, int]]  # annotation, intensity, line
COMMENT = re.compile(r'([\w./-]+)=("[^"]*"|\S+)')
NAME = re.compile(r"([^/]+)/(\d+)(?:_.*)?")
MODS = re.compile(r"(-?\d+),(\w|-),([^/()]+)")
MOD_STRING = re.compile(r"ModString=\w+//(.*?)/\d")
AT = re.compile(r"([^;@]+)@([A-Z])(\d+)")
# What NIST calls some modifications.
NIST = {
    "CAM": "Carbamidomethyl", "Pyro_glu": "Gln->pyro-Glu", "Pyro-glu": "Gln->pyro-Glu", "Pyro-cmC":
    "Pyro-carbamidomethyl", "Pyro_carbamidomethyl": "Pyro-carbamidomethyl",
}  # fmt: skip
ENDS = frozenset({"Gln->pyro-Glu", "Glu->pyro-Glu", "Pyro-carbamidomethyl"})
SEVERAL = "several analytes"
DECOYS = ("decoy", "unnatural")


class Entry(NamedTuple):
    """One record: what it says by name, its peaks, its first line, and why it is not whole."""

    said: dict[str, str]
    peaks: Peaks
    line: int
    problem: str | None = None


# ---------------------------------------------------------------- MSP


def is_msp(start: str) -> bool:
    """Whether a text begins as a peptide MSP: its first record is named after a peptide with a charge."""
    lines = enumerate((line.strip() for line in start.splitlines()), 1)
    fields = next((record.fields for record in msp_records(lines)), {})
    return bool(NAME.fullmatch(fields.get("name", fields.get("fullname", ""))))


def read_msp_library(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """`Name: AC[160]K/2` or `Name: ACK/2` with `Mods=1/1,C,CAM` in the comment; peaks with `"y3-H2O^2/0.01"`."""
    for entry in _msp_entries(path):
        said = entry.said
        notation, text, charge = "brackets", said.get("name", ""), said.get("charge")
        problem = entry.problem
        if match := NAME.fullmatch(text):
            text, charge = match.groups()
        try:
            notation, text = _msp_peptide(text, said)
        except PeptideError as error:
            problem = problem or str(error)
        if said.get("spec", "").lower() == "decoy" or "decoy" in said.get("remark", "").lower():
            problem = problem or "decoy"
        yield make_spectrum(
            f"{path.name}:{entry.line}",
            (notation, fixed or None, text),
            charge,
            f"{path.name}, line {entry.line}",
            lambda _, peaks=entry.peaks: _fragments(peaks),
            _energy(said),
            said.get("instrument", said.get("inst", "")),
            problem,
        )


def _msp_peptide(text: str, said: dict[str, str]) -> tuple[str, str]:
    """The notation and the text of a record's peptide; PeptideError where its modifications cannot be placed."""
    if "proforma" in said:
        return "proforma", said["proforma"]
    if not text.isalpha():
        return "brackets", text
    if (listed := MOD_STRING.search(said.get("comment", ""))) and (named := AT.findall(listed[1])):
        # Prosit: places from 1
        return "proforma", assemble(text, [(int(place), name.strip()) for name, _, place in named]).proforma
    placed = []
    for place, letter, name in MODS.findall(said.get("mods", "")):  # NIST: places from 0
        name, position = NIST.get(name.strip(), name.strip()), int(place) + 1
        if 0 < position <= len(text) and letter not in ("-", text[position - 1]):
            raise PeptideError(f"modification {place},{letter},{name} is on a {text[position - 1]} of {text}")
        title = modification(name, text[0]).name
        terminal = "-" in COMMON.get(title, "") or title in ENDS
        at_end = position < 1 or (position == 1 and terminal and all(done for done, _ in placed))
        placed.append((0 if at_end else position, name))
    if not placed and (count := said.get("mods", "0").split("/")[0].split("(")[0]) not in ("0", ""):
        raise PeptideError(f"its {count} modifications cannot be read from 'Mods={said['mods']}'")
    return "proforma", assemble(text, placed).proforma


def _msp_entries(path: Path) -> Iterator[Entry]:
    broken: list[BrokenOff] = []
    entry: Entry | None = None
    for record in msp_records(lines_until_break(path, broken)):
        if entry is not None:
            yield entry
        comment = " ".join(record.comments)
        named = {name.lower(): text.strip('"') for name, text in COMMENT.findall(comment)}
        peaks = [_msp_peak(text, number) for number, text in record.lines]
        entry = Entry({"comment": comment, **named, **record.fields}, peaks, record.line)
    if entry is not None or broken:
        yield (entry or Entry({}, [], 0))._replace(problem=next(map(broken_end, broken), None))


def _msp_peak(text: str, line: int) -> tuple[str, str, int]:
    """Annotation, intensity and line of a peak: `175.119 0.5 "y1/0.01"`."""
    _, intensity, annotation, *_ = [*re.split(r"[\t ]+", text, maxsplit=2), "", ""]
    return annotation or "?", intensity, line


# ---------------------------------------------------------------- mzSpecLib


def is_mzspeclib(start: str) -> bool:
    return start.lstrip("\ufeff \n\r").lower().startswith("<mzspeclib")


def read_mzspeclib(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """The text form of mzSpecLib: `MS:1003270|proforma peptidoform ion notation=AC[UNIMOD:4]K/2`, peaks in mzPAF."""
    found = False
    for entry in _mzspeclib_entries(path):
        found = True
        said = entry.said
        text = said.get("proforma peptidoform ion notation") or said.get("proforma peptidoform sequence") or ""
        charge = said.get("charge state") or text.rpartition("/")[2]
        origin = said.get("spectrum origin type", "").lower()
        yield make_spectrum(
            f"{path.name}:{entry.line}",
            ("proforma", fixed or None, text),
            charge,
            f"{path.name}, line {entry.line}",
            lambda _, peaks=entry.peaks: _fragments(peaks),
            said.get("collision energy") or said.get("normalized collision energy"),
            said.get("instrument model", said.get("instrument", "")).rpartition("|")[2],
            entry.problem or ("decoy" if any(word in origin for word in DECOYS) else said.get(SEVERAL)),
        )
    if not found:
        raise InputError(f"{path}: there is no <Spectrum=...> in this mzSpecLib file; write or fetch it again")


def _mzspeclib_entries(path: Path) -> Iterator[Entry]:
    shared: dict[str, str] = {}
    said: dict[str, str] = shared
    peaks: Peaks = []
    section, first = "", 0
    broken: list[BrokenOff] = []
    for number, line in lines_until_break(path, broken):
        if line.startswith("<"):
            before, section = section, line.strip("<>").partition("=")[0].split()[0].lower()
            if section == "spectrum":
                if first:
                    yield Entry(said, peaks, first)
                said, peaks, first = dict(shared), [], number
            elif section == "attributeset":
                said = shared if line.rstrip(">").lower().endswith("=all") else {}
            elif section == "analyte" and before == "analyte":
                said[SEVERAL] = "spectrum of several peptides"
        elif section == "peaks" and line:
            cells = line.split("\t")
            peaks.append((cells[2] if len(cells) > 2 else "?", cells[1] if len(cells) > 1 else "", number))
        elif "|" in line and "=" in line:
            name, _, value = line.partition("|")[2].partition("=")
            known = said is not shared and name in said and name not in shared
            said[name] = said[name] if known else value  # the first analyte counts
    if first or broken:
        yield Entry(said, peaks, first, *map(broken_end, broken))


# ---------------------------------------------------------------- common


def _fragments(peaks: Iterable[tuple[str, str, int]]) -> Iterator[Fragment]:
    peaks = list(peaks)
    if not any(read_annotation(text) for text, _, _ in peaks):
        raise Unreadable("no peak has an annotation of a fragment, as y3 or b5-H2O^2")
    for text, intensity, _ in peaks:
        fragment = read_annotation(text)
        if fragment is not None:
            yield *fragment, read_intensity(text, intensity)
        else:
            yield text.strip('"')[:1] or "?", 0, 1, "", read_intensity(text, intensity)


def _energy(said: dict[str, str]) -> str | None:
    found = next((said[name] for name in ("nce", "collision_energy", "hcd", "collision energy") if name in said), None)
    match = re.match(r"-?[\d.]+", found or "")
    return match[0] if match else None
