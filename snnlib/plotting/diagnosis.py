"""The figure of chapter 7: what the errors of each layer consist of, and what would help."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnlib.plotting.style import (
    HIDDEN,
    INPUT,
    METHODS,
    MUTED,
    OUTPUT,
    POTENTIAL,
    REFERENCE,
    THRESHOLD,
    percent_axis,
)
from snnlib.study.diagnosis import Diagnosis, Suggestion
from snnlib.study.experiments import PIECES

COLORS = dict(zip(PIECES, (MUTED, OUTPUT, HIDDEN, POTENTIAL, THRESHOLD, INPUT), strict=True))


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
    fig, axes = plt.subplots(
        len(heights),
        1,
        figsize=(7.2, sum(heights) + 0.7),
        height_ratios=heights,
        squeeze=False,
    )
    _draw_shares(axes[0, 0], diagnosis)
    if suggestion:
        _draw_evidence(axes[1, 0], suggestion)
    handles = axes[0, 0].get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper center", ncols=6, handlelength=1, columnspacing=1)
    return fig


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
    percent_axis(ax.xaxis)
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
    ax.grid(axis="y")
    ax.legend(title="scaled by percentile", loc="lower right")
