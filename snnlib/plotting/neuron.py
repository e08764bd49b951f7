"""Figures of chapter 2: one neuron, its potential and its rate."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike
from torch import Tensor

from snnlib.plotting.style import (
    INPUT,
    METHODS,
    MUTED,
    OUTPUT,
    POTENTIAL,
    REFERENCE,
    THRESHOLD,
    large_text,
)

RESET_DELAY = 0.4  # of a step: the reset is drawn this much after the input, so that both show
EXCESS = "#F6D9CA"  # a pale OUTPUT: what stands above the threshold

Run = tuple[ArrayLike, ArrayLike, ArrayLike]  # [T] potential before reset, spikes, potential after


@large_text()
def plot_neuron(
    inputs: Tensor,
    weights: Tensor,
    before: ArrayLike,
    spikes: ArrayLike,
    after: ArrayLike,
    *,
    threshold: float = 1.0,
) -> Figure:
    """A neuron at work: input spikes, potential with threshold, output spikes, and the wiring.

    Parameters
    ----------
    inputs : Tensor [T, I]
        Spikes, 0 or 1.
    weights : Tensor [I]
        Of the inputs [threshold units].
    before, spikes, after : array [T]
        Potential before the reset of each step, output spikes, potential after it.
    """
    fig = plt.figure(figsize=(7.2, 5.4), layout="none")
    top = fig.add_axes((0.3, 0.685, 0.68, 0.265))
    middle = fig.add_axes((0.3, 0.275, 0.68, 0.345), sharex=top)
    bottom = fig.add_axes((0.3, 0.105, 0.68, 0.08), sharex=top)
    times = np.flatnonzero(spikes) + 1
    for ax in (panels := (top, middle, bottom)):
        ax.vlines(times, 0, 1, color=MUTED, linewidth=0.8, transform=ax.get_xaxis_transform())
        ax.tick_params(axis="x", labelbottom=ax is bottom)
    _draw_inputs(top, inputs)
    _draw_potential(middle, before, spikes, after, threshold)
    middle.set_title("membrane potential", color=POTENTIAL)
    middle.set_title("threshold", color=THRESHOLD, loc="right")
    _draw_output(bottom, times, len(inputs))
    _draw_wiring(fig, panels, weights)
    return fig


def plot_potentials(runs: Mapping[str, Run], *, threshold: float = 1.0) -> Figure:
    """Potentials of several runs side by side, with a dot at each output spike."""
    fig, axes = plt.subplots(1, len(runs), sharey=True, squeeze=False)
    for ax, (name, (before, spikes, after)) in zip(axes[0], runs.items(), strict=True):
        _draw_potential(ax, before, spikes, after, threshold)
        count = int(sum(spikes))
        ax.set_title(f"{name}: {count} spike{'s' * (count != 1)}")
        ax.set(xlabel="time step", xlim=(0.2, len(before) + 0.9), xticks=range(1, len(before) + 1))
    for ax in axes[0, 1:]:
        ax.set_ylabel("")
    fig.get_layout_engine().set(wspace=0.06)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def plot_rate_curves(z: Tensor, rates: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Rate against constant input beside ReLU: a panel for each reset, a curve for each label.

    Parameters
    ----------
    z : Tensor [n]
        Inputs, increasing [threshold units/step].
    rates : {panel: {label: Tensor [n]}}
        Rates [spikes/step].
    """
    fig, axes = plt.subplots(1, len(rates), figsize=(7.2, 3.5), sharey=True)
    for ax, (name, curves) in zip(axes, rates.items(), strict=True):
        ax.plot(z, z.clamp(min=0), color=REFERENCE, linestyle="--", linewidth=1.2, label="ReLU")
        for (label, rate), color in zip(curves.items(), (METHODS[5], *METHODS), strict=False):
            ax.plot(z, rate, drawstyle="steps-post", color=color, label=label)
        ax.set(title=name, xlabel="input $z$ [threshold units/step]", ylim=(-0.06, 1.36))
        ax.grid(axis="y")
        ax.legend(loc="upper left")
    axes[0].set_ylabel("rate [spikes/step]")
    return fig


def plot_rate_error(steps: Sequence[int], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Error of the rate against the number of steps, on logarithmic axes, a line a method."""
    fig, ax = plt.subplots(figsize=(7.2, 3.7))
    for (name, error), marker in zip(errors.items(), "osD^v", strict=False):
        ax.loglog(steps, error, marker=marker, markersize=5, base=2, label=name)
    ax.set(xlabel="number of time steps $T$", ylabel="mean error [spikes/step]")
    ax.set_xticks(steps, steps)
    lowest = min(min(error) for error in errors.values())
    halvings = range(0, int(-np.log2(lowest)) + 2, 2)
    ax.set_yticks([0.5**n for n in halvings], [f"1/{2**n}" if n else "1" for n in halvings])
    ax.minorticks_off()
    ax.grid()
    ax.legend(loc="lower left")
    return fig


def _draw_inputs(ax: Axes, inputs: Tensor) -> None:
    """One row of spikes for each input, the first on top."""
    rows = inputs.shape[1]
    for row, train in enumerate(inputs.T, 1):
        ax.axhline(rows - row, color=MUTED, linewidth=0.8, zorder=0)
        times = np.flatnonzero(train) + 1
        ax.vlines(times, rows - row, rows - row + 0.7, color=INPUT, linewidth=2.8)
    ax.set(ylim=(-0.05, rows), yticks=[])
    ax.spines[:].set_visible(False)
    ax.tick_params(axis="x", bottom=False)
    ax.set_title("input spikes", color=INPUT)


def _draw_potential(
    ax: Axes, before: ArrayLike, spikes: ArrayLike, after: ArrayLike, threshold: float
) -> None:
    """The potential as a staircase: up at an input, down a little later at a reset."""
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    start = np.arange(1, len(before) + 1)
    ends = np.stack([start, start + RESET_DELAY], 1).ravel()
    ends = np.r_[0, ends, len(before) + 1]
    time = ends.repeat(2)[1:-1]
    value = np.r_[0, np.stack([before, after], 1).ravel()].repeat(2)
    ax.axhline(0, color=MUTED, linewidth=0.8, zorder=0)
    ax.axhline(threshold, color=THRESHOLD, linestyle="--", label="threshold")
    ax.fill_between(time, threshold, value, where=value > threshold, color=EXCESS, linewidth=0)
    ax.plot(time, value, color=POTENTIAL, label="membrane potential")
    fired = np.flatnonzero(spikes)
    ax.plot(
        start[fired], before[fired], "o", color=OUTPUT, markersize=6, zorder=3, label="output spike"
    )
    ax.set_ylabel("potential\n[threshold units]" if threshold == 1 else "potential")
    low, high = min(0, value.min()), max(threshold, value.max())
    ax.set_ylim(low - 0.06 * (high - low), high + 0.1 * (high - low))


def _draw_output(ax: Axes, times: ArrayLike, steps: int) -> None:
    """The output spikes, in a row of their own."""
    ax.vlines(times, 0, 0.9, color=OUTPUT, linewidth=2.8)
    ax.set(ylim=(0, 1), yticks=[], xlim=(0.2, steps + 0.9), xlabel="time step")
    ax.spines["left"].set_visible(False)
    ax.set_title(f"output spikes: {len(times)}", color=OUTPUT)


def _draw_wiring(fig: Figure, panels: tuple[Axes, Axes, Axes], weights: Tensor) -> None:
    """Left of the panels, the neuron itself: inputs run into it, its output leaves it."""
    canvas = fig.add_axes((0, 0, 1, 1), facecolor="none")  # in inches, so that a circle is round
    canvas.set(xlim=(0, fig.get_figwidth()), ylim=(0, fig.get_figheight()))
    canvas.axis("off")
    top, middle, bottom = panels
    x, y, radius = 0.62, _height(middle, np.mean(middle.get_ylim())), 0.44
    canvas.add_patch(Circle((x, y), radius, facecolor="none", edgecolor=POTENTIAL, linewidth=2.8))
    canvas.text(x, y, "neuron", ha="center", va="center", color=POTENTIAL, weight="bold")
    for row, weight in enumerate(weights.tolist()):
        angle = np.radians(100 - 75 * row / max(1, len(weights) - 1))
        end = x + radius * np.cos(angle), y + radius * np.sin(angle)
        start = 1.04, _height(top, len(weights) - row - 0.65)
        _draw_synapse(canvas, start, end, weight)
        canvas.text(2.1, start[1], f"$w_{row + 1} = {weight:g}$", va="center", ha="right")
    arrow = {"arrowstyle": "-|>", "color": OUTPUT, "linewidth": 2.8, "mutation_scale": 16}
    arrow |= {"connectionstyle": "angle,angleA=90,angleB=0,rad=10", "shrinkA": 0, "shrinkB": 0}
    canvas.annotate("", (2.1, _height(bottom, 0.45)), (x, y - radius), arrowprops=arrow)


def _draw_synapse(ax: Axes, start: tuple, end: tuple, weight: float) -> None:
    """A wire as thick as its weight; it ends in a full dot if it excites, a hollow if not."""
    (x0, y0), (x1, y1) = start, end
    ax.plot([x0, x1], [y0, y1], color=INPUT, linewidth=1 + 3 * abs(weight), zorder=3)
    face = INPUT if weight > 0 else "white"
    ax.plot(x1, y1, "o", color=INPUT, markerfacecolor=face, markersize=8, zorder=4)


def _height(ax: Axes, y: float) -> float:
    """A data coordinate of `ax` as inches above the figure's lower edge."""
    return ax.figure.dpi_scale_trans.inverted().transform(ax.transData.transform((0, y)))[1]
