"""The pages in headless Chromium: nothing is cut at any width or on paper; keyboard, dark mode, zoom and filters."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from browser import CONTRAST, CUT, SMALLEST, chromium, opened
from PIL import Image

from trimer.data.core.drops import DropReport
from trimer.reporting.curves import Curve
from trimer.reporting.embedding_page import embedding_page
from trimer.reporting.page import Detail, write_page
from trimer.reporting.spectrum_cards import PRINTED
from trimer.reporting.table import ResultTable
from trimer.simulate.simulated_molecules import simulated_molecules

pytestmark = pytest.mark.slow
EXAMPLES = 24


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A result page as that of the demo: broad table, curves, spectra, a picture, a long table, drops and files."""
    folder = tmp_path_factory.mktemp("run")
    source, molecules = random.Random(0), simulated_molecules(60, seed=1)
    predictions = []
    for number in range(60):
        mz = [round(source.uniform(50, 300), 4) for _ in range(30)]
        predictions.append({
            "id": f"spectrum-with-a-long-name-{number}", "smiles": molecules[number], "adduct": "[M+H]+",
            "precursor_mz": 150.0 + 5 * number, "collision_energy": "20 eV", "instrument_type": "LC-ESI-QTOF",
            "mz": mz, "intensity": [source.random() for _ in mz],
            "candidates": [{"smiles": molecules[(number + step) % 60], "count": 3} for step in range(1, 5)],
        })  # fmt: skip
    table = ResultTable()
    names = ["top1_accuracy", "top5_accuracy", "top10_accuracy", "tanimoto@1", "tanimoto@10", "formula_match@1",
             "formula_match@10", "precursor_within_10ppm@1", "validity", "uniqueness"]  # fmt: skip
    for method in (
        "random training molecule",
        "nearest precursor m/z",
        "oracle: most similar training molecule",
        "mine",
    ):
        values = {name: source.random() for name in names} | {f"{name}_std_error": 0.01 for name in names}
        values |= {f"{name}_ci95_low": values[name] - 0.02 for name in names}
        values |= {f"{name}_ci95_high": values[name] + 0.02 for name in names}
        if method != "mine":  # the second table: better, worse and within error
            values |= {f"{name}_difference": source.uniform(-0.06, 0.06) for name in names}
            values |= {f"{name}_difference_std_error": 0.02 for name in names}
        table.add(method, values, baseline=method != "mine")
    Image.new("RGB", (1600, 500), "white").save(folder / "wide.png")
    drops = DropReport(100)
    drops.add("more than 50 % unknown residues", [f"record-{n}" * 4 for n in range(5)])
    rows = [
        {"id": f"row {n}", "molecule": molecules[n], "class": f"class {n % 3}", "error": 1 / (n + 1)} for n in range(20)
    ]
    return write_page(
        folder / "test" / "page.html", title="Spectra to structures", name="mine", data="simulated spectra",
        table=table, predictions=predictions, evaluated="test", folder=folder, drops=drops, examples=EXAMPLES,
        curves={f"val/{name}": Curve([1, 2, 3], [3.0, 2.0, 1.0]) for name in ("loss", "token_accuracy", "tanimoto@1")},
        split={"method": "groups over inchikey1", "sizes": {"train": 900, "test": 60}}, pictures=[folder / "wide.png"],
        overlap=[{"part": "test", "key": "inchikey1", "values": 60, "shared_values": 3}],
        details=[Detail("Largest errors", rows, "The largest error first.", drawn="molecule")],
        commands=["trimer train experiment=demo " + "paths.runs=/a/very/long/path" * 8], about={"Trimer": "1.0"},
    )  # fmt: skip


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_nothing_is_cut_at_any_width(browser, page, width):
    tab = opened(browser, page, width)
    tab.wait_for_selector("svg.spectrum[tabindex]")
    assert tab.evaluate(CUT) == []
    assert tab.errors == []
    assert tab.evaluate(SMALLEST) >= 9
    tab.close()


def test_the_print_has_at_most_12_pages_and_a_selection_of_the_examples(browser, page):
    tab = opened(browser, page, color_scheme="dark")
    printed = tab.pdf(format="A4", print_background=True)
    assert 1 < len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 12
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 700, "height": 1000})  # A4 without its margins
    assert tab.evaluate(CUT) == []
    assert tab.locator("article.card:visible").count() == PRINTED < tab.locator("article.card").count() == EXAMPLES
    assert tab.get_by_text(f"{PRINTED} of {EXAMPLES} examples are printed").is_visible()
    assert tab.get_by_text("12 of 20 rows are printed").is_visible()
    assert not tab.locator("form.controls").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "also in dark mode"
    tab.close()


def test_light_and_dark_mode_have_legible_texts(browser, page):
    backgrounds = set()
    for scheme in ("light", "dark"):
        tab = opened(browser, page, color_scheme=scheme)
        tab.wait_for_selector("svg.spectrum[tabindex]")
        backgrounds.add(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        contrast, text = tab.evaluate(CONTRAST)
        assert contrast >= 4.5, f"{scheme}: {text}"
        tab.close()
    assert len(backgrounds) == 2


def test_examples_are_sorted_and_filtered_with_the_keyboard(browser, page):
    tab = opened(browser, page)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"
    mz = "[...document.querySelectorAll('article.card:not([hidden])')].map(card => +card.dataset.mz)"
    button = tab.get_by_role("button", name="precursor m/z (Th)")
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.dataset.key === 'mz' && document.activeElement.tagName === 'BUTTON'"):
            break
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", "the focus is visible"
    tab.keyboard.press("Enter")
    ascending = tab.evaluate(mz)
    assert ascending == sorted(ascending) and len(ascending) == EXAMPLES
    assert button.get_attribute("aria-pressed") == "true"
    tab.keyboard.press("Space")
    assert tab.evaluate(mz) == ascending[::-1]
    tab.get_by_label("precursor m/z (Th), at least").fill("300")
    assert min(tab.evaluate(mz)) >= 300 and 0 < len(tab.evaluate(mz)) < EXAMPLES
    tab.get_by_role("button", name="Clear").press("Enter")
    tab.wait_for_function(
        f"document.querySelector('.examples output').textContent === '{EXAMPLES} of {EXAMPLES} shown'"
    )
    tab.locator(".examples input[type=search]").fill("name-0 [M+H]+")
    assert tab.locator("article.card:visible").count() == 1
    tab.close()


def test_tables_are_sorted_and_searched_with_the_keyboard(browser, page):
    tab = opened(browser, page)
    column = (
        "[...document.querySelectorAll('table.sortable tbody tr:not([hidden])')].map(row => +row.cells[3].textContent)"
    )
    header = tab.locator("table.sortable th", has_text="error")
    assert tab.locator(".find input").is_visible()
    header.get_by_role("button").press("Enter")
    assert tab.evaluate(column) == sorted(tab.evaluate(column))
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    tab.locator(".find input").fill("class 1")
    assert len(tab.evaluate(column)) == 7 and tab.locator(".find output").text_content() == "7 of 20 rows"
    tab.close()


def test_spectra_are_zoomed_and_read_by_mouse_and_keyboard(browser, page):
    tab = opened(browser, page)
    spectrum = tab.locator("svg.spectrum").first
    spectrum.scroll_into_view_if_needed()
    tab.wait_for_function(
        "document.querySelector('svg.spectrum .stick') && document.querySelector('svg.spectrum').clientWidth"
    )
    whole = spectrum.locator(".stick, .precursor").count()
    box = spectrum.bounding_box()
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + 0.4 * box["width"], middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.6 * box["width"], middle, steps=3)
    tab.mouse.up()
    assert 0 < spectrum.locator(".stick").count() < whole
    assert "zoomed" in spectrum.get_attribute("class")
    spectrum.dblclick(position={"x": box["width"] / 2, "y": 60})
    assert spectrum.locator(".stick, .precursor").count() == whole
    spectrum.focus()
    tab.keyboard.press("ArrowRight")
    assert re.fullmatch(r"m/z [\d.]+ Th, [\d.]+%", tab.locator("#tip").text_content())
    assert tab.locator("#tip").is_visible() and spectrum.locator(".chosen").count() == 1
    tab.keyboard.press("+")
    assert spectrum.locator(".stick, .precursor").count() < whole
    tab.keyboard.press("Escape")
    assert spectrum.locator(".stick, .precursor").count() == whole
    assert tab.errors == []
    tab.close()


def test_pictures_are_shown_at_full_size_with_the_keyboard(browser, page):
    tab = opened(browser, page, width=390)
    picture = tab.get_by_role("button", name="wide: full size")
    assert picture.locator("img").bounding_box()["width"] < 390
    picture.press("Enter")
    assert picture.locator("img").bounding_box()["width"] == 1600
    picture.press("Space")
    assert picture.locator("img").bounding_box()["width"] < 390
    tab.close()


def test_without_scripts_everything_is_shown(browser, page):
    tab = opened(browser, page, java_script_enabled=False)
    assert tab.locator("article.card:visible").count() == EXAMPLES
    assert tab.locator("svg.spectrum .stick").count() > EXAMPLES
    assert not tab.locator("form.controls").is_visible()
    tab.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_maps_of_embeddings_fit_and_are_read_with_the_keyboard(browser, tmp_path, width):
    vectors = np.random.default_rng(0).normal(size=(40, 4))
    ids = [f"protein {number}" for number in range(40)]
    links = {"Result page": "page.html"}
    path = embedding_page(vectors, vectors, np.arange(40) % 3, ids, tmp_path / "e.html", links=links)
    tab = opened(browser, path, width)
    assert tab.evaluate(CUT) == []
    assert tab.get_by_role("link", name="Result page").get_attribute("href") == "page.html"
    tab.locator("#before").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#tip").is_visible() and "protein 0" in tab.locator("#tip").text_content()
    assert tab.errors == []
    tab.close()
