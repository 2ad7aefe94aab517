"""Steps that judge a record by what is written about it: readability, MS level, adduct, instrument, duplicates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from trimer.data.cleaning.step import Cleaned, Step, check_window, explain, for_each_distinct
from trimer.data.spectra import SpectrumTable
from trimer.data.splash import splash
from trimer.errors import ConfigError

# Unit-resolution analysers and ion sources other than electrospray: their peaks would poison two-decimal m/z tokens.
# MassBank writes source and analyser joined by hyphens ('LC-ESI-QQ'), GNPS often in words ('ESI-Ion Trap').
LOW_RESOLUTION = (
    r"(?:^|[-_ ;/])(?:Q|QQ|QQQ|TQ|IT|LIT|QIT|ITIT|QTRAP|Q-TRAP|LTQ)$",
    r"triple[- ]?quad",
    r"^(?!.*(?:orbitrap|FT|TOF)).*(?:ion[- ]?trap|quadrupole)",
    r"MALDI|FAB|APCI|APPI|(?:^|[-_ ])(?:EI|CI|FD|FI|SIMS|GC)(?:[-_ ]|$)",
)


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
                raise ConfigError(
                    f"cleaning.adducts.allowed: '{name}' is not a known adduct; known are {', '.join(ADDUCTS)}"
                )

    def reason(self) -> str:
        return f"the adduct is none of {', '.join(self.allowed)}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        from trimer.chemistry import ADDUCTS, harmonise_adduct

        modes = {"positive" if ADDUCTS[name].charge > 0 else "negative" for name in self.allowed}
        written = table["adduct"]
        known = for_each_distinct(written, harmonise_adduct)
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
        return explain(table.with_columns(adduct=known), keep, clauses), keep


@dataclass(frozen=True)
class PrecursorWindow(Step):
    """Keep spectra whose precursor m/z lies within the window, both ends included."""

    min: float = 10.0
    max: float = 1000.0

    def __post_init__(self) -> None:
        check_window(self, "precursor_window")

    def reason(self) -> str:
        return f"the precursor m/z is outside {self.min:g} to {self.max:g}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        precursor = table["precursor_mz"]
        return table, (precursor >= self.min) & (precursor <= self.max)


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
                    f"cleaning.instruments.pattern: '{pattern}' is no regular expression ({error})"
                ) from None

    def reason(self) -> str:
        return "the instrument is excluded"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        patterns = [re.compile(pattern, re.IGNORECASE) for pattern in self.pattern]

        def excluded(text: str) -> bool:
            return any(pattern.search(text) for pattern in patterns)

        # the type is the harmonised field, so the free text counts only where it is missing
        instrument = np.where(np.equal(table["instrument_type"], None), table["instrument"], table["instrument_type"])
        out = np.equal(for_each_distinct(instrument, excluded), True)
        clauses = [f"the instrument '{instrument[row]}' is excluded" for row in np.flatnonzero(out)]
        return explain(table, ~out, clauses), ~out


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
