"""The live lab in a real browser: a reader draws, plays, asks; a page is broken; JavaScript is off.

Run after `make book`; `make test` does both.
"""

import json
import re
from collections.abc import Iterator

import pytest
from browser import HTML, redrawn, violations, visit
from bs4 import BeautifulSoup
from lab_page import DRAWINGS, KEYS, LabPage, open_lab
from playwright.sync_api import BrowserContext, expect

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
CHAPTERS = ["02_integrate_and_fire", "04_spike_trains", "05_balance", "06_classify_over_time"]
SLIDERS = ["steps", "threshold", "rate", "seed"]
NOTHING_DRAWN = "Draw a digit, or choose one."
REFUSES_STORAGE = """for (const name of ["localStorage", "sessionStorage"]) {
  const get = () => { throw new DOMException("no", "SecurityError"); };
  Object.defineProperty(window, name, {get});
}"""
REFUSES_CLIPBOARD = """Object.defineProperty(navigator, "clipboard",
  {value: {writeText: () => Promise.reject(new DOMException("no", "NotAllowedError"))}});"""
HAS_NO_CLIPBOARD = 'Object.defineProperty(navigator, "clipboard", {value: undefined});'


@pytest.fixture(scope="module")
def address(sites) -> str:
    return f"{sites['file']}/lab.html"


@pytest.fixture
def context(browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def lab(context, address) -> Iterator[LabPage]:
    """The lab on its own page, which ends without a complaint and without a request outside."""
    lab = open_lab(context, address)
    yield lab
    assert lab.visit.surprises() == []
    assert lab.visit.outside == []


def says(lab: LabPage, text: str | re.Pattern) -> None:
    expect(lab.part("answer")).to_have_text(text)


# ---- it works at once


@pytest.mark.parametrize("way", ["http", "file"])
def test_the_lab_works_at_once(context, sites, way):
    lab = open_lab(context, f"{sites[way]}/lab.html")
    says(lab, "The network says 7")
    assert lab.answer() == 7
    expect(lab.page.locator(".snn-lab-fallback")).to_be_hidden()
    for part in ("pad", "seen", "maps", "raster", "decision", "patch", "kernel", "trace", "rates"):
        assert lab.colours(part) > 1, f"{part} is blank"
    assert lab.visit.surprises() == []
    assert lab.visit.outside == []


def test_each_sample_gives_its_label(lab):
    for digit in range(10):
        sample = lab.button(f"Sample {digit}")
        sample.click()
        says(lab, f"The network says {digit}")
        assert lab.answer() == digit
        expect(sample).to_have_attribute("aria-pressed", "true")
    assert lab.root.locator("[aria-pressed=true][aria-label^=Sample]").count() == 1


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_shows_the_lab_with_what_it_teaches(context, sites, chapter):
    lab = open_lab(context, f"{sites['file']}/chapters/{chapter}.html")
    assert lab.root.locator(".snn-lab-panel").count() == len(lab.get("lab.panels")) < 11
    lab.root.scroll_into_view_if_needed()
    lab.button("Sample 3").click()
    assert lab.answer() == 3
    assert lab.visit.surprises() == []


# ---- drawing


@pytest.mark.parametrize("digit", DRAWINGS)
def test_a_digit_drawn_with_the_mouse_is_read(lab, digit):
    lab.draw(DRAWINGS[digit])
    says(lab, f"The network says {digit}")
    assert lab.settings()["digit"] is None
    assert lab.colours("seen") > 10
    assert lab.root.locator("[aria-pressed=true][aria-label^=Sample]").count() == 0


@pytest.mark.parametrize("digit", DRAWINGS)
def test_a_digit_drawn_with_a_finger_is_read_and_the_page_stays(browser, address, digit):
    context = browser.new_context(**PHONE)
    lab = open_lab(context, address)
    lab.on_pad([])
    before = lab.page.evaluate("scrollY")
    lab.touch(DRAWINGS[digit])
    says(lab, f"The network says {digit}")
    assert lab.page.evaluate("scrollY") == before
    assert lab.visit.surprises() == []
    context.close()


@pytest.mark.parametrize("digit", KEYS)
def test_a_digit_drawn_with_keys_is_read_and_deleted(lab, digit):
    lab.press(KEYS[digit])
    says(lab, f"The network says {digit}")
    lab.page.keyboard.press("Delete")
    says(lab, NOTHING_DRAWN)


def test_two_strokes_are_one_drawing(lab):
    lab.draw(DRAWINGS[1])
    before = sum(lab.settings()["pixels"])
    lab.draw([(0.3, 0.5), (0.7, 0.5)])
    assert sum(lab.settings()["pixels"]) > before


def test_an_empty_drawing_asks_for_one(lab):
    lab.button("Clear").click()
    says(lab, NOTHING_DRAWN)
    assert lab.answer() is None
    assert lab.get("lab.recording.counts.every((count) => count === 0)")
    for name in (
        "Play",
        "Step back",
        "Step forward",
        "Start again",
        "Try 20 seeds",
        "Reset settings",
    ):
        lab.button(name).click()
    for question in lab.part("question").all():
        question.get_by_role("radio").first.check()
        question.get_by_role("button", name="Reveal").click()
        expect(question.locator("output")).to_contain_text("Draw a digit")
    says(lab, NOTHING_DRAWN)
    lab.button("Sample 4").click()
    says(lab, "The network says 4")


# ---- time


def test_the_film_plays_pauses_and_goes_on(lab):
    lab.button("Play").click()
    lab.button("Pause").wait_for()
    lab.page.wait_for_function("document.querySelector('.snn-lab-host').lab.settings.step >= 4")
    lab.button("Pause").click()
    stopped = lab.settings()["step"]
    lab.page.wait_for_timeout(300)
    assert lab.settings()["step"] == stopped < 40
    lab.button("Play").click()
    lab.page.wait_for_function(
        f"document.querySelector('.snn-lab-host').lab.settings.step > {stopped}"
    )


def test_the_film_ends_with_the_last_step(lab):
    lab.get("lab.set({steps: 6, step: 1})")
    lab.button("Play").click()
    lab.button("Pause").wait_for()
    lab.button("Play").wait_for()
    assert lab.settings()["step"] == 6


def test_time_goes_step_by_step(lab):
    runs = lab.get("lab.runs")
    lab.button("Start again").click()
    assert lab.settings()["step"] == 1
    for name, step in [
        ("Step forward", 2),
        ("Step forward", 3),
        ("Step back", 2),
        ("Step back", 1),
        ("Step back", 1),
    ]:
        lab.button(name).click()
        assert lab.settings()["step"] == step
    expect(lab.slider("step")).to_have_attribute("aria-valuetext", "step 1 of 40")
    assert lab.get("lab.runs") == runs, "the time shown needs no new run"


def test_time_is_scrubbed_by_key_and_by_mouse(lab):
    bar = lab.slider("step")
    bar.focus()
    for key, step in [
        ("Home", 1),
        ("ArrowRight", 2),
        ("ArrowRight", 3),
        ("ArrowLeft", 2),
        ("End", 40),
    ]:
        lab.page.keyboard.press(key)
        assert lab.settings()["step"] == step
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    middle = box["y"] + box["height"] / 2
    lab.page.mouse.move(box["x"] + 5, middle)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + box["width"] / 2, middle, steps=8)
    lab.page.mouse.up()
    assert 19 <= lab.settings()["step"] <= 22


def test_the_counts_and_the_answer_are_those_of_the_step_shown(lab):
    for step in (1, 10, 40):
        lab.get(f"lab.set({{step: {step}}})")
        rows = lab.part("counts").locator("tbody tr").all()
        shown = [int(row.locator("td").last.inner_text()) for row in rows]
        assert shown == lab.get(f"[...lab.recording.counts.slice(({step} - 1) * 10, {step} * 10)]")
        decided = lab.get(f"lab.recording.decisions[{step} - 1]")
        says(
            lab, "Undecided: no output spike yet" if decided < 0 else f"The network says {decided}"
        )


def test_less_motion_is_respected(browser, address):
    context = browser.new_context(reduced_motion="reduce")
    lab = open_lab(context, address)
    lab.get("lab.set({step: 1})")
    lab.button("Play").click()
    assert lab.settings()["step"] == 40
    expect(lab.button("Play")).to_be_visible()
    context.close()


def test_off_screen_the_film_pauses(lab):
    lab.button("Play").click()
    lab.button("Pause").wait_for()
    lab.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    lab.page.evaluate(
        "document.querySelector('.snn-lab-host').style.marginTop = '9000px'; scrollTo(0, 0)"
    )
    lab.page.wait_for_function("!document.querySelector('.snn-lab-host').lab.playing")
    stopped = lab.get("lab.settings.step")
    lab.page.wait_for_timeout(400)
    assert lab.get("lab.settings.step") == stopped < 40


# ---- settings


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_runs_the_digit_again(lab, name):
    slider, before, runs = lab.slider(name), lab.settings()[name], lab.get("lab.runs")
    slider.focus()
    lab.page.keyboard.press("ArrowRight")
    after = lab.settings()
    assert after[name] > before
    assert lab.get("lab.runs") > runs
    assert lab.get("lab.recording.decisions.length") == after["steps"]
    for key in ("Home", "End"):
        lab.page.keyboard.press(key)
        assert lab.settings()[name] == float(
            slider.get_attribute("min" if key == "Home" else "max")
        )


def test_a_slider_is_dragged(lab):
    slider = lab.slider("rate")
    slider.scroll_into_view_if_needed()
    box, runs = slider.bounding_box(), lab.get("lab.runs")
    middle = box["y"] + box["height"] / 2
    lab.page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + box["width"] - 1, middle, steps=10)
    lab.page.mouse.up()
    assert lab.settings()["rate"] == 1
    assert lab.get("lab.runs") > runs


def test_higher_thresholds_leave_the_network_undecided(lab):
    lab.get("lab.set({threshold: 4})")
    says(lab, "Undecided: no output spike yet")
    lab.button("Reset settings").click()
    says(lab, "The network says 7")


def test_reset_brings_the_settings_of_the_text_and_leaves_the_drawing(lab):
    defaults = lab.settings()
    lab.draw(DRAWINGS[1])
    pixels = lab.settings()["pixels"]
    lab.get("lab.set({steps: 20, threshold: 2, rate: 0.8, seed: 5})")
    lab.button("Reset settings").click()
    after = lab.settings()
    assert after["pixels"] == pixels
    assert {name: after[name] for name in SLIDERS} == {name: defaults[name] for name in SLIDERS}


# ---- one neuron


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_a_click_chooses_a_neuron(lab, layer):
    chosen = lab.root.locator(f'canvas[data-part="maps"][data-layer="{layer}"]')
    chosen.scroll_into_view_if_needed()
    box, facts = chosen.bounding_box(), lab.part("neuron-facts").inner_text()
    chosen.click(position={"x": box["width"] * 0.3, "y": box["height"] * 0.4})
    expect(lab.part("neuron-facts")).not_to_have_text(facts)
    expect(lab.part("neuron-facts")).to_contain_text(f"{layer}, map ")
    first = lab.settings()
    assert first["layer"] == layer
    chosen.press("ArrowRight")
    assert lab.settings()["neuron"] != first["neuron"]


def test_the_trace_is_that_of_the_neuron_and_ends_where_the_text_says(lab):
    lab.get('lab.set({layer: "conv1", neuron: 1000, step: 10})')
    potential = lab.get(
        "lab.recording.potentials.conv1[9 * lab.layerNamed('conv1').neurons + 1000]"
    )
    expect(lab.part("neuron-facts")).to_contain_text(
        f"Potential afterwards: {potential:+.2f}".replace("-", "\N{MINUS SIGN}")
    )


# ---- asking


def test_twenty_seeds_are_counted(lab):
    lab.button("Sample 8").click()
    lab.slider("rate").focus()
    lab.page.keyboard.press("Home")  # few spikes, so that seeds differ
    lab.button("Try 20 seeds").click()
    expect(lab.button("Try 20 seeds")).to_be_enabled()
    rows = lab.part("seeds").locator("tbody tr td:last-child")
    expect(rows.first).to_contain_text("of 20")
    shown = [int(text.split()[0]) for text in rows.all_inner_texts()]
    found = lab.get("""Array.from({length: 20}, (_, seed) => {
      lab.set({seed});
      return [5, 10, 20, 40].map((t) => Number(lab.recording.decisions[t - 1] === 8));
    }).reduce((a, b) => a.map((x, i) => x + b[i]))""")
    assert shown == found
    assert 0 < sum(shown) < 80


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_question_wants_a_prediction_and_then_answers(lab, number):
    question = lab.part("question").nth(number)
    reveal, output = question.get_by_role("button", name="Reveal"), question.locator("output")
    reveal.click()
    expect(output).to_have_text("Choose an answer first.")
    verdicts = []
    for choice in question.get_by_role("radio").all():
        choice.check()
        reveal.click()
        expect(output).to_have_text(re.compile(r"^(Yes\.|Here it is “)"))
        verdicts.append(output.inner_text())
        output.evaluate("(output) => (output.textContent = '')")
    assert len([text for text in verdicts if text.startswith("Yes.")]) == 1
    assert all(re.search(r"\d", text) for text in verdicts)


# ---- the address


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


# ---- broken pages


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


# ---- for everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_axe_finds_nothing_in_the_lab(browser, address, scheme, screen):
    options = PHONE if screen == "phone" else {}
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", **options)
    lab = open_lab(context, address)
    lab.part("question").first.get_by_role("button", name="Reveal").click()
    assert violations(lab.page, context=".snn-lab") == []
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
