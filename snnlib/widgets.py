"""Sliders for readers who run the chapters in JupyterLab.

Each function returns a widget that redraws one figure of `snnlib.plotting`; the
rendered book shows that figure for one setting instead.
"""

import ipywidgets
import matplotlib.pyplot as plt
import torch
from IPython.display import display
from matplotlib.figure import Figure
from torch import Tensor

from snnlib import plotting
from snnlib.neurons import RESETS, if_step
from snnlib.simulation import SimulationResult


def neuron_slider(inputs: Tensor, weights: Tensor) -> ipywidgets.Widget:
    """Chapter 2: a neuron at work, with another first weight, threshold or reset.

    inputs  [T, I] spikes, 0 or 1;  weights  [I] [threshold units]
    """

    def draw(weight: float, threshold: float, reset: str) -> Figure:
        changed = torch.cat([torch.tensor([weight]), weights[1:]])
        trace = _trace(inputs @ changed, threshold, reset)
        return plotting.plot_neuron(inputs, changed, *trace, threshold=threshold)

    look = {"step": 0.125, "readout_format": ".3f", "continuous_update": False}
    first = weights[0].item()
    return _panel(
        draw,
        weight=ipywidgets.FloatSlider(first, min=-1, max=1, description="weight w₁", **look),
        threshold=ipywidgets.FloatSlider(1, min=0.25, max=2, description="threshold", **look),
        reset=ipywidgets.ToggleButtons(options=RESETS, description="reset"),
    )


def confusion_slider(result: SimulationResult, class_names: tuple[str, ...]) -> ipywidgets.Widget:
    """Chapter 6: the confusion chart after the time step that the slider chooses."""
    steps = len(result.accuracy)
    step = ipywidgets.IntSlider(steps, 1, steps, description="time step", continuous_update=False)
    return _panel(lambda step: plotting.plot_confusion_at(result, class_names, step), step=step)


def _trace(currents: Tensor, threshold: float, reset: str) -> Tensor:
    """Potential before the reset, spikes and potential after it, [3, T], from rest."""
    v, rows = torch.tensor(0.0), []
    for current in currents:
        before = v + current
        spike, v = if_step(v, current, threshold=threshold, reset=reset)
        rows.append((before, spike, v))
    return torch.tensor(rows).T


def _panel(draw, **controls: ipywidgets.Widget) -> ipywidgets.Widget:
    """Controls above the figure that `draw(**values)` returns, drawn anew at each change."""

    def show(**values) -> None:
        figure: Figure = draw(**values)
        display(figure)
        plt.close(figure)

    picture = ipywidgets.interactive_output(show, controls)
    return ipywidgets.VBox([*controls.values(), picture])
