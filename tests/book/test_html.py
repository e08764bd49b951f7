"""The rendered book: every page there, nothing failed, every link and picture whole.

Run after `make book`; `make test` does both.
"""

import importlib.metadata
import re
from urllib.parse import unquote, urlsplit

import pytest
from browser import HTML, ROOT, listed_pages
from bs4 import BeautifulSoup
from grading.leaks import all_masters, find_leaks
from runnable.book import Book


@pytest.fixture(scope="module")
def pages() -> dict[str, BeautifulSoup]:
    if not HTML.is_dir():
        pytest.fail("there is no book yet; run `make book` first")
    return {
        name: BeautifulSoup((HTML / f"{name}.html").read_text(), "html.parser")
        for name in listed_pages()
    }


def test_every_page_was_built(pages):
    assert len(pages) >= 12
    for name, page in pages.items():
        assert page.h1 is not None, name
        assert len(page.article.get_text()) > 400, f"{name} is nearly empty"


def test_book_is_built_by_version_one():
    assert importlib.metadata.version("jupyter-book").startswith("1.")


def test_no_cell_failed(pages):
    assert not list(HTML.glob("reports/**/*.err.log"))
    for name, page in pages.items():
        assert "Traceback (most recent call last)" not in page.get_text(), name


def test_every_picture_says_what_it_shows(pages):
    for name, page in pages.items():
        for image in page.article.find_all("img"):
            alt = image.get("alt", "")
            assert len(alt) > 20, f"{name}: {image['src']} has alt text {alt!r}"
            assert not re.search(r"_build|\.png$", alt), f"{name}: {alt}"


def test_every_internal_link_leads_somewhere(pages):
    anchors = {(HTML / f"{name}.html").resolve(): _ids(page) for name, page in pages.items()}
    for name, page in pages.items():
        for link in page.find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme or parts.netloc or not link["href"].strip("#"):
                continue
            target = (
                (HTML / name).parent / unquote(parts.path) if parts.path else HTML / f"{name}.html"
            )
            target = target.resolve()
            assert target.exists(), f"{name}: {link['href']}"
            if parts.fragment and target.suffix == ".html":
                if target not in anchors:
                    anchors[target] = _ids(BeautifulSoup(target.read_text(), "html.parser"))
                assert unquote(parts.fragment) in anchors[target], f"{name}: {link['href']}"


def _ids(page: BeautifulSoup) -> set[str]:
    return {tag["id"] for tag in page.find_all(id=True)}


def test_no_markup_is_left_over(pages):
    for name, page in pages.items():
        text = "".join(
            block.get_text() for block in page.article.find_all(["p", "li", "figcaption", "h2"])
        )
        leftover = re.search(r"\{(numref|ref|term|cite:?\w*|doc|eq|admonition)\}|```|:::", text)
        assert not leftover, f"{name}: {leftover and leftover[0]} is shown as text"


def test_notebooks_number_figures_equations_and_exercises_as_the_book_does(pages):
    book = Book.read(ROOT)
    for name in book.numbers:
        numbered = {
            label: place.words
            for label, place in book.labels.items()
            if place.page == name and re.match(r"Fig\. \d|Exercise \d|\(\d", place.words)
        }
        assert len(numbered) >= 6
        assert numbered == _numbers(pages[name]), name


def _numbers(page: BeautifulSoup) -> dict[str, str]:
    """What a page calls its figures, exercises and equations, by their names."""
    kinds = {
        "figure[id] .caption-number": r"Fig\. [\d.]+",
        "div.exercise[id] .admonition-title": r"Exercise [\d.]+",
        "div.math[id] .eqno": r"\([\d.]+\)",
    }
    return {
        words.find_parent(id=True)["id"].removeprefix("equation-"): re.match(
            pattern, words.get_text()
        )[0]
        for selector, pattern in kinds.items()
        for words in page.article.select(selector)
    }


def test_no_slider_is_shown_that_cannot_move(pages):
    """Only the lab computes in a page; whatever else moves would show a result that is stale."""
    moving = 'input[type="range"], [class*="widget"], [class*="animation"], video, iframe, select'
    for name, page in pages.items():
        assert "application/vnd.jupyter.widget" not in str(page), name
        assert page.select(moving) == [], name


def test_hidden_checks_stay_hidden(pages):
    for name, page in pages.items():
        for cell in page.article.find_all(class_="tag_test"):
            pytest.fail(f"{name} shows a hidden check: {cell.get_text()[:80]}")


def test_no_solution_or_hidden_test_of_an_assignment_is_in_the_book():
    assert (HTML / "_sources").is_dir()
    assert find_leaks([HTML], all_masters()) == []
