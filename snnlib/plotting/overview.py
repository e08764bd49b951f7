"""The course in one picture: pixels, spikes, potentials, a decision."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from snnlib.plotting.style import HIDDEN, INPUT, MUTED, OUTPUT, bare, large_text
from snnlib.simulation import Recording


@large_text()
def plot_overview(recording: Recording, class_names: tuple[str, ...], label: int) -> Figure:
    """One image on its way through the network, left to right."""
    fig, axes = plt.subplots(1, 4, figsize=(9.6, 3), width_ratios=[1.05, 1.05, 2, 2])
    pixels, spikes, raster, decision = axes
    pixels.imshow(recording.image[0], vmin=0, vmax=1)
    pixels.set_title("image")
    spikes.imshow(recording.input[0, 0], cmap=_ink(INPUT), vmin=0, vmax=1)
    spikes.set_title("its spikes")
    for ax in (pixels, spikes):
        bare(ax)
    _draw_raster(raster, recording)
    _draw_decision(decision, recording.output, class_names, label)
    return fig


def _ink(color: str) -> LinearSegmentedColormap:
    """White paper, coloured ink."""
    return LinearSegmentedColormap.from_list("ink", ["white", color])


def _draw_raster(ax: Axes, recording: Recording) -> None:
    """The busiest input pixels below, those of each hidden layer above."""
    bottom = 0
    layers = {"input": recording.input, **recording.spikes}
    for name, spikes in layers.items():
        flat = spikes.flatten(1)
        busiest = flat.sum(0).topk(40).indices.sort().values
        step, neuron = flat[:, busiest].nonzero(as_tuple=True)
        color = INPUT if name == "input" else HIDDEN
        ax.scatter(step + 1, neuron + bottom, s=3, color=color, linewidths=0)
        bottom += 46
    ax.set(yticks=[20 + 46 * i for i in range(len(layers))], xlabel="time step")
    ax.set_yticklabels(layers)
    ax.tick_params(axis="y", length=0)
    ax.set_title("spikes of every layer")


def _draw_decision(ax: Axes, output: Tensor, class_names: tuple[str, ...], label: int) -> None:
    steps = np.arange(1, len(output) + 1)
    for digit, curve in enumerate(output.T):
        right = digit == label
        ax.plot(steps, curve, color=OUTPUT if right else MUTED, zorder=2 + right)
    ax.annotate(f" {class_names[label]}", (steps[-1], output[-1, label]), color=OUTPUT,
                va="center", weight="bold", fontsize=14)  # fmt: skip
    ax.set(xlabel="time step", ylabel="output potential")
    ax.set_title("the decision forms")
