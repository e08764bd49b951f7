"""What axe, which knows the rules of accessibility, finds on an open page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}

# Number how the visible texts of a page look, and mark the first of each look.  A look is all that
# their contrast is made of, from the text to the root of the page; a text of less than two letters
# counts as part of its own look, as axe does not judge every one.
LOOKS = r"""() => {
  for (const e of document.querySelectorAll("body *")) {
    if (e.scrollTop) e.scrollTop = 0;  // what a side bar has scrolled away cannot be judged
  }
  const chains = new Map(), looks = new Map();
  const own = (e) => {
    const s = getComputedStyle(e);
    return [e.localName, e.className, e.style.cssText, s.color, s.background, s.fontSize,
      s.fontWeight, s.opacity, s.textShadow, s.filter, s.mixBlendMode, s.position].join("; ");
  };
  const chain = (e) => {
    if (!e) return "";
    if (!chains.has(e)) chains.set(e, `${chain(e.parentElement)} > ${own(e)}`);
    return chains.get(e);
  };
  const words = (e) => {
    const texts = [...e.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const text = texts.map((node) => node.data).join("").trim();
    return text.replace(/[^\p{L}\p{N}]/gu, "").length < 2 ? JSON.stringify(text) : "words";
  };
  const visible = [...document.querySelectorAll("body, body *")]
    .filter((e) => e.checkVisibility({visibilityProperty: true}));
  for (const e of visible) {
    const look = `${chain(e)} > ${words(e)}`;
    if (!looks.has(look)) {
      looks.set(look, looks.size);
      e.dataset.firstOfLook = "";
    }
    e.dataset.look = looks.get(look);
  }
}"""
CONTRASTS = """async (options) => {
  const run = await axe.run({...options, elementRef: true}), looks = {};
  for (const {element, any: [{data}]} of [...run.passes, ...run.violations, ...run.incomplete]
    .flatMap((rule) => rule.nodes)) {
    const look = (looks[element.dataset.look] ??= {first: null, all: []});
    if ("firstOfLook" in element.dataset) look.first = data.contrastRatio;
    if (data.contrastRatio) look.all.push(data.contrastRatio);
  }
  return looks;
}"""
ONCE_A_LOOK = "axe.configure({rules: [{id: 'color-contrast', selector: '[data-first-of-look]'}]})"


def violations(page: Page, options: dict | None = None) -> list[str]:
    """What axe finds on a page, one line for each element.

    Half of its time would go into the contrast of texts that look alike, of which a page of code
    has thousands; of those it judges the first.
    """
    _number_the_looks(page)
    page.evaluate(f"() => {{ {ONCE_A_LOOK}; }}")
    return _lines(page.evaluate("(options) => axe.run(options)", _options(options)))


def violations_within(page: Page, selector: str) -> list[str]:
    """The same for each element within a part of a page."""
    return _lines(Axe().run(page, context=selector, options=_options()).response)


def contrasts(page: Page) -> dict[str, dict]:
    """Look by look, the contrast of its first text and of all of which axe can tell it."""
    _number_the_looks(page)
    return page.evaluate(CONTRASTS, CONTRAST)


def _number_the_looks(page: Page) -> None:
    page.evaluate(Axe().axe_script)
    page.evaluate(LOOKS)


def _options(options: dict | None = None) -> dict:
    return {"resultTypes": ["violations"], **(options or {})}


def _lines(found: dict) -> list[str]:
    """Impact, rule, element, reason."""
    return [
        f"{rule['impact']} {rule['id']}: {node['html'][:160]} ({node['failureSummary'][:300]})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
