"""Spectra as inline SVG: well-formed, with a marked precursor and labels that do not overlap."""

from __future__ import annotations

import math
import random
import re
from xml.etree import ElementTree

import pytest

from trimer.reporting.spectrum_svg import Annotation, mirror_svg, spectrum_svg, ticks


def test_ticks_are_round_numbers_within_the_range():
    assert ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert ticks(43.2, 461) == [100, 200, 300, 400]
    assert ticks(0.105, 0.224, 4) == pytest.approx([0.125, 0.15, 0.175, 0.2])
    assert ticks(5, 5) == [5]


def test_the_precursor_and_its_peak_are_marked():
    drawing = spectrum_svg([100.0, 200.1], [50, 100], 200.1)
    ElementTree.fromstring(drawing)
    assert "precursor 200.1000" in drawing
    assert drawing.count('class="precursor"') == 1
    assert drawing.count('class="stick"') == 1
    assert ">100.000<" in drawing
    assert "<title>m/z 100.0000 Th, 50.0%</title>" in drawing


@pytest.mark.parametrize("precursor", [None, math.nan, 0.0])
def test_a_spectrum_without_precursor_or_peaks_is_drawn(precursor):
    assert "precursor" not in spectrum_svg([100.0], [1.0], precursor)
    ElementTree.fromstring(spectrum_svg([100.0], [1.0], precursor))
    assert "no peaks" in spectrum_svg([], [], precursor)
    ElementTree.fromstring(spectrum_svg([], [], 300.0))
    ElementTree.fromstring(spectrum_svg([100.0, 101.0], [0.0, 0.0], 300.0))


def test_peak_labels_do_not_overlap():
    source = random.Random(0)
    peaks = sorted((source.uniform(50, 400), source.uniform(1, 100)) for _ in range(150))
    drawing = spectrum_svg([m for m, _ in peaks], [i for _, i in peaks], 401.0)
    spots = re.findall(r'class="peak" x="([\d.]+)" y="([\d.]+)"', drawing)
    spots = [(float(x), float(y)) for x, y in spots]
    assert spots
    for i, (x, y) in enumerate(spots):
        assert all(abs(x - other[0]) >= 46 or abs(y - other[1]) >= 12 for other in spots[:i])


def test_axes_have_names_with_units():
    drawing = spectrum_svg([100.0, 200.1], [50, 100], 200.1)
    assert "m/z (Th)" in drawing and "relative intensity (%)" in drawing
    assert 'data-low="' in drawing and 'data-precursor="200.1"' in drawing, "for zooming"


def test_predicted_peaks_are_above_the_measured_ones():
    drawing = mirror_svg([(175.119, 1.0, "y1+"), (300.2, 0.5, "b3+ -H2O")], [(175.119, 0.8, "y1+")])
    ElementTree.fromstring(drawing)
    assert "<title>m/z 175.1190 Th, 100.0%, predicted y1+</title>" in drawing
    assert "<title>m/z 175.1190 Th, 80.0%, measured y1+</title>" in drawing
    assert drawing.count('class="stick y down"') == 1 and drawing.count('class="stick b"') == 1
    (up,), (down,) = (re.findall(rf'V([\d.]+)" class="stick y{side}"', drawing) for side in ("", " down"))
    assert float(up) < float(down)
    assert "no peaks" in mirror_svg([], [])


def test_annotated_peaks_have_their_name_and_detail_in_two_lines_and_in_the_tooltip():
    notes = {100.0: Annotation("C4H5O2+", "−0.5 ppm"), 150.0: Annotation("<y3>", kind="y")}
    drawing = spectrum_svg([100.0, 150.0, 200.0], [50, 100, 80], 200.1, annotations=notes)
    ElementTree.fromstring(drawing)
    assert "<title>m/z 100.0000 Th, 50.0%, C4H5O2+ −0.5 ppm</title>" in drawing
    assert "<title>m/z 150.0000 Th, 100.0%, &lt;y3&gt;</title>" in drawing
    at = r'class="peak explained-name" x="(\S+)" y="(\S+)"[^>]*>{}<'
    upper, lower = (re.search(at.format(text), drawing) for text in (r"C4H5O2\+", "−0.5 ppm"))
    assert upper[1] == lower[1] and float(upper[2]) < float(lower[2])
    assert 'class="stick explained"' in drawing and 'class="stick y"' in drawing and "3 peaks, 2 annotated" in drawing
    assert 'class="spectrum annotated' in drawing.replace("chart ", "")
    assert drawing.count(">150.000<") == 0


def test_mirrored_spectra_name_their_sides_and_mark_shared_peaks():
    above, below = [(85.03, 1.0, "85.030"), (97.0, 0.5, "97.000")], [(85.03, 1.0, "85.030")]
    drawing = mirror_svg(above, below, sides=("measured", "library"), shared={85.03})
    ElementTree.fromstring(drawing)
    assert drawing.count('class="stick shared') == 2 and 'class="stick shared down"' in drawing
    assert "<title>m/z 85.0300 Th, 100.0%, library 85.030</title>" in drawing
    assert 'data-up="library | measured (%)"' in drawing
