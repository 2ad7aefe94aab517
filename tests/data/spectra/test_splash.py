import numpy as np

from trimer.data.spectra.splash import splash

# Peaks and SPLASH of the MassBank record MSBNK-LCSB-LU003301 (CC BY)
ISOPROTURON = (
    [72.0443, 120.0444, 134.0965, 162.0914, 165.1022, 207.1491],
    [5981849.5, 19732.5, 14025.7, 59800.7, 1682687, 13413768],
)


def test_splash_agrees_with_massbank():
    assert splash(*map(np.array, ISOPROTURON)) == "splash10-0a4i-4190000000-c5234be3dba8b16e7ef5"


def test_scale_and_order_do_not_matter():
    mz, intensity = map(np.array, ISOPROTURON)
    expected = splash(mz, intensity)
    assert splash(mz[::-1], intensity[::-1] * 1e-4) == expected
    assert splash(mz + 0.001, intensity) != expected


def test_spectra_without_intensity_have_no_splash():
    assert splash(np.zeros(0), np.zeros(0)) is None
    assert splash(np.array([50.0]), np.array([0.0])) is None
