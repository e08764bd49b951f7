"""The lab's state as the address of the page, and back; no address can break the page."""

import base64
import re
import subprocess
from string import printable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from node import NODE

from snnlib.live.bundle import script

LAYERS = {"conv1": 6912, "conv2": 4096, "the output/2": 10}
LIMITS = {
    "steps": [1, 100],
    "threshold": [0.25, 4],
    "rate": [0.05, 1],
    "seed": [0, 2**32 - 1],
    "layers": LAYERS,
}
PAGE = {  # the page's own settings
    "digit": 7,
    "label": 7,
    "steps": 40,
    "threshold": 1,
    "rate": 0.4,
    "seed": 0,
    "step": 40,
    "layer": "conv1",
    "neuron": 5000,
    "pixels": None,
}
KEYS = [*PAGE, "__proto__", "constructor", "lab", "", "STEPS", "%"]


def read(node, text: str, page: dict = PAGE) -> tuple[dict, list[str]]:
    found = node.call("address", "readAddress", text, page, LIMITS)
    return found["settings"], found["faults"]


def write(node, settings: dict, page: dict = PAGE) -> str:
    return node.call("address", "writeAddress", settings, page)


def assert_equal(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert np.array_equal(value, other[key]), key


def assert_valid(settings: dict) -> None:
    """Whatever was read, the lab can show it."""
    assert settings.keys() == PAGE.keys()
    for key in ("steps", "threshold", "rate", "seed"):
        low, high = LIMITS[key]
        assert low <= settings[key] <= high
    for key in ("steps", "seed", "step"):
        assert settings[key] == int(settings[key])
    assert 1 <= settings["step"] <= settings["steps"]
    assert {settings["digit"], settings["label"]} <= {*range(10), None}
    neurons = LAYERS[settings["layer"]] if settings["layer"] is not None else 0
    assert settings["neuron"] in {*range(neurons), None}
    pixels = settings["pixels"]
    assert pixels is None or (pixels.dtype == np.uint8 and pixels.shape == (784,))


@st.composite
def drawings(draw) -> np.ndarray:
    """Ink of any grey in a box anywhere; also none, and ink everywhere."""
    height, width = draw(st.integers(0, 28)), draw(st.integers(0, 28))
    top, left = draw(st.integers(0, 28 - height)), draw(st.integers(0, 28 - width))
    image = np.zeros((28, 28), np.uint8)
    ink = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width))
    image[top : top + height, left : left + width] = ink
    return image.flatten()


@st.composite
def valid_settings(draw) -> dict:
    digits, steps = st.none() | st.integers(0, 9), draw(st.integers(1, 100))
    layer = draw(st.none() | st.sampled_from(list(LAYERS)))
    neurons = st.none() if layer is None else st.none() | st.integers(0, LAYERS[layer] - 1)
    return {
        "digit": draw(digits),
        "label": draw(digits),
        "steps": steps,
        "threshold": draw(st.floats(*LIMITS["threshold"]) | st.just(1)),
        "rate": draw(st.floats(*LIMITS["rate"]) | st.just(0.4)),
        "seed": draw(st.integers(*LIMITS["seed"])),
        "step": draw(st.integers(1, steps)),
        "layer": layer,
        "neuron": draw(neurons),
        "pixels": draw(st.none() | drawings()),
    }


# ---- there and back


@hypothesis_settings(max_examples=200)
@given(settings=valid_settings(), page=st.just(PAGE) | valid_settings())
def test_what_is_written_is_read_as_it_was(node, settings, page):
    address = write(node, settings, page)
    assert re.fullmatch(r"[\w?&=.%+-]*", address)  # nothing that a browser would change
    assert len(address) < 2000
    for text in (address, "#" + address):
        found, faults = read(node, text, page)
        assert_equal(found, settings)
        assert not faults


def test_nothing_is_written_where_nothing_differs(node):
    assert write(node, PAGE) == ""
    assert write(node, {key: PAGE[key] for key in PAGE if key != "pixels"}) == ""


def test_only_what_differs_is_written(node):
    changed = PAGE | {"rate": 0.8, "layer": "the output/2", "neuron": None}
    assert write(node, changed) == "lab?rate=0.8&layer=the%20output%2F2&neuron=none"
    assert write(node, PAGE | {"threshold": 1.0}) == ""


def test_a_drawing_is_its_box_in_base64url(node):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[3:5, 20:23] = [[255, 254, 253], [0, 251, 1]]
    text = base64.urlsafe_b64encode(bytes([3, 20, 2, 3, 255, 254, 253, 0, 251, 1])).decode()
    assert "_" in text
    settings = PAGE | {"digit": None, "pixels": pixels.flatten()}
    assert write(node, settings) == f"lab?digit=none&pixels={text.rstrip('=')}"


# ---- what an address cannot do


@pytest.mark.parametrize("text", ["", "#", "#exercises", "lab", "#lab", "lab?", "#lab?&&", "?a=b"])
def test_an_address_that_says_nothing_is_no_fault(node, text):
    settings, faults = read(node, text)
    assert_equal(settings, PAGE)
    assert not faults


FAULTY = {
    "steps": ["0", "101", "-1", "1.5", "NaN", "Infinity", "", " 5", "0x10", "1e999", "none", "ten"],
    "rate": ["0", "1.01", "-0.4", "NaN", "0,4", ".", "1e-999", "none", "0.4.4"],
    "threshold": ["0.1", "5", "nan"],
    "seed": ["-1", "4294967296", "0.5"],
    "step": ["0", "41"],
    "digit": ["10", "-1", "a", ""],
    "label": ["10"],
    "layer": ["conv3", "", "__proto__", "toString", "%", "%E0%A4%A"],
    "neuron": ["6912", "-1", "0.5"],
    "pixels": ["", "A", "AAA", "AAAA", "AAAAB", "AAECAw", "=", "é", "AAAA AA", "HQABAQA", "AAAdAQ"],
    "colour": ["red"],
    "__proto__": ["1"],
    "hasOwnProperty": ["1"],
}


@pytest.mark.parametrize(("key", "value"), [(key, x) for key in FAULTY for x in FAULTY[key]])
def test_a_fault_is_named_and_the_rest_is_taken(node, key, value):
    other = "seed=9" if key != "seed" else "rate=0.9"
    for text in (f"#lab?{key}={value}&{other}", f"#lab?{other}&{key}={value}"):
        settings, faults = read(node, text)
        name, expected = other.split("=")
        assert_equal(settings, PAGE | {name: float(expected)})
        assert faults == [f"{key}={value} was ignored"]


def test_a_drawing_that_is_cut_off_anywhere_is_a_fault(node):
    text = write(node, PAGE | {"pixels": np.arange(784, dtype=np.uint8)})
    start = text.index("pixels=") + len("pixels=")
    assert read(node, text)[1] == []
    for end in range(start, len(text), 7):
        settings, faults = read(node, text[:end])
        assert settings["pixels"] is None
        assert len(faults) == 1


def test_the_first_of_two_is_taken(node):
    settings, faults = read(node, "lab?seed=1&seed=2")
    assert settings["seed"] == 1
    assert faults == ["seed=2 was ignored"]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("steps=10", {"steps": 10, "step": 10}),  # the page shows step 40
        ("steps=10&step=11", {"steps": 10, "step": 10}),
        ("steps=80", {"steps": 80, "step": 40}),
        ("layer=conv2", {"layer": "conv2", "neuron": None}),  # the page shows neuron 5000
        ("layer=conv2&neuron=5000", {"layer": "conv2", "neuron": None}),
        ("layer=none", {"layer": None, "neuron": None}),
        ("layer=none&neuron=0", {"layer": None, "neuron": None}),
    ],
)
def test_settings_fit_each_other(node, text, changes):
    settings, faults = read(node, f"lab?{text}")
    assert_equal(settings, PAGE | changes)
    assert len(faults) == text.count("&")  # what was asked for, and does not fit


@pytest.mark.parametrize("text", ["x" * 2**20, "&" * 2**20, "a=1&" * 2**18, "\u2028=\0&" * 2**18])
def test_a_million_characters_are_no_harm(node, text):
    for start in ("", "#", "#lab?", "lab?steps=20&"):
        settings, faults = read(node, start + text)
        assert settings["steps"] == (20 if "steps" in start else 40)
        assert len(faults) <= 4096
        assert all(len(fault) < 150 for fault in faults)
        assert bool(faults) == ("lab" in start)


def test_a_number_is_not_cut_in_two(node):
    """Where the end of a long address is ignored, half a number would be another one."""
    for spaces in range(4070, 4100):
        settings, _ = read(node, f"lab?{'&' * spaces}steps=100&{'&' * 100}")
        assert settings["steps"] in (40, 100)


PARTS = st.tuples(
    st.sampled_from(KEYS) | st.text(max_size=5),
    st.sampled_from(["=", "==", "", "&"]),
    st.text(printable, max_size=30)
    | st.text(max_size=10)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.binary(max_size=40).map(lambda x: base64.urlsafe_b64encode(x).decode()),
).map("".join)


@hypothesis_settings(max_examples=300)
@given(
    start=st.sampled_from(["#lab?", "lab?", "#lab", "#", ""]),
    parts=st.lists(PARTS, max_size=8),
    page=st.just(PAGE) | valid_settings(),
)
def test_rubbish_never_throws_and_always_leaves_a_lab(node, start, parts, page):
    settings, faults = read(node, start + "&".join(parts), page)
    assert_valid(settings)
    assert all(isinstance(fault, str) for fault in faults)


@hypothesis_settings(max_examples=100)
@given(settings=valid_settings(), data=st.data())
def test_a_damaged_address_always_leaves_a_lab(node, settings, data):
    address = write(node, settings)
    at = data.draw(st.integers(0, len(address)))
    damage = data.draw(st.text(printable, max_size=3))
    found, _ = read(node, address[:at] + damage + address[at + data.draw(st.integers(0, 3)) :])
    assert_valid(found)


# ---- the files together


def test_the_files_make_one_module(node, tmp_path):
    """The page holds them as one: no name at the top of a file is in another."""
    path = tmp_path / "whole.mjs"
    path.write_text(script())
    command = [NODE, "--check", str(path)]
    subprocess.run(command, check=True)
    path.write_text(script() + "function boxOf() {}\n")
    assert subprocess.run(command, capture_output=True).returncode != 0
