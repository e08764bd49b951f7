"""Figures of chapter 1: the images, their classes and their pixels."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from snnlib.data import Digits
from snnlib.plotting.style import INPUT, MUTED, bare, percent_axis, show_image

MAX_LEVEL = 255  # an 8-bit pixel


def plot_digits(images: Tensor, titles: Sequence[str], *, columns: int = 6) -> Figure:
    """Images [N, 1, H, W] in a grid, each below its title."""
    rows = -(-len(images) // columns)  # ceil
    fig, axes = plt.subplots(rows, columns, figsize=(7.2, 7.2 / columns * rows + 0.3 * rows))
    for ax in axes.flat:
        bare(ax)
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        show_image(ax, image[0], title, loc="center")
        ax.spines[:].set(visible=True, color=MUTED)
    return fig


def plot_pixel_values(image: Tensor, rows: slice, columns: slice) -> Figure:
    """An image [1, H, W] with a window marked, and beside it that window's numbers."""
    fig, (whole, window) = plt.subplots(1, 2, figsize=(7.2, 3.6), width_ratios=[1, 1.25])
    whole.imshow(image[0], vmin=0, vmax=1)
    whole.set(xlabel="column [pixels]", ylabel="row [pixels]", xticks=[0, 9, 18, 27])
    whole.set_yticks([0, 9, 18, 27])
    whole.spines[:].set(visible=True, color=MUTED)
    corner = (columns.start - 0.5, rows.start - 0.5)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    whole.add_patch(Rectangle(corner, *size, fill=False, color=INPUT, linewidth=2))
    _draw_numbers(window, image[0, rows, columns])
    return fig


def plot_class_balance(whole: Digits, balanced: Digits) -> Figure:
    """The share of each class, in a whole split and in a balanced selection from it."""
    fig, ax = plt.subplots()
    _draw_shares(ax, whole, -0.2, color=MUTED, label=f"whole split: {len(whole):,} images")
    _draw_shares(ax, balanced, 0.2, color=INPUT, label=f"balanced: {len(balanced):,} images")
    ax.set_xticks(range(len(whole.class_names)), whole.class_names)
    ax.set(xlabel="class", ylabel="share of images", ylim=(0, 0.15), yticks=[0, 0.05, 0.1, 0.15])
    percent_axis(ax.yaxis)
    ax.set_axisbelow(True)
    ax.legend(loc="upper right", ncols=2)
    return fig


def plot_pixel_histogram(images: Tensor) -> Figure:
    """How often each of the 256 grey levels occurs, on a logarithmic scale."""
    levels = (images * MAX_LEVEL).round().int().flatten()
    shares = torch.bincount(levels, minlength=MAX_LEVEL + 1).double() / len(levels)
    fig, ax = plt.subplots()
    ax.bar(range(MAX_LEVEL + 1), shares, width=1.0, color=INPUT)
    ax.annotate(
        f"level 0: {100 * shares[0]:.1f} % of all pixels",
        (0, shares[0]),
        xytext=(12, -4),
        textcoords="offset points",
        weight="bold",
    )
    ax.set(xlabel="grey level, 0 black to 255 white", ylabel="share of pixels", yscale="log")
    ax.set(xlim=(-4, MAX_LEVEL + 4), xticks=[0, 64, 128, 192, MAX_LEVEL], ylim=(1e-4, 1.5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    return fig


def _draw_shares(ax: Axes, digits: Digits, offset: float, **look: str) -> None:
    """One bar a class, `offset` beside its tick."""
    shares = torch.bincount(digits.labels, minlength=len(digits.class_names)) / len(digits)
    ax.bar(torch.arange(len(shares)) + offset, shares, width=0.4, **look)


def _draw_numbers(ax: Axes, pixels: Tensor) -> None:
    """Each pixel's 8-bit value, written on its grey."""
    ax.imshow(pixels, vmin=0, vmax=1)
    for row, values in enumerate(pixels):
        for column, value in enumerate(values):
            color = "white" if value > 0.5 else "black"
            level = round(value.item() * MAX_LEVEL)
            ax.annotate(f"{level}", (column, row), color=color, ha="center", va="center")
    bare(ax)
    ax.spines[:].set(visible=True, color=INPUT, linewidth=2)
