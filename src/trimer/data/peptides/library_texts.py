"""Readers of spectral libraries of peptides in text formats: MSP (NIST, SpectraST, Prosit) and mzSpecLib.

Both formats write every modification, so plain residues are unmodified.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from trimer.data.peptides.annotated_spectra import Fragment, Spectrum, Unreadable, make_spectrum, read_intensity
from trimer.data.peptides.fragment_annotations import read_annotation
from trimer.data.peptides.psm_quality import FDR
from trimer.data.spectra.readers.msp import msp_records
from trimer.data.text.opening import broken_end, lines_until_break
from trimer.errors import BrokenOff, InputError
from trimer.peptides.modifications import COMMON, PeptideError, modification
from trimer.peptides.proforma import Peptide, assemble

Peaks = list[tuple[str, str, int]]  # annotation, intensity, line
COMMENT = re.compile(r'([\w./-]+)=("[^"]*"|\S+)')
NAME = re.compile(r"([^/]+)/(\d+)(?:_.*)?")
MODS = re.compile(r"(-?\d+),(\w|-),([^/()]+)")
MOD_STRING = re.compile(r"ModString=\w+//(.*?)/\d")
AT = re.compile(r"([^;@]+)@([A-Z])(\d+)")
# Names of modifications in NIST libraries.
NIST = {
    "CAM": "Carbamidomethyl", "Pyro_glu": "Gln->pyro-Glu", "Pyro-glu": "Gln->pyro-Glu", "Pyro-cmC":
    "Pyro-carbamidomethyl", "Pyro_carbamidomethyl": "Pyro-carbamidomethyl",
}  # fmt: skip
ENDS = frozenset({"Gln->pyro-Glu", "Glu->pyro-Glu", "Pyro-carbamidomethyl"})
SEVERAL = "several analytes"
DECOYS = ("decoy", "unnatural")


class Entry(NamedTuple):
    """One record. fields: values by lower-case name. line: first line. problem: why it is incomplete."""

    fields: dict[str, str]
    peaks: Peaks
    line: int
    problem: str | None = None


# ---------------------------------------------------------------- MSP


def is_msp(start: str) -> bool:
    """Whether a text is a peptide MSP: the name of its first record is a peptide with a charge."""
    lines = enumerate((line.strip() for line in start.splitlines()), 1)
    fields = next((record.fields for record in msp_records(lines)), {})
    return bool(NAME.fullmatch(fields.get("name", fields.get("fullname", ""))))


def read_msp_library(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """Spectra of an MSP file: `Name: AC[160]K/2`, or `Name: ACK/2` with `Mods=1/1,C,CAM` in the comment."""
    for entry in _msp_entries(path):
        fields = entry.fields
        notation, text, charge = "brackets", fields.get("name", ""), fields.get("charge")
        problem = entry.problem
        if match := NAME.fullmatch(text):
            text, charge = match.groups()
        try:
            notation, text = _msp_peptide(text, fields)
        except PeptideError as error:
            problem = problem or str(error)
        if fields.get("spec", "").lower() == "decoy" or "decoy" in fields.get("remark", "").lower():
            problem = problem or "decoy"
        yield make_spectrum(
            f"{path.name}:{entry.line}",
            (notation, fixed or None, text),
            charge,
            f"{path.name}, line {entry.line}",
            partial(_fragments, entry.peaks),
            _energy(fields),
            fields.get("instrument", fields.get("inst", "")),
            problem,
        )


def _msp_peptide(text: str, fields: dict[str, str]) -> tuple[str, str]:
    """Notation and text of a record's peptide; PeptideError if its modifications do not fit."""
    if "proforma" in fields:
        return "proforma", fields["proforma"]
    if not text.isalpha():
        return "brackets", text
    if (mod_string := MOD_STRING.search(fields.get("comment", ""))) and (modifications := AT.findall(mod_string[1])):
        # Prosit counts positions from 1.
        return "proforma", assemble(
            text, [(int(position), name.strip()) for name, _, position in modifications]
        ).proforma
    placed: list[tuple[int, str]] = []
    for index, letter, name in MODS.findall(fields.get("mods", "")):  # NIST counts from 0
        name, position = NIST.get(name.strip(), name.strip()), int(index) + 1
        if 0 < position <= len(text) and letter not in ("-", text[position - 1]):
            raise PeptideError(f"modification {index},{letter},{name} is on a {text[position - 1]} of {text}")
        title = modification(name, text[0]).name
        terminal = "-" in COMMON.get(title, "") or title in ENDS
        at_end = position < 1 or (position == 1 and terminal and all(other for other, _ in placed))
        placed.append((0 if at_end else position, name))
    if not placed and (count := fields.get("mods", "0").split("/")[0].split("(")[0]) not in ("0", ""):
        raise PeptideError(f"its {count} modifications cannot be read from 'Mods={fields['mods']}'")
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


def read_mzspeclib(path: Path, fixed: str | None = None, fdr: float | None = FDR) -> Iterator[Spectrum]:
    """Spectra of mzSpecLib (text form): `MS:1003270|proforma peptidoform ion notation=AC[UNIMOD:4]K/2`."""
    empty = True
    for entry in _mzspeclib_entries(path):
        empty = False
        fields = entry.fields
        text = fields.get("proforma peptidoform ion notation") or fields.get("proforma peptidoform sequence") or ""
        charge = fields.get("charge state") or text.rpartition("/")[2]
        origin = fields.get("spectrum origin type", "").lower()
        yield make_spectrum(
            f"{path.name}:{entry.line}",
            ("proforma", fixed or None, text),
            charge,
            f"{path.name}, line {entry.line}",
            partial(_fragments, entry.peaks),
            fields.get("collision energy") or fields.get("normalized collision energy"),
            fields.get("instrument model", fields.get("instrument", "")).rpartition("|")[2],
            entry.problem or ("decoy" if any(word in origin for word in DECOYS) else fields.get(SEVERAL)),
        )
    if empty:
        raise InputError(f"{path}: this mzSpecLib file has no <Spectrum=...>; export or download it again")


def _mzspeclib_entries(path: Path) -> Iterator[Entry]:
    shared: dict[str, str] = {}
    fields: dict[str, str] = shared
    peaks: Peaks = []
    section, first = "", 0
    broken: list[BrokenOff] = []
    for number, line in lines_until_break(path, broken):
        if line.startswith("<"):
            before, section = section, line.strip("<>").partition("=")[0].split()[0].lower()
            if section == "spectrum":
                if first:
                    yield Entry(fields, peaks, first)
                fields, peaks, first = dict(shared), [], number
            elif section == "attributeset":
                fields = shared if line.rstrip(">").lower().endswith("=all") else {}
            elif section == "analyte" and before == "analyte":
                fields[SEVERAL] = "spectrum of several peptides"
        elif section == "peaks" and line:
            cells = line.split("\t")
            peaks.append((cells[2] if len(cells) > 2 else "?", cells[1] if len(cells) > 1 else "", number))
        elif "|" in line and "=" in line:
            name, _, value = line.partition("|")[2].partition("=")
            repeated = fields is not shared and name in fields and name not in shared
            fields[name] = fields[name] if repeated else value  # the first analyte counts
    if first or broken:
        yield Entry(fields, peaks, first, *map(broken_end, broken))


# ---------------------------------------------------------------- common


def _fragments(peaks: Peaks, _peptide: Peptide) -> Iterator[Fragment]:
    if not any(read_annotation(text) for text, _, _ in peaks):
        raise Unreadable("no peak has the annotation of a fragment, such as y3 or b5-H2O^2")
    for text, intensity, _ in peaks:
        fragment = read_annotation(text)
        if fragment is not None:
            yield *fragment, read_intensity(text, intensity)
        else:
            yield text.strip('"')[:1] or "?", 0, 1, "", read_intensity(text, intensity)


def _energy(fields: dict[str, str]) -> str | None:
    text = next((fields[name] for name in ("nce", "collision_energy", "hcd", "collision energy") if name in fields), "")
    match = re.match(r"-?[\d.]+", text)
    return match[0] if match else None
