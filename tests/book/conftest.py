"""What the tests of the built book share: the browser, or why there is none, and the lab."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

sys.path.insert(0, str(Path(__file__).parent))

from browser import HTML, find_browser, launched, served
from lab_page import LabPage, open_lab

DESKTOP = {"width": 1280, "height": 900}
MISSING = "Chromium is missing (.ci/run installs it; the variable CHROMIUM may name one)"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip(MISSING)
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def sites() -> Iterator[dict[str, str]]:
    """Where the book is: on the disk, and on a web server."""
    if not HTML.is_dir():
        pytest.fail("there is no book yet; run `make book` first")
    with served(HTML) as address:
        yield {"file": HTML.as_uri(), "http": address}


@pytest.fixture(scope="session")
def address(sites) -> str:
    """Of the lab's own page, on the disk."""
    return f"{sites['file']}/lab.html"


@pytest.fixture
def context(browser) -> Iterator[BrowserContext]:
    """A window of its own for each test."""
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


@pytest.fixture(scope="session")
def shared(browser) -> Iterator[BrowserContext]:
    """A window for tests that change nothing but the page they are given."""
    context = browser.new_context(viewport=DESKTOP)
    yield context
    context.close()


@pytest.fixture
def lab(shared, address) -> Iterator[LabPage]:
    """The lab on a new page, which ends without a complaint and without a request outside."""
    lab = open_lab(shared, address)
    yield lab
    lab.page.close()
    assert lab.visit.surprises() == []
    assert lab.visit.outside == []
