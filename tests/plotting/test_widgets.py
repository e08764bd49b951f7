import threading

import ipywidgets
import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from snnlib import MarginStop, convert, exit_curve, simulate, widgets
from snnlib.widgets import (
    confusion_slider,
    exit_slider,
    neuron_slider,
    percentile_slider,
    pieces_slider,
    pool_slider,
    spike_image_slider,
)

NAMES = tuple("0123456789")


@pytest.fixture
def figures(monkeypatch):
    """Every figure of which a widget shows a picture; the pictures must all differ."""
    shown, pictures, png = [], set(), widgets._png

    def record(figure: Figure) -> bytes:
        shown.append(figure)
        pictures.add(png(figure))
        return png(figure)

    monkeypatch.setattr(widgets, "_png", record)
    yield shown
    assert len(pictures) == len(shown)
    assert not plt.get_fignums()


@pytest.fixture(autouse=True)
def nothing_is_printed(capsys):
    """A widget that prints or displays would do so in the cell that runs at that time."""
    yield
    assert capsys.readouterr().out == ""


def texts_of(figure) -> str:
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def controls_of(panel) -> dict[str, ipywidgets.Widget]:
    *controls, trouble, picture = panel.children
    assert isinstance(picture, ipywidgets.Image)
    assert picture.tooltip
    assert picture.get_state()["description"] == ""  # or JupyterLab could not show the tooltip
    assert trouble.value == ""
    return {control.description: control for control in controls}


def test_the_step_slider_shows_the_confusion_of_its_step(figures, balanced, digits):
    result = simulate(convert(balanced), digits, steps=4)
    slider = controls_of(confusion_slider(result, NAMES))["time step"]
    assert (slider.min, slider.max, slider.value) == (1, 4, 4)
    slider.value = 2
    assert "after step 4" in texts_of(figures[0])
    assert "after step 2" in texts_of(figures[1])
    assert f"{result.accuracy[1]:.2%}" in texts_of(figures[1])


def test_the_neuron_sliders_change_weight_threshold_and_reset(figures):
    inputs = (torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    controls = controls_of(neuron_slider(inputs, torch.tensor([0.5, 0.25, -0.25])))
    controls["weight w₁"].value = 1.0
    controls["threshold"].value = 0.5
    controls["reset"].value = "zero"
    assert len(figures) == 4
    assert all("membrane potential" in texts_of(figure) for figure in figures)


def test_the_spike_image_sliders_change_rate_and_seed(figures, digits):
    image = digits.images[0]
    controls = controls_of(spike_image_slider(image))
    controls["max_rate"].value = 1.0
    controls["seed"].value = 7
    assert len(figures) == 3
    few, many = (spikes_of(figure) for figure in figures[:2])
    assert all(a < b for a, b in zip(few, many, strict=True))


def test_the_percentile_slider_shows_the_scales_and_their_accuracy(figures, cnn, train, digits):
    activations = {}
    x = train.images[:50]
    for name, layer in cnn.named_children():
        x = layer(x).detach()
        if name in ("relu1", "relu2", "output"):
            activations[name] = x
    slider = controls_of(percentile_slider(cnn, activations, train.images[:50], digits[:20]))
    slider["percentile"].value = 100
    assert len(figures) == 2
    assert all("test accuracy" in texts_of(figure) for figure in figures)
    assert texts_of(figures[0]) != texts_of(figures[1])


def test_the_pieces_sliders_change_percentile_steps_and_input(figures, cnn, train, digits):
    panel = pieces_slider(cnn, "conv2", train.images[:50], digits.images[:3])
    controls = controls_of(panel)
    controls["input"].index = 1
    controls["steps T"].value = 1
    controls["percentile"].value = 50
    with_noise, constant, one_step, lower = map(bars_of, figures)
    assert with_noise == [*constant[:-1], "noise", "error"]
    assert "unevenness" in constant
    assert "unevenness" not in one_step
    assert lower == ["clipping", "quantisation", "error"]
    assert "conv2, 50 %, T = 1" in texts_of(figures[3])


def test_the_margin_slider_shows_what_its_margin_costs_and_saves(figures, balanced, digits):
    result = simulate(convert(balanced), digits, steps=10)
    slider = controls_of(exit_slider({"test": exit_curve(result)}, result, MarginStop(0.5)))[
        "margin"
    ]
    slider.value = 10.0
    assert "margin 0.50" in texts_of(figures[0])
    assert "margin 10.00" in texts_of(figures[1])
    assert "10.00 steps on average" in texts_of(figures[1])  # no image leads by so much
    assert f"{result.accuracy[-1]:.2%} right" in texts_of(figures[1])


def test_the_pool_sliders_change_rates_and_seed(figures):
    controls = controls_of(pool_slider(torch.tensor([0.5, 0.25]), steps=20))
    assert list(controls) == ["input 1", "input 2", "seed"]
    controls["seed"].value = 7
    controls["input 1"].value = 1.0
    controls["input 2"].value = 0.0
    assert len(figures) == 4
    for rule in ("largest input", "exact", "gate", "or"):  # one input, so that all rules agree
        assert f"{rule}: 20" in texts_of(figures[3])


def plot_number(n: int) -> Figure:
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.set_title(f"{6 / (3 - n):g}")  # 3 leaves a figure that has only begun
    return figure


def number_panel(draw=plot_number):
    """A panel of one control, 1, 2 or 3; the control, its error message and its picture."""
    return widgets._panel("a number", draw, n=ipywidgets.IntSlider(1, 1, 3)).children


def test_a_picture_has_two_pixels_for_one_of_the_page():
    _, _, picture = number_panel()
    width = int.from_bytes(bytes(picture.value[16:20]), "big")  # of a PNG
    assert picture.layout.width == f"{width // 2}px"


def test_the_same_values_give_the_same_picture():
    control, _, picture = number_panel()
    first = bytes(picture.value)
    assert first.startswith(b"\x89PNG")
    control.value = 2
    assert bytes(picture.value) != first
    control.value = 1
    assert bytes(picture.value) == first


def test_an_error_while_drawing_is_shown_until_the_next_change(figures):
    control, trouble, picture = number_panel()
    control.value = 3
    assert "ZeroDivisionError: division by zero" in trouble.value
    assert 'role="alert"' in trouble.value
    assert picture.layout.visibility == "hidden"  # it is that of other values
    control.value = 2
    assert trouble.value == ""
    assert picture.layout.visibility == "visible"
    assert [figure.axes[0].get_title() for figure in figures] == ["3", "6"]


def test_an_error_is_shown_as_text():
    def draw(n: int) -> Figure:
        if n == 2:
            raise ValueError("<img src=x> & more")
        return plot_number(n)

    control, trouble, _ = number_panel(draw)
    control.value = 2
    assert "&lt;img src=x&gt; &amp; more" in trouble.value


def test_an_error_in_the_first_picture_is_raised(figures):
    with pytest.raises(ZeroDivisionError):
        widgets._panel("a number", plot_number, n=ipywidgets.IntSlider(3, 1, 3))


def test_other_figures_stay_open_whether_a_picture_succeeds_or_fails():
    mine = plt.figure()
    control, _, _ = number_panel()
    control.value = 3
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


def test_changes_during_a_slow_draw_end_with_the_picture_of_the_last_values():
    """As JupyterLab sends them where each control has a thread of its own."""
    begun, may_end = threading.Event(), threading.Event()

    def draw(n: int) -> Figure:
        if n == 2:
            begun.set()
            may_end.wait()
        return plot_number(n)

    control, _, picture = number_panel(draw)
    first = bytes(picture.value)
    slow = threading.Thread(target=setattr, args=(control, "value", 2))
    slow.start()
    begun.wait()
    back = threading.Thread(target=setattr, args=(control, "value", 1))
    back.start()
    may_end.set()
    slow.join()
    back.join()
    assert bytes(picture.value) == first
    assert not plt.get_fignums()


def spikes_of(figure) -> list[int]:
    """The number of spikes that is written above each spike image."""
    lines = texts_of(figure).splitlines()
    return [int(line.split()[-2]) for line in lines if line.endswith("spikes")]


def bars_of(figure) -> list[str]:
    """What the bars of the last panel stand for."""
    figure.canvas.draw()
    return [label.get_text() for label in figure.axes[-1].get_yticklabels()]
