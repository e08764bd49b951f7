"""The integrate-and-fire neuron (chapter 2, *The integrate-and-fire neuron*).

The equation dv/dt = sum_i w_i sum_{s in S_i} delta(t - s) says: a potential v
jumps by the weight w_i at each spike of input i, and keeps its value in between.
In steps of one time unit: add the input, spike at the threshold, reset.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnlib.cnn.models import pair

RESETS = ("subtract", "zero")
MAX_POOLING = ("exact", "gate", "or")


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


class Population(nn.Module):
    """Neurons that remember their potential between calls.

    Attributes
    ----------
    v : Tensor [N, ...] or None
        Membrane potential; None before the first step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.v: Tensor | None = None

    def reset(self) -> None:
        """Forget the potential; the next call starts anew."""
        self.v = None

    def keep(self, images: Tensor) -> None:
        """Go on with the images of a mask [N] only.

        Parameters
        ----------
        images : Tensor [N]
            bool
        """
        self.v = None if self.v is None else self.v[images]


class IFNeuron(Population):
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


class Integrator(Population):
    """Neurons that never spike: the potential itself, in float64, is what they say."""

    wide = True

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


class MaxPooling(nn.Module):
    """Spiking max pooling: neurons that count spikes (chapter 9, *Lift the constraints*).

    Parameters
    ----------
    pool : nn.MaxPool2d
        Its windows.
    rule : str
        "exact": spike whenever the largest count of input spikes in the window exceeds the
        number of spikes given.  Counts rise by at most one a step, so the two are equal
        after every step, and the rate is the largest rate.
        "gate": pass on the spikes of the input with the largest count so far (Rueckauer et
        al. 2017); what it gave while another input led stays given or missing.
        "or": spike whenever any input of the window does, as a max pool applied to spikes
        gives; inputs that take turns add up, so the rate is too high.

    Raises
    ------
    ValueError
        For another rule.

    Attributes
    ----------
    inputs, outputs : Tensor [N, ...] or None
        Spikes received and given so far.
    """

    def __init__(self, pool: nn.MaxPool2d, rule: str = "exact") -> None:
        super().__init__()
        check_max_pooling(rule)
        self.pool, self.rule, self.wide = pool, rule, False
        self.register_buffer("threshold", torch.tensor(1.0))
        self.register_buffer("initial", torch.tensor(0.0))
        self.reset()

    def reset(self) -> None:
        """Forget all counts."""
        self.inputs: Tensor | None = None
        self.outputs: Tensor | None = None

    def keep(self, images: Tensor) -> None:
        """Go on with the images of a mask [N] only.

        Parameters
        ----------
        images : Tensor [N]
            bool
        """
        if self.inputs is not None:
            self.inputs, self.outputs = self.inputs[images], self.outputs[images]

    @property
    def v(self) -> Tensor | None:
        """How far the output lags behind the busiest input [spikes]; None before a step."""
        return None if self.inputs is None else self.pool(self.inputs) - self.outputs

    def forward(self, spikes: Tensor) -> Tensor:
        """One time step.

        Parameters
        ----------
        spikes : Tensor [N, C, H, W]
            0 or 1.

        Returns
        -------
        Tensor [N, C, H', W']
            0 or 1.
        """
        dtype = torch.float64 if self.wide else spikes.dtype
        self.inputs = spikes.to(dtype) if self.inputs is None else self.inputs + spikes
        given = getattr(self, f"_{self.rule}")(spikes)
        self.outputs = given.to(dtype) if self.outputs is None else self.outputs + given
        return given

    def _exact(self, spikes: Tensor) -> Tensor:
        most = self.pool(self.inputs)
        return (most > (0.0 if self.outputs is None else self.outputs)).to(spikes.dtype)

    def _gate(self, spikes: Tensor) -> Tensor:
        pool = self.pool
        sizes = (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
        _, leader = F.max_pool2d(self.inputs, *sizes, return_indices=True)  # [N, C, H', W']
        return spikes.flatten(2).gather(2, leader.flatten(2)).view(leader.shape)

    def _or(self, spikes: Tensor) -> Tensor:
        return self.pool(spikes)

    def windows(self, shape: torch.Size, axis: int) -> Tensor:
        """Which inputs each window covers, along one axis.

        Parameters
        ----------
        shape : torch.Size
            (C, H, W) of one image's inputs.
        axis : int
            0 for rows, 1 for columns.

        Returns
        -------
        Tensor [windows, size]
            bool
        """
        size = shape[1 + axis]
        count = self.pool(torch.zeros(1, *shape)).shape[2 + axis]
        sizes = self.pool.kernel_size, self.pool.stride, self.pool.padding, self.pool.dilation
        kernel, stride, padding, dilation = (pair(size)[axis] for size in sizes)
        begin = torch.arange(count)[:, None, None] * stride - padding
        covered = begin + torch.arange(kernel)[:, None] * dilation  # [windows, kernel, 1]
        return (covered == torch.arange(size)).any(1)

    def fan_out(self, shape: torch.Size) -> Tensor:
        """In how many windows each input is.

        Parameters
        ----------
        shape : torch.Size
            (C, H, W) of one image's inputs.

        Returns
        -------
        Tensor [C, H, W]
        """
        rows, columns = (self.windows(shape, axis).sum(0).float() for axis in (0, 1))
        return (rows[:, None] * columns).expand(*shape).clone()


def is_per_channel(values: Tensor, shape: torch.Size) -> bool:
    """Whether thresholds, or the like, are one number or one for each channel.

    Parameters
    ----------
    values : Tensor
    shape : torch.Size
        Of the layer's neurons, [C, H, W] or [C].

    Returns
    -------
    bool
    """
    return values.numel() == 1 or values.shape == (shape[0], *[1] * (len(shape) - 1))


def check_max_pooling(rule: str) -> None:
    """Raise unless ``rule`` is one of MAX_POOLING.

    Parameters
    ----------
    rule : str

    Raises
    ------
    ValueError
        For anything but "exact", "gate" and "or".
    """
    if rule not in MAX_POOLING:
        raise ValueError(f'max_pooling is {rule!r}; choose "exact", "gate" or "or".')


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
