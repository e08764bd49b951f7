"""Sliders for readers who run the chapters in JupyterLab.

Each function returns a widget that redraws one figure of `snnlib.plotting`; the
rendered book shows that figure for one setting instead.
"""

import html
import io
import threading
from collections.abc import Callable

import ipywidgets
import matplotlib.pyplot as plt
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor, nn

from snnlib import plotting
from snnlib.cnn.balancing import activation_scales, normalize_weights
from snnlib.cnn.evaluating import evaluate
from snnlib.data import Digits
from snnlib.live.widget import LiveLab  # noqa: F401 - chapters call it beside the sliders
from snnlib.simulation import SimulationResult, simulate
from snnlib.spiking.conversion import convert
from snnlib.spiking.encoding import ConstantEncoder, Encoder, PoissonEncoder
from snnlib.spiking.neurons import MAX_POOLING, RESETS, MaxPooling, if_step
from snnlib.study.early_exit import ExitCurve, MarginStop
from snnlib.study.experiments import error_pieces

SHARPNESS = 2  # pixels of a picture for one of the page, for screens that have as many

# JupyterLab may handle changes in threads of their own, and pyplot is not made for two
_one_at_a_time = threading.RLock()


def neuron_slider(inputs: Tensor, weights: Tensor) -> ipywidgets.Widget:
    """Chapter 2: a neuron at work, with another first weight, threshold or reset.

    Parameters
    ----------
    inputs : Tensor [T, I]
        Spikes, 0 or 1.
    weights : Tensor [I]
        Of the inputs [threshold units].
    """

    def draw(weight: float, threshold: float, reset: str) -> Figure:
        changed = torch.cat([torch.tensor([weight]), weights[1:]])
        trace = _trace(inputs @ changed, threshold, reset)
        return plotting.plot_neuron(inputs, changed, *trace, threshold=threshold)

    look = {"step": 0.125, "readout_format": ".3f", "continuous_update": False}
    first = weights[0].item()
    return _panel(
        "Input spikes, membrane potential and output spikes of a neuron",
        draw,
        weight=ipywidgets.FloatSlider(first, min=-1, max=1, description="weight w₁", **look),
        threshold=ipywidgets.FloatSlider(1, min=0.25, max=2, description="threshold", **look),
        reset=ipywidgets.ToggleButtons(options=RESETS, description="reset"),
    )


def percentile_slider(
    cnn: nn.Sequential, activations: dict[str, Tensor], images: Tensor, digits: Digits
) -> ipywidgets.Widget:
    """Chapter 5: scales at another percentile, and the accuracy they give in 20 steps.

    Parameters
    ----------
    cnn : nn.Sequential
        The network to balance and convert.
    activations : dict
        {layer: [N, ...]} of `cnn`, drawn as histograms.
    images : Tensor [N, C, H, W]
        Training images to take the scales from.
    digits : Digits
        Test images; a few hundred, to stay quick.
    """
    cnn_accuracy = evaluate(cnn, digits).accuracy

    def draw(percentile: float) -> Figure:
        scales = activation_scales(cnn, images, percentile=percentile)
        snn = convert(normalize_weights(cnn, scales))
        result = simulate(snn, digits, steps=20, encoder=PoissonEncoder(1.0))
        return plotting.plot_percentile(activations, scales, result, cnn_accuracy)

    percentile = _stops("percentile", (20, 50, 80, 90, 95, 99, 99.5, 99.9, 100), 99.9)
    return _panel("Activations, and accuracy over 20 steps", draw, percentile=percentile)


def spike_image_slider(image: Tensor) -> ipywidgets.Widget:
    """Chapter 4: the spikes of an image [1, H, W] at its first three steps, by rate and seed."""

    def draw(max_rate: float, seed: int) -> Figure:
        encoder = PoissonEncoder(max_rate, seed)
        frames = [encoder.encode(image.unsqueeze(0), step) for step in range(3)]
        return plotting.plot_spike_images(image, torch.cat(frames))

    rate = {"min": 0.05, "max": 1, "step": 0.05, "continuous_update": False}
    return _panel(
        "An image, and its spikes at three steps",
        draw,
        max_rate=ipywidgets.FloatSlider(0.4, description="max_rate", **rate),
        seed=ipywidgets.IntSlider(0, 0, 99, description="seed", continuous_update=False),
    )


def confusion_slider(result: SimulationResult, class_names: tuple[str, ...]) -> ipywidgets.Widget:
    """Chapter 6: the confusion chart after the time step that the slider chooses."""
    steps = len(result.accuracy)
    step = ipywidgets.IntSlider(steps, 1, steps, description="time step", continuous_update=False)
    return _panel(
        "Confusion chart after a time step",
        lambda step: plotting.plot_confusion_at(result, class_names, step),
        step=step,
    )


def pieces_slider(
    cnn: nn.Sequential, layer: str, train_images: Tensor, images: Tensor
) -> ipywidgets.Widget:
    """Chapter 7: the error of a layer in pieces, by percentile, time steps and input.

    Parameters
    ----------
    cnn : nn.Sequential
        The network to convert.
    layer : str
        The name of a layer that spikes.
    train_images : Tensor [N, C, H, W]
        To take the scales from.
    images : Tensor [N, C, H, W]
        To show; about ten, to stay quick.
    """

    def draw(percentile: float, steps: int, encoder: Encoder) -> Figure:
        scales = activation_scales(cnn, train_images, percentile=percentile)
        snn = convert(cnn, thresholds=scales)
        errors = error_pieces(cnn, snn, images, steps, encoder=encoder)
        return plotting.plot_pieces(f"{layer}, {percentile:g} %, T = {steps}", errors[layer])

    inputs = {"random spikes": PoissonEncoder(1.0), "constant current": ConstantEncoder()}
    return _panel(
        f"Rates of {layer} against activations, and the pieces of their difference",
        draw,
        percentile=_stops("percentile", (50, 80, 90, 95, 99, 99.9, 100), 99),
        steps=_stops("steps T", (1, 2, 4, 8, 16, 32, 64), 8),
        encoder=ipywidgets.ToggleButtons(options=inputs, description="input"),
    )


def exit_slider(
    curves: dict[str, ExitCurve], result: SimulationResult, stop: MarginStop
) -> ipywidgets.Widget:
    """Chapter 8: stop at another margin, and see what that costs and saves.

    Parameters
    ----------
    curves : dict
        {label: ExitCurve}; the last is that of ``result``.
    result : SimulationResult
        Made without ``stop``, so that nothing is simulated again.
    stop : MarginStop
        Where the slider begins.
    """
    margin = ipywidgets.FloatLogSlider(
        stop.margin, min=-2, max=1.4, step=0.05, description="margin", continuous_update=False
    )
    return _panel(
        "Accuracy against time steps, and when the images stop at the margin",
        lambda margin: plotting.plot_exit(curves, result, MarginStop(margin)),
        margin=margin,
    )


def pool_slider(rates: Tensor, *, steps: int = 24) -> ipywidgets.Widget:
    """Chapter 9: the three max pools of a window of random spikes, by the rates of its inputs.

    Parameters
    ----------
    rates : Tensor [n]
        Of the inputs, where the sliders begin [spikes/step].
    steps : int
    """

    def draw(seed: int, **changed: float) -> Figure:
        generator = torch.Generator().manual_seed(seed)
        chance = torch.rand(steps, len(rates), generator=generator)
        inputs = (chance < torch.tensor(list(changed.values()))).float()  # [T, n]
        return plotting.plot_pool_counts(inputs, {r: _pooled(inputs, r) for r in MAX_POOLING})

    look = {"min": 0, "max": 1, "step": 0.05, "continuous_update": False}
    sliders = {
        f"input {i}": ipywidgets.FloatSlider(rate, description=f"input {i}", **look)
        for i, rate in enumerate(rates.tolist(), start=1)
    }
    seed = ipywidgets.IntSlider(4, 0, 99, description="seed", continuous_update=False)
    return _panel("Spike counts of three max pools over time", draw, **sliders, seed=seed)


def _stops(
    description: str, options: tuple[float, ...], value: float
) -> ipywidgets.SelectionSlider:
    """A slider that stops at some numbers only, and begins at one of them."""
    return ipywidgets.SelectionSlider(
        options=options, value=value, description=description, continuous_update=False
    )


def _pooled(inputs: Tensor, rule: str) -> Tensor:
    """Spikes [T] of a max pool over all inputs [T, n]."""
    pool = MaxPooling(nn.MaxPool2d((1, inputs.shape[1])), rule)
    return torch.cat([pool(spikes.view(1, 1, 1, -1)).flatten() for spikes in inputs])


def _trace(currents: Tensor, threshold: float, reset: str) -> Tensor:
    """Potential before the reset, spikes and potential after it, [3, T], from rest."""
    v, rows = torch.tensor(0.0), []
    for current in currents:
        before = v + current
        spike, v = if_step(v, current, threshold=threshold, reset=reset)
        rows.append((before, spike, v))
    return torch.tensor(rows).T


class _Picture(ipywidgets.Image):
    """An image with a title for screen readers, as there is no alt; that needs a description."""

    description = traitlets.Unicode().tag(sync=True)  # without it, JupyterLab shows an error


def _panel(alt: str, draw: Callable[..., Figure], **controls: ipywidgets.Widget) -> ipywidgets.VBox:
    """Controls above a picture of the figure that `draw(**values)` returns, anew at each change.

    Not an `Output` widget: to that nbclient replies on the socket on which it waits for the
    end of the cell, and sometimes misses it. A picture also changes without flicker.
    """
    picture = _Picture(format="png", tooltip=alt)
    trouble = ipywidgets.HTML()

    def redraw() -> None:
        figure = _drawn(draw, {name: control.value for name, control in controls.items()})
        picture.layout.width = f"{figure.get_figwidth() * figure.dpi:.0f}px"
        picture.value = _png(figure)

    def on_change(_: object) -> None:
        with _one_at_a_time:
            try:
                redraw()
            except Exception as error:
                _show_trouble(picture, trouble, f"{type(error).__name__}: {error}")
            else:
                _show_trouble(picture, trouble, "")

    with _one_at_a_time:
        redraw()  # an error here is raised: there is no picture yet
    for control in controls.values():
        control.observe(on_change, "value")
    return ipywidgets.VBox([*controls.values(), trouble, picture])


def _show_trouble(picture: ipywidgets.Image, trouble: ipywidgets.HTML, text: str) -> None:
    """Say what went wrong, in place of a picture of other values; or nothing."""
    trouble.value = text and f'<pre role="alert">{html.escape(text)}</pre>'
    picture.layout.visibility = "hidden" if text else "visible"


def _drawn(draw: Callable[..., Figure], values: dict[str, object]) -> Figure:
    """The figure that `draw` returns; what it began is closed, also where it fails."""
    before = set(plt.get_fignums())
    try:
        return draw(**values)
    finally:  # else the notebook would show it once more
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _png(figure: Figure) -> bytes:
    """The figure's whole page, so that a picture keeps its size from one change to the next."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=SHARPNESS * figure.dpi)
    return file.getvalue()
