"""Spectra as those of matchms, which is imported where it is used: importing it takes 3 s."""

from __future__ import annotations

import logging
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
    from matchms import Spectrum

    logger = logging.getLogger("matchms")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of each spectrum whose fields it renames
    try:
        return [_spectrum(Spectrum, table, row) for row in range(len(table))]
    finally:
        logger.setLevel(level)


def _spectrum(spectrum_class: type, table: SpectrumTable, row: int) -> Any:
    mz, intensity = table.peaks(row)
    return spectrum_class(
        mz=np.array(mz, np.float64), intensities=np.array(intensity, np.float64), metadata=table.fields(row)
    )
