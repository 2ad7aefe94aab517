"""Headless Chromium for tests of pages: that of the system, since `playwright install` needs a download."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu"]  # no software GPU, which takes much time of the CPU
PATIENCE = 120_000  # milliseconds, for a machine that is busy with other tests
# Elements that end outside of the window, or whose content is wider than they are and can only be reached by scrolling.
CUT = """() => {
  const width = document.documentElement.clientWidth, cut = [];
  for (const element of document.querySelectorAll("body *")) {
    if (element.closest("svg, #tip, .skip, thead")) continue;
    const box = element.getBoundingClientRect(), scrolls = getComputedStyle(element).overflowX !== "visible";
    const name = `${element.tagName}.${element.className}`;
    if (box.width && (box.right > width + 1 || box.left < -1)) cut.push(`${name} ends at ${box.right}`);
    if (scrolls && element.scrollWidth > element.clientWidth + 1) cut.push(`${name} scrolls to ${element.scrollWidth}`);
  }
  return document.documentElement.scrollWidth > width ? [...cut, "the page"] : cut;
}"""
# Words of at most 12 letters in the cells of tables that are broken.
BROKEN = """() => {
  const broken = [];
  for (const cell of document.querySelectorAll(".stacks td")) {
    if (!cell.getClientRects().length) continue;
    const text = [...cell.childNodes].find(node => node.nodeType === 3);
    for (const word of (text ? text.data : "").matchAll(/(?<!\\S)[A-Za-z]{3,12}(?![^\\s,.])/g)) {
      const range = document.createRange();
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""
# The hints in search fields that are wider than their fields.
HINTS = """() => [...document.querySelectorAll("input[placeholder]")].filter(input => {
  const style = getComputedStyle(input), pen = document.createElement("canvas").getContext("2d");
  pen.font = style.font;
  const button = input.type === "search" ? 20 : 0;  // room that Chromium keeps for the button that empties the field
  const room = input.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - button;
  return input.getClientRects().length && pen.measureText(input.placeholder).width > room;
}).map(input => input.placeholder)"""
# Pixels of the smallest font; texts of drawings are scaled with them.
SMALLEST = """() => Math.min(...[...document.querySelectorAll("main *:not(sub, sup)")]
  .filter(element => element.getClientRects().length && (!element.closest("svg") || element.tagName === "text"))
  .map(element => {
    const scale = element.getScreenCTM ? Math.hypot(element.getScreenCTM().a, element.getScreenCTM().b) : 1;
    return scale * parseFloat(getComputedStyle(element).fontSize);
  }))"""
# The least contrast of the texts of the page with the background behind them, and the text that has it.
CONTRAST = """() => {
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = rgb => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * linear(rgb[i] / 255), 0);
  function behind(element) {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  }
  let least = [21, ""];
  for (const element of document.querySelectorAll("body *:not(script, style, title)")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.getClientRects().length || element.closest(".skip, #tip")) continue;
    const style = getComputedStyle(element), svg = element.namespaceURI.includes("svg");
    const [a, b] = [light(numbers(svg ? style.fill : style.color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const name = `${element.tagName}.${element.getAttribute("class")}: ${element.textContent}`;
    if (contrast < least[0]) least = [contrast, name];
  }
  return least;
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright; the test is skipped, with the reason, where Playwright or Chromium is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


def opened(browser: Any, path: Path, width: int = 1280, **options: Any) -> Any:
    """A tab with a page; `errors` of the tab collects the errors of its scripts."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
    tab.set_default_timeout(PATIENCE)
    tab.errors = []
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("console", lambda message: tab.errors.append(message.text) if message.type == "error" else None)
    tab.goto(path.resolve().as_uri())
    return tab
