"""A figure that grows while something runs, in any notebook."""

import matplotlib.pyplot as plt
from IPython.display import display


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
        self.curves = [ax.plot([], [], marker=".", label=label)[0] for label in labels]
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, xmax * 1.02))
        if ylim:
            ax.set_ylim(ylim)
        ax.grid(axis="y")
        ax.legend()
        self.xmax, self.every, self.points = xmax, every, 0
        self.handle = display(self.figure, display_id=True)
        plt.close(self.figure)  # shown once, through the handle

    def add(self, x: float, *ys: float) -> None:
        """Put one point (x, y) on each curve, in the order of the labels.

        A second point at the same x replaces the first.
        """
        for curve, y in zip(self.curves, ys, strict=True):
            points = {**dict(zip(*curve.get_data(), strict=True)), x: y}
            curve.set_data(list(points.keys()), list(points.values()))
        self.points += 1
        if self.points % self.every == 0 or x >= self.xmax:
            ax = self.figure.axes[0]
            ax.relim()
            ax.autoscale_view(scalex=False)
            if self.handle:  # there is none outside a notebook
                self.handle.update(self.figure)
