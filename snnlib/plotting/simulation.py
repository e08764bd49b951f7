"""Figures of chapter 6, decisions over time; the confusion chart; the course in one picture."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from torch import Tensor

from snnlib.plotting.style import (
    HIDDEN,
    INPUT,
    METHODS,
    MUTED,
    OUTPUT,
    REFERENCE,
    large_text,
    percent_axis,
    show_image,
)
from snnlib.recording import Recording
from snnlib.simulation import SimulationResult
from snnlib.spiking.decisions import UNDECIDED


def plot_accuracy(
    curves: dict[str, SimulationResult | Tensor],
    *,
    cnn_accuracy: float | None = None,
    lowest: float = 0,
) -> Figure:
    """Accuracy after each step, one line a result (or [T] tensor); the CNN's as a dashed line."""
    fig, ax = plt.subplots()
    for color, (label, curve) in zip(METHODS, curves.items(), strict=False):
        accuracy = getattr(curve, "accuracy", curve)
        steps = np.arange(1, len(accuracy) + 1)
        ax.plot(steps, accuracy, label=label, color=color, marker=".", markersize=5)
    if cnn_accuracy is not None:
        ax.axhline(cnn_accuracy, color=REFERENCE, linestyle="--", linewidth=1.2, label="CNN")
    ax.set(xlabel="time step", ylabel="test accuracy", ylim=(lowest, 1 + (1 - lowest) * 0.03))
    percent_axis(ax.yaxis)
    ax.legend(loc="lower right")
    return fig


def plot_raster(recording: Recording, *, neurons: int = 60) -> Figure:
    """Which neuron spikes when: the image, then a panel a layer, the busiest `neurons` of each."""
    rows = {"input": recording.input, **recording.spikes}
    output = list(recording.potentials)[-1]
    fig, axes = plt.subplots(len(rows), 1, figsize=(7.2, 1.25 * len(rows) + 0.6), sharex=True)
    for ax, (name, spikes) in zip(np.atleast_1d(axes), rows.items(), strict=True):
        color = {"input": INPUT, output: OUTPUT}.get(name, HIDDEN)
        _draw_raster(ax, name, spikes.flatten(1), neurons, color)
    axes[-1].set(xlabel="time step", xlim=(0.3, len(recording.input) + 0.7))
    return fig


def plot_decision(recording: Recording, class_names: tuple[str, ...], label: int) -> Figure:
    """The output of each class as it grows, and above it the decision, where it changes."""
    fig, (image, curves) = plt.subplots(1, 2, width_ratios=[1, 3.2])
    show_image(image, recording.image[0], f"a {class_names[label]}")
    output = recording.output  # [T, C]
    _draw_classes(curves, output, label, drawstyle="steps-mid")
    _name_ends(curves, output[-1], class_names, label)
    write_decisions(curves, recording.decisions, class_names, label, 1.02)
    spiking = len(recording.spikes) == len(recording.potentials)
    readout = "output spikes" if spiking else "output potential"
    curves.set(xlabel="time step", ylabel=f"{readout} so far", xlim=(0, len(output) + 1))
    return fig


@large_text()
def plot_overview(recording: Recording, class_names: tuple[str, ...], label: int) -> Figure:
    """The course in one picture: pixels, spikes, potentials, a decision, left to right."""
    fig, axes = plt.subplots(1, 4, figsize=(9.6, 3), width_ratios=[1.05, 1.05, 2, 2])
    pixels, spikes, raster, decision = axes
    show_image(pixels, recording.image[0], "image")
    ink = LinearSegmentedColormap.from_list("ink", ["white", INPUT])
    show_image(spikes, recording.input[0, 0], "its spikes", cmap=ink)
    _draw_layers(raster, recording)
    _draw_outputs(decision, recording.output, class_names, label)
    return fig


def plot_confusion_strip(
    result: SimulationResult, class_names: tuple[str, ...], steps: tuple[int, ...]
) -> Figure:
    """Confusion charts after each of `steps`, side by side."""
    fig, axes = plt.subplots(1, len(steps), figsize=(7.2, 2.1), sharey=True, squeeze=False)
    for ax, step in zip(axes[0], steps, strict=True):
        confusion = result.confusion[step - 1].double()
        shares = confusion / torch.bincount(result.labels, minlength=len(class_names))[:, None]
        ax.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        ax.set_title(f"step {step}", fontsize=9)
        ax.set_xlabel(f"{result.accuracy[step - 1]:.1%} right", fontsize=8)
        ax.set_xticks([])
        ax.set_yticks(range(len(class_names)), class_names, fontsize=6)
        ax.spines[:].set_visible(True)
    axes[0, 0].set_ylabel("true class")
    return fig


def draw_confusion(
    confusion: Tensor, class_names: tuple[str, ...], *, totals: Tensor | None = None
) -> Figure:
    """Counts of true class (row) by decision (column), and beside it each row's summary.

    totals  [N] labels, where some images are undecided and so in no column
    """
    per_class = (
        confusion.sum(1) if totals is None else torch.bincount(totals, minlength=len(class_names))
    )
    fig, (chart, summary) = plt.subplots(1, 2, figsize=(7.2, 4.6), width_ratios=[4, 1], sharey=True)
    display = ConfusionMatrixDisplay(confusion.numpy(), display_labels=class_names)
    display.plot(ax=chart, cmap="Blues", colorbar=False, text_kw={"fontsize": 8})
    chart.set(xlabel="decision", ylabel="true class")
    chart.spines[:].set_visible(True)
    _draw_row_summary(summary, confusion.diagonal() / per_class)
    return fig


def plot_confusion_at(result: SimulationResult, class_names: tuple[str, ...], step: int) -> Figure:
    """The confusion chart after one step, with its row summary."""
    fig = draw_confusion(result.confusion[step - 1], class_names, totals=result.labels)
    fig.suptitle(f"after step {step}: {result.accuracy[step - 1]:.2%} right")
    return fig


def write_decisions(
    ax: Axes, decisions: Tensor, class_names: tuple[str, ...], label: int, y: float, **look: str
) -> None:
    """Above the curves: the decision after each step that changes it, "?" while undecided."""
    for step, decision in enumerate(decisions.tolist(), start=1):
        if step == 1 or decision != decisions[step - 2]:
            ax.annotate(
                "?" if decision == UNDECIDED else class_names[decision],
                (step, y),
                xycoords=("data", "axes fraction"),
                color=OUTPUT if decision == label else REFERENCE,
                weight="bold",
                **look,
            )


def _draw_raster(ax: Axes, name: str, spikes: Tensor, neurons: int, color: str) -> None:
    """Dots at (step, neuron) [T, n], for the busiest neurons in their own order."""
    shown, rate = _busiest(spikes, neurons), spikes.mean().item()
    step, neuron = shown.nonzero(as_tuple=True)
    ax.scatter(step + 1, neuron, s=5, color=color, linewidths=0)
    ax.set(ylim=(-1, shown.shape[1]), yticks=[])
    neurons = f"{shown.shape[1]} of {spikes.shape[1]:,} neurons"
    ax.set_title(f"{name}: {neurons}, mean rate {rate:.3f} spikes/step", fontsize=9)
    ax.set_ylabel("neuron")


def _draw_layers(ax: Axes, recording: Recording) -> None:
    """The busiest input pixels below, those of each hidden layer above."""
    layers = {"input": recording.input, **recording.spikes}
    for i, (name, spikes) in enumerate(layers.items()):
        step, neuron = _busiest(spikes.flatten(1), 40).nonzero(as_tuple=True)
        color = INPUT if name == "input" else HIDDEN
        ax.scatter(step + 1, neuron + 46 * i, s=3, color=color, linewidths=0)
    ax.set_yticks([20 + 46 * i for i in range(len(layers))], layers)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="time step", title="spikes of every layer")


def _busiest(spikes: Tensor, neurons: int) -> Tensor:
    """The spikes [T, n] of so many neurons at most, in their own order."""
    return spikes[:, spikes.sum(0).topk(min(neurons, spikes.shape[1])).indices.sort().values]


def _draw_outputs(ax: Axes, output: Tensor, class_names: tuple[str, ...], label: int) -> None:
    _draw_classes(ax, output, label)
    ax.annotate(f" {class_names[label]}", (len(output), output[-1, label]), color=OUTPUT,
                va="center", weight="bold", fontsize=14)  # fmt: skip
    ax.set(xlabel="time step", ylabel="output potential", title="the decision forms")


def _draw_classes(ax: Axes, output: Tensor, label: int, **look: str) -> None:
    """The output of each class after each step [T, C], that of the true class in front."""
    steps = np.arange(1, len(output) + 1)
    for digit, curve in enumerate(output.T):
        right = digit == label
        ax.plot(steps, curve, color=OUTPUT if right else MUTED, zorder=2 + right, **look)


def _name_ends(ax: Axes, ends: Tensor, class_names: tuple[str, ...], label: int) -> None:
    """Write the class beside the end of the true curve and of its strongest rival."""
    rival = max((c for c in range(len(ends)) if c != label), key=lambda c: ends[c])
    for digit, color in ((label, OUTPUT), (rival, REFERENCE)):
        ax.annotate(
            f" {class_names[digit]}",
            (1, ends[digit]),
            xycoords=("axes fraction", "data"),
            color=color,
            va="center",
            weight="bold",
        )


def _draw_row_summary(ax: Axes, right: Tensor) -> None:
    """The share of each true class that was right, and wrong or undecided."""
    rows = range(len(right))
    ax.barh(rows, right, color=HIDDEN)
    ax.barh(rows, 1 - right, left=right, color=OUTPUT)
    for row, share in enumerate(right):
        text = "no image" if share.isnan() else f"{share:.1%}"
        color = "black" if share.isnan() else "white"
        ax.annotate(text, (0.05, row), color=color, va="center", fontsize=8)
    ax.tick_params(axis="y", left=False, labelleft=False)
    ax.set(xlim=(0, 1), xticks=[0, 1], title="right | wrong")
    ax.title.set_fontsize(9)
    percent_axis(ax.xaxis, grid=False)
