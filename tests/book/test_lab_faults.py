"""The lab on a damaged page, without JavaScript, and beside another lab."""

import json

import pytest
from browser import HTML, visit
from bs4 import BeautifulSoup
from lab_page import LabPage, open_lab, says
from playwright.sync_api import BrowserContext, expect


def altered(context: BrowserContext, sites: dict[str, str], change) -> str:
    """The address of the lab's page with its payload changed on the way."""
    page = BeautifulSoup((HTML / "lab.html").read_text(), "html.parser")
    script = page.select_one('.snn-lab-host script[type="application/json"]')
    old = script.string
    body = (HTML / "lab.html").read_text()
    assert body.count(old) == 1
    context.route(
        "**/lab.html",
        lambda route: route.fulfill(body=body.replace(old, change(old)), content_type="text/html"),
    )
    return f"{sites['http']}/lab.html"


def with_network(change):
    """A change of the payload's network alone."""

    def apply(text: str) -> str:
        given = json.loads(text)
        return json.dumps(given | {"network": change(given["network"])})

    return apply


BROKEN = {
    "corrupt": with_network(
        lambda text: text[:9000] + ("A" if text[9000] != "A" else "B") + text[9001:]
    ),
    "truncated": with_network(lambda text: text[: len(text) // 2 // 4 * 4]),
    "foreign": with_network(
        lambda text: (
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
        )
    ),
    "no base64": with_network(lambda text: "<network>"),
    "empty": with_network(lambda text: ""),
    "missing": lambda text: json.dumps(
        {k: v for k, v in json.loads(text).items() if k != "network"}
    ),
    "no JSON": lambda text: text[: len(text) // 2],
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_network_leaves_a_message_and_the_page(context, sites, fault):
    seen = visit(context, altered(context, sites, BROKEN[fault]))
    message = seen.page.locator('.snn-lab-host [role="alert"].snn-lab-error')
    expect(message).to_contain_text("lab cannot start")
    assert len(message.inner_text()) > 30
    expect(seen.page.locator(".snn-lab-fallback img")).to_be_visible()
    expect(seen.page.get_by_role("heading", name="Things to try")).to_be_visible()
    assert seen.page.locator(".snn-lab").count() == 0
    assert seen.surprises() == []


def test_without_javascript_a_picture_stands_in(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = visit(context, address).page
    fallback = page.locator(".snn-lab-fallback")
    expect(fallback.locator("img")).to_be_visible()
    expect(fallback).to_contain_text("needs JavaScript")
    assert page.locator(".snn-lab").count() == 0
    context.close()


def test_two_labs_on_a_page_leave_each_other_alone(context, sites):
    body = (HTML / "lab.html").read_text()
    start = body.index('<div class="snn-lab-host"')
    host = body[start : body.index("<style>", start)]
    context.route(
        "**/lab.html",
        lambda route: route.fulfill(body=body.replace(host, host * 2), content_type="text/html"),
    )
    second = open_lab(context, f"{sites['http']}/lab.html", number=1)
    first = LabPage(second.visit, number=0)
    second.root.scroll_into_view_if_needed()
    second.get("lab.set({digit: 3, seed: 5})")
    says(second, "The network says 3")
    first.root.scroll_into_view_if_needed()
    says(first, "The network says 7")
    assert first.settings()["seed"] == 0
    ids = second.page.evaluate("[...document.querySelectorAll('.snn-lab [id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids)) >= 8
    second.root.get_by_text("Seed", exact=True).click()
    assert second.slider("seed").evaluate("(slider) => slider === document.activeElement")
