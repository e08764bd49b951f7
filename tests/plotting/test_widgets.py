import io

import ipywidgets
import matplotlib.pyplot as plt
import pytest
import torch
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
    """Every figure that a widget shows; errors are raised and not drawn."""
    shown = []
    monkeypatch.setattr(widgets, "display", shown.append)
    yield shown
    assert not plt.get_fignums()  # each figure was closed after it was shown


def texts_of(figure) -> str:
    figure.canvas.draw()
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def controls_of(panel) -> dict[str, ipywidgets.Widget]:
    *controls, picture = panel.children
    assert isinstance(picture, ipywidgets.Output)
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
    assert len({picture_of(figure) for figure in figures}) == 4


def test_the_spike_image_sliders_change_rate_and_seed(figures, digits):
    image = digits.images[0]
    controls = controls_of(spike_image_slider(image))
    controls["max_rate"].value = 1.0
    controls["seed"].value = 7
    assert len({picture_of(figure) for figure in figures}) == 3
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
    assert len({picture_of(figure) for figure in figures}) == 4


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
    controls["input 1"].value = 1.0
    controls["input 2"].value = 0.0
    controls["seed"].value = 7
    counts = [texts_of(figure) for figure in figures]
    assert len(counts) == 4
    for rule in ("largest input", "exact", "gate", "or"):  # one input, so that all rules agree
        assert f"{rule}: 20" in counts[2]
        assert f"{rule}: 20" in counts[3]
    assert counts[0] != counts[1]


def test_an_error_while_drawing_is_not_swallowed(figures):
    control = ipywidgets.IntSlider(1, 1, 3, description="n")
    with pytest.raises(ZeroDivisionError):
        widgets._panel(lambda n: n / 0, n=control)


def picture_of(figure) -> bytes:
    pixels = io.BytesIO()
    figure.savefig(pixels, format="raw")
    return pixels.getvalue()


def spikes_of(figure) -> list[int]:
    """The number of spikes that is written above each spike image."""
    lines = texts_of(figure).splitlines()
    return [int(line.split()[-2]) for line in lines if line.endswith("spikes")]


def bars_of(figure) -> list[str]:
    """What the bars of the last panel stand for."""
    figure.canvas.draw()
    return [label.get_text() for label in figure.axes[-1].get_yticklabels()]
