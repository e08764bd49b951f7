"""Stop as soon as the decision is sure (chapter 8, *Count the spikes*).

Evidence grows with every step, and with it the margin by which the best class leads.
An image stops once the margin reaches a threshold; most need a few steps, some many.
The threshold is found on training images, never on those that accuracy is reported for.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from snnlib.simulation import SimulationResult


@dataclass(frozen=True)
class MarginStop:
    """A rule for ``simulate(stop=...)``: stop at a margin.

    Parameters
    ----------
    margin : float
        Lead over the second best class, above 0: of output potential [threshold units], or
        for the readout "spikes" [output spikes].  Infinity never stops.

    Raises
    ------
    ValueError
        For other margins.
    """

    margin: float

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ValueError(f"margin is {self.margin}; give a lead above 0.")

    def __call__(self, margins: Tensor) -> Tensor:
        """Which images stop.

        Parameters
        ----------
        margins : Tensor [N]

        Returns
        -------
        Tensor [N]
            bool
        """
        return margins >= self.margin


@dataclass(frozen=True, eq=False)
class ExitCurve:
    """What stopping at each of K margins costs and saves.

    Attributes
    ----------
    margins : Tensor [K]
        float64, rising.
    mean_steps : Tensor [K]
        float64, steps until an image stops, averaged over images.
    accuracy : Tensor [K]
        float64, share of images whose decision is right when they stop.
    """

    margins: Tensor
    mean_steps: Tensor
    accuracy: Tensor


def exit_curve(result: SimulationResult, margins: Tensor | None = None) -> ExitCurve:
    """Accuracy against mean steps, from one simulation that ran to its end.

    Parameters
    ----------
    result : SimulationResult
        Made without ``stop``: its margins tell when each image would have stopped.
    margins : Tensor [K], optional
        To try, above 0; default 100, from the smallest that occurs to the largest.

    Returns
    -------
    ExitCurve

    Raises
    ------
    ValueError
        For a result made with ``stop``, and for a margin not above 0.
    """
    margins = _spread(result.margins) if margins is None else margins.double().sort().values
    rows = [_stop_at(result, MarginStop(margin.item())) for margin in margins]
    mean_steps, accuracy = torch.tensor(rows, dtype=torch.float64).reshape(-1, 2).T
    return ExitCurve(margins, mean_steps, accuracy)


def stopping_steps(result: SimulationResult, stop: MarginStop) -> Tensor:
    """When each image would stop, read off a simulation that ran to its end.

    Parameters
    ----------
    result : SimulationResult
        Of T steps, made without ``stop``.
    stop : MarginStop

    Returns
    -------
    Tensor [N]
        int64 [steps]: the first at which the rule stops the image, or T.

    Raises
    ------
    ValueError
        For a result made with ``stop``.
    """
    if (result.steps_used < len(result.margins)).any():
        raise ValueError("some images stopped early; simulate without stop to compare margins.")
    stops = stop(result.margins)  # [T, N]
    stops[-1] = True
    return stops.int().argmax(0) + 1


def calibrate_stop(result: SimulationResult, *, tolerance: float = 0.0005) -> MarginStop:
    """The smallest margin that loses almost no accuracy.

    Parameters
    ----------
    result : SimulationResult
        Of training images, made without ``stop``.
    tolerance : float
        Share of images, in [0, 1): accuracy may fall by so much below that of all steps.

    Returns
    -------
    MarginStop
        It never stops if no margin is good enough.

    Raises
    ------
    ValueError
        As ``exit_curve``, and for another tolerance.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}; give a share of images in [0, 1).")
    curve = exit_curve(result)
    enough = curve.accuracy >= result.accuracy[-1] - tolerance
    lost = (~enough).nonzero()  # a larger margin may lose again: take those that never do
    place = int(lost[-1]) + 1 if len(lost) else 0
    return MarginStop(curve.margins[place].item() if place < len(enough) else torch.inf)


def _stop_at(result: SimulationResult, stop: MarginStop) -> tuple[float, float]:
    """(mean steps, accuracy) if every image stops by the rule."""
    used = stopping_steps(result, stop)
    right = result.predictions.gather(0, used[None] - 1)[0] == result.labels
    return used.double().mean().item(), right.double().mean().item()


def _spread(margins: Tensor, count: int = 100) -> Tensor:
    """[count], evenly spaced on a logarithmic scale over what occurs."""
    seen = margins[margins > 0]
    if not len(seen):
        return torch.tensor([torch.inf], dtype=torch.float64)
    low, high = seen.min().log10().item(), seen.max().log10().item()
    return torch.logspace(low, high, count, dtype=torch.float64)
