"""The confusion chart, used by chapters 3 and 6."""

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from torch import Tensor

from snnlib.plotting.style import HIDDEN, OUTPUT, percent_axis


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
    percent_axis(ax.xaxis)
