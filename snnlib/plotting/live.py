"""A figure that grows while something runs, in any notebook."""

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure


class LiveCurves:
    """Curves drawn anew in place each time a point is added.

    labels  one curve each;  xlabel, ylabel  of the axes;  xmax  the last x expected
    every   redraw after this many points, and whenever the last x is reached
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        xlabel: str,
        ylabel: str,
        xmax: float,
        ylim: tuple[float, float] | None = None,
        every: int = 1,
    ) -> None:
        self.figure, ax = plt.subplots()
        self.curves = {label: ax.plot([], [], marker=".", label=label)[0] for label in labels}
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, xmax * 1.02))
        if ylim:
            ax.set_ylim(ylim)
        ax.grid(axis="y")
        ax.legend()
        self.xmax, self.every, self.points = xmax, every, 0
        self.handle = display(self.figure, display_id=True)
        plt.close(self.figure)  # shown once, through the handle

    def add(self, x: float, **values: float) -> Figure:
        """Append one point to each named curve (spaces in labels become underscores)."""
        for label, curve in self.curves.items():
            y = values[label.replace(" ", "_")]
            curve.set_data([*curve.get_xdata(), x], [*curve.get_ydata(), y])
        self.points += 1
        if self.points % self.every == 0 or x >= self.xmax:
            ax = self.figure.axes[0]
            ax.relim()
            ax.autoscale_view(scalex=False)
            self.handle.update(self.figure)
        return self.figure
