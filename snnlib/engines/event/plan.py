"""A spiking network laid out for the event-driven engine: what its kernels take."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch

WIDTH = 32  # neurons to a word of spikes, see lanes.py
CACHE_LINE = 64  # [bytes]


@dataclass(frozen=True)
class Layout:
    """Where the neurons of a layer lie.

    Attributes
    ----------
    places : array [C, H, W]
        The bit of each neuron among the layer's words of spikes.
    words : int
        How many words these are.
    above : int
        Neurons in memory before the first that has a bit.
    size : int
        Neurons in memory, with those that only pad.
    """

    places: np.ndarray
    words: int
    above: int
    size: int


@dataclass(frozen=True)
class Routes:
    """Where spikes arrive: spike n takes the entries first[n] to first[n + 1].

    Attributes
    ----------
    first : array [bits of the layer before + 1]
    place, band, row : array [entries]
        As the kernel that uses them says.
    fan_out : array [bits of the layer before]
        Synapses that leave each neuron.
    """

    first: np.ndarray
    place: np.ndarray
    band: np.ndarray
    row: np.ndarray
    fan_out: np.ndarray

    @classmethod
    def of(cls, bits: np.ndarray, fan_out: np.ndarray, *where: np.ndarray) -> "Routes":
        """From one entry for each arrival, in the order of bits.

        Parameters
        ----------
        bits : array [entries]
            Of the neuron before that spikes.
        fan_out : array [bits of the layer before]
        *where : array [entries]
            Place, row and, where a kernel wants it, band.

        Returns
        -------
        Routes
        """
        first = np.zeros(len(fan_out) + 1, np.int32)
        first[1:] = np.cumsum(np.bincount(bits, minlength=len(fan_out)))
        place, row, *band = (x.astype(np.int32) for x in where)
        return cls(first, place, *(band or [np.zeros(0, np.int32)]), row, fan_out)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a kernel takes."""
        return self.first, self.place, self.band, self.row, self.fan_out


@dataclass(frozen=True)
class Neurons:
    """The neurons of a layer.

    Attributes
    ----------
    name : str
    layout : Layout
    thresholds : array [tiles or 1 * tile]
    tile : int
        Neurons of a tile.
    spiking, zero_reset : bool
    initial : array [layout.size]
    bias : array [0 or 1, layout.size]
        Added in every step.
    unit : float
        Of potentials [threshold units].
    """

    name: str
    layout: Layout
    thresholds: np.ndarray
    tile: int
    spiking: bool
    zero_reset: bool
    initial: np.ndarray
    bias: np.ndarray
    unit: float

    def arrays(self) -> tuple:
        """What a kernel takes."""
        step = self.tile if len(self.thresholds) > self.tile else 0
        return self.thresholds, self.tile, step, self.zero_reset


@dataclass(frozen=True)
class Laid:
    """A layer laid out: neurons, and the layers whose spikes arrive."""

    sources: tuple[str, ...]
    neurons: Neurons


class Accumulate(Laid):
    """A layer for the kernel ``accumulate``: its input is a current."""


@dataclass(frozen=True)
class Gather(Laid):
    """A layer for the kernel ``gather``, whose arguments these are."""

    routes: Routes
    windows: tuple[np.ndarray, np.ndarray, np.ndarray, int]
    weights: np.ndarray
    safe: int


@dataclass(frozen=True)
class Scatter(Laid):
    """A layer for the kernel ``scatter``, whose arguments these are."""

    routes: Routes
    weights: np.ndarray
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Maximum(Laid):
    """A layer for the kernel ``maximum``, whose arguments these are: it pools."""

    routes: Routes
    members: tuple[np.ndarray, np.ndarray]
    rule: int
    inputs: int  # bits of the layer before


@dataclass(frozen=True)
class Plan:
    """The whole network.

    Attributes
    ----------
    input_shape : torch.Size
        (C, H, W) of one image.
    pixel_keys : array [words * WIDTH]
        int32, the encoder's, padded to whole words.
    layers : list of Laid
        In order.
    driven : tuple of str
        The layers that receive a constant input, as a current.
    """

    input_shape: torch.Size
    pixel_keys: np.ndarray
    layers: list[Laid]
    driven: tuple[str, ...]

    @property
    def words(self) -> int:
        """How many words hold the spikes of the input."""
        return len(self.pixel_keys) // WIDTH

    def counted_at(self, name: str) -> int | None:
        """The place of a layer that counts the spikes of ``name`` and no others."""
        return next((i for i, la in enumerate(self.layers) if la.sources == (name,)), None)


def aligned(values: np.ndarray) -> np.ndarray:
    """A copy that begins on a cache line; a vector that lies across two costs double.

    Parameters
    ----------
    values : array

    Returns
    -------
    array
    """
    room = np.empty(values.nbytes + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def padded(size: int) -> int:
    """So many neurons, and those that fill up their last word.

    Parameters
    ----------
    size : int

    Returns
    -------
    int
        A multiple of WIDTH.
    """
    return -(-size // WIDTH) * WIDTH


def compiled() -> ModuleType:
    """The kernels, imported when they are first needed: numba takes a second to load."""
    from snnlib.engines.event import kernels

    return kernels
