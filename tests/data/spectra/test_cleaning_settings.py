"""A setting of a cleaning step that cannot be used is named by its key."""

import pytest

from trimer.data.spectra.cleaning import (
    Adducts,
    ExcludeInstruments,
    IntensityThreshold,
    MassAgreement,
    MzWindow,
    PeakCount,
    PrecursorWindow,
)
from trimer.errors import ConfigError


@pytest.mark.parametrize(
    ("step", "settings", "sentence"),
    [
        (PeakCount, {"min": 5, "max": 3}, r"cleaning\.peak_count: min 5 is above max 3; swap them"),
        (MzWindow, {"min": 20, "max": 10}, r"cleaning\.mz_window: min 20"),
        (PrecursorWindow, {"min": 20, "max": 10}, r"cleaning\.precursor_window: min 20"),
        (IntensityThreshold, {"relative": 1.0}, r"cleaning\.intensity\.relative=1\.0 is no share"),
        (MassAgreement, {"unit": "mDa"}, r"cleaning\.mass_agreement\.unit=mDa must be"),
        (Adducts, {"allowed": ["[M+Foo]+"]}, r"cleaning\.adducts\.allowed: "),
        (ExcludeInstruments, {"pattern": ["("]}, r"cleaning\.instruments\.pattern: "),
    ],
)
def test_the_sentence_names_the_key(step, settings, sentence):
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        step(**settings)
