"""What the first layer is given: a constant current, or spikes in words of 32 bits.

A source follows the images of a batch: ``keep`` drops those outside a mask [N], ``steps``
makes ready for ``count`` steps from ``first``, and ``of`` gives the currents and the spikes
of the images at some places.
"""

import numpy as np
from torch import Tensor

from snnlib.engines.clock import exact_arithmetic
from snnlib.engines.event.plan import WIDTH, Plan, aligned, compiled
from snnlib.spiking.encoding import Encoder, PoissonEncoder, image_keys, rate_levels
from snnlib.spiking.network import SpikingNetwork


def source_of(
    snn: SpikingNetwork, plan: Plan, encoder: Encoder, images: Tensor, index: Tensor
) -> "Source":
    """What a batch is shown.

    Parameters
    ----------
    snn : SpikingNetwork
    plan : Plan
        Of the network.
    encoder : Encoder
    images : Tensor [N, ...]
    index : Tensor [N]

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        For images of another shape.
    """
    if images.shape[1:] != plan.input_shape:
        raise ValueError(f"images are {list(images.shape[1:])}, not {list(plan.input_shape)}.")
    if encoder.constant:
        with exact_arithmetic():
            current = snn.input_current(encoder.stream(images, index)(0))
        is_one = isinstance(current, Tensor)
        return _Currents({snn.layers[0].name: current} if is_one else current, plan)
    if type(encoder) is PoissonEncoder:
        return _Draws(images, encoder, index, plan)
    return _Spikes(images, encoder, index, plan)


def are_spikes(x: Tensor) -> bool:
    """Whether an input is of spikes only.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    bool
    """
    return bool(((x == 0) | (x == 1)).all())


class _Currents:
    """Currents [N, ...] that never change, in whole units, into one or more layers."""

    def __init__(self, currents: dict[str, Tensor], plan: Plan) -> None:
        self.currents = {}
        for layer in plan.layers:
            neurons = layer.neurons
            if neurons.name in currents:
                units = currents[neurons.name].flatten(1).double().numpy() / neurons.unit
                rows = np.zeros((len(units), neurons.layout.size), neurons.initial.dtype)
                rows[:, neurons.layout.above + neurons.layout.places.ravel()] = units
                self.currents[neurons.name] = aligned(rows)
        self.images = len(units)

    def keep(self, mask: np.ndarray) -> None:
        self.currents = {name: rows[mask] for name, rows in self.currents.items()}
        self.images = int(mask.sum())

    def steps(self, first: int, count: int) -> "_Currents":
        self.nothing = np.zeros((self.images, count, 0), np.uint32)
        return self

    def of(self, places: slice) -> tuple[dict[str, np.ndarray], np.ndarray]:
        parts = {name: rows[places] for name, rows in self.currents.items()}
        return parts, self.nothing[places]


class _Draws:
    """The spikes of a PoissonEncoder, drawn where they are needed."""

    def __init__(self, images: Tensor, encoder: PoissonEncoder, index: Tensor, plan: Plan) -> None:
        levels = rate_levels(images, encoder.max_rate).flatten(1).numpy()
        self.levels = np.zeros((len(images), plan.words * WIDTH), np.int32)
        self.levels[:, : levels.shape[1]] = levels
        self.plan = plan
        self.image_keys = image_keys(encoder.seed, index).numpy()

    def keep(self, mask: np.ndarray) -> None:
        self.levels, self.image_keys = self.levels[mask], self.image_keys[mask]

    def steps(self, first: int, count: int) -> "_Draws":
        self.first, self.count = first, count
        return self

    def of(self, places: slice) -> tuple[dict[str, np.ndarray], np.ndarray]:
        levels = self.levels[places]
        spikes = np.empty((len(levels), self.count, self.plan.words), np.uint32)
        compiled().encode(levels, self.plan.pixel_keys, self.image_keys[places], self.first, spikes)
        return {}, spikes


class _Spikes:
    """The spikes of any encoder, packed into words."""

    def __init__(self, images: Tensor, encoder, index: Tensor, plan: Plan) -> None:
        self.images, self.encoder, self.index, self.plan = images, encoder, index, plan
        self.stream = encoder.stream(images, index)

    def keep(self, mask: np.ndarray) -> None:
        self.images, self.index = self.images[mask], self.index[mask]
        self.stream = self.encoder.stream(self.images, self.index)

    def steps(self, first: int, count: int) -> "_Spikes":
        self.words = np.stack([self._step(t) for t in range(first, first + count)], axis=1)
        return self

    def of(self, places: slice) -> tuple[dict[str, np.ndarray], np.ndarray]:
        return {}, np.ascontiguousarray(self.words[places])

    def _step(self, step: int) -> np.ndarray:
        """[N, words]"""
        x = self.stream(step).flatten(1)
        if not are_spikes(x):
            raise ValueError(
                "the encoder gives neither spikes (0 or 1) nor, with constant = True, a current "
                'that stays; use engine="clock".'
            )
        bits = np.zeros((len(x), self.plan.words * WIDTH), np.uint8)
        bits[:, : x.shape[1]] = x.numpy()
        return np.packbits(bits, axis=1, bitorder="little").view(np.uint32)


Source = _Currents | _Draws | _Spikes
