"""Figures of chapter 10: a NIR graph, what importers change, and the size of files."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnlib.plotting.style import HIDDEN, INPUT, MUTED, OUTPUT, POTENTIAL, REFERENCE

NODE_COLORS = {"Input": INPUT, "IF": HIDDEN, "I": OUTPUT, "Output": OUTPUT}
DOES_NOT_RUN = "does not run"


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
    options = {"height_ratios": heights}
    fig, axes = plt.subplots(
        len(ladders), 1, figsize=size, sharex=True, gridspec_kw=options, squeeze=False
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
