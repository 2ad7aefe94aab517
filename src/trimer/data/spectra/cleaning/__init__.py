"""The cleaning of spectra as a chain of named steps, every drop counted under the step that made it.

A step is a small frozen dataclass, called with a table of n spectra. It returns the table (same rows, perhaps with
fewer peaks or other columns) and a mask (n,) of the rows to keep. All steps work on all peaks at once.
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
