"""Chromium without a window, watched: what a page runs, asks for or complains of is a fault."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
Look = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser that is installed; ``make test-browser`` installs one where there is none."""
    promised = bool(os.environ.get("LATENTEXT_BROWSER"))
    found = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        if promised:
            pytest.fail("no playwright", pytrace=False)
        pytest.skip("no Chromium with playwright: make test-browser")
    if found is None and not promised:
        pytest.skip("no Chromium with playwright: make test-browser")
    with sync_playwright() as playwright:
        # The build of playwright's own is started where no other is installed.
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def look(browser: Any) -> Iterator[Look]:
    """Open a page and say what happened: `requests` beyond the page itself, `console`, `ran`, `text`, `images`."""

    def look(page_file: Path) -> dict[str, Any]:
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        requests: list[str] = []
        console: list[str] = []
        ran: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("requestfailed", lambda request: request.failure == "csp" and requests.remove(request.url))
        page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(str(error)))
        page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
        # Every payload of the tests sets this, or opens a dialog.
        page.add_init_script("window.owned = false")
        page.goto(page_file.as_uri())
        page.wait_for_timeout(200)
        page.mouse.click(300, 300)
        if page.evaluate("window.owned"):
            ran.append("owned")
        seen = {
            "requests": [url for url in requests if url != page_file.as_uri() and not url.startswith("data:image/png")],
            "console": console,
            "ran": ran,
            "text": page.inner_text("body"),
            "images": page.evaluate("[...document.images].map(image => image.naturalWidth)"),
            "width": page.evaluate("document.documentElement.scrollWidth"),
        }
        if pictures := os.environ.get("LATENTEXT_SCREENSHOTS"):
            folder = Path(pictures)
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{page_file.parent.name}.png", full_page=True)
        page.close()
        return seen

    yield look
