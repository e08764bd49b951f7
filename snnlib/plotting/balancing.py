"""Figures of chapter 5: scales, and what they do to rates and accuracy."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from snnlib.plotting.style import (
    HIDDEN,
    MUTED,
    OUTPUT,
    POTENTIAL,
    REFERENCE,
    THRESHOLD,
    active_dots,
    log_steps,
    percent_axis,
)
from snnlib.simulation import SimulationResult

Run = tuple[Tensor, Tensor, Tensor]  # [T] input, spikes, potential after the reset


def plot_factors(runs: Mapping[float, Run]) -> Figure:
    """Potential and spikes of one neuron, a panel for each factor on its weights.

    Parameters
    ----------
    runs : Mapping
        {factor: (current, spikes, potential after the reset)}, each [T].
    """
    fig, axes = plt.subplots(len(runs), 1, figsize=(7.2, 1.6 * len(runs) + 0.3), sharex=True)
    for ax, (factor, (current, spikes, potential)) in zip(axes, runs.items(), strict=True):
        steps = np.arange(len(current) + 1)
        ax.step(steps, np.r_[0, potential], where="post", color=POTENTIAL)
        ax.axhline(1, color=THRESHOLD, linestyle="--", linewidth=1.2)
        top = 1.25 * max(1, potential.max().item())
        times = spikes.nonzero().flatten() + 1
        ax.vlines(times, 0.88 * top, top, color=OUTPUT, linewidth=2.2)
        ax.set_ylim(min(0, potential.min().item()), top)
        ax.set_title(
            f"weights $\\times$ {factor:g}: input for {current.sum():.1f} spikes, sent {len(times)}"
        )
    axes[0].text(0.5, 0.94, "threshold", color=THRESHOLD, va="top")
    axes[0].text(0.5, 1.13, "output spikes", color=OUTPUT, va="center")
    axes[-1].set(xlabel="time step", xlim=(0, len(current) + 0.5))
    fig.supylabel("membrane potential [threshold units]", fontsize=10)
    return fig


def plot_activation_histograms(activations: Mapping[str, Tensor]) -> Figure:
    """Positive activations of each layer, against the ceiling of one spike per step.

    Parameters
    ----------
    activations : Mapping
        {layer: [N, ...]} of the CNN.
    """
    fig, axes = plt.subplots(1, len(activations), figsize=(7.2, 3.0))
    for ax, (name, values) in zip(axes, activations.items(), strict=True):
        positive = values[values > 0]
        _draw_histogram(ax, positive, ceiling=1.0)
        share = (positive > 1).double().mean().item()
        ax.set(title=f"{name}: {share:.0%} above 1", xlabel="activation")
    axes[0].set_ylabel("number of activations")
    axes[-1].legend(loc="upper right")
    return fig


def plot_scale_curves(results: Mapping[str, SimulationResult], cnn_accuracy: float) -> Figure:
    """Accuracy after each step, a line a way to scale, with the first steps spread out.

    Parameters
    ----------
    results : Mapping
        {label: SimulationResult}.
    cnn_accuracy : float
        Drawn as a dashed line.
    """
    fig, axes = plt.subplots(2, 1, figsize=(7.2, 5.2), sharex=True, height_ratios=[3, 2])
    for ax in axes:
        for label, result in results.items():
            steps = np.arange(1, len(result.accuracy) + 1)
            ax.plot(steps, result.accuracy, label=label, marker=".", markersize=5)
        ax.axhline(cnn_accuracy, color=REFERENCE, linestyle="--", linewidth=1.2, label="CNN")
        percent_axis(ax.yaxis)
        ax.set_ylabel("test accuracy")
    axes[0].set(ylim=(-0.03, 1.04), title="all")  # a line at zero stays visible
    axes[1].set(ylim=(0.94, 1.0), title="the top of it, magnified", xlabel="time step")
    log_steps(axes[0], len(steps))
    columns = 4 if len(results) < 4 else 3
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=columns)
    return fig


def plot_rates(
    rates: Mapping[int, Mapping[str, Tensor]], activations: Mapping[str, Tensor]
) -> Figure:
    """Rate of each neuron against its balanced activation: a row a duration, a column a layer.

    Parameters
    ----------
    rates : Mapping
        {steps: {layer: [N, ...]}} [spikes/step].
    activations : Mapping
        {layer: [N, ...]} of the balanced CNN.
    """
    layers = list(next(iter(rates.values())))
    fig, axes = plt.subplots(
        len(rates), len(layers), figsize=(7.2, 5.6), sharex=True, sharey=True, squeeze=False
    )
    for row, (steps, of_layer) in zip(axes, rates.items(), strict=True):
        for ax, name in zip(row, layers, strict=True):
            _draw_rates(ax, activations[name], of_layer[name], 1 / steps)
            ax.set_title(f"{name}, {steps} steps")
        row[0].set_ylabel("rate [spikes/step]")
    for ax in axes[-1]:
        ax.set_xlabel("activation / scale")
    return fig


def plot_percentile(
    activations: Mapping[str, Tensor],
    scales: Sequence[Tensor],
    result: SimulationResult,
    cnn_accuracy: float,
) -> Figure:
    """Activations of the hidden layers with their scales, and the accuracy these scales give.

    Parameters
    ----------
    activations : Mapping
        {layer: [N, ...]} of the CNN, from input to output.
    scales : Sequence of Tensor
        One number a layer, in the same order.
    result : SimulationResult
        Of the network balanced with these scales.
    cnn_accuracy : float
        Drawn as a dashed line.
    """
    hidden = list(activations)[:-1]
    fig, axes = plt.subplot_mosaic([[name, "accuracy"] for name in hidden], figsize=(7.2, 4.2))
    for name, scale in zip(hidden, scales, strict=False):
        positive = activations[name][activations[name] > 0]
        _draw_histogram(axes[name], positive, ceiling=scale.item())
        axes[name].set(title=f"{name}: scale {scale:.2f}", ylabel="how many")
    axes[hidden[-1]].set_xlabel("activation")
    ax = axes["accuracy"]
    ax.plot(range(1, len(result.accuracy) + 1), result.accuracy, color=HIDDEN, marker=".")
    ax.axhline(cnn_accuracy, color=REFERENCE, linestyle="--", linewidth=1.2, label="CNN")
    ax.set(xlabel="time step", ylabel="test accuracy", ylim=(0, 1.03))
    log_steps(ax, len(result.accuracy))
    percent_axis(ax.yaxis)
    ax.legend(loc="lower right")
    return fig


def _draw_histogram(ax: Axes, values: Tensor, ceiling: float) -> None:
    """Counts on a log axis; what lies above the ceiling is in another colour."""
    counts, edges = np.histogram(values, bins=48)
    left, width = edges[:-1], edges[1] - edges[0]
    colors = [OUTPUT if start >= ceiling else HIDDEN for start in left]
    ax.bar(left, counts, width, align="edge", color=colors)
    ax.axvline(ceiling, color=THRESHOLD, linestyle="--", linewidth=2, label="1 spike/step")
    ax.set(yscale="log", xlim=(0, edges[-1]))


def _draw_rates(ax: Axes, activation: Tensor, rate: Tensor, band: float) -> None:
    """Dots for neurons that are active, on the band of width 1/T around the ideal line."""
    x = np.linspace(0, max(1.0, activation.max().item()), 200)
    ideal = np.minimum(x, 1)
    ax.fill_between(x, ideal - band / 2, np.minimum(ideal + band / 2, 1), color=MUTED, alpha=0.6)
    ax.plot(x, ideal, color=REFERENCE, linestyle="--", linewidth=1.2)
    ax.scatter(*active_dots(activation, rate), s=4, color=HIDDEN, alpha=0.4, lw=0)
