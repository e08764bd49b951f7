"""The browser that the tests of the built book share, or one line that says why there is none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parent))

from browser import HTML, find_browser, launched, served

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
