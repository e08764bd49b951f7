"""Figures of chapter 10 and the page of benchmarks: graphs, files, and other simulators."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnlib.plotting.style import HIDDEN, INPUT, MUTED, OUTPUT, POTENTIAL, REFERENCE

NODE_COLORS = {"Input": INPUT, "IF": HIDDEN, "I": OUTPUT, "Output": OUTPUT}
DOES_NOT_RUN = "does not run"
CONTESTANTS = {"ours": HIDDEN, "peer": OUTPUT, "reference": REFERENCE}

Times = Mapping[str, Sequence[float]]


def plot_nir_graph(graph: Any) -> Figure:
    """A NIR graph without branches: a row a node, with what NIR says and what only metadata say.

    Parameters
    ----------
    graph : nir.NIRGraph
        From ``to_nir``.
    """
    nodes = list(graph.nodes.values())
    fig, ax = plt.subplots(figsize=(7.2, 0.7 + 0.5 * len(nodes)))
    ax.set(xlim=(0, 10), ylim=(len(nodes) - 0.4, -1.3))
    ax.axis("off")
    ax.axvspan(6.05, 10, color=MUTED, alpha=0.25, linewidth=0)
    for x, title in ((1.2, "node"), (2.5, "what NIR says"), (6.2, "what only metadata say")):
        align = "center" if x < 2 else "left"
        ax.text(x, -0.9, title, ha=align, va="center", fontweight="bold", fontsize=11)
    for row, node in enumerate(nodes):
        _draw_node(ax, row, type(node).__name__)
        ax.text(2.5, row, _stated(node), va="center", fontsize=11)
        ax.text(6.2, row, _metadata(node), va="center", fontsize=11)
        if row:
            ax.annotate("", (1.2, row - 0.28), (1.2, row - 0.72), arrowprops={"arrowstyle": "->"})
    return fig


def _draw_node(ax: Axes, row: int, kind: str) -> None:
    color = NODE_COLORS.get(kind, MUTED)
    box = {"boxstyle": "round,pad=0.3", "facecolor": color, "edgecolor": "none"}
    ink = "white" if color in (HIDDEN, OUTPUT) else "black"
    ax.text(1.2, row, kind, ha="center", va="center", fontsize=11, color=ink, bbox=box)


def _stated(node: Any) -> str:
    """The fields of a node, in a few words."""
    kind = type(node).__name__
    if kind in ("Input", "Output"):
        return f"shape {_sizes(node.input_type['input'])}"
    if kind == "IF":
        return f"v > {node.v_threshold.flat[0]:g}, then v = {node.v_reset.flat[0]:g}"
    if kind == "I":
        return "v adds up, no spikes"
    if kind == "Flatten":
        return f"{_sizes(node.input_type['input'])} to {_sizes(node.output_type['output'])}"
    if kind == "SumPool2d":
        return f"window {_sizes(node.kernel_size)}, stride {_sizes(node.stride)}"
    return f"weights {_sizes(node.weight.shape)}"


def _metadata(node: Any) -> str:
    facts = node.metadata
    if "fraction_bits" not in facts:
        return ""
    grid = f"grid 2**-{facts['fraction_bits']}"
    if "reset" not in facts:
        return grid
    start = f"reset {facts['reset']}, start {facts['initial_potential']:g},"
    return f"{start}\n{facts['spikes_when'].replace('v_threshold', 'threshold')}, {grid}"


def _sizes(sizes: Sequence[int]) -> str:
    return " x ".join(str(int(size)) for size in sizes)


def plot_ladders(ladders: Mapping[str, Sequence[tuple[str, float | None]]]) -> Figure:
    """How much differs after each setting is fixed, a panel a simulator.

    Parameters
    ----------
    ladders : Mapping
        {simulator: [(setting, share that differs), ...]}, in order; None where it does not run.
    """
    heights = [len(rungs) + 0.6 for rungs in ladders.values()]
    size = (7.2, 0.9 + 0.27 * sum(heights))
    fig, axes = plt.subplots(
        len(ladders), 1, figsize=size, sharex=True, height_ratios=heights, squeeze=False
    )
    for ax, (name, rungs) in zip(axes[:, 0], ladders.items(), strict=True):
        _draw_ladder(ax, rungs)
        ax.set_title(name, loc="left", fontsize=10)
    axes[-1, 0].set_xlabel("hidden spikes that differ, as a share of ours")
    return fig


def _draw_ladder(ax: Axes, rungs: Sequence[tuple[str, float | None]]) -> None:
    for row, (_, share) in enumerate(rungs):
        if share is None:
            ax.text(1.2e-6, row, DOES_NOT_RUN, va="center", fontsize=9, color=REFERENCE)
            continue
        color = POTENTIAL if share == 0 else OUTPUT
        ax.plot([0, share], [row, row], color=color, linewidth=3, alpha=0.4)
        ax.plot(share, row, "o", color=color, markersize=5, clip_on=False)
    ax.set_xscale("symlog", linthresh=1e-5, linscale=0.6)
    ax.set_xlim(0, 3)
    ax.set_xticks([0, 1e-4, 1e-2, 1], ["none", "0.01 %", "1 %", "100 %"])
    ax.minorticks_off()
    labels = [setting if row == 0 else f"+ {setting}" for row, (setting, _) in enumerate(rungs)]
    ax.set_yticks(range(len(rungs)), labels, fontsize=9)
    ax.set_ylim(len(rungs) - 0.4, -0.6)
    ax.grid(axis="x")


def plot_sizes(sizes: Mapping[str, int], *, reference: str) -> Figure:
    """How large files are, with the one that the others are compared with in grey.

    Parameters
    ----------
    sizes : Mapping
        {what: [bytes]}, from top to bottom.
    reference : str
        One of them.
    """
    fig, ax = plt.subplots(figsize=(7.2, 0.9 + 0.4 * len(sizes)))
    for row, (name, size) in enumerate(sizes.items()):
        ax.barh(row, size / 1000, 0.6, color=REFERENCE if name == reference else HIDDEN)
        label = f"{size / 1000:.0f} kB, {size / sizes[reference]:.0%}"
        ax.annotate(
            label, (size / 1000, row), (4, 0), textcoords="offset points", va="center", fontsize=9
        )
    ax.set_yticks(range(len(sizes)), list(sizes))
    ax.set(xlabel="size [kB]", ylim=(len(sizes) - 0.5, -0.5))
    ax.set_xlim(0, 1.25 * max(sizes.values()) / 1000)
    return fig


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
            _draw_times(ax, row, of_task[name], CONTESTANTS[kinds[name]])
        ax.set(xlabel="time of an image [ms]", title=task)
        ax.grid(axis="x")
    rows = [f"{name}, {accuracy[name]:.1%}" for name in names]
    axes[0, 0].set_yticks(range(len(names)), rows)
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)  # the first on top
    all_times = [t for of_task in times.values() for values in of_task.values() for t in values]
    _spread_small_times(axes[0, 0], all_times)
    return fig


def _draw_times(ax: Axes, row: int, values: Sequence[float], color: str) -> None:
    """The median as a dot, with its number; all rounds as a line."""
    middle = statistics.median(values)
    ax.hlines(row, min(values), max(values), color=color, linewidth=4, alpha=0.4)
    ax.plot(middle, row, "o", color=color, markersize=5)
    text = {"ha": "center", "fontsize": 8, "color": color}
    ax.annotate(f"{middle:.2g}", (middle, row), (0, 5), textcoords="offset points", **text)


def _spread_small_times(ax: Axes, times: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers."""
    low, high = min(times) / 1.5, max(times) * 1.5
    ticks = [n * 10.0**e for e in range(-3, 5) for n in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    ax.set(xscale="log", xlim=(low, high))
    ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
    ax.minorticks_off()
