"""The cleaning of spectra as a chain of named steps, every drop counted under the step that made it.

A step is a small frozen dataclass, called with a table of n spectra. It returns the table (same rows, perhaps with fewer
peaks or other columns) and a mask (n,) of the rows to keep. All steps work on all peaks at once.
Masses are in Da, m/z in Th.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from trimer.data.drops import DropReport
from trimer.data.spectra import SpectrumTable
from trimer.data.splash import splash
from trimer.errors import ConfigError

Cleaned = tuple[SpectrumTable, np.ndarray]

# Unit-resolution analysers and ion sources other than electrospray: their peaks would poison two-decimal m/z tokens.
# MassBank writes source and analyser joined by hyphens ('LC-ESI-QQ'), GNPS often in words ('ESI-Ion Trap').
LOW_RESOLUTION = (
    r"(?:^|[-_ ;/])(?:Q|QQ|QQQ|TQ|IT|LIT|QIT|ITIT|QTRAP|Q-TRAP|LTQ)$",
    r"triple[- ]?quad",
    r"^(?!.*(?:orbitrap|FT|TOF)).*(?:ion[- ]?trap|quadrupole)",
    r"MALDI|FAB|APCI|APPI|(?:^|[-_ ])(?:EI|CI|FD|FI|SIMS|GC)(?:[-_ ]|$)",
)


class Step:
    """What every cleaning step states about itself."""

    needs_label: ClassVar[bool] = False  # reads the structure, so prediction on unlabelled spectra leaves it out
    training_only: ClassVar[bool] = False  # would take rows from a user's file that could be predicted
    example_field: ClassVar[str] = "id"  # the column that the drop report quotes

    def reason(self) -> str:
        """Why a spectrum is dropped here, unless the step wrote a sentence of its own into `problem`."""
        raise NotImplementedError

    def __call__(self, table: SpectrumTable) -> Cleaned:
        raise NotImplementedError


@dataclass(frozen=True)
class Readable(Step):
    """Drop the records that the reader could not use; the report quotes its sentence with file and line."""

    example_field: ClassVar[str] = "problem"

    def reason(self) -> str:
        return "the record cannot be read"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        return table, np.equal(table["problem"], None)


@dataclass(frozen=True)
class MsLevel(Step):
    """Keep spectra of these MS levels; a spectrum that does not state its level passes."""

    levels: list[int] = field(default_factory=lambda: [2])

    def reason(self) -> str:
        return f"the MS level is none of {list(self.levels)}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        return table, np.isin(table["ms_level"], [0, *self.levels])


@dataclass(frozen=True)
class Adducts(Step):
    """Write the adduct as '[M+H]+' and keep the allowed ones.

    A spectrum without any adduct passes, unless its ion mode is one that no allowed adduct has: a file of a user's own
    seldom states adducts. Training loses such rows to `MassAgreement`, which cannot check them.
    """

    allowed: list[str] = field(default_factory=lambda: ["[M+H]+", "[M+Na]+"])

    def __post_init__(self) -> None:
        from trimer.chemistry import ADDUCTS

        for name in self.allowed:
            if name not in ADDUCTS:
                raise ConfigError(f"Adducts.allowed: '{name}' is not a known adduct; known are {', '.join(ADDUCTS)}")

    def reason(self) -> str:
        return f"the adduct is none of {', '.join(self.allowed)}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        from trimer.chemistry import ADDUCTS, harmonise_adduct

        modes = {"positive" if ADDUCTS[name].charge > 0 else "negative" for name in self.allowed}
        written = table["adduct"]
        known = _for_each_distinct(written, harmonise_adduct)
        other_mode = np.array(
            [mode in ("positive", "negative") and mode not in modes for mode in table["ion_mode"]], bool
        )
        stated = ~np.equal(written, None)
        keep = np.where(stated, np.isin(known, list(self.allowed)), ~other_mode)
        clauses = [
            f"the adduct '{written[row]}' is none of {', '.join(self.allowed)}"
            if stated[row]
            else f"the ion mode is {table['ion_mode'][row]}, and the adducts are {', '.join(self.allowed)}"
            for row in np.flatnonzero(~keep)
        ]
        return _explain(table.with_columns(adduct=known), keep, clauses), keep


@dataclass(frozen=True)
class PrecursorWindow(Step):
    """Keep spectra whose precursor m/z lies within the window, both ends included."""

    min: float = 10.0
    max: float = 1000.0

    def __post_init__(self) -> None:
        _check_window(self)

    def reason(self) -> str:
        return f"the precursor m/z is outside {self.min:g} to {self.max:g}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        precursor = table["precursor_mz"]
        return table, (precursor >= self.min) & (precursor <= self.max)


@dataclass(frozen=True)
class MzWindow(Step):
    """Remove the peaks outside the m/z window; a spectrum without a peak left is dropped."""

    min: float = 10.0
    max: float = 1000.0

    def __post_init__(self) -> None:
        _check_window(self)

    def reason(self) -> str:
        return f"no peak between m/z {self.min:g} and {self.max:g}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        table = table.keep_peaks((table.mz >= self.min) & (table.mz <= self.max))
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class IntensityThreshold(Step):
    """Scale each spectrum to base peak 1.0, then remove the peaks below this share of it."""

    relative: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.relative < 1:
            raise ConfigError(f"IntensityThreshold.relative is {self.relative}; it is a share of the base peak, 0 to 1")

    def reason(self) -> str:
        return "no peak has an intensity"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        owners = table.owners
        base = np.zeros(len(table), np.float64)
        np.maximum.at(base, owners, table.intensity)
        scaled = np.divide(table.intensity, base[owners], out=np.zeros(len(owners)), where=base[owners] > 0)
        table = SpectrumTable(table.mz, scaled.astype(np.float32), table.offsets, table.columns)
        # compared in float64, before rounding: a peak of exactly one per cent stays
        table = table.keep_peaks((scaled > 0) & (scaled >= self.relative * (1 - 1e-6)))
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class RemovePrecursorPeak(Step):
    """Remove the peaks within this distance (Th) of the precursor m/z; with `above`, also every peak above it.

    What is left of the precursor says how much energy was used, not what the molecule is. Leave `above` off where
    ions carry more than one charge: their fragments may lie above the precursor.
    """

    tolerance: float = 0.5
    above: bool = False

    def reason(self) -> str:
        return "no peak besides the precursor"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        distance = table.mz - np.nan_to_num(table["precursor_mz"], nan=-np.inf)[table.owners]
        keep = np.abs(distance) > self.tolerance
        if self.above:
            keep &= (distance < 0) | np.isinf(distance)
        table = table.keep_peaks(keep)
        return table, table.peak_counts > 0


@dataclass(frozen=True)
class PeakCount(Step):
    """Keep the `max` most intense peaks of a spectrum, and drop spectra with fewer than `min`."""

    min: int = 3
    max: int = 60

    def __post_init__(self) -> None:
        _check_window(self)

    def reason(self) -> str:
        return f"fewer than {self.min} peaks"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        counts = table.peak_counts
        if np.any(counts > self.max):
            order = np.lexsort((table.mz, -table.intensity, table.owners))  # equal intensities: the lower m/z stays
            rank = np.arange(len(order)) - np.repeat(table.offsets[:-1], counts)
            keep = np.zeros(len(order), bool)
            keep[order[rank < self.max]] = True
            table = table.keep_peaks(keep)
        return table, counts >= self.min


@dataclass(frozen=True)
class ExcludeInstruments(Step):
    """Drop spectra whose instrument type, or instrument, matches one of these regular expressions, in any case.

    An instrument that is not stated passes. The default leaves out low resolution and other sources than electrospray.
    """

    pattern: list[str] = field(default_factory=lambda: list(LOW_RESOLUTION))

    def __post_init__(self) -> None:
        for pattern in self.pattern:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(
                    f"ExcludeInstruments.pattern: '{pattern}' is no regular expression ({error})"
                ) from None

    def reason(self) -> str:
        return "the instrument is excluded"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        patterns = [re.compile(pattern, re.IGNORECASE) for pattern in self.pattern]

        def excluded(text: str) -> bool:
            return any(pattern.search(text) for pattern in patterns)

        # the type is the harmonised field, so the free text counts only where it is missing
        instrument = np.where(np.equal(table["instrument_type"], None), table["instrument"], table["instrument_type"])
        out = np.equal(_for_each_distinct(instrument, excluded), True)
        clauses = [f"the instrument '{instrument[row]}' is excluded" for row in np.flatnonzero(out)]
        return _explain(table, ~out, clauses), ~out


@dataclass(frozen=True)
class Structure(Step):
    """Keep spectra of one neutral, readable molecule, and write its identity.

    `smiles` becomes RDKit-canonical (without stereochemistry unless `stereo`); `inchikey1` (InChIKey block 1) and
    `scaffold` (Bemis-Murcko) are added. Salts and permanently charged molecules are dropped.
    """

    needs_label: ClassVar[bool] = True
    stereo: bool = False

    def reason(self) -> str:
        return "the structure is not one neutral molecule"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        identities = _for_each_distinct(table["smiles"], lambda smiles: _identity(smiles, self.stereo))
        keep = np.array([isinstance(identity, tuple) for identity in identities], bool)
        columns = {name: np.full(len(table), None, dtype=object) for name in ("smiles", "inchikey1", "scaffold")}
        for row in np.flatnonzero(keep):
            for column, value in zip(columns.values(), identities[row], strict=True):
                column[row] = value
        clauses = [identities[row] or "the spectrum has no SMILES" for row in np.flatnonzero(~keep)]
        return _explain(table.with_columns(**columns), keep, clauses), keep


@dataclass(frozen=True)
class MassAgreement(Step):
    """Keep spectra whose precursor m/z is that of the structure with its adduct, within a tolerance.

    unit: 'Da' (on the m/z scale) or 'ppm'. A spectrum that lacks structure, known adduct or precursor is dropped here.
    """

    needs_label: ClassVar[bool] = True
    tolerance: float = 0.01
    unit: str = "Da"

    def __post_init__(self) -> None:
        if self.unit not in ("Da", "ppm"):
            raise ConfigError(f"MassAgreement.unit is '{self.unit}'; it must be 'Da' or 'ppm'")

    def reason(self) -> str:
        return f"structure, adduct and precursor m/z do not agree within {self.tolerance:g} {self.unit}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        from trimer.chemistry import ADDUCTS, exact_mass, harmonise_adduct, parse

        masses = _for_each_distinct(table["smiles"], lambda smiles: exact_mass(parse(smiles)))
        adducts = _for_each_distinct(table["adduct"], lambda text: ADDUCTS.get(harmonise_adduct(text)))
        expected = np.array(
            [a.mz(m) if a is not None and m is not None else np.nan for a, m in zip(adducts, masses, strict=True)],
            dtype=np.float64,
        )
        scale = expected * 1e-6 if self.unit == "ppm" else 1.0
        difference = np.abs(table["precursor_mz"] - expected)
        keep = difference <= self.tolerance * scale
        clauses = [
            f"the precursor m/z {table['precursor_mz'][row]:.4f} is not the {expected[row]:.4f} of the structure"
            if np.isfinite(difference[row])
            else "structure, adduct or precursor m/z is missing or unknown, so the mass cannot be checked"
            for row in np.flatnonzero(~keep)
        ]
        return _explain(table, keep, clauses), keep


@dataclass(frozen=True)
class Duplicates(Step):
    """Keep the first of the spectra that share SPLASH and molecule (InChIKey block 1).

    A missing SPLASH is computed from the peaks as they are at this point of the chain, so place this step before the
    ones that remove peaks. Without a structure the SPLASH alone decides.
    """

    training_only: ClassVar[bool] = True

    def reason(self) -> str:
        return "the same spectrum of the same molecule came before"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        given = table["splash"]
        molecules = table.columns.get("inchikey1", table["inchikey"])
        keep = np.ones(len(table), bool)
        seen: set[tuple[str | None, str | None]] = set()
        for row in range(len(table)):
            identifier = given[row] or splash(*table.peaks(row))
            key = (molecules[row][:14] if molecules[row] else None, identifier)
            keep[row] = identifier is None or key not in seen
            seen.add(key)
        return table, keep


def clean(table: SpectrumTable, steps: Mapping[str, Step]) -> tuple[SpectrumTable, DropReport]:
    """Run the steps in order. The report lists every step by its name, also those that dropped nothing."""
    report = DropReport(records=len(table))
    for name, step in steps.items():
        table, keep = step(table)
        report.add(name, table[step.example_field][~keep].tolist())
        table = table.take(keep)
    return table, report


def clean_rows(table: SpectrumTable, steps: Mapping[str, Step]) -> tuple[SpectrumTable, np.ndarray, np.ndarray]:
    """The same chain for callers that answer for every row of their input, such as prediction.

    Returns the cleaned table of k spectra, the input rows (k,) they came from, and for each of the n input rows the
    sentence that says why it was dropped, or None.
    """
    rows = np.arange(len(table))
    reasons = np.full(len(table), None, dtype=object)
    for step in steps.values():
        table, keep = step(table)
        for row in np.flatnonzero(~keep):
            reasons[rows[row]] = table["problem"][row] or step.reason()
        table, rows = table.take(keep), rows[keep]
    return table, rows, reasons


def _identity(smiles: str, stereo: bool) -> tuple[str, str, str] | str:
    """Canonical SMILES, InChIKey block 1 and scaffold; or a clause that says what is wrong with the structure."""
    from rdkit import Chem

    from trimer.chemistry import inchikey_block1, murcko_scaffold, parse

    molecule = parse(smiles)
    if molecule is None:
        return f"the SMILES '{smiles}' cannot be read"
    if len(Chem.GetMolFrags(molecule)) > 1:
        return f"the structure '{smiles}' has more than one part"
    if Chem.GetFormalCharge(molecule):
        return f"the structure '{smiles}' is charged"
    canonical = Chem.MolToSmiles(molecule, isomericSmiles=stereo)
    molecule = parse(
        canonical
    )  # keys of the molecule as it is kept, so that they can be computed again from the column
    block1, scaffold = inchikey_block1(molecule), murcko_scaffold(molecule)
    if block1 is None or scaffold is None:
        return f"the structure '{smiles}' has no InChIKey or scaffold"
    return canonical, block1, scaffold


def _for_each_distinct(column: np.ndarray, function: Callable[[str], object]) -> np.ndarray:
    """function(value) for every row, called once for each distinct text; None stays None."""
    found: dict[str | None, object] = {None: None}
    out = np.full(len(column), None, dtype=object)
    for row, value in enumerate(column):
        if value not in found:
            found[value] = function(value)
        out[row] = found[value]
    return out


def _explain(table: SpectrumTable, keep: np.ndarray, clauses: Iterable[str]) -> SpectrumTable:
    """Write into `problem` why the rows outside the mask are dropped."""
    if keep.all():
        return table
    problem = table["problem"].copy()
    for row, clause in zip(np.flatnonzero(~keep), clauses, strict=True):
        problem[row] = f"{table['file'][row]}, record {table['id'][row]}: {clause}" if table["file"][row] else clause
    return table.with_columns(problem=problem)


def _check_window(step: PrecursorWindow | MzWindow | PeakCount) -> None:
    if step.min > step.max:
        raise ConfigError(f"{type(step).__name__}: min {step.min:g} is above max {step.max:g}; swap them")
