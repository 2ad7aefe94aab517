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
