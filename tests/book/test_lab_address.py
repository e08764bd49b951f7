"""The lab's state in the page's address: kept, shared, and refused where it is malformed."""

import pytest
from lab_page import DRAWINGS, LabPage, open_lab, says
from playwright.sync_api import expect

REFUSES_STORAGE = """for (const name of ["localStorage", "sessionStorage"]) {
  const get = () => { throw new DOMException("no", "SecurityError"); };
  Object.defineProperty(window, name, {get});
}"""
REFUSES_CLIPBOARD = """Object.defineProperty(navigator, "clipboard",
  {value: {writeText: () => Promise.reject(new DOMException("no", "NotAllowedError"))}});"""
HAS_NO_CLIPBOARD = 'Object.defineProperty(navigator, "clipboard", {value: undefined});'


def counts(lab: LabPage) -> list[int]:
    return lab.get("[...lab.recording.counts]")


@pytest.mark.parametrize("way", ["http", "file"])
def test_the_address_keeps_the_state(context, sites, way):
    lab = open_lab(context, f"{sites[way]}/lab.html")
    lab.draw(DRAWINGS[7])
    lab.get(
        "lab.set({steps: 30, threshold: 1.5, rate: 0.8, seed: 3, step: 12,"
        " layer: 'conv2', neuron: 17})"
    )
    lab.page.wait_for_function("location.hash.includes('neuron=17')")
    before = lab.settings(), counts(lab)
    again = open_lab(context, lab.page.url)
    assert (again.settings(), counts(again)) == before
    lab.page.reload()
    lab.page.locator(".snn-lab[data-state=ready]").wait_for()
    assert (lab.settings(), counts(lab)) == before


def test_the_page_as_it_was_has_a_plain_address(lab, address):
    lab.get("lab.set({seed: 3})")
    lab.page.wait_for_url("**#lab?seed=3")
    lab.get("lab.set({seed: 0})")
    lab.page.wait_for_url(address)


@pytest.mark.parametrize(
    "state",
    [
        "#lab?steps=abc&rate=9&colour=red&neuron=-1",
        "#lab?pixels=AAAA",
        "#lab?%F0%28",
        "#lab?steps",
        "#lab?digit=77",
    ],
)
def test_a_malformed_state_is_ignored(context, address, state):
    lab = open_lab(context, address + state)
    plain = open_lab(context, address)
    assert lab.settings() == plain.settings()
    says(lab, "The network says 7")
    assert lab.visit.surprises() == []


def test_what_is_valid_of_a_state_is_taken(context, address):
    lab = open_lab(context, f"{address}#lab?digit=3&label=3&steps=abc&seed=4")
    settings = lab.settings()
    assert (settings["digit"], settings["seed"], settings["steps"]) == (3, 4, 40)
    says(lab, "The network says 3")


def test_an_anchor_of_the_page_stays_an_anchor(context, address):
    lab = open_lab(context, f"{address}#things-to-try")
    lab.page.wait_for_timeout(400)
    assert lab.page.url.endswith("#things-to-try")
    expect(lab.page.get_by_role("heading", name="Things to try")).to_be_in_viewport()
    says(lab, "The network says 7")


def test_a_link_to_a_state_is_followed_on_the_page(lab):
    lab.page.evaluate("location.hash = 'lab?digit=2&label=2&seed=9'")
    says(lab, "The network says 2")
    assert lab.settings()["seed"] == 9


def test_the_link_is_copied(browser, sites):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    lab = open_lab(context, f"{sites['http']}/lab.html")
    lab.get("lab.set({seed: 3})")
    lab.button("Copy link").click()
    lab.button("Link copied").wait_for()
    assert lab.page.evaluate("navigator.clipboard.readText()").endswith("lab.html#lab?seed=3")
    context.close()


@pytest.mark.parametrize("script", [REFUSES_CLIPBOARD, HAS_NO_CLIPBOARD])
def test_where_the_clipboard_is_refused_the_link_is_shown(context, address, script):
    context.add_init_script(script)
    lab = open_lab(context, address)
    lab.get("lab.set({seed: 3})")
    lab.button("Copy link").click()
    expect(lab.root.get_by_label("Link to this state")).to_have_value(f"{address}#lab?seed=3")
    assert lab.visit.surprises() == []


def test_where_storage_is_refused_the_lab_works(context, address):
    context.add_init_script(REFUSES_STORAGE)
    lab = open_lab(context, address)
    lab.button("Sample 2").click()
    says(lab, "The network says 2")
    lab.get("lab.set({seed: 3})")
    lab.page.wait_for_function("location.hash.includes('seed=3')")
