"""Python values as the tables that the commands read: lists, DataFrames, and the objects of other packages.

A value that cannot be used keeps its row, with its problem; it never stops the rest. No package is imported that the
values do not come from.
"""

from trimer.objects.sequences import sequences_of
from trimer.objects.spectra import spectra_of

__all__ = ["sequences_of", "spectra_of"]
