"""Sliders for readers who run the chapters in JupyterLab.

Each function returns a widget that redraws one figure of `snnlib.plotting`; the
rendered book shows that figure for one setting instead.
"""

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure

from snnlib import plotting
from snnlib.simulation import SimulationResult


def confusion_slider(result: SimulationResult, class_names: tuple[str, ...]) -> ipywidgets.Widget:
    """Chapter 6: the confusion chart after the time step that the slider chooses."""
    steps = len(result.accuracy)
    step = ipywidgets.IntSlider(steps, 1, steps, description="time step", continuous_update=False)
    return _panel(lambda step: plotting.plot_confusion_at(result, class_names, step), step=step)


def _panel(draw, **controls: ipywidgets.Widget) -> ipywidgets.Widget:
    """Controls above the figure that `draw(**values)` returns, drawn anew at each change."""

    def show(**values) -> None:
        figure: Figure = draw(**values)
        display(figure)
        plt.close(figure)

    picture = ipywidgets.interactive_output(show, controls)
    return ipywidgets.VBox([*controls.values(), picture])
