"""The live lab in a real browser: a reader draws, plays, sets, asks.

Run after `make book`; `make test` does both.
"""

import re

import pytest
from lab_page import DRAWINGS, KEYS, PHONE, open_lab, says
from playwright.sync_api import expect

CHAPTERS = ["02_integrate_and_fire", "04_spike_trains", "05_balance", "06_classify_over_time"]
SLIDERS = ["steps", "threshold", "rate", "seed"]
NOTHING_DRAWN = "Draw a digit, or choose one."


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
