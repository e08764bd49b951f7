"""The integrate-and-fire neuron (chapter 2, *The integrate-and-fire neuron*).

The equation dv/dt = sum_i w_i sum_{s in S_i} delta(t - s) says: a potential v
jumps by the weight w_i at each spike of input i, and keeps its value in between.
In steps of one time unit: add the input, spike at the threshold, reset.
"""

import torch
from torch import Tensor, nn

RESETS = ("subtract", "zero")


def if_step(
    v: Tensor, current: Tensor, *, threshold: float | Tensor = 1.0, reset: str = "subtract"
) -> tuple[Tensor, Tensor]:
    """One time step of integrate-and-fire neurons; a pure function.

    Parameters
    ----------
    v, current : Tensor
        Membrane potential and input of the step, same shape [threshold units].
    threshold : float or Tensor
        A neuron spikes when v >= threshold.
    reset : str
        "subtract" keeps what exceeds the threshold (Rueckauer et al. 2017),
        "zero" discards it (Diehl et al. 2015).

    Returns
    -------
    spikes : Tensor
        0 or 1.
    v : Tensor
        After the reset.

    Raises
    ------
    ValueError
        For another reset.
    """
    check_reset(reset)
    v = v + current
    spikes = (v >= threshold).to(v.dtype)
    v = v - threshold * spikes if reset == "subtract" else v * (1 - spikes)
    return spikes, v


class IFNeuron(nn.Module):
    """A population of IF neurons that remembers its potential between calls.

    The same rule as ``if_step``, updating the potential in place for speed.

    Parameters
    ----------
    threshold : float or Tensor
        A tensor broadcasts against one image's neurons.
    reset : str
        "subtract" or "zero".
    initial_potential : float
        v before the first step, as a fraction of the threshold.  One half makes the
        spike count round to nearest instead of down (Bu et al. 2022).
    wide : bool
        Keep v in float64, exact for longer.

    Raises
    ------
    ValueError
        For another reset.
    """

    def __init__(
        self,
        threshold: float | Tensor = 1.0,
        *,
        reset: str = "subtract",
        initial_potential: float = 0.0,
        wide: bool = False,
    ) -> None:
        super().__init__()
        check_reset(reset)
        self.reset_rule = reset
        self.wide = wide
        self.register_buffer("threshold", torch.as_tensor(threshold, dtype=torch.float32))
        self.register_buffer("initial", self.threshold * initial_potential)
        self.v: Tensor | None = None

    def reset(self) -> None:
        """Forget the potential; the next call starts from the initial one."""
        self.v = None

    def forward(self, current: Tensor) -> Tensor:
        """One time step.

        Parameters
        ----------
        current : Tensor [N, ...]
            Input of the step [threshold units].

        Returns
        -------
        Tensor
            Spikes (0 or 1), in the shape of ``current``.
        """
        if self.v is None:
            dtype = torch.float64 if self.wide else current.dtype
            self.v = torch.zeros_like(current, dtype=dtype).add_(self.initial)
        self.v += current
        spikes = torch.empty_like(current)
        torch.ge(self.v, self.threshold, out=spikes)
        if self.reset_rule == "subtract":
            self.v.addcmul_(spikes.to(self.v.dtype), self.threshold.to(self.v.dtype), value=-1)
        else:
            self.v.masked_fill_(spikes.bool(), 0.0)
        return spikes


class Integrator(nn.Module):
    """Neurons that never spike: the potential itself, in float64, is what they say."""

    wide = True

    def __init__(self) -> None:
        super().__init__()
        self.v: Tensor | None = None

    def reset(self) -> None:
        """Forget the potential; the next call starts from zero."""
        self.v = None

    def forward(self, current: Tensor) -> Tensor:
        """One time step.

        Parameters
        ----------
        current : Tensor [N, ...]
            Input of the step.

        Returns
        -------
        Tensor
            The potential after it, float64, in the shape of ``current``.
        """
        self.v = current.double() if self.v is None else self.v.add_(current)
        return self.v.clone()


def check_reset(reset: str) -> None:
    """Raise unless ``reset`` is one of RESETS.

    Parameters
    ----------
    reset : str

    Raises
    ------
    ValueError
        For anything but "subtract" and "zero".
    """
    if reset not in RESETS:
        raise ValueError(f'reset is {reset!r}; choose "subtract" or "zero".')
