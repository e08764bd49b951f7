"""A reader at the live lab: what the tests and the benchmark do on its page."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from browser import Visit, redrawn, visit
from playwright.sync_api import BrowserContext, Locator, expect

Point = tuple[float, float]
HANDLE = "document.querySelectorAll('.snn-lab-host')[{number}].lab"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

# Digits as one draws them: strokes of points, as shares of the pad's side.
ROUND = [(0.5, 0.2), (0.35, 0.28), (0.3, 0.5), (0.35, 0.72), (0.5, 0.8), (0.65, 0.72)]
ROUND += [(0.7, 0.5), (0.65, 0.28), (0.5, 0.2)]
DRAWINGS: dict[int, list[Point]] = {
    0: ROUND,
    1: [(0.53, 0.15), (0.5, 0.5), (0.47, 0.85)],
    7: [(0.28, 0.22), (0.7, 0.22), (0.58, 0.5), (0.46, 0.85)],
}
# The same with the keys of the pad, whose pen begins in the middle and moves a 28th a press.
KEYS = {
    1: ["ArrowUp"] * 9 + ["Space"] + ["ArrowDown"] * 18,
    7: ["ArrowUp"] * 8
    + ["ArrowLeft"] * 6
    + ["Space"]
    + ["ArrowRight"] * 12
    + ["ArrowDown", "ArrowDown", "ArrowLeft"] * 8,
}


def dense(points: list[Point], between: int = 8) -> list[Point]:
    """A stroke with points in between, as a hand gives them."""
    found = []
    for (x, y), (u, v) in pairwise(points):
        shares = [i / between for i in range(between)]
        found += [(x + share * (u - x), y + share * (v - y)) for share in shares]
    return [*found, points[-1]]


@dataclass
class LabPage:
    """One lab of an open page."""

    visit: Visit
    number: int = 0

    @property
    def page(self):
        return self.visit.page

    @property
    def root(self) -> Locator:
        return self.page.locator(".snn-lab").nth(self.number)

    def part(self, name: str) -> Locator:
        return self.root.locator(f'[data-part="{name}"]')

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def slider(self, name: str) -> Locator:
        return self.root.locator(f'input[type="range"][name="{name}"]')

    def get(self, expression: str) -> Any:
        """Evaluate an expression in which `lab` is the page's handle of the lab."""
        handle = HANDLE.format(number=self.number)
        return self.page.evaluate(f"() => {{ const lab = {handle}; return {expression}; }}")

    def settings(self) -> dict[str, Any]:
        redrawn(self.page)
        return self.get(
            "({...lab.settings, pixels: lab.settings.pixels && [...lab.settings.pixels]})"
        )

    def answer(self) -> int | None:
        redrawn(self.page)
        return self.get("lab.answer")

    def colours(self, part: str) -> int:
        """How many colours a picture has; a blank one has 1."""
        return len(self._colours(part))

    def corner(self, part: str) -> int:
        """Red of a picture's first pixel, or of what is behind it where it is transparent."""
        red, opacity = (self._colours(part)[0] >> shift & 255 for shift in (0, 24))
        ground = "(e) => Number(getComputedStyle(e.closest('.snn-lab-panel')).backgroundColor"
        behind = self.part(part).first.evaluate(ground + r".match(/\d+/)[0])")
        return red if opacity else behind

    def _colours(self, part: str) -> list[int]:
        """A picture's colours, its first pixel's first; of a copy, which Chromium likes better."""
        return self.part(part).first.evaluate("""(canvas) => {
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
          copy.drawImage(canvas, 0, 0);
          const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
          return [...new Set(new Uint32Array(data.buffer))];
        }""")

    def on_pad(self, points: Iterable[Point]) -> list[Point]:
        """Places on the screen of points on the pad."""
        self.part("pad").evaluate("(pad) => pad.scrollIntoView({block: 'center'})")
        box = self.part("pad").bounding_box()
        return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]

    def draw(self, points: list[Point]) -> None:
        """Draw a stroke with the mouse."""
        places = self.on_pad(dense(points))
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place)
        self.page.mouse.up()

    def touch(self, points: list[Point]) -> None:
        """Draw a stroke with a finger."""
        places = self.on_pad(dense(points))
        device = self.page.context.new_cdp_session(self.page)
        for kind, place in [("touchStart", places[0]), *(("touchMove", p) for p in places[1:])]:
            finger = [{"x": place[0], "y": place[1]}]
            device.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": finger})
        device.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def press(self, keys: list[str]) -> None:
        """Draw with the pad's keys."""
        self.part("pad").focus()
        for key in keys:
            self.page.keyboard.press(key)


def open_lab(context: BrowserContext, address: str, number: int = 0) -> LabPage:
    """Open a page and wait for its lab."""
    seen = visit(context, address)
    seen.page.locator(".snn-lab[data-state=ready]").nth(number).wait_for()
    lab = LabPage(seen, number)
    redrawn(seen.page)
    return lab


def says(lab: LabPage, text: str | re.Pattern) -> None:
    """Wait until the lab answers so."""
    expect(lab.part("answer")).to_have_text(text)
