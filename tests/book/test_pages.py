"""Every page in a real browser without a network: complete, readable, usable, printable.

Run after `make book`; `make test` does both.  What a page asks for is seen from the disk and
from a web server.  How it looks is the same over both, so that is measured once, from the disk.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pypdfium2
import pytest
from axe import CONTRAST, contrasts, violations
from browser import HTML, READY, Visit, listed_pages, redrawn, visit
from playwright.sync_api import BrowserContext, Page, expect

PAGES = [*listed_pages(), "search", "genindex"]
CHAPTER = (
    "chapters/03_convertible_cnn"  # it has figures, formulas, tables, code, exercises, answers
)
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}

PRINTED = [CHAPTER, "appendix/matlab", "appendix/api"]  # answers; wide tables; long names
PAPER = {"width": 665, "height": 974}  # [CSS pixels] A4 within its margins
MARGIN = 45  # [points] at the right of a printed page, a little less than its 17 mm

RAW_FORMULAS = r"""() => {
  const drawn = "mjx-container, pre, code, script, style, .MathJax";
  const words = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const raw = [];
  while (words.nextNode()) {
    const text = words.currentNode;
    if (/\\[([]|\$\$|\\begin\{|\\frac/.test(text.data) && !text.parentElement.closest(drawn))
      raw.push(text.data);
  }
  const broken = [...document.querySelectorAll("mjx-merror, [data-mjx-error]")];
  const empty = [...document.querySelectorAll(".math")].filter((math) => {
    const output = math.querySelector("mjx-container");
    return !output || output.getBoundingClientRect().width === 0;
  });
  const fonts = [...document.fonts].filter((font) => font.status === "error");
  return [...raw, ...[...broken, ...empty].map((e) => e.outerHTML), ...fonts.map((f) => f.family)];
}"""

# What reaches beyond a width, unless it scrolls in a frame of its own; paper does not scroll.
TOO_WIDE = """([width, mayScroll]) => {
  const scrolls = (e) => mayScroll && e.closest("article, main, body") !== e &&
    (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const wide = [...document.querySelectorAll("article *")].filter((e) =>
    e.getBoundingClientRect().right > width + 1 && e.checkVisibility({visibilityProperty: true})
    && !e.closest("mjx-assistive-mml, .visually-hidden") && !scrolls(e));
  const page = document.documentElement.scrollWidth;
  return [...(page > width ? [`the page: ${page} px`] : []), ...wide.map((e) => e.outerHTML)];
}"""

# Lightness of text and ground as WCAG 2 defines it, for what a selector finds first in view.
COLOURS = """(selectors) => {
  const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const ground = (e) => {
    if (!e) return [255, 255, 255];
    const own = channels(getComputedStyle(e).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(e.parentElement));
  };
  return selectors.flatMap((selector) => {
    const e = document.querySelector(selector);
    if (!e) return [];
    const [text, below] = [light(channels(getComputedStyle(e).color)), light(ground(e))];
    const contrast = (Math.max(text, below) + 0.05) / (Math.min(text, below) + 0.05);
    return [{selector, ground: below, contrast}];
  });
}"""

KEYS_REACH_WHAT_SCROLLS = """() => [...document.querySelectorAll("article pre")]
  .every((e) => e.tabIndex === 0 || e.scrollWidth <= e.clientWidth)"""

PARTS = ["body", "article p", "article a", "article h2", "article code", "div.highlight pre"]
PARTS += ["figcaption", "figcaption p", "article table td", "article table th", "div.admonition"]
PARTS += ["div.admonition p", "div.exercise", "div.exercise p", ".admonition-title", ".output pre"]
PARTS += ["div.solution", "mjx-container", ".bd-sidebar-primary", ".bd-sidebar-secondary"]

HIDDEN = """() => {
  const parts = document.querySelectorAll(
    "article :is(p, li, pre, td, th, dt, dd, h1, h2, h3, figcaption, .math, img)");
  const gone = [...parts].filter((e) => (e.textContent.trim() || e.matches("img"))
    && !e.closest("details:not([open])")
    && !(e.checkVisibility({visibilityProperty: true, opacityProperty: true})
         && e.getBoundingClientRect().height > 0));
  return gone.map((e) => e.outerHTML.slice(0, 200));
}"""

LOST_PICTURES = """() => [...document.images]
  .filter((i) => !i.complete || i.naturalWidth === 0 || i.checkVisibility() && i.width === 0)
  .map((i) => i.outerHTML.slice(0, 200))"""

# How the element that has the focus looks, and how it looks without.
FOCUS = """() => {
  const look = (e) => {
    const s = getComputedStyle(e);
    const outline = s.outlineStyle === "none" ? "" : `${s.outlineWidth} ${s.outlineColor}`;
    return [outline, s.boxShadow, s.backgroundColor, s.borderColor, s.textDecoration].join("; ");
  };
  const focused = document.activeElement;
  if (focused === document.body) return null;
  const seen = look(focused), box = focused.getBoundingClientRect();
  focused.blur();
  const before = look(focused);
  focused.focus({focusVisible: true});
  return {html: focused.outerHTML.slice(0, 160), changed: seen !== before,
          inView: box.width > 0 && box.bottom > 0 && box.top < innerHeight};
}"""


@pytest.fixture(scope="module")
def desktop(browser) -> Iterator[BrowserContext]:
    """One window for all pages: what they share is read once."""
    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture(scope="module")
def unscripted(browser) -> Iterator[BrowserContext]:
    """One window without JavaScript."""
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)
    yield context
    context.close()


@pytest.fixture(scope="module", params=PAGES)
def name(request) -> str:
    """One page after the other."""
    return request.param


@pytest.fixture(scope="module")
def http(name, desktop, sites) -> Iterator[Visit]:
    """The page from the web server."""
    seen = visit(desktop, f"{sites['http']}/{name}.html")
    yield seen
    seen.page.close()


@pytest.fixture(scope="module")
def file(name, desktop, sites) -> Iterator[Visit]:
    """The page from the disk."""
    seen = visit(desktop, f"{sites['file']}/{name}.html")
    yield seen
    seen.page.close()


@pytest.fixture(params=["http", "file"])
def opened(request, http, file) -> Visit:
    """The page from the one and from the other."""
    return {"http": http, "file": file}[request.param]


@pytest.fixture
def page(file) -> Page:
    """The page whose looks are measured."""
    return file.page


def test_no_page_asks_an_outside_host(opened):
    assert opened.outside == []


def test_nothing_that_a_page_asks_for_is_missing(opened):
    assert opened.failed == []
    assert opened.page.evaluate(LOST_PICTURES) == []


def test_every_formula_is_drawn(opened):
    assert opened.page.evaluate(RAW_FORMULAS) == []


def test_no_page_complains(opened):
    assert opened.surprises() == []


def test_there_are_formulas_to_draw():
    pages = [(HTML / f"{name}.html").read_text() for name in PAGES]
    assert sum(page.count('class="math ') for page in pages) > 300


def test_axe_finds_nothing_serious_on_a_page(page):
    page.wait_for_function(KEYS_REACH_WHAT_SCROLLS)  # a while after formulas or a width changed
    grave = [line for line in violations(page) if line.startswith(("serious", "critical"))]
    assert grave == []


def test_dark_mode_is_dark_and_readable(page):
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    try:
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        redrawn(page)
        colours = page.evaluate(COLOURS, PARTS)
        assert [part for part in colours if part["ground"] > 0.1 or part["contrast"] < 4.5] == []
        assert violations(page, CONTRAST) == []
    finally:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")


def test_the_first_text_of_a_look_has_the_contrast_of_all(browser, sites):
    page = browser.new_page(viewport=DESKTOP, color_scheme="dark", reduced_motion="reduce")
    page.goto(f"{sites['file']}/{CHAPTER}.html")
    page.evaluate(READY)
    looks = contrasts(page)
    assert sum(len(look["all"]) for look in looks.values()) > 5 * len(looks) > 250
    assert [look for look in looks.values() if set(look["all"]) - {look["first"]}] == []
    page.close()


def test_too_little_contrast_is_found_among_texts_of_the_same_class(browser, sites):
    page = browser.new_page(viewport=DESKTOP, reduced_motion="reduce")
    page.goto(f"{sites['file']}/{CHAPTER}.html")
    last = page.locator("article p:visible").last
    last.evaluate("(p) => (p.innerHTML = '<b style=\"color: #999; background: #aaa\">faint</b>')")
    (line,) = violations(page, CONTRAST)
    assert line.startswith('serious color-contrast: <b style="color: #999')
    page.close()


def test_no_page_is_wider_than_a_desktop_or_a_phone(page):
    try:
        for size in (PHONE, DESKTOP):
            page.set_viewport_size(size)
            redrawn(page)
            assert page.evaluate(TOO_WIDE, [size["width"], True]) == []
    finally:
        page.set_viewport_size(DESKTOP)


def test_no_page_is_wider_than_paper(page):
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print", reduced_motion="reduce")
    try:
        redrawn(page)
        assert page.evaluate(TOO_WIDE, [PAPER["width"], False]) == []
    finally:
        page.emulate_media(media="screen", reduced_motion="reduce")
        page.set_viewport_size(DESKTOP)


def test_the_chapter_of_these_tests_has_all_kinds_of_parts(browser, sites):
    page = browser.new_page()
    page.goto(f"{sites['file']}/{CHAPTER}.html")
    found = {part["selector"] for part in page.evaluate(COLOURS, PARTS)}
    assert found == set(PARTS)
    page.close()


def test_without_javascript_a_page_shows_its_text_and_pictures(unscripted, sites, name):
    page = visit(unscripted, f"{sites['file']}/{name}.html").page
    assert page.evaluate(HIDDEN) == []
    assert page.evaluate(LOST_PICTURES) == []
    assert page.locator("main").inner_text().strip()
    page.close()


@pytest.mark.parametrize("way", ["http", "file"])
def test_a_search_finds_the_pages_with_a_word(browser, sites, way):
    context = browser.new_context(viewport=DESKTOP)
    seen = visit(context, f"{sites[way]}/index.html")
    seen.page.locator(".search-button__button:visible").first.click()
    seen.page.keyboard.type("threshold")
    seen.page.keyboard.press("Enter")
    found = seen.page.locator("#search-results li a")
    expect(found.first).to_be_visible()
    expect(seen.page.locator("#search-results")).to_contain_text("finished")
    assert found.count() >= 5
    found.first.click()
    expect(seen.page.locator("article h1")).to_be_visible()
    assert "threshold" in seen.page.locator("article").inner_text().lower()
    assert seen.outside == []
    context.close()


@pytest.mark.parametrize("name", ["index", CHAPTER, "search"])
def test_keys_reach_every_control_and_the_focus_is_seen(browser, sites, name):
    page = browser.new_page(viewport=DESKTOP, reduced_motion="reduce")
    page.goto(f"{sites['file']}/{name}.html")
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        redrawn(page)
        if (focus := page.evaluate(FOCUS)) is not None:
            seen.append(focus)
    assert len(seen) >= 20
    assert [focus["html"] for focus in seen if not (focus["changed"] and focus["inView"])] == []
    page.close()


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_an_answer_opens_by_key(browser, sites, key):
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{sites['file']}/{CHAPTER}.html")
    answer = page.locator(".admonition.toggle").first
    body = answer.locator("> :not(.admonition-title)").first
    expect(body).to_be_hidden()
    answer.locator("button").focus()
    page.keyboard.press(key)
    expect(body).to_be_visible()
    page.close()


@pytest.fixture(scope="module")
def printed(browser, sites) -> Iterator[Callable[..., tuple[Page, pypdfium2.PdfDocument]]]:
    """A page, and what it gives on paper with its backgrounds; each is printed once."""
    contexts = {
        scheme: browser.new_context(viewport=DESKTOP, color_scheme=scheme)
        for scheme in ("light", "dark")
    }

    @cache
    def on_paper(name: str, scheme: str = "light") -> tuple[Page, pypdfium2.PdfDocument]:
        page = visit(contexts[scheme], f"{sites['file']}/{name}.html").page
        pdf = page.pdf(prefer_css_page_size=True, print_background=True)
        return page, pypdfium2.PdfDocument(pdf)

    yield on_paper
    for context in contexts.values():
        context.close()


def pixels(document: pypdfium2.PdfDocument) -> list[np.ndarray]:
    """The sheets in grey, [points, points], 255 for white."""
    return [sheet.render(scale=1, grayscale=True).to_numpy() for sheet in document]


def text_of(document: pypdfium2.PdfDocument) -> str:
    """All its letters and digits; how lines and spaces fall on paper is left out."""
    return "".join(
        filter(str.isalnum, "".join(s.get_textpage().get_text_bounded() for s in document))
    )


@pytest.mark.parametrize("name", PRINTED)
def test_a_page_prints_whole_with_its_answers(printed, name):
    page, document = printed(name)
    paragraphs = page.locator("article :is(p, td, pre):not(:has(.math))").all_text_contents()
    words = ["".join(filter(str.isalnum, text))[:25] for text in paragraphs]
    on_paper = text_of(document)
    assert len(document) > 3
    assert [text for text in words if text not in on_paper] == []
    for sheet in pixels(document):
        assert sheet.shape == (842, 595)  # A4
        assert sheet[:, -MARGIN:].min() == 255, "something reaches into the right margin"


def test_paper_has_no_controls(browser, sites):
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{sites['file']}/{CHAPTER}.html")
    controls = page.locator("button, dialog, input, .bd-sidebar, .prev-next-footer, .headerlink")
    assert controls.count() > 20
    page.emulate_media(media="print")
    assert [c for c in controls.all() if c.is_visible()] == []
    page.close()


def test_a_dark_page_prints_dark_on_white(printed):
    documents = [printed(CHAPTER, scheme)[1] for scheme in ("light", "dark")]
    ink, ink_of_dark = ([(sheet < 128).sum() for sheet in pixels(d)] for d in documents)
    assert all(0.8 * a < b < 100_000 for a, b in zip(ink, ink_of_dark, strict=True))  # of 500,000
