"""Steps that filter records by their metadata: readability, MS level, adduct, instrument, duplicates."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from trimer.chemistry.adducts import AdductError, harmonise_adduct, read_adduct
from trimer.data.spectra.cleaning.step import Cleaned, Step, WindowStep, explain, for_each_distinct
from trimer.data.spectra.polarity import SIGNS, share_charge
from trimer.data.spectra.spectrum_table import SpectrumTable, filled
from trimer.data.spectra.splash import splash
from trimer.data.text.charges import charge_choices
from trimer.errors import ConfigError

log = logging.getLogger(__name__)

# Unit-resolution analysers and ion sources other than electrospray: their m/z is not accurate to two decimals.
# MassBank joins source and analyser by hyphens ('LC-ESI-QQ'), GNPS often writes words ('ESI-Ion Trap').
LOW_RESOLUTION = (
    r"(?:^|[-_ ;/])(?:Q|QQ|QQQ|TQ|IT|LIT|QIT|ITIT|QTRAP|Q-TRAP|LTQ)$",
    r"triple[- ]?quad",
    r"^(?!.*(?:orbitrap|FT|TOF)).*(?:ion[- ]?trap|quadrupole)",
    r"MALDI|FAB|APCI|APPI|(?:^|[-_ ])(?:EI|CI|FD|FI|SIMS|GC)(?:[-_ ]|$)",
)


@dataclass(frozen=True)
class Readable(Step):
    """Drop records that the reader could not use; the report quotes its reason with file and line."""

    example_field: ClassVar[str] = "problem"

    def reason(self) -> str:
        return "the record cannot be read"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        return table, ~filled(table["problem"])


@dataclass(frozen=True)
class MsLevel(Step):
    """Keep spectra of these MS levels, and those that do not state their level."""

    levels: list[int] = field(default_factory=lambda: [2])

    def reason(self) -> str:
        return f"the MS level is not {' or '.join(map(str, self.levels))}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        return table, np.isin(table["ms_level"], [0, *self.levels])


@dataclass(frozen=True)
class Adducts(Step):
    """Harmonise the notation of adducts ('[M+H]+') and keep spectra with the allowed ones.

    allowed: any adducts, in any notation (`trimer.chemistry.adducts`). A spectrum without an adduct is kept if an
    allowed adduct fits its charge and ion mode, because many files do not state adducts. In training, `MassAgreement`
    drops such spectra, since it cannot check them.
    """

    allowed: list[str] = field(default_factory=lambda: ["[M+H]+", "[M+Na]+"])

    def __post_init__(self) -> None:
        for name in self.allowed:
            try:
                read_adduct(name)
            except AdductError as error:
                raise ConfigError(
                    f"cleaning.adducts.allowed: '{name}' is not an adduct: {error}; write it as [M+H]+, [M+Na-2H]- or "
                    "[2M+FA-H]-"
                ) from None

    def reason(self) -> str:
        return f"the adduct is none of {', '.join(self.allowed)}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        adducts = table["adduct"]
        harmonised = for_each_distinct(adducts, harmonise_adduct)
        allowed = {harmonise_adduct(name) for name in self.allowed}
        charges = {read_adduct(name).charge for name in self.allowed}
        clauses: dict[int, str] = {}
        for row, (text, name) in enumerate(zip(adducts, harmonised, strict=True)):
            if text is None:
                clause = self._contradiction(table, row, charges)
            else:
                clause = None if name in allowed else self._not_allowed(text)
            if clause:
                clauses[row] = clause
        keep = np.ones(len(table), bool)
        keep[list(clauses)] = False
        return explain(table.with_columns(adduct=harmonised), keep, clauses.values()), keep

    def _not_allowed(self, text: str) -> str:
        clause = f"the adduct '{text}' is none of {', '.join(self.allowed)}"
        try:
            read_adduct(text)
        except AdductError as error:
            return f"{clause}: {error}"
        return clause

    def _contradiction(self, table: SpectrumTable, row: int, charges: set[int]) -> str | None:
        """Why a spectrum without an adduct cannot have an allowed one; None if it can."""
        mode, allowed = table["ion_mode"][row], ", ".join(self.allowed)
        allowed_charges = [(abs(charge), charge) for charge in charges if charge * SIGNS.get(mode, 0) >= 0]
        if not allowed_charges:
            return f"the ion mode is {mode}, and the allowed adducts are {allowed}"
        texts, charge = table.columns.get("charge_text"), table["charge"][row]
        text = texts[row] if texts is not None and texts[row] else f"{charge:+d}" if charge else ""
        choices = charge_choices(text)
        return (
            None
            if not choices or share_charge(allowed_charges, choices)
            else f"the charge is {text}, and the allowed adducts are {allowed}"
        )


def warn_of_adducts(steps: Iterable[Step], tokenizer) -> None:
    """Warn of allowed adducts without a token in the spectrum tokenizer: the model cannot distinguish them."""
    allowed = [name for step in steps if isinstance(step, Adducts) for name in step.allowed]
    if missing := tokenizer.spectrum.without_token(allowed):
        log.warning(
            "no token for the adducts %s: the model reads them all as <adduct?>; add tokens before training with "
            "data.tokenizer.spectrum.more_adducts=[...]",
            ", ".join(missing),
        )


@dataclass(frozen=True)
class PrecursorWindow(WindowStep):
    """Keep spectra whose precursor m/z is within a window, including both ends."""

    key: ClassVar[str] = "precursor_window"
    min: float = 10.0
    max: float = 1000.0

    def reason(self) -> str:
        return f"the precursor m/z is outside {self.min:g} to {self.max:g}"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        precursor = table["precursor_mz"]
        return table, (precursor >= self.min) & (precursor <= self.max)


@dataclass(frozen=True)
class ExcludeInstruments(Step):
    """Drop spectra whose instrument type (or instrument) matches one of these regular expressions, ignoring case.

    Spectra without an instrument are kept. By default, spectra of low resolution and of ion sources other than
    electrospray are dropped.
    """

    pattern: list[str] = field(default_factory=lambda: list(LOW_RESOLUTION))

    def __post_init__(self) -> None:
        for pattern in self.pattern:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(
                    f"cleaning.instruments.pattern: '{pattern}' is not a regular expression ({error})"
                ) from None

    def reason(self) -> str:
        return "the instrument is excluded"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        patterns = [re.compile(pattern, re.IGNORECASE) for pattern in self.pattern]

        def excluded(text: str) -> bool:
            return any(pattern.search(text) for pattern in patterns)

        # the type is harmonised, so the free text is used only where the type is missing
        instrument = np.where(filled(table["instrument_type"]), table["instrument_type"], table["instrument"])
        out = np.equal(for_each_distinct(instrument, excluded), True)
        clauses = [f"the instrument '{instrument[row]}' is excluded" for row in np.flatnonzero(out)]
        return explain(table, ~out, clauses), ~out


@dataclass(frozen=True)
class Duplicates(Step):
    """Keep the first of several spectra with the same SPLASH and molecule (InChIKey block 1).

    A missing SPLASH is computed from the current peaks, so put this step before those that remove peaks. Without a
    structure only the SPLASH is compared.
    """

    training_only: ClassVar[bool] = True

    def reason(self) -> str:
        return "the same spectrum of the same molecule came before"

    def __call__(self, table: SpectrumTable) -> Cleaned:
        splashes = table["splash"]
        molecules = table.columns.get("inchikey1", table["inchikey"])
        keep = np.ones(len(table), bool)
        seen: set[tuple[str | None, str | None]] = set()
        for row in range(len(table)):
            identifier = splashes[row] or splash(*table.peaks(row))
            key = (molecules[row][:14] if molecules[row] else None, identifier)
            keep[row] = identifier is None or key not in seen
            seen.add(key)
        return table, keep
