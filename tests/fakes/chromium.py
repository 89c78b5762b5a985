"""A headless Chromium, driven by playwright; tests are skipped where one of both is missing."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SETTLED = "document.querySelectorAll('figure.plot .main-svg').length"


@dataclass
class Opened:
    """A page that is open.

    Attributes:
        page: of playwright.
        said: kinds and texts of what the console said, and of errors.
        asked: addresses of all requests but for the page itself.
    """

    page: object
    said: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def wait_for_plots(self):
        """Until plotly has drawn."""
        self.page.wait_for_function(f"{_SETTLED} > 0", timeout=120_000)


@contextmanager
def open_chromium():
    """A browser, for a module of tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium here: make chromium installs Debian's")
    with playwright.sync_playwright() as started:
        # CI runs as root, where Chromium's sandbox cannot be had; pages are our own
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def open_page(browser, path, width=1280, scheme="light", **options):
    """A file in the browser as a user sees it."""
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme, **options
    )
    opened = Opened(page)
    page.on("console", lambda message: opened.said.append((message.type, message.text)))
    page.on("pageerror", lambda error: opened.said.append(("error", str(error))))
    url = path.resolve().as_uri()
    page.on("request", lambda request: opened.asked.append(request.url))
    page.goto(url)
    opened.asked = [address for address in opened.asked if address != url]
    try:
        yield opened
    finally:
        page.close()
