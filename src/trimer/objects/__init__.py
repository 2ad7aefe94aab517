"""Conversion of Python values to tables: lists, DataFrames, and objects of other packages.

A value that cannot be used keeps its row, with its problem, and does not stop the others. Only packages that the values
come from are imported.
"""

from trimer.objects.sequences import sequences_of
from trimer.objects.spectra import spectra_of

__all__ = ["sequences_of", "spectra_of"]
