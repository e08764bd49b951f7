"""Every page in a real browser without a network: complete, readable, usable, printable.

Run after `make book`; `make test` does both.  What a page asks for is seen from the disk and
from a web server.  How it looks is the same over both, so that is measured once, from the disk.
"""

from collections.abc import Iterator

import numpy as np
import pypdfium2
import pytest
from browser import HTML, Visit, listed_pages, redrawn, violations, visit
from playwright.sync_api import Page, expect

PAGES = [*listed_pages(), "search", "genindex"]
CHAPTER = (
    "chapters/03_convertible_cnn"  # it has figures, formulas, tables, code, exercises, answers
)
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}

PRINTED = [CHAPTER, "appendix/matlab", "appendix/api"]  # answers; wide tables; long names
MARGIN = 45  # [points] at the right of a printed page, a little less than its 17 mm

CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}

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

TOO_WIDE = """(width) => {
  const scrolls = (e) => e.closest("article, main, body") !== e &&
    (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
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

PARTS = ["body", "article p", "article a", "article h2", "article code", "div.highlight pre"]
PARTS += ["figcaption", "figcaption p", "article table td", "article table th", "div.admonition"]
PARTS += ["div.admonition p", "div.exercise", "div.exercise p", ".admonition-title", ".output pre"]
PARTS += ["div.solution", "mjx-container", ".bd-sidebar-primary", ".bd-sidebar-secondary"]

HIDDEN = """() => {
  const parts = document.querySelectorAll(
    "article :is(p, li, pre, td, th, dt, dd, h1, h2, h3, figcaption, .math)");
  const gone = [...parts].filter((e) => e.textContent.trim() && !e.closest("details:not([open])")
    && !(e.checkVisibility({visibilityProperty: true, opacityProperty: true})
         && e.getBoundingClientRect().height > 0));
  return gone.map((e) => e.outerHTML.slice(0, 200));
}"""

LOST_PICTURES = """() => [...document.images].filter((i) => !i.closest("details:not([open])"))
  .filter((i) => !(i.complete && i.naturalWidth > 0 && i.getBoundingClientRect().width > 0))
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


@pytest.fixture(
    scope="module", params=[f"{way}:{name}" for name in PAGES for way in ("http", "file")]
)
def opened(request, browser, sites) -> Iterator[Visit]:
    """One page after the other, from the web server and from the disk."""
    way, name = request.param.split(":")
    context = browser.new_context(viewport=DESKTOP)
    seen = visit(context, f"{sites[way]}/{name}.html")
    yield seen
    context.close()


@pytest.fixture(scope="module", params=PAGES)
def page(request, browser, sites) -> Iterator[Page]:
    """One page after the other, from the disk."""
    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce")
    yield visit(context, f"{sites['file']}/{request.param}.html").page
    context.close()


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


def test_no_page_is_wider_than_a_desktop_or_a_phone(page):
    try:
        for size in (PHONE, DESKTOP):
            page.set_viewport_size(size)
            redrawn(page)
            assert page.evaluate(TOO_WIDE, size["width"]) == []
    finally:
        page.set_viewport_size(DESKTOP)


def test_axe_finds_nothing_serious_on_a_page(page):
    assert grave(violations(page)) == []


def grave(found: list[str]) -> list[str]:
    return [line for line in found if line.startswith(("serious", "critical"))]


def test_dark_mode_is_dark_and_readable(page):
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    try:
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        redrawn(page)
        colours = page.evaluate(COLOURS, PARTS)
        assert [part for part in colours if part["ground"] > 0.1 or part["contrast"] < 4.5] == []
    finally:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")


@pytest.mark.parametrize("name", ["index", CHAPTER, "appendix/matlab", "appendix/benchmarks"])
def test_axe_finds_enough_contrast_in_the_dark(browser, sites, name):
    context = browser.new_context(color_scheme="dark", reduced_motion="reduce")
    seen = visit(context, f"{sites['file']}/{name}.html")
    assert violations(seen.page, CONTRAST) == []
    context.close()


def test_the_chapter_of_these_tests_has_all_kinds_of_parts(browser, sites):
    page = browser.new_page()
    page.goto(f"{sites['file']}/{CHAPTER}.html")
    found = {part["selector"] for part in page.evaluate(COLOURS, PARTS)}
    assert found == set(PARTS)
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_without_javascript_a_page_shows_its_text_and_pictures(browser, sites, name):
    context = browser.new_context(viewport=DESKTOP, java_script_enabled=False)
    seen = visit(context, f"{sites['file']}/{name}.html")
    assert seen.page.evaluate(HIDDEN) == []
    assert seen.page.evaluate(LOST_PICTURES) == []
    assert seen.page.locator("main").inner_text().strip()
    context.close()


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


def printed(browser, address: str, **options) -> tuple[Page, pypdfium2.PdfDocument]:
    """A page, and what it gives on paper with its backgrounds."""
    page = visit(browser.new_context(viewport=DESKTOP, **options), address).page
    return page, pypdfium2.PdfDocument(page.pdf(prefer_css_page_size=True, print_background=True))


def pixels(document: pypdfium2.PdfDocument) -> list[np.ndarray]:
    """The sheets in grey, [points, points], 255 for white."""
    return [sheet.render(scale=1, grayscale=True).to_numpy() for sheet in document]


def text_of(document: pypdfium2.PdfDocument) -> str:
    """All its letters and digits; how lines and spaces fall on paper is left out."""
    return "".join(
        filter(str.isalnum, "".join(s.get_textpage().get_text_bounded() for s in document))
    )


@pytest.mark.parametrize("name", PRINTED)
def test_a_page_prints_whole_with_its_answers(browser, sites, name):
    page, document = printed(browser, f"{sites['file']}/{name}.html")
    paragraphs = page.locator("article :is(p, td, pre):not(:has(.math))").all_text_contents()
    words = ["".join(filter(str.isalnum, text))[:25] for text in paragraphs]
    on_paper = text_of(document)
    assert len(document) > 3
    assert [text for text in words if text not in on_paper] == []
    for sheet in pixels(document):
        assert sheet.shape == (842, 595)  # A4
        assert sheet[:, -MARGIN:].min() == 255, "something reaches into the right margin"
    page.context.close()


def test_paper_has_no_controls(browser, sites):
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{sites['file']}/{CHAPTER}.html")
    controls = page.locator("button, dialog, input, .bd-sidebar, .prev-next-footer, .headerlink")
    assert controls.count() > 20
    page.emulate_media(media="print")
    assert [c for c in controls.all() if c.is_visible()] == []
    page.close()


def test_a_dark_page_prints_dark_on_white(browser, sites):
    address = f"{sites['file']}/{CHAPTER}.html"
    light, document = printed(browser, address)
    dark, document_of_dark = printed(browser, address, color_scheme="dark")
    ink, ink_of_dark = ([(s < 128).sum() for s in pixels(d)] for d in (document, document_of_dark))
    assert all(0.8 * a < b < 100_000 for a, b in zip(ink, ink_of_dark, strict=True))  # of 500,000
    light.context.close()
    dark.context.close()
