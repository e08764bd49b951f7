"""A spiking network laid out for the event-driven engine.

Everything that depends on geometry is worked out here, once: where each spike arrives,
which weights it adds there, and where the neurons of a layer lie in memory.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.encoding import pixel_keys
from snnlib.network import SpikingLayer, SpikingNetwork
from snnlib.neurons import MaxPooling

WIDTH = 32  # neurons to a word of spikes, see lanes.py
CACHE_LINE = 64  # [bytes]
LARGEST = 2**31 - 1  # whole number of 32 bits
FEW_CHANNELS = 32  # below this, a row of neurons makes a better tile than one place


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
    zero_reset : bool
    initial : array [layout.size]
    unit : float
        Of potentials [threshold units].
    """

    name: str
    layout: Layout
    thresholds: np.ndarray
    tile: int
    zero_reset: bool
    initial: np.ndarray
    unit: float

    def arrays(self) -> tuple:
        """What a kernel takes."""
        step = self.tile if len(self.thresholds) > self.tile else 0
        return self.thresholds, self.tile, step, self.zero_reset


@dataclass(frozen=True)
class Gather:
    """A layer for the kernel ``gather``, whose arguments these are."""

    neurons: Neurons
    routes: Routes
    windows: tuple[np.ndarray, np.ndarray, np.ndarray, int]
    weights: np.ndarray
    safe: int


@dataclass(frozen=True)
class Scatter:
    """A layer for the kernel ``scatter``, whose arguments these are."""

    neurons: Neurons
    routes: Routes
    weights: np.ndarray
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Accumulate:
    """A layer for the kernel ``accumulate``: its input is a current."""

    neurons: Neurons


@dataclass(frozen=True)
class Plan:
    """The whole network.

    Attributes
    ----------
    pixels, words : int
        Of the input: pixels, and the words that hold their spikes.
    pixel_keys : array [words * WIDTH]
        int32, the encoder's, padded.
    layers : list of Gather, Scatter or Accumulate
        In order.
    """

    pixels: int
    words: int
    pixel_keys: np.ndarray
    layers: list = field(default_factory=list)


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


def inexpressible(snn: SpikingNetwork) -> str | None:
    """What keeps the event engine from running a network; None if nothing does.

    Parameters
    ----------
    snn : SpikingNetwork

    Returns
    -------
    str or None
        A sentence with the mend.
    """
    if snn.device.type != "cpu":
        return f'the network is on "{snn.device}"; the event engine runs on the CPU: snn.cpu().'
    x = torch.zeros(1, *snn.input_shape)
    for layer in snn.layers:
        fault = _fault(layer, x)
        if fault:
            return f'layer {layer.name} {fault}; use engine="clock".'
        with torch.no_grad():
            x = layer.synapse(x)
    return None if x.ndim == 2 else 'the last layer is not linear; use engine="clock".'


def make_plan(snn: SpikingNetwork, steps: int, *, constant: bool) -> Plan:
    """Lay a network out.

    Parameters
    ----------
    snn : SpikingNetwork
    steps : int
        For so many steps potentials must fit.
    constant : bool
        The input is a current.

    Returns
    -------
    Plan
    """
    dtype = np.int32 if _fits_32_bits(snn, steps) else np.int64
    pixels = int(np.prod(snn.input_shape))
    words = -(-pixels // WIDTH)
    before = Layout(np.arange(pixels).reshape(snn.input_shape), words, 0, pixels)
    keys = np.zeros(words * WIDTH, np.int32)
    keys[:pixels] = pixel_keys(torch.Size(snn.input_shape), snn.device).flatten()
    plan, fan_outs, source = Plan(pixels, words, keys), snn.fan_outs(), "input"
    x = torch.zeros(1, *snn.input_shape)
    for layer in snn.layers:
        with torch.no_grad():
            x = layer.synapse(x)
        maker = _Maker(layer, before, _maps(x), fan_outs[source].numpy(), dtype)
        made = maker.accumulate() if constant and not plan.layers else maker.make()
        plan.layers.append(made)
        before, source = made.neurons.layout, layer.name
    return plan


def _maps(x: Tensor) -> tuple[int, int, int]:
    """(C, H, W) of one image's neurons; a linear layer's are channels of one place."""
    shape = tuple(x.shape[1:])
    return shape if len(shape) == 3 else (*shape, 1, 1)


def _fits_32_bits(snn: SpikingNetwork, steps: int) -> bool:
    """Whether no potential can leave the range of 32-bit numbers."""
    return all(layer.largest_potential(steps + 1) < LARGEST for layer in snn.layers)


def _fault(layer: SpikingLayer, x: Tensor) -> str | None:
    """Why a synapse cannot be expressed, given one image's input."""
    if isinstance(layer.neuron, MaxPooling) or len(layer.sources) > 1 or layer.bias is not None:
        return "has a bias, a branch or a max pool"
    pools, rest = _parts(layer.synapse)
    if any(not isinstance(pool, nn.AvgPool2d) or pool.divisor_override != 1 for pool in pools):
        return "has operations in an order that the event engine does not know"
    if any(pool.ceil_mode for pool in pools):
        return "pools over cut-off windows"
    kinds = [type(op) for op in rest]
    if kinds == [nn.Conv2d] or not kinds:
        known = x.ndim == 4 and all(isinstance(op.padding, tuple) for op in rest)
        known = known and all(op.padding_mode == "zeros" for op in rest)
    else:
        flat = x.ndim == 2 if kinds == [nn.Linear] else kinds == [nn.Flatten, nn.Linear]
        known = flat and all(_flattens_all(op, x) for op in rest)
    if not known:
        return "has a synapse that the event engine does not know"
    largest = 1.0 if layer.weight is None else layer.weight.abs().max().item()
    if largest * 2.0**layer.fraction_bits >= 2**15:
        return "has weights of more than 16 bits"
    return None


def _flattens_all(op: nn.Module, x: Tensor) -> bool:
    return not isinstance(op, nn.Flatten) or (op.start_dim, op.end_dim) in (
        (1, -1),
        (1, x.ndim - 1),
    )


def _parts(synapse: nn.Sequential) -> tuple[list[nn.Module], list[nn.Module]]:
    """The pools in front, and what follows them."""
    ops = list(synapse)
    weighted = [i for i, op in enumerate(ops) if isinstance(op, (nn.Conv2d, nn.Linear, nn.Flatten))]
    split = weighted[0] if weighted else len(ops)
    return ops[:split], ops[split:]


def _pair(value) -> tuple[int, int]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _padded(size: int) -> int:
    """The next whole number of words."""
    return -(-size // WIDTH) * WIDTH


class _Maker:
    """Lays out one layer."""

    def __init__(self, layer: SpikingLayer, before: Layout, shape, fan_out, dtype) -> None:
        self.layer, self.before, self.shape, self.dtype = layer, before, shape, dtype
        self.pools, rest = _parts(layer.synapse)
        self.op = rest[-1] if rest else None
        self.units = 2.0**layer.fraction_bits
        self.fan_out = np.zeros(before.words * WIDTH, np.int64)
        self.fan_out[before.places] = fan_out.reshape(before.places.shape)

    def make(self):
        """By what suits the kernel: a tile is a place, or a whole row of places."""
        if self.op is None:
            return self.scatter_pool()
        if isinstance(self.op, nn.Linear):
            return self.gather_linear()
        plain = _pair(self.op.stride) == _pair(self.op.dilation) == (1, 1)
        return self.scatter_conv() if plain and self.shape[0] < FEW_CHANNELS else self.gather_conv()

    # ---- neurons

    def neurons(self, layout: Layout, tile: int) -> Neurons:
        rule, neuron = self.layer, self.layer.neuron
        never = np.iinfo(self.dtype).max  # no potential reaches it
        thresholds = np.full(layout.words * WIDTH, never, self.dtype)
        initial = np.zeros(layout.size, self.dtype)
        if rule.spiking:
            thresholds[layout.places] = self._levels(neuron.threshold)
            initial[layout.above + layout.places] = self._levels(neuron.initial)
        thresholds = thresholds.reshape(-1, tile)
        if (thresholds == thresholds[0]).all():
            thresholds = thresholds[:1]
        zero = rule.spiking and neuron.reset_rule == "zero"
        return Neurons(
            rule.name, layout, aligned(thresholds.ravel()), tile, zero, initial, 1.0 / self.units
        )

    def _levels(self, value: Tensor) -> np.ndarray:
        """Thresholds in whole units, for every neuron [C, H, W]."""
        shape = self.shape if not isinstance(self.op, nn.Linear) else self.shape[:1]
        levels = np.broadcast_to(value.double().numpy() * self.units, shape)
        return levels.reshape(self.shape)

    def accumulate(self) -> Accumulate:
        size = int(np.prod(self.shape))
        words = -(-size // WIDTH)
        layout = Layout(np.arange(size).reshape(self.shape), words, 0, words * WIDTH)
        return Accumulate(self.neurons(layout, words * WIDTH))

    # ---- where spikes go

    def arrivals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Every way of a spike through the pools: its bit, and channel, row, column there."""
        channels, height, width = self.before.places.shape
        rows = _ways(height, [_axis(pool, 0) for pool in self.pools])
        columns = _ways(width, [_axis(pool, 1) for pool in self.pools])
        c, i, j = (
            x.ravel()
            for x in np.meshgrid(
                np.arange(channels),
                np.arange(rows.shape[1]),
                np.arange(columns.shape[1]),
                indexing="ij",
            )
        )
        bits = self.before.places[c, rows[0, i], columns[0, j]]
        order = np.argsort(bits, kind="stable")
        return bits[order], c[order], rows[1, i][order], columns[1, j][order]

    def pooled(self) -> tuple[int, int]:
        """(H, W) behind the pools."""
        size = self.before.places.shape[1:]
        for pool in self.pools:
            size = tuple(_pooled_size(n, *_axis(pool, a)) for a, n in enumerate(size))
        return size

    def routes(self, bits, place, row, band=None) -> Routes:
        first = np.zeros(self.before.words * WIDTH + 1, np.int32)
        first[1:] = np.cumsum(np.bincount(bits, minlength=self.before.words * WIDTH))
        band = np.zeros(0) if band is None else band
        where = (x.astype(np.int32) for x in (place, band, row))
        return Routes(first, *where, self.fan_out)

    # ---- gather

    def gather_linear(self) -> Gather:
        channels, (height, width) = self.before.places.shape[0], self.pooled()
        outputs = self.shape[0]
        bits, c, y, x = self.arrivals()
        row = (c * height + y) * width + x
        weights = np.zeros((channels * height * width, _padded(outputs)), np.int16)
        weights[:, :outputs] = self._whole_weights().T
        routes = self.routes(bits, np.zeros_like(bits), row * weights.shape[1])
        windows = tuple(np.full((1, 1), n, np.int32) for n in (0, 1, 0))
        return self._gather(routes, windows, 1, weights)

    def gather_conv(self) -> Gather:
        (height, width), dilation = self.pooled(), _pair(self.op.dilation)[1]
        length = -(-width // dilation)  # columns of one remainder lie side by side
        slot = np.arange(width) % dilation * length + np.arange(width) // dilation
        weights = self._full_weights().transpose(2, 3, 1, 0)  # [h, w, C, O]
        padded = np.zeros((*weights.shape[:3], _padded(weights.shape[3])), np.int16)
        padded[..., : weights.shape[3]] = weights
        bits, c, y, x = self.arrivals()
        cells = length * dilation
        routes = self.routes(
            bits, y * cells + slot[x], (slot[x] * weights.shape[2] + c) * padded.shape[3]
        )
        windows = self._windows(slot, cells, padded.shape)
        return self._gather(routes, windows, height * cells, padded)

    def _windows(self, slot: np.ndarray, cells: int, shape) -> tuple:
        """The cells that each place sees, a row of the kernel at a time."""
        (height, width), op = self.pooled(), self.op
        lines, steps, channels, length = shape
        _, tall, wide = self.shape
        rows = _kernel_places(tall, lines, op, 0)[:, None, :]  # [tall, 1, lines]
        columns = _kernel_places(wide, steps, op, 1)  # [wide, steps]
        seen = (columns >= 0) & (columns < width)
        ahead = seen.argmax(1)[None, :, None]  # [1, wide, 1], columns beside the image
        start = slot[columns.clip(0, width - 1)[np.arange(wide), ahead[0, :, 0]]][None, :, None]
        used = (rows >= 0) & (rows < height) & seen.any(1)[None, :, None]
        low = np.where(used, rows * cells + start, 0)
        high = np.where(used, low + seen.sum(1)[None, :, None], 0)
        shift = ((np.arange(lines) * steps + ahead - start) * channels * length) * used
        low, high, shift = (
            x.reshape(tall * wide, lines).astype(np.int32) for x in (low, high, shift)
        )
        return low, high, shift

    def _gather(self, routes: Routes, windows: tuple, cells: int, weights: np.ndarray) -> Gather:
        outputs, height, width = self.shape
        tile = weights.shape[-1]
        places = np.arange(height * width).reshape(height, width) * tile
        places = places + np.arange(outputs)[:, None, None]
        layout = Layout(places, height * width * tile // WIDTH, 0, height * width * tile)
        safe = (2**15 - 1) // max(1, int(np.abs(weights.astype(np.int32)).max()))
        blank = np.zeros(tile + WIDTH, np.int16)  # and a word that may be read and is not used
        flat = np.append(weights.ravel(), blank)
        windows = (*(x.ravel() for x in windows), cells, windows[0].shape[1], weights.size)
        return Gather(self.neurons(layout, tile), routes, windows, aligned(flat), safe // 8 * 8)

    # ---- scatter

    def scatter_conv(self) -> Scatter:
        weights = self._full_weights()[:, :, ::-1, ::-1].transpose(1, 2, 3, 0)  # [C, h, w, O]
        channels, lines, steps, outputs = weights.shape
        table = np.zeros((channels, lines, _padded(steps * outputs)), np.int16)
        table[..., : steps * outputs] = weights.reshape(channels, lines, -1)
        return self._scatter(table, _pair(self.op.padding), steps, by_channel=False)

    def scatter_pool(self) -> Scatter:
        """A pool of its own neurons is a convolution of every channel with a window of one."""
        table = np.zeros((1, 1, WIDTH), np.int16)
        table[0, 0, 0] = self.units
        return self._scatter(table, (0, 0), 1, by_channel=True)

    def _scatter(self, table: np.ndarray, padding, steps: int, *, by_channel: bool) -> Scatter:
        bits, c, y, x = self.arrivals()
        lines, length = table.shape[1:]
        outputs, height, width = self.shape
        row_size = _padded((max(self.pooled()[1] + padding[1], width) + steps - 1) * outputs)
        place = (y + padding[0]) * row_size + (x + padding[1]) * outputs
        band = y + padding[0]
        place, row = (place + c, 0 * c) if by_channel else (place, c * lines * length)
        routes = self.routes(bits, place, row, band)
        above, beside = (lines - 1), (steps - 1) * outputs
        tiles = max(self.pooled()[0] + padding[0], height) + above
        places = np.arange(height)[:, None] * row_size + beside + np.arange(width) * outputs
        places = places + np.arange(outputs)[:, None, None]
        layout = Layout(
            places, height * row_size // WIDTH, above * row_size, tiles * row_size + length
        )
        neurons = self.neurons(layout, row_size)
        return Scatter(neurons, routes, aligned(table.ravel()), (lines, length, above))

    # ---- weights

    def _whole_weights(self) -> np.ndarray:
        return (self.layer.weight.detach().double().numpy() * self.units).astype(np.int16)

    def _full_weights(self) -> np.ndarray:
        """[O, C, h, w]: with zeros for the channels that a group does not see."""
        weights, groups = self._whole_weights(), self.op.groups
        outputs, inputs = weights.shape[:2]
        full = np.zeros((outputs, inputs * groups, *weights.shape[2:]), np.int16)
        for group, out in enumerate(np.split(np.arange(outputs), groups)):
            full[out, group * inputs : (group + 1) * inputs] = weights[out]
        return full


def _kernel_places(outputs: int, size: int, op: nn.Conv2d, axis: int) -> np.ndarray:
    """[outputs, size]: the input that each element of the kernel meets, along one axis."""
    stride, padding, dilation = (v[axis] for v in (op.stride, op.padding, op.dilation))
    return np.arange(outputs)[:, None] * stride - padding + np.arange(size) * dilation


def _axis(pool: nn.AvgPool2d, axis: int) -> tuple[int, int, int]:
    """(kernel, stride, padding) along one axis."""
    return tuple(_pair(value)[axis] for value in (pool.kernel_size, pool.stride, pool.padding))


def _pooled_size(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _ways(size: int, pools: list[tuple[int, int, int]]) -> np.ndarray:
    """[2, ways]: from where to where pools lead along one axis, each as often as they do."""
    counts = np.eye(size, dtype=np.int64)
    for kernel, stride, padding in pools:
        begin = np.arange(_pooled_size(len(counts[0]), kernel, stride, padding)) * stride - padding
        inside = np.arange(len(counts[0]))[:, None] - begin
        counts = counts @ ((inside >= 0) & (inside < kernel))
    pairs = np.argwhere(counts)
    return np.repeat(pairs, counts[tuple(pairs.T)], axis=0).T
