"""The lab for everybody: screen readers, keyboards, phones, both themes."""

import pytest
from axe import violations_within
from browser import redrawn
from lab_page import PHONE, open_lab
from playwright.sync_api import expect


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_axe_finds_nothing_in_the_lab(browser, address, scheme, screen):
    options = PHONE if screen == "phone" else {}
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", **options)
    lab = open_lab(context, address)
    lab.part("question").first.get_by_role("button", name="Reveal").click()
    assert violations_within(lab.page, ".snn-lab") == []
    context.close()


def test_the_lab_is_no_wider_than_a_phone(browser, address):
    context = browser.new_context(**PHONE)
    lab = open_lab(context, address)
    assert lab.page.evaluate("document.documentElement.scrollWidth") <= 390
    outside = lab.root.evaluate("""(root) => [...root.querySelectorAll("*")].filter((e) => {
      const {left, right, width} = e.getBoundingClientRect();
      return width > 1 && (left < 0 || right > 390);
    }).map((e) => e.outerHTML.slice(0, 100))""")
    assert outside == []
    context.close()


def test_pictures_follow_the_theme(lab):
    light = lab.corner("decision")
    lab.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    redrawn(lab.page)
    assert light > 200 > 80 > lab.corner("decision")


def test_every_control_has_a_name_and_shows_its_focus(lab):
    lab.part("pad").focus()
    controls = lab.root.locator("button, input, canvas[tabindex]").all()
    assert len(controls) > 30
    for control in controls:
        if not control.is_visible() or control.is_disabled():
            continue
        control.focus()
        lab.page.keyboard.press("Shift")  # the focus comes from the keyboard
        outline = control.evaluate(
            "(e) => e.matches(':focus-visible') && getComputedStyle(e).outlineStyle"
        )
        assert outline not in (False, "none"), control.evaluate("(e) => e.outerHTML")


def test_the_answer_is_announced_once_a_drag_has_ended(lab):
    status = lab.root.get_by_role("status").first
    lab.button("Sample 5").click()
    expect(status).to_have_text("The network says 5, after step 40")
