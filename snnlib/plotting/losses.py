"""Figures of chapter 7: the causes on one neuron, the pieces of layers, and the large table."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from snnlib.plotting.style import (
    HIDDEN,
    INPUT,
    METHODS,
    MUTED,
    OUTPUT,
    POTENTIAL,
    REFERENCE,
    THRESHOLD,
    active_dots,
    percent_axis,
)
from snnlib.study.diagnosis import Diagnosis
from snnlib.study.experiments import PIECES, LayerErrors
from snnlib.study.suggestion import Suggestion
from snnlib.study.sweep import BALANCINGS, ENCODERS, RESETS, Sweep

Run = tuple[Tensor, Tensor, Tensor]  # [T] input, spikes, potential after the reset
SMALL = 0.02  # of the largest piece: what is less has no bar
COLORS = dict(zip(PIECES, (MUTED, OUTPUT, HIDDEN, POTENTIAL, THRESHOLD, INPUT), strict=True))
LOWEST_ERROR = 0.003  # of the axes of the table


def plot_responses(activation: Tensor, responses: Mapping[str, Tensor]) -> Figure:
    """The rate of a neuron against its activation, a panel for each way to answer.

    Parameters
    ----------
    activation : Tensor [A]
        In units of the scale, in increasing order.
    responses : Mapping
        {title: [A]} [spikes/step].
    """
    fig, axes = plt.subplots(1, len(responses), figsize=(7.2, 3.0), sharey=True, squeeze=False)
    for ax, (title, rate) in zip(axes[0], responses.items(), strict=True):
        relu = activation.clamp(min=0)
        ax.fill_between(activation, rate, relu, color=OUTPUT, alpha=0.35, lw=0, label="error")
        ax.plot(activation, relu, color=REFERENCE, linestyle="--", linewidth=1.4, label="ReLU")
        ax.plot(activation, rate, color=HIDDEN, label="rate")
        ax.set(title=title, xlabel="activation / scale")
        ax.grid()
    axes[0, 0].set_ylabel("rate [spikes/step]")
    axes[0, 0].legend(loc="upper left")
    return fig


def plot_orders(runs: Mapping[str, Run]) -> Figure:
    """One neuron that receives the same spikes in other orders, a panel for each.

    Parameters
    ----------
    runs : Mapping
        {order: (input, spikes, potential after the reset)}, each [T].
    """
    fig, axes = plt.subplots(
        1, len(runs), figsize=(7.2, 3.1), sharex=True, sharey=True, squeeze=False
    )
    for ax, (order, (current, spikes, potential)) in zip(axes[0], runs.items(), strict=True):
        steps = np.arange(1, len(current) + 1)
        ax.bar(steps, current, color=INPUT, width=0.7, alpha=0.8, label="input")
        ax.plot(steps, potential, ".-", color=POTENTIAL, label="potential")
        ax.axhline(1, color=THRESHOLD, linestyle="--", linewidth=1.2, label="threshold")
        times = spikes.nonzero().flatten() + 1
        ax.plot(times, [3.0] * len(times), "|", color=OUTPUT, ms=13, mew=2.5, label="spike")
        ax.set(title=f"{order}: {len(times)} spikes", xlabel="time step", xticks=steps)
    axes[0, 0].set(ylabel="[threshold units]", ylim=(-1.9, 3.5))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def plot_pieces(name: str, errors: LayerErrors) -> Figure:
    """Rates of a layer against its activations, and the RMS of the larger pieces of the error.

    Parameters
    ----------
    name : str
        Of the layer.
    errors : LayerErrors
    """
    fig, (dots, bars) = plt.subplots(1, 2, figsize=(7.2, 3.2), width_ratios=[3, 2])
    _draw_dots(dots, errors)
    dots.set(title=name, xlabel="activation / scale", ylabel="rate [spikes/step]")
    sizes = {n: x.square().mean().sqrt().item() for n, x in errors.pieces.items()}
    sizes = {n: size for n, size in sizes.items() if size > SMALL * max(sizes.values())}
    sizes |= {"error": errors.error.square().mean().sqrt().item()}
    drawn = bars.barh(list(sizes), list(sizes.values()), color=[_color(n) for n in sizes])
    bars.bar_label(drawn, fmt="%.3f", padding=3, fontsize=9)
    bars.invert_yaxis()
    bars.set(title="pieces", xlabel="RMS [spikes/step]", xlim=(0, 1.3 * max(sizes.values())))
    return fig


def plot_piece_curves(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    ticks: Sequence[float],
    *,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """RMS of pieces on a logarithmic axis, a panel for each setting; pieces of 0 are left out.

    Parameters
    ----------
    panels : Mapping
        {title: {piece, or "error" for all of them: [K]}}.
    ticks : Sequence [K]
        What the values belong to; drawn at equal distances.
    xlabel, ylabel : str
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(7.2, 3.6), sharey=True, squeeze=False)
    for ax, (title, pieces) in zip(axes[0], panels.items(), strict=True):
        for piece, values in pieces.items():
            if max(values) > 0:
                style = {"linestyle": "--"} if piece == "error" else {"marker": "."}
                shown = [value or np.nan for value in values]  # a logarithmic axis has no 0
                ax.plot(range(len(ticks)), shown, label=piece, color=_color(piece), **style)
        ax.set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
        ax.set(title=title, xlabel=xlabel, yscale="log")
        ax.grid(axis="y")
    axes[0, 0].set_ylabel(ylabel)
    labelled = max(axes[0], key=lambda ax: len(ax.lines))
    handles = labelled.get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper center", ncols=5, columnspacing=1.2)
    return fig


def plot_diagnosis(diagnosis: Diagnosis) -> Figure:
    """Shares of the pieces of each layer's error; below, agreement with the CNN over steps.

    Parameters
    ----------
    diagnosis : Diagnosis
        Without a suggestion only the shares are drawn.
    """
    rows = len(diagnosis.layers)
    suggestion = diagnosis.suggestion
    heights = [0.45 * rows + 0.6, *([2.4] if suggestion else [])]
    look = {"figsize": (7.2, sum(heights) + 0.7), "height_ratios": heights, "squeeze": False}
    fig, axes = plt.subplots(len(heights), 1, **look)
    _draw_shares(axes[0, 0], diagnosis)
    if suggestion:
        _draw_evidence(axes[1, 0], suggestion)
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper center", ncols=6, handlelength=1, columnspacing=1)
    return fig


def plot_sweep(sweep: Sweep, cnn_accuracy: float) -> Figure:
    """Wrong decisions over time, a panel for each reset and input, a line a way to balance.

    Parameters
    ----------
    sweep : Sweep
        With all cells.
    cnn_accuracy : float
        Drawn as a dashed line.
    """
    shape = {"sharex": True, "sharey": True, "squeeze": False}
    fig, axes = plt.subplots(len(ENCODERS), len(RESETS), figsize=(7.2, 6.2), **shape)
    for row, encoder in zip(axes, ENCODERS, strict=True):
        for ax, reset in zip(row, RESETS, strict=True):
            _draw_balancings(ax, sweep, reset, encoder)
            ax.axhline(1 - cnn_accuracy, color=REFERENCE, linestyle="--", lw=1.2, label="CNN")
            ax.set_title(f"{encoder} input, reset {reset}")
    axes[0, 0].set(yscale="log", ylim=(LOWEST_ERROR, 1.15))
    ticks = [0.005, 0.01, 0.03, 0.1, 0.3, 1]
    axes[0, 0].set_yticks(ticks, [f"{100 * tick:g}%" for tick in ticks])
    axes[0, 0].minorticks_off()
    fig.supxlabel("time steps", fontsize=10)
    fig.supylabel("wrong decisions", fontsize=10)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def _draw_dots(ax: Axes, errors: LayerErrors) -> None:
    """A dot a neuron that is active, with the ideal line."""
    x = np.linspace(0, max(1.0, errors.activation.max().item()), 200)
    ax.plot(x, x, color=REFERENCE, linestyle="--", linewidth=1.2, label="ReLU")
    ax.axhline(1, color=MUTED, linewidth=1.2, zorder=0)
    ax.scatter(*active_dots(errors.activation, errors.rate), s=9, color=HIDDEN, alpha=0.3, lw=0)
    ax.set_ylim(-0.05, 1.3)
    ax.legend(loc="lower right")


def _draw_shares(ax: Axes, diagnosis: Diagnosis) -> None:
    """A bar a layer, the input on top; pieces that are nowhere are left out."""
    names = [f"{layer.name}: error {layer.error.rms:.3f}" for layer in diagnosis.layers]
    left = [0.0] * len(names)
    for piece, color in COLORS.items():
        shares = [layer.pieces[piece].share for layer in diagnosis.layers]
        if max(shares) > 0.005:
            ax.barh(names, shares, left=left, color=color, label=piece, height=0.6)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share of the mean squares of all pieces")
    percent_axis(ax.xaxis, grid=False)
    ax.set_title(f"cause: {diagnosis.cause}")


def _draw_evidence(ax: Axes, suggestion: Suggestion) -> None:
    """A line a percentile; a ring around what is suggested."""
    for color, (percentile, row) in zip(METHODS, suggestion.evidence.items(), strict=False):
        ax.plot(list(row), list(row.values()), ".-", color=color, label=f"{percentile:g} %")
    row = suggestion.evidence[suggestion.percentile]
    ring = {"markersize": 13, "markerfacecolor": "none", "markeredgecolor": REFERENCE}
    ax.plot(suggestion.steps, row[suggestion.steps], "o", **ring, label="suggested")
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(row), [str(steps) for steps in row])
    ax.minorticks_off()
    ax.set(xlabel="time steps", ylabel="decided like the CNN")
    percent_axis(ax.yaxis)
    ax.legend(title="scaled by percentile", loc="lower right")


def _draw_balancings(ax: Axes, sweep: Sweep, reset: str, encoder: str) -> None:
    """A line each, in a band of one standard deviation up and down."""
    for color, balancing in zip(METHODS, BALANCINGS, strict=False):
        spreads = sweep.spread(balancing, reset, encoder)
        wrong = np.array([1 - s.mean for s in spreads.values()])
        std = np.array([s.std for s in spreads.values()])
        places = range(len(spreads))
        low = np.maximum(wrong - std, LOWEST_ERROR)
        ax.fill_between(places, low, wrong + std, color=color, alpha=0.25, lw=0)
        ax.plot(places, wrong, ".-", color=color, label=balancing)
        ax.set_xticks(places, [str(steps) for steps in spreads])
    ax.grid(axis="y")


def _color(piece: str) -> str:
    return COLORS.get(piece, REFERENCE)
