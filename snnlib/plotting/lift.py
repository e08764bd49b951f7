"""Figures of chapter 9: a network as stages, and max pools that count."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT as IMAGE
from snnlib.cnn.graph import Graph, Op, Path
from snnlib.plotting.style import (
    HIDDEN,
    INPUT,
    METHODS,
    MUTED,
    OUTPUT,
    REFERENCE,
    large_text,
)

NEURONS = {"relu": "neurons", "output": "sums", "max": "max pool", "average": "average pool"}
COLORS = {"relu": HIDDEN, "output": OUTPUT, "max": REFERENCE, "average": REFERENCE}


def plot_pool_counts(inputs: Tensor, outputs: Mapping[str, Tensor]) -> Figure:
    """The spikes of one window and of pools over it, and beside them their counts.

    Parameters
    ----------
    inputs : Tensor [T, n]
        Spikes, 0 or 1.
    outputs : Mapping
        {rule: Tensor [T]}
    """
    fig, (raster, counts) = plt.subplots(1, 2, figsize=(7.2, 3.6), width_ratios=[1.25, 1])
    rows = {f"input {i + 1}": (train, INPUT) for i, train in enumerate(inputs.T)}
    rows |= {rule: (outputs[rule], c) for rule, c in zip(outputs, METHODS, strict=False)}
    for row, (train, color) in enumerate(rows.values()):
        raster.vlines(np.flatnonzero(train) + 1, -row, 0.7 - row, color=color, linewidth=2.2)
    steps = np.arange(1, len(inputs) + 1)
    for ax in (raster, counts):
        ax.set(xlabel="time step", xlim=(0.3, len(inputs) + 0.7))
    raster.set_yticks([0.35 - row for row in range(len(rows))], rows)
    raster.tick_params(axis="y", length=0)
    raster.spines["left"].set_visible(False)
    largest = inputs.cumsum(0).amax(1)
    counts.plot(steps, largest, color=MUTED, linewidth=7, label=f"largest input: {largest[-1]:.0f}")
    for rule, color in zip(outputs, METHODS, strict=False):
        total = outputs[rule].cumsum(0)
        counts.plot(steps, total, color=color, label=f"{rule}: {total[-1]:.0f}")
    counts.set(ylabel="spikes so far", ylim=(0, None))
    counts.grid(axis="y")
    counts.yaxis.set_major_locator(MaxNLocator(integer=True))
    counts.legend(loc="upper left")
    return fig


@large_text()
def plot_stages(graph: Graph) -> Figure:
    """A traced network from top to bottom: a box a stage, an arrow a path."""
    places = {IMAGE: 0} | {stage.name: -i for i, stage in enumerate(graph.stages, start=1)}
    fig, ax = plt.subplots(figsize=(7.2, 0.62 * len(places)))
    _draw_box(ax, 0, IMAGE, "", INPUT)
    for stage in graph.stages:
        text = NEURONS[stage.kind] + (" + bias" if stage.bias is not None else "")
        _draw_box(ax, places[stage.name], stage.name, text, COLORS[stage.kind])
        for path in stage.paths:
            _draw_path(ax, places[path.source], places[stage.name], path)
    ax.set(xlim=(-3.2, 4.6), ylim=(min(places.values()) - 0.4, 0.4))
    ax.axis("off")
    return fig


def _draw_box(ax: Axes, y: float, name: str, text: str, color: str) -> None:
    """The name of a stage in a box, and what its neurons do to the right of it."""
    style = {"boxstyle": "round,pad=0,rounding_size=0.12", "facecolor": "white"}
    ax.add_patch(FancyBboxPatch((-1, y - 0.24), 2, 0.48, edgecolor=color, linewidth=2, **style))
    ax.text(0, y, name, ha="center", va="center", color=color, weight="bold")
    ax.text(1.12, y, text, va="center")


def _draw_path(ax: Axes, start: float, end: float, path: Path) -> None:
    """An arrow to the next box, or around the boxes between, with what lies on the way."""
    arrow = {"arrowstyle": "-|>", "color": REFERENCE, "linewidth": 1.4, "mutation_scale": 12}
    arrow |= {"shrinkA": 0, "shrinkB": 0}
    note = {"fontsize": 10, "color": REFERENCE}
    label = ", ".join(_op_text(op) for op in path.ops)
    if start - end == 1:
        ax.annotate("", (0, end + 0.24), (0, start - 0.24), arrowprops=arrow)
        ax.text(0.1, (start + end) / 2, label, va="center", **note)
        return
    start, end, left = start - 0.1, end + 0.1, -1.5  # shortcuts that meet do not touch
    ax.plot([-1, left, left], [start, start, end], color=REFERENCE, linewidth=1.4)
    ax.annotate("", (-1, end), (left, end), arrowprops=arrow)
    label = (label or "identity").replace(" ", "\n", 1)
    ax.text(left - 0.1, (start + end) / 2, label, ha="right", va="center", **note)


def _op_text(op: Op) -> str:
    layer = op.module
    if not isinstance(layer, nn.Conv2d):
        return {"Linear": "linear", "AvgPool2d": "average pool", "ChannelScale": "scale"}.get(
            type(layer).__name__, type(layer).__name__.lower()
        )
    stride = "" if layer.stride == (1, 1) else f", stride {layer.stride[0]}"
    return "convolution {} x {}{}".format(*layer.kernel_size, stride)
