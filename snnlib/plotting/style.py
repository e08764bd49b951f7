"""The look of every figure: one style, and one colour for each thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from torch import Tensor

STYLE_FILE = Path(__file__).parent.parent / "assets" / "course.mplstyle"

# Okabe and Ito (2008), told apart by colour-blind readers
INPUT = "#E69F00"  # input spikes, pixels
HIDDEN = "#0072B2"  # hidden spikes, and what a layer computes
OUTPUT = "#D55E00"  # output spikes, decisions
POTENTIAL = "#009E73"  # membrane potential
THRESHOLD = "#CC79A7"  # threshold
REFERENCE = "#4D4D4D"  # what the CNN does, for comparison
MUTED = "#BDBDBD"
LARGE_TEXT = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
}
DOTS = 3000  # in a panel of a scatter plot: enough to see the shape
METHODS = (HIDDEN, OUTPUT, POTENTIAL, THRESHOLD, INPUT, "#56B4E9")  # compared with one another


def use_course_style() -> None:
    """Apply the course's style to all figures made from now on."""
    mpl.style.use(STYLE_FILE)


@contextmanager
def large_text() -> Iterator[None]:
    """For figures with much in them, which must still be readable on a phone.

    Not matplotlib's own rc_context: around a notebook's first figure it would also
    undo the switch to interactive drawing, and later figures would not appear.
    """
    before = {name: mpl.rcParams[name] for name in LARGE_TEXT}
    mpl.rcParams.update(LARGE_TEXT)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def layer_color(name: str) -> str:
    """The colour of a layer's spikes: input, output, or anything between."""
    return {"input": INPUT, "output": OUTPUT}.get(name, HIDDEN)


def percent_axis(axis, *, grid: bool = True) -> None:
    """Show shares in percent, with lines to read them by."""
    axis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=None))
    axis.grid(grid)


def bare(ax: Axes) -> None:
    """An axes that only holds a picture: no ticks, no frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def show_image(ax: Axes, image: Tensor, title: str, *, cmap=None, **text) -> None:
    """An image [H, W] of pixels in [0, 1] and its title; `text` is how that looks."""
    ax.imshow(image, cmap=cmap, vmin=0, vmax=1)
    ax.set_title(title, **text)
    bare(ax)


def log_steps(ax: Axes, last: int, low: float = 0.95, high: float = 1.05) -> None:
    """Steps on a logarithmic axis, with plain numbers; room from `low` to `high` times the last."""
    ax.set(xscale="log", xlim=(low, high * last))
    ticks = [step for step in (1, 2, 3, 5, 10, 20, 40, 100) if step <= last]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()


def active_dots(activation: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
    """Activations and rates of neurons that have either, or of so many of them at random."""
    active = ((activation > 0) | (rate > 0)).flatten().nonzero().flatten()
    order = torch.randperm(len(active), generator=torch.Generator().manual_seed(0))
    shown = active[order[:DOTS]]
    return activation.flatten()[shown], rate.flatten()[shown]
