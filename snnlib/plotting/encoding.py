"""Figures of chapter 4: spike trains, their mean over time, and conversion."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from snnlib.plotting.style import (
    HIDDEN,
    INPUT,
    MUTED,
    OUTPUT,
    REFERENCE,
    THRESHOLD,
    percent_axis,
    show_image,
)
from snnlib.simulation import SimulationResult

PROCESS, STEPS = "Poisson process", "one draw a step"


def plot_spike_statistics(
    counts: Sequence[Tensor], gaps: Sequence[Tensor], *, window: int
) -> Figure:
    """How a Poisson process and one draw a step differ, in counts and in gaps.

    Parameters
    ----------
    counts : pair of Tensor
        Spikes in each window of `window` steps: of the process, of the draws.
    gaps : pair of Tensor
        [steps] between one spike and the next: of the process, of the draws.
    """
    fig, (left, right) = plt.subplots(1, 2)
    bins = np.arange(int(max(c.max() for c in counts)) + 2) - 0.5
    _draw_histograms(left, counts, bins, bins)
    left.set(xlabel=f"spikes in {window} steps", ylabel="share of windows")
    right.set(xlabel="steps between spikes", ylabel="share of gaps per step", xlim=(0, 12.5))
    _draw_histograms(right, gaps, np.arange(0, 12.6, 0.25), np.arange(13) + 0.5)
    right.legend()
    return fig


def plot_spike_images(image: Tensor, spikes: Tensor) -> Figure:
    """An image [1, H, W] beside its spikes at the first steps [T, 1, H, W]."""
    fig, axes = plt.subplots(1, 1 + len(spikes), figsize=(7.2, 2.2))
    _show(axes[0], image, "image")
    for step, (ax, frame) in enumerate(zip(axes[1:], spikes, strict=True)):
        _show(ax, frame, f"step {step}: {int(frame.sum())} spikes")
    return fig


def plot_mean_images(image: Tensor, means: dict[int, Tensor]) -> Figure:
    """Means over more and more steps, {T: [1, H, W]} in pixel units, then the image itself."""
    columns = (len(means) + 2) // 2
    fig, axes = plt.subplots(2, columns, figsize=(7.2, 4.9))
    for ax, (steps, mean) in zip(axes.flat, means.items(), strict=False):
        _show(ax, mean, "1 step" if steps == 1 else f"{steps} steps")
    _show(axes.flat[len(means)], image, "image")
    for ax in axes.flat[len(means) + 1 :]:
        ax.remove()
    return fig


def plot_mean_error(
    steps: list[int], errors: dict[str, list[float]], expected: list[float]
) -> Figure:
    """Error of the mean over time, one line a kind of spike train, on two log axes.

    Parameters
    ----------
    errors : dict of list
        Error after each of `steps` [pixel], of random trains first, then of regular ones.
    expected : list
        What theory says of the random trains, after each of `steps`.
    """
    fig, ax = plt.subplots()
    for (label, error), color in zip(errors.items(), (INPUT, HIDDEN), strict=True):
        ax.plot(steps, error, "o-", color=color, markersize=5, label=label)
    ax.plot(steps, expected, "--", color=REFERENCE, lw=1.2, label="random spikes, theory")
    ax.set(xscale="log", yscale="log", xlabel="time steps T", ylabel="error of the mean\n[pixel]")
    ax.set_xticks(steps, steps)
    ax.xaxis.minorticks_off()
    ax.grid()
    ax.legend(loc="lower left")
    return fig


def plot_switches(results: dict[str, SimulationResult]) -> Figure:
    """A panel for each result but the first; the first is drawn in every panel to compare with."""
    (baseline, reference), *changes = results.items()
    rows = (len(changes) + 1) // 2
    fig, axes = plt.subplots(rows, 2, figsize=(7.2, 2.0 * rows), sharex=True, sharey=True)
    for ax, (label, result) in zip(axes.flat, changes, strict=True):
        for curve, style in ((reference, (REFERENCE, "--")), (result, (OUTPUT, "-"))):
            ax.plot(range(1, len(curve.accuracy) + 1), curve.accuracy, style[1], color=style[0])
        ax.set_title(label, fontsize=10)
        percent_axis(ax.yaxis)
    axes[0, 0].legend([baseline, "with the change"], loc="lower right")
    fig.supxlabel("time step", fontsize=10)
    fig.supylabel("test accuracy", fontsize=10)
    return fig


def plot_output_counts(counts: dict[str, Tensor], label: int, *, steps: int) -> Figure:
    """Output spikes of each class after `steps` steps, one panel an entry.

    Parameters
    ----------
    counts : dict of Tensor [C]
        Output spikes of each class, by title of the panel.
    label : int
        The true class, drawn in colour.
    """
    fig, axes = plt.subplots(1, len(counts), sharey=True)
    for ax, (title, spikes) in zip(axes, counts.items(), strict=True):
        colors = [OUTPUT if digit == label else MUTED for digit in range(len(spikes))]
        bars = ax.bar(range(len(spikes)), spikes, color=colors)
        ax.bar_label(bars, fontsize=8, fmt="%d")
        ax.axhline(steps, color=THRESHOLD, linestyle="--")
        ax.set_title(title, fontsize=10)
        ax.set(xlabel="class", xticks=range(len(spikes)), ylim=(0, steps * 1.2))
    axes[0].annotate("a spike at every step", (-0.4, steps * 1.03), color=THRESHOLD, va="bottom")
    axes[0].set_ylabel(f"output spikes in {steps} steps")
    return fig


def _draw_histograms(ax: Axes, pair: Sequence[Tensor], fine, whole) -> None:
    """Densities of the process on `fine` bins, as a line, over the draws on `whole` bins."""
    ax.hist(pair[1], whole, density=True, color=INPUT, rwidth=0.8, label=STEPS)
    ax.hist(pair[0], fine, density=True, histtype="step", color=REFERENCE, lw=1.4, label=PROCESS)


def _show(ax: Axes, image: Tensor, title: str) -> None:
    show_image(ax, image[0], title, fontsize=9)
    ax.spines[:].set(visible=True, color=MUTED)
