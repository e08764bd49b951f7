"""Figures of chapter 3: what a rate can follow, the network, and how it learns."""

from collections.abc import Callable, Iterator, Sequence

import matplotlib.pyplot as plt
import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from snnlib.cnn.training import History
from snnlib.plotting.style import (
    HIDDEN,
    INPUT,
    METHODS,
    MUTED,
    OUTPUT,
    REFERENCE,
    bare,
    layer_color,
    percent_axis,
)


class LiveTraining:
    """Loss and accuracy of a training in progress, redrawn in place after each epoch.

    epochs  how many to expect

    Give it to `fit` as `on_epoch`.
    """

    def __init__(self, epochs: int) -> None:
        self.figure, (self.loss, self.accuracy) = plt.subplots(1, 2)
        self.epochs = epochs
        self._draw(History())
        self.handle = display(self.figure, display_id=True)
        plt.close(self.figure)  # shown once, through the handle

    def __call__(self, history: History) -> None:
        """Draw the history so far."""
        self._draw(history)
        if self.handle:  # there is none outside a notebook
            self.handle.update(self.figure)

    def _draw(self, history: History) -> None:
        for ax in (self.loss, self.accuracy):
            ax.clear()
        trained, tested, *_ = METHODS
        _draw_history(self.loss, history.loss, trained, "training images")
        _draw_history(self.accuracy, history.accuracy, trained, "training images")
        if history.validation_accuracy:
            _draw_history(self.accuracy, history.validation_accuracy, tested, "test images")
        self.loss.set(ylabel="mean loss", ylim=(0, None))
        for ax in (self.loss, self.accuracy):
            _draw_epochs(ax, self.epochs)
        _draw_accuracies(self.accuracy)


def plot_rate_gaps(current: Tensor, rate: Tensor, functions: dict[str, Callable]) -> Figure:
    """The measured rate of a neuron beside each activation function; their gap is shaded."""
    fig, axes = plt.subplots(1, len(functions), figsize=(7.2, 2.9), sharex=True, sharey=True)
    for ax, (name, function) in zip(axes, functions.items(), strict=True):
        value = function(current)
        ax.fill_between(current, rate, value, color=MUTED, alpha=0.6, linewidth=0)
        ax.plot(current, value, color=REFERENCE, label="unit of a CNN")
        ax.plot(current[::4], rate[::4], ".", color=HIDDEN, label="rate of a neuron")
        ax.set_title(f"{name}: off by {(rate - value).abs().max():.2g}")
        ax.set_xlabel("input [thresholds/step]")
        ax.grid(axis="y")
    axes[0].set_ylabel("output [spikes/step]")
    axes[0].legend(loc="upper left", handlelength=1.2, borderaxespad=0)
    return fig


def plot_pooling(cases: dict[str, tuple[Tensor, Tensor]]) -> Figure:
    """Two spike trains [T], and what the max and the mean of each step make of them."""
    fig, axes = plt.subplots(1, len(cases), figsize=(7.2, 3.0), sharey=True)
    for ax, (title, (a, b)) in zip(axes, cases.items(), strict=True):
        rows = [(a, INPUT), (b, INPUT), (torch.maximum(a, b), OUTPUT), ((a + b) / 2, HIDDEN)]
        for row, (values, color) in enumerate(rows):
            _draw_train(ax, -row, values, color)
        ax.set_title(title)
        ax.set(xlabel="time step", xlim=(0.4, len(a) + 2.4), xticks=range(1, len(a) + 1))
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    names = ["train A", "train B", "max of\neach step", "mean of\neach step"]
    axes[0].set_yticks([0.3 - row for row in range(4)], names)
    return fig


def plot_architecture(cnn: nn.Sequential, input_shape: tuple[int, int, int]) -> Figure:
    """Every stack of maps to scale, its shape below, and on the way to it the layer's weights."""
    fig, ax = plt.subplots(figsize=(7.2, 1.9))
    left, gap = 0.0, 19.0
    for notation, name, shape, weights in _stages(cnn, input_shape):
        if notation:
            _draw_arrow(ax, left, gap, notation, weights)
            left += gap
        width = _draw_stack(ax, left, shape, layer_color(name))
        label = f"{name}\n" + "x".join(map(str, shape))
        ax.annotate(label, (left + width / 2, -2), ha="center", va="top", fontsize=9)
        left += width
    ax.set(xlim=(-4, left + 4), ylim=(-13, 30), aspect="equal")
    bare(ax)
    return fig


def plot_recipes(rates: dict[str, Sequence[float]], histories: dict[str, History]) -> Figure:
    """Learning rate, and accuracy on the images as they were learned from, one line a recipe."""
    fig, (rate, accuracy) = plt.subplots(1, 2)
    for color, name in zip(METHODS, histories, strict=False):
        _draw_history(rate, rates[name], color, name)
        _draw_history(accuracy, histories[name].accuracy, color, name)
    for ax in (rate, accuracy):
        _draw_epochs(ax, max(len(history.accuracy) for history in histories.values()))
    rate.set(ylabel="learning rate", ylim=(0, None))
    _draw_accuracies(accuracy)
    accuracy.set_ylabel("accuracy while training")
    return fig


def _draw_history(ax: Axes, values: Sequence[float], color: str, label: str) -> None:
    epochs = range(1, len(values) + 1)
    ax.plot(epochs, values, marker=".", markersize=5, color=color, label=label)


def _draw_epochs(ax: Axes, epochs: int) -> None:
    """The axis of time for `epochs` epochs, counted from 1."""
    ax.set(xlabel="epoch", xlim=(0.5, epochs + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(axis="y")


def _draw_accuracies(ax: Axes) -> None:
    """The axis of accuracy, with room for the first epoch."""
    ax.set(ylabel="accuracy", ylim=(0.5, 1.01), yticks=[0.5, 0.6, 0.7, 0.8, 0.9, 1])
    percent_axis(ax.yaxis)
    ax.legend(loc="lower right")


def _draw_train(ax: Axes, base: float, values: Tensor, color: str) -> None:
    """A bar for each step, as high as its value, and the mean of all at the end."""
    steps = range(1, len(values) + 1)
    ax.bar(steps, 0.6 * values, bottom=base, width=0.35, color=color)
    ax.plot([0.5, len(values) + 0.5], [base, base], color=MUTED, linewidth=0.8)
    ax.annotate(f"rate {values.mean():.1f}", (len(values) + 0.7, base + 0.15), color=color)


def _stages(
    cnn: nn.Sequential, input_shape: tuple[int, int, int]
) -> Iterator[tuple[str, str, tuple[int, ...], int]]:
    """Yields (notation, name, shape [C, H, W] or [C], weights) of the input and each stack."""
    yield "", "input", input_shape, 0
    x = torch.zeros(1, *input_shape)
    for name, layer in cnn.named_children():
        with torch.inference_mode():
            x = layer(x)
        notation = _notation(layer)
        if notation:
            weights = sum(p.numel() for p in layer.parameters())
            yield notation, name, tuple(x.shape[1:]), weights


def _notation(layer: nn.Module) -> str:
    """The layer in the shorthand of Diehl et al. 2015; "" for one that keeps its shape."""
    if isinstance(layer, nn.Conv2d):
        return f"{layer.out_channels}c{layer.kernel_size[0]}"
    if isinstance(layer, nn.AvgPool2d):
        return f"{layer.kernel_size}s"
    return f"{layer.out_features}" if isinstance(layer, nn.Linear) else ""


def _draw_arrow(ax: Axes, left: float, gap: float, notation: str, weights: int) -> None:
    """An arrow from `left` across the gap, the layer above it and its weights below."""
    middle, height = left + gap / 2, 9
    ends = (left + gap - 1, height), (left + 1, height)
    ax.annotate("", *ends, arrowprops={"arrowstyle": "->", "color": REFERENCE})
    ax.annotate(notation, (middle, height + 1.5), ha="center", weight="bold")
    if weights:
        ax.annotate(
            f"{weights:,}\nweights", (middle, height - 1), ha="center", va="top", fontsize=9
        )


def _draw_stack(ax: Axes, left: float, shape: Sequence[int], color: str) -> float:
    """One square a channel, each a little behind the one before it; returns the width drawn.

    Without height and width, the channels stand on each other instead.
    """
    flat = len(shape) == 1
    side, across, up = (2.4, 0.0, 2.4) if flat else (shape[-1], 0.2, 0.1)
    for channel in reversed(range(shape[0])):
        corner = (left + across * channel, up * channel)
        look = {"facecolor": "white", "edgecolor": color, "linewidth": 0.7}
        ax.add_patch(Rectangle(corner, side, side, **look))
    return side + across * (shape[0] - 1)
