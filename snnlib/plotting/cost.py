"""Figures of chapter 8: what spikes cost, and when to stop."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from torch import Tensor

from snnlib.data import Digits
from snnlib.plotting.simulation import write_decisions
from snnlib.plotting.style import (
    HIDDEN,
    METHODS,
    MUTED,
    OUTPUT,
    REFERENCE,
    THRESHOLD,
    layer_color,
    log_steps,
    percent_axis,
    show_image,
)
from snnlib.simulation import SimulationResult
from snnlib.study.early_exit import ExitCurve, MarginStop, exit_curve, stopping_steps

Point = tuple[float, float]  # synaptic operations, seconds
DASHES = ("-", "--", ":")


def plot_costs(spikes: Mapping[str, Tensor], operations: Mapping[str, Tensor]) -> Figure:
    """Spikes of each layer after each step, and beside them the operations that they cause.

    Parameters
    ----------
    spikes, operations : Mapping
        {layer: [T]}, both for one image.
    """
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharex=True)
    for ax, rows, unit in zip(axes, (spikes, operations), (1, 1000), strict=True):
        for dashes, (name, counts) in zip(_dashes(rows), rows.items(), strict=True):
            steps = np.arange(1, len(counts) + 1)
            ax.plot(steps, counts / unit, label=name, color=layer_color(name), linestyle=dashes)
        ax.set(xlabel="time step", ylim=(0, None))
        ax.grid(axis="y")
    axes[0].set(title="spikes", ylabel="spikes per image, step")
    axes[1].set(title="synaptic operations", ylabel="thousands per image, step")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(spikes))
    return fig


def plot_times(points: Mapping[str, Sequence[Point]]) -> Figure:
    """Time against synaptic operations with a fitted line: all engines, then the last alone.

    Parameters
    ----------
    points : Mapping
        {engine: [(operations, seconds), ...]}, both for one image and step.
    """
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.4))
    *_, last = colors = dict(zip(points, METHODS, strict=False))
    for ax, names in zip(axes, (points, [last]), strict=True):
        for name in names:
            _draw_line(ax, name, np.array(points[name]).T, colors[name])
        ax.set(xlabel="operations per image, step [thousand]", ylim=(0, None), xlim=(0, None))
        ax.grid(axis="y")
    axes[0].set(title="both engines", ylabel="time per image, step [µs]")
    axes[1].set(title=f'only "{last}"')
    axes[0].legend(loc="center right")
    return fig


def plot_energy(
    steps: Sequence[int],
    energies: Mapping[str, Mapping[str, Sequence[float]]],
    rate: Sequence[float],
    break_even: Mapping[str, Sequence[float]],
) -> Figure:
    """Energy beside that of the CNN, and the mean rate beside that of equal energy.

    Parameters
    ----------
    steps : Sequence of int [K]
    energies : Mapping
        {input: {arithmetic: [K]}}, as multiples of one pass of the CNN; drawn as a band.
    rate : Sequence of float [K]
        Mean rate of the first input [spikes/step].
    break_even : Mapping
        {arithmetic: [K]}, for the first input [spikes/step].
    """
    fig, (energy, rates) = plt.subplots(1, 2, figsize=(7.2, 3.7))
    for color, (label, rows) in zip(METHODS, energies.items(), strict=False):
        low, high = (pick(np.array(list(rows.values())), axis=0) for pick in (np.min, np.max))
        energy.fill_between(steps, low, high, color=color, alpha=0.35, label=label)
        for edge in (low, high):
            energy.plot(steps, edge, color=color, linewidth=1.2)
    energy.axhline(1, color=REFERENCE, linestyle="--", linewidth=1.5, label="the CNN")
    energy.set(title="energy", ylabel="energy / one CNN pass", ylim=(0.0015, 5))
    rates.plot(steps, rate, color=METHODS[0], marker=".", label="mean rate")
    for dashes, (name, row) in zip(DASHES, break_even.items(), strict=False):
        rates.plot(steps, row, color=REFERENCE, linestyle=dashes, label=f"break-even, {name}")
    rates.set(title="rate", ylabel="rate [spikes/step]", ylim=(0.008, 40))
    for ax in (energy, rates):
        log_steps(ax, max(steps), 0.93, 1.08)
        ax.set(yscale="log", xlabel="time steps")
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.grid(axis="y")
        ax.legend(loc="lower right" if ax is energy else "upper right")
    return fig


def plot_margins(
    digits: Digits, result: SimulationResult, places: Sequence[int], stop: MarginStop
) -> Figure:
    """The margin of some images after each step, and the step at which each stops.

    Parameters
    ----------
    digits : Digits
    result : SimulationResult
        Of these digits, made without ``stop``.
    places : Sequence of int
        Of the images in ``digits``.
    stop : MarginStop
    """
    used = stopping_steps(result, stop)
    fig, axes = plt.subplots(
        len(places), 2, figsize=(7.2, 1.8 * len(places) + 0.3), width_ratios=[1, 4], squeeze=False
    )
    for (picture, ax), place in zip(axes, places, strict=True):
        name = digits.class_names[digits.labels[place]]
        show_image(picture, digits.images[place, 0], f"a {name}")
        picture.set_xlabel(f"steps used: {used[place]}")
        _draw_margins(ax, result, place, digits.class_names)
        ax.axhline(stop.margin, color=THRESHOLD, linestyle="--", linewidth=1.5)
        ax.axvline(used[place], color=OUTPUT, linewidth=1.2, zorder=0)
        ax.set_ylabel("margin\n[threshold units]")
    ax.set_xlabel("time step")
    return fig


def plot_exit(
    curves: Mapping[str, ExitCurve], result: SimulationResult, stop: MarginStop
) -> Figure:
    """Accuracy against mean steps with the rule's place on it, and the steps that images use.

    Parameters
    ----------
    curves : Mapping
        {label: ExitCurve}; the last is that of ``result``.
    result : SimulationResult
        Made without ``stop``.
    stop : MarginStop
    """
    fig, (ax, steps) = plt.subplots(1, 2, figsize=(7.2, 3.4))
    for color, (label, curve) in zip((MUTED, HIDDEN), curves.items(), strict=False):
        ax.plot(curve.mean_steps, curve.accuracy, color=color, label=label)
    here = exit_curve(result, torch.tensor([stop.margin]))
    mean, accuracy = here.mean_steps.item(), here.accuracy.item()
    ax.plot(mean, accuracy, "o", color=OUTPUT, label=f"margin {stop.margin:.2f}", zorder=3)
    ax.set(xlabel="mean steps", ylabel="accuracy", title=f"{accuracy:.2%} right")
    log_steps(ax, len(result.margins), 0.93, 1.08)
    percent_axis(ax.yaxis)
    ax.legend(loc="lower right")
    counts = torch.bincount(stopping_steps(result, stop), minlength=len(result.margins) + 1)
    steps.bar(range(len(counts)), counts, color=OUTPUT, width=1)
    steps.set(xlabel="steps used", ylabel="images", yscale="log")
    steps.set(title=f"{mean:.2f} steps on average", ylim=(0.7, 1.5 * len(result.labels)))
    steps.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return fig


def _draw_line(ax: Axes, name: str, points: np.ndarray, color: str) -> None:
    """Points [2, R] (operations, seconds) and the line through them, in handy units."""
    thousands, micros = points[0] / 1e3, points[1] * 1e6
    ax.plot(thousands, micros, "o", color=color, label=f'"{name}"')
    ends = np.array([0, thousands.max() * 1.03])
    ax.plot(ends, np.polyval(np.polyfit(thousands, micros, 1), ends), color=color, linewidth=1.2)


def _draw_margins(
    ax: Axes, result: SimulationResult, place: int, class_names: tuple[str, ...]
) -> None:
    """The margin after each step, and the decision where it changes."""
    margins, decisions = result.margins[:, place], result.predictions[:, place]
    ax.plot(np.arange(1, len(margins) + 1), margins, color=HIDDEN, marker=".", markersize=5)
    write_decisions(ax, decisions, class_names, result.labels[place], 1.03, ha="center")
    ax.set(xlim=(0.3, len(margins) + 0.7), ylim=(0, None))


def _dashes(rows: Mapping[str, Tensor]) -> list[str]:
    """A line style for each layer: another one for each that has the same colour."""
    colors = [layer_color(name) for name in rows]
    return [DASHES[colors[:i].count(color)] for i, color in enumerate(colors)]
