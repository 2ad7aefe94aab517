"""Spectra as those of matchms, which is imported where it is used: importing it takes about 3 s."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matchms import Spectrum

    from trimer.data.spectra.spectrum_table import SpectrumTable


def to_matchms(table: SpectrumTable) -> list[Spectrum]:
    """A matchms spectrum for each row, in order, with all fields that are not missing under matchms' names.

    A row that cannot be used is a spectrum too; its metadata have the reason as `problem`. Intensities stay as they
    are: matchms has `matchms.filtering.normalize_intensities`.
    """
    with quiet_matchms():
        return [_spectrum(table, row, table.fields(row)) for row in range(len(table))]


def peaks_to_matchms(table: SpectrumTable, row: int) -> Spectrum:
    """The peaks and the precursor m/z of one row, without any other field: ten times faster."""
    precursor = float(table["precursor_mz"][row])
    fields = {"precursor_mz": precursor} if np.isfinite(precursor) else {}
    return _spectrum(table, row, fields, metadata_harmonization=False)


@contextmanager
def quiet_matchms() -> Iterator[None]:
    """Silence messages that no user can act on: matchms warns of each field that it renames, and RDKit of molecules."""
    import matchms  # noqa: F401
    from rdkit import RDLogger

    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # the import of matchms turns it on
    logger = logging.getLogger("matchms")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _spectrum(table: SpectrumTable, row: int, fields: dict[str, Any], **options: Any) -> Spectrum:
    from matchms import Spectrum

    mz, intensity = table.peaks(row)
    return Spectrum(np.array(mz, np.float64), np.array(intensity, np.float64), fields, **options)
