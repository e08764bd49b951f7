"""The figure of the page of benchmarks: who needs how long for an image."""

import statistics
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnlib.plotting.style import HIDDEN, OUTPUT, REFERENCE

COLORS = {"ours": HIDDEN, "peer": OUTPUT, "reference": REFERENCE}
Times = Mapping[str, Sequence[float]]


def plot_race(
    times: Mapping[str, Times], accuracy: Mapping[str, float], kinds: Mapping[str, str]
) -> Figure:
    """Time of an image, a panel a task and a row a contestant, with the accuracy beside it.

    Parameters
    ----------
    times : Mapping
        {task: {contestant: [ms], one a round}}; rows are in the order of the first task.
    accuracy : Mapping
        {contestant: share of images that are right}.
    kinds : Mapping
        {contestant: "ours", "peer" or "reference"}, which gives it its colour.
    """
    names = list(next(iter(times.values())))
    size = (7.2, 1.0 + 0.3 * len(names))
    fig, axes = plt.subplots(1, len(times), figsize=size, sharex=True, sharey=True, squeeze=False)
    for ax, (task, of_task) in zip(axes[0], times.items(), strict=True):
        for row, name in enumerate(names):
            _draw_times(ax, row, of_task[name], COLORS[kinds[name]])
        ax.set(xlabel="time of an image [ms]", title=task)
        ax.grid(axis="x")
    rows = [f"{name}, {accuracy[name]:.1%}" for name in names]
    axes[0, 0].set_yticks(range(len(names)), rows)
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)  # the first on top
    _spread_small_times(axes[0, 0], _all_of(times))
    return fig


def _draw_times(ax: Axes, row: int, values: Sequence[float], color: str) -> None:
    """The median as a dot, with its number; all rounds as a line."""
    middle = statistics.median(values)
    ax.hlines(row, min(values), max(values), color=color, linewidth=4, alpha=0.4)
    ax.plot(middle, row, "o", color=color, markersize=5)
    above = (0, 5)
    ax.annotate(
        f"{middle:.2g}",
        (middle, row),
        above,
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=color,
    )


def _all_of(times: Mapping[str, Times]) -> list[float]:
    return [t for of_task in times.values() for values in of_task.values() for t in values]


def _spread_small_times(ax: Axes, times: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers."""
    low, high = min(times) / 1.5, max(times) * 1.5
    ticks = [n * 10.0**e for e in range(-3, 5) for n in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set(xscale="log", xlim=(low, high))
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
