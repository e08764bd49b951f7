"""Images as spike trains (chapter 4, *Images as spike trains*).

An encoder turns images into the input of each time step, and states what a network has to
know of that input, see ``Encoder``.  Those here put pixels on a grid of 2**-24 first, so that
what follows is exact.

Whether a pixel spikes is a pure function of (seed, image, step, pixel): an
integer hash, compared with the pixel's rate.  There is no generator whose state
could depend on the batch size, and a higher rate only ever adds spikes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from snnlib.data import PIXELS, Span, check_pixels

LEVELS = 2**24  # steps of the grid on which rates and currents lie

InputStream = Callable[[int], Tensor]


class Encoder(Protocol):
    """What a simulation asks an encoder, those of a user's own included.

    Attributes
    ----------
    constant : bool
        The input is a current that is the same at every step, not spikes.
    gain : float
        By what factor the input is, on average over time, as large as the image.  Biases are
        multiplied by it, and outputs divided.  May be left out for a network without
        biases; then the result has no outputs.
    span : tuple of float
        The least and the largest pixel that it takes, and input that it gives.  Left out: 0, 1.
    """

    constant: bool
    gain: float
    span: Span

    def stream(self, images: Tensor, index: Tensor | None = None) -> InputStream:
        """The input of images [N, ...], as a function of the step, counted from 0.

        Parameters
        ----------
        images : Tensor [N, ...]
        index : Tensor [N], optional
            Place of each image in its data set; default 0..N-1.

        Returns
        -------
        callable
            Gives a Tensor [N, ...]: 0 or 1 unless ``constant``.
        """


@dataclass(frozen=True)
class PoissonEncoder:
    """Random spikes: at each step, pixel p spikes with probability p * max_rate.

    Independent draws make this a Bernoulli process, the usual stand-in for a
    Poisson process in discrete time.

    Parameters
    ----------
    max_rate : float
        Rate of a white pixel [spikes/step], in (0, 1].  0.4 is 400 Hz at 1 ms a step,
        the ``spikeThreshold`` 1 / 0.4 = 2.5 of MathWorks' example.
    seed : int
        Another seed gives other, equally likely spikes; in [0, 2**32).

    Raises
    ------
    ValueError
        For other arguments.
    """

    max_rate: float = 0.4
    seed: int = 0
    constant = False  # the input differs from step to step
    span = PIXELS

    @property
    def gain(self) -> float:
        """The input is on average ``max_rate`` times the image."""
        return self.max_rate

    def __post_init__(self) -> None:
        if not 0 < self.max_rate <= 1:
            raise ValueError(f"max_rate is {self.max_rate}; give spikes per step in (0, 1].")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; give a whole number in [0, 2**32).")

    def encode(self, images: Tensor, step: int, *, index: Tensor | None = None) -> Tensor:
        """Spikes of one step.

        Parameters
        ----------
        images : Tensor [N, ...]
        step : int
            Counted from 0.
        index : Tensor [N], optional
            Place of each image in its data set, which its spikes depend on; default 0..N-1.

        Returns
        -------
        Tensor
            0 or 1, in the shape of ``images``.
        """
        return self.stream(images, index)(step)

    def stream(self, images: Tensor, index: Tensor | None = None) -> InputStream:
        """``encode`` for many steps of the same images.

        Parameters
        ----------
        images : Tensor [N, ...]
        index : Tensor [N], optional
            As for ``encode``.

        Returns
        -------
        callable
            A function of the step that gives its spikes.
        """
        levels = rate_levels(images, self.max_rate)
        pixels = pixel_keys(images[0].shape, images.device)  # [C, H, W]
        keys = image_keys(self.seed, _places(images, index))  # [N]
        keys = keys.view(-1, *[1] * pixels.ndim)  # [N, 1, 1, 1]

        def spikes(step: int) -> Tensor:
            step_keys = _mix(keys ^ int(step))  # [N, 1, 1, 1]
            draws = _mix(step_keys ^ pixels).bitwise_right_shift_(8).bitwise_and_(LEVELS - 1)
            return (draws < levels).float()

        return spikes


@dataclass(frozen=True)
class ConstantEncoder:
    """No spikes: the pixel itself, as an input current that never changes.

    It removes the noise of random spikes; what remains is the network's own error
    (Rueckauer et al. 2017).
    """

    constant = True
    gain = 1.0
    span = PIXELS

    def encode(self, images: Tensor, step: int, *, index: Tensor | None = None) -> Tensor:
        """The pixels, on a grid of 2**-24, the same at every step.

        Parameters
        ----------
        images : Tensor [N, ...]
        step : int
            Without effect, as is ``index``; so both encoders are called alike.
        index : Tensor [N], optional

        Returns
        -------
        Tensor
            In the shape of ``images``.
        """
        return self.stream(images, index)(step)

    def stream(self, images: Tensor, index: Tensor | None = None) -> InputStream:
        """``encode`` for many steps of the same images.

        Parameters
        ----------
        images : Tensor [N, ...]
        index : Tensor [N], optional
            Without effect.

        Returns
        -------
        callable
            A function of the step that gives its input.
        """
        check_pixels(images, self.span)
        levels = (images.double() * LEVELS).floor_()
        currents = levels.div_(LEVELS).float()  # exact: 24 bits fit a float32
        return lambda step: currents


@dataclass(frozen=True)
class SignedEncoder(ConstantEncoder):
    """``ConstantEncoder`` for normalised images, `(x - mean) / std`, which have both signs.

    A current may flow out of a neuron as well as in, so nothing else changes, and sums stay
    exact.  A spike has no sign: for random spikes let the network normalise images in [0, 1],
    in its first layers or in ``forward``; ``convert`` folds that into weights.

    Parameters
    ----------
    limit : float
        The largest pixel of either sign, above 0.  It decides for how many steps potentials
        are exact.

    Raises
    ------
    ValueError
        For another limit.
    """

    limit: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.limit < math.inf:
            raise ValueError(f"limit is {self.limit}; give the largest pixel, above 0.")

    @property
    def span(self) -> Span:
        """From -limit to limit."""
        return -self.limit, self.limit


def rate_levels(images: Tensor, max_rate: float) -> Tensor:
    """The rates, on the grid that draws lie on.

    Parameters
    ----------
    images : Tensor [N, ...]
    max_rate : float
        [spikes/step]

    Returns
    -------
    Tensor
        floor(pixel * max_rate * 2**24), int32, in the shape of ``images``.
    """
    check_pixels(images)
    return (images.double() * max_rate * LEVELS).floor_().int()


def image_keys(seed: int, places: Tensor) -> Tensor:
    """One key per (seed, image), on which the image's random spikes depend.

    Parameters
    ----------
    seed : int
    places : Tensor [N]
        Of the images in their data set.

    Returns
    -------
    Tensor [N]
        int32
    """
    seed_key = _mix(torch.tensor(_as_int32(seed ^ 0x9E3779B9), dtype=torch.int32))
    return _mix(places.int() ^ seed_key.to(places.device))


def pixel_keys(shape: torch.Size, device: torch.device) -> Tensor:
    """One key per pixel, mixed, so that no two draws share their structure.

    Parameters
    ----------
    shape : torch.Size
        Of one image.
    device : torch.device

    Returns
    -------
    Tensor
        int32, of that shape.
    """
    numbers = torch.arange(shape.numel(), dtype=torch.int32, device=device)
    return _mix(numbers + 1).view(shape)


def _places(images: Tensor, index: Tensor | None) -> Tensor:
    if index is None:
        return torch.arange(len(images), device=images.device)
    if index.shape != images.shape[:1]:
        raise ValueError(f"index has shape {list(index.shape)}; expected [{len(images)}].")
    return index.to(images.device)


def _mix(x: Tensor) -> Tensor:
    """The 32-bit hash lowbias32 (Wellons 2018), on int32 tensors, which wrap as in C.

    A shift of int32 drags the sign along, so each is masked to act like an unsigned one.
    """
    x = x ^ ((x >> 16) & 0xFFFF)
    x *= _as_int32(0x7FEB352D)
    x ^= (x >> 15) & 0x1FFFF
    x *= _as_int32(0x846CA68B)
    x ^= (x >> 16) & 0xFFFF
    return x


def _as_int32(value: int) -> int:
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
