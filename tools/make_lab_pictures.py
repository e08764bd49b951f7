"""Draw what stands in for the live lab on paper and without JavaScript: the lab itself.

One picture for each view of a chapter, taken in a browser: Chromium, or what the variable
CHROMIUM names.
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser

sys.path.append(str(Path(__file__).parent.parent / "tests" / "book"))

from browser import ROOT, launched

from snnlib.live import bundle
from snnlib.live.directive import payload
from snnlib.live.options import VIEWS, lab_options
from snnlib.storage import write_whole

WIDTH = 760  # [CSS pixels], about the text's
PAGE = """<!doctype html><meta charset="utf-8"><html data-theme="light"><body style="margin: 0">
<style>{style}</style>
<div class="snn-lab-host" style="margin: 0"><script type="application/json">{given}</script></div>
<script type="module">{script}</script>"""
ASK = """async () => {
  const { lab } = document.querySelector(".snn-lab-host");
  const buttons = [...document.querySelectorAll("button")];
  const button = buttons.find((b) => b.textContent.includes("seeds"));
  button?.click();
  while (button?.disabled) await new Promise((resume) => setTimeout(resume, 50));
  lab.set({ step: 30 });
}"""


def take(browser: Browser, view: str) -> bytes:
    """One view after 30 of 40 steps, as PNG."""
    given = payload(lab_options({"view": view}))
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=1.5)
    page.set_content(PAGE.format(style=bundle.style(), script=bundle.script(), given=given))
    page.wait_for_selector('.snn-lab[data-state="ready"]')
    page.evaluate(ASK)
    return page.locator(".snn-lab").screenshot()


def main() -> None:
    with launched() as browser:
        for view in VIEWS:
            if view in ("taste", "everything"):  # their pages have another picture
                continue
            shot = take(browser, view)
            write_whole(
                ROOT / "_static" / f"lab_{view}.png", lambda path, shot=shot: path.write_bytes(shot)
            )


if __name__ == "__main__":
    main()
