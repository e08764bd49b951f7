"""The lab's files as one script, what it shows by default, its directive and its widget."""

import json
import re
import subprocess

import numpy as np
import pytest
import torch
from docutils import nodes
from nets import deep_cnn, tiny_cnn
from node import NODE
from sphinx.application import Sphinx

from snnlib import PoissonEncoder, convert, load_digits, record, simulate
from snnlib.export.lab import LabError, lab_network
from snnlib.live import bundle
from snnlib.live.directive import payload, snn_lab
from snnlib.live.exhibit import exhibited_network, exhibited_samples
from snnlib.live.options import VIEWS, lab_options
from snnlib.live.widget import LiveLab

# ---- one script


@pytest.mark.skipif(NODE is None, reason="node is missing: the JavaScript of the lab cannot run")
def test_the_script_is_one_module_without_imports(tmp_path):
    path = tmp_path / "lab.mjs"
    path.write_text(bundle.script())
    subprocess.run([NODE, "--check", path], check=True)  # no name is defined twice
    assert not re.search(r"^\s*import\b", bundle.script(), re.MULTILINE)
    assert bundle.script().count("export default") == 1


def test_every_module_is_bundled_after_those_that_it_imports():
    assert {path.name for path in bundle.FOLDER.glob("*.mjs")} == set(bundle.MODULES)
    for place, name in enumerate(bundle.MODULES):
        text = (bundle.FOLDER / name).read_text()
        for imported in re.findall(r'from "\./(.+?)"', text):
            assert imported in bundle.MODULES[:place], f"{name} imports {imported}"


def test_the_script_cannot_end_its_element():
    assert "</script" not in bundle.script().lower()
    assert "</style" not in bundle.style().lower()


def test_script_and_style_ask_for_no_other_host():
    text = bundle.script() + bundle.style()
    assert not re.search(r"https?://|\bfetch\(|XMLHttpRequest|@import|url\(", text)


# ---- what it shows


def test_each_sample_is_classified_rightly_after_40_steps():
    test, samples, snn = load_digits("test"), exhibited_samples(), exhibited_network()
    encoder = PoissonEncoder(0.4)
    assert [sample["label"] for sample in samples] == list(range(10))
    for sample in samples:
        place = sample["index"]
        assert int(test.labels[place]) == sample["label"]
        grey = torch.from_numpy(np.frombuffer(sample["pixels"], np.uint8).copy())
        assert torch.equal(grey.float() / 255, test.images[place].flatten())
        run = record(snn, test.images[place], steps=40, encoder=encoder, index=place)
        assert run.decisions[-1] == sample["label"]


def test_the_exhibited_network_is_as_good_as_the_text_says():
    result = simulate(
        exhibited_network(), load_digits("test", per_class=50), encoder=PoissonEncoder(0.4)
    )
    assert result.accuracy[-1] >= 0.98


def test_views_name_what_there_is():
    for view, shown in VIEWS.items():
        given = lab_options({"view": view})
        assert given["label"] == shown["label"]
        assert given["settings"] == {}
    given = lab_options({"view": "rates", "rate": 0.8, "sliders": ["rate"]})
    assert given["sliders"] == ["rate"]
    assert given["panels"] == VIEWS["rates"]["panels"]
    assert given["settings"] == {"rate": 0.8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "nothing"}, "view: the lab has no 'nothing'"),
        ({"panels": ["draw", "dance"]}, "panels: the lab has no 'dance'; it has answer, decision"),
        ({"sliders": ["leak"]}, "sliders: the lab has no 'leak'"),
        ({"colour": "red"}, "option: the lab has no 'colour'"),
    ],
)
def test_an_unknown_option_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        lab_options(options)


def test_the_payload_is_json_that_cannot_end_its_element():
    text = payload(lab_options({"view": "taste", "label": "</script><b>"}))
    assert "<" not in text
    given = json.loads(text)
    assert given["label"] == "</script><b>"
    assert len(given["samples"]) == 10


# ---- the directive


@pytest.fixture
def build(tmp_path):
    """Builds a page of this text; gives its HTML, or the warnings."""

    def build(text: str) -> tuple[str, str]:
        (tmp_path / "index.md").write_text(text)
        (tmp_path / "conf.py").write_text(
            "extensions = ['myst_parser', 'snnlib.live.directive']\n"
            "suppress_warnings = ['config.cache']"
        )
        warnings = tmp_path / "warnings"
        with warnings.open("w") as log:
            out = tmp_path / "out"
            app = Sphinx(tmp_path, tmp_path, out, out, "html", status=None, warning=log)
            app.build(force_all=True)
        return (out / "index.html").read_text(), warnings.read_text()

    return build


PAGE = """# A page

```{snn-lab}
:view: rates
:rate: 0.8

What is seen without JavaScript.
```
"""


def test_the_directive_leaves_payload_fallback_and_one_script(build):
    html, warnings = build(PAGE + "\n```{snn-lab}\n:view: taste\n\nAnother.\n```\n")
    assert not warnings
    assert html.count('class="snn-lab-host"') == 2
    assert html.count('<script type="module">') == html.count("<style>") == 1
    assert "What is seen without JavaScript." in html
    first = re.search(r'<script type="application/json">(.+?)</script>', html)[1]
    assert json.loads(first)["settings"] == {"rate": 0.8}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PAGE.replace("rates", "nothing"), "the lab has no 'nothing'"),
        (
            PAGE.replace("What is seen without JavaScript.", ""),
            "say what is seen without JavaScript",
        ),
    ],
)
def test_a_wrong_directive_warns_and_leaves_no_lab(build, wrong, message):
    html, warnings = build(wrong)
    assert message in warnings
    assert "snn-lab-host" not in html


def test_a_setting_that_is_no_number_is_a_warning_which_fails_the_book(build):
    assert "could not convert" in build(PAGE.replace("0.8", "fast"))[1]


def test_other_builders_show_the_fallback():
    lab = snn_lab("", nodes.paragraph(text="Instead."), given={})
    assert lab.astext() == "Instead."


# ---- the widget


def test_the_widget_carries_the_same_network_and_hands_the_drawing_back():
    lab = LiveLab(view="decision", rate=0.8)
    assert lab.network == lab_network(exhibited_network())
    assert lab.options["settings"] == {"rate": 0.8}
    with pytest.raises(ValueError, match="not on screen yet"):
        _ = lab.image
    sent = bytes(range(256)) * 3 + bytes(16)
    lab.set_state({"pixels": memoryview(sent), "answer": 4})  # as the browser's message does
    assert lab.answer == 4
    assert lab.image.shape == (1, 28, 28)
    assert lab.image[0, 0, 5] == 5 / torch.tensor(255.0)


def test_the_widget_refuses_a_network_that_the_lab_cannot_run():
    with pytest.raises(LabError):
        LiveLab(convert(deep_cnn(), input_shape=(1, 16, 16)))


def test_the_widget_refuses_images_that_no_drawing_has(digits):
    small = convert(tiny_cnn(), input_shape=(1, 6, 6))
    with pytest.raises(ValueError, match=r"the network takes images of \(1, 6, 6\); a drawing"):
        LiveLab(small)
    without = digits[digits.labels != 3]
    with pytest.raises(ValueError, match="digits has no image of class 3"):
        LiveLab(digits=without)
