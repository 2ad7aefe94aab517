"""Cleaning of spectra as a chain of named steps; dropped spectra are counted for each step.

A step is a small frozen dataclass, called with a table of n spectra. It returns the table (same rows, possibly fewer
peaks or changed columns) and a mask (n,) of the rows to keep. Steps are vectorised over all peaks.
Masses are in Da, m/z in Th.
"""

from trimer.data.spectra.cleaning.chain import clean, clean_rows
from trimer.data.spectra.cleaning.peaks import IntensityThreshold, MzWindow, PeakCount, RemovePrecursorPeak
from trimer.data.spectra.cleaning.records import (
    Adducts,
    Duplicates,
    ExcludeInstruments,
    MsLevel,
    PrecursorWindow,
    Readable,
    warn_of_adducts,
)
from trimer.data.spectra.cleaning.step import Step
from trimer.data.spectra.cleaning.structures import MassAgreement, Structure

__all__ = [
    "Adducts",
    "Duplicates",
    "ExcludeInstruments",
    "IntensityThreshold",
    "MassAgreement",
    "MsLevel",
    "MzWindow",
    "PeakCount",
    "PrecursorWindow",
    "Readable",
    "RemovePrecursorPeak",
    "Step",
    "Structure",
    "clean",
    "clean_rows",
    "warn_of_adducts",
]
