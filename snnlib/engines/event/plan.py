"""A spiking network laid out for the event-driven engine.

Everything that depends on geometry is worked out here, once: where each spike arrives,
which weights it adds there, and where the neurons of a layer lie in memory.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, ChannelScale
from snnlib.cnn.models import pair
from snnlib.spiking.encoding import pixel_keys
from snnlib.spiking.layer import SpikingLayer, weight_of
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import MaxPooling

WIDTH = 32  # neurons to a word of spikes, see lanes.py
CACHE_LINE = 64  # [bytes]
LARGEST = 2**31 - 1  # whole number of 32 bits
FEW_CHANNELS = 32  # below this, a row of neurons makes a better tile than one place
MOST_WEIGHTS = 2**25  # of a shortcut between features, laid out as a square


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
    bias : array [0 or 1, layout.size]
        Added in every step.
    unit : float
        Of potentials [threshold units].
    """

    name: str
    layout: Layout
    thresholds: np.ndarray
    tile: int
    zero_reset: bool
    initial: np.ndarray
    bias: np.ndarray
    unit: float

    def arrays(self) -> tuple:
        """What a kernel takes."""
        step = self.tile if len(self.thresholds) > self.tile else 0
        return self.thresholds, self.tile, step, self.zero_reset


@dataclass(frozen=True)
class Gather:
    """A layer for the kernel ``gather``, whose arguments these are."""

    sources: tuple[str, ...]
    neurons: Neurons
    routes: Routes
    windows: tuple[np.ndarray, np.ndarray, np.ndarray, int]
    weights: np.ndarray
    safe: int


@dataclass(frozen=True)
class Scatter:
    """A layer for the kernel ``scatter``, whose arguments these are."""

    sources: tuple[str, ...]
    neurons: Neurons
    routes: Routes
    weights: np.ndarray
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Accumulate:
    """A layer for the kernel ``accumulate``: its input is a current."""

    sources: tuple[str, ...]
    neurons: Neurons


@dataclass(frozen=True)
class Maximum:
    """A layer for the kernel ``maximum``: it pools."""

    sources: tuple[str, ...]
    neurons: Neurons
    routes: Routes
    inputs: int  # bits of the layer before


@dataclass(frozen=True)
class Plan:
    """The whole network.

    Attributes
    ----------
    pixels, words : int
        Of the input: pixels, and the words that hold their spikes.
    pixel_keys : array [words * WIDTH]
        int32, the encoder's, padded.
    layers : list of Gather, Scatter, Accumulate or Maximum
        In order.
    driven : tuple of str
        The layers that receive a constant input, as a current.
    """

    pixels: int
    words: int
    pixel_keys: np.ndarray
    layers: list = field(default_factory=list)
    driven: tuple[str, ...] = ()

    def counted_at(self, name: str) -> int | None:
        """The place of a layer that counts the spikes of ``name`` and no others."""
        alone = [i for i, la in enumerate(self.layers) if la.sources == (name,)]
        return alone[0] if alone else None


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
        A sentence with the fix.
    """
    if snn.device.type != "cpu":
        return f'the network is on "{snn.device}"; the event engine runs on the CPU: snn.cpu().'
    shapes = {INPUT: torch.Size(snn.input_shape)}
    for layer in snn.layers:
        for source, path in layer.paths:
            fault = _fault(layer, path, source, shapes[source])
            if fault:
                return f'layer {layer.name} {fault}; use engine="clock".'
        shapes[layer.name] = layer.shape(shapes)
    is_flat = len(shapes[snn.layers[-1].name]) == 1
    return None if is_flat else 'the last layer is not linear; use engine="clock".'


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
    driven = [layer.name for layer in snn.layers if constant and INPUT in layer.sources]
    plan, shapes, layouts = Plan(pixels, words, keys, [], tuple(driven)), snn.shapes(), {}
    layouts[INPUT] = before
    for layer in snn.layers:
        made = _Maker(layer, layouts, shapes, dtype, constant).make()
        plan.layers.append(made)
        layouts[layer.name] = made.neurons.layout
    return plan


def _maps(shape: torch.Size) -> tuple[int, int, int]:
    """(C, H, W) of one image's neurons; a linear layer's are channels of one place."""
    return tuple(shape) if len(shape) == 3 else (*shape, 1, 1)


def _fits_32_bits(snn: SpikingNetwork, steps: int) -> bool:
    """Whether no potential can leave the range of 32-bit numbers."""
    return all(layer.largest_potential(steps + 1) < LARGEST for layer in snn.layers)


def _fault(layer: SpikingLayer, path: nn.Sequential, source: str, before: torch.Size) -> str | None:
    """Why a synapse cannot be expressed, given the shape of the neurons before."""
    if isinstance(layer.neuron, MaxPooling):
        return _max_fault(layer.neuron, source)
    pools, rest = _parts(path)
    if any(not isinstance(pool, nn.AvgPool2d) or pool.divisor_override != 1 for pool in pools):
        return "has operations in an order that the event engine does not know"
    if any(pool.ceil_mode for pool in pools):
        return "pools over cut-off windows"
    if not _is_known(rest, before, single=len(layer.sources) == 1):
        return "has a synapse that the event engine does not know"
    weight = weight_of(path)
    if weight is not None and weight.abs().max().item() * 2.0**layer.fraction_bits >= 2**15:
        return "has weights of more than 16 bits"
    if rest and isinstance(rest[-1], ChannelScale) and rest[-1].channels ** 2 > MOST_WEIGHTS:
        return "has a shortcut between too many features"
    return None


def _max_fault(neuron: MaxPooling, source: str) -> str | None:
    if neuron.rule != "exact":
        return f'pools by the rule "{neuron.rule}"'
    return "pools the image itself" if source == INPUT else None


def _is_known(rest: list[nn.Module], before: torch.Size, *, single: bool) -> bool:
    """Whether what follows the pools has a layout, given the shape of the neurons before."""
    kinds = [type(op) for op in rest]
    if kinds == [nn.Conv2d] or (single and not kinds):
        known = len(before) == 3 and all(isinstance(op.padding, tuple) for op in rest)
        return known and all(op.padding_mode == "zeros" for op in rest)
    if kinds == [ChannelScale]:
        return True
    flat = kinds[1:] if kinds[:1] == [nn.Flatten] else kinds
    known = flat in ([nn.Linear], [ChannelScale]) and (len(flat) < len(kinds) or len(before) == 1)
    return known and all(_flattens_all(op, len(before) + 1) for op in rest)


def _flattens_all(op: nn.Module, axes: int) -> bool:
    return not isinstance(op, nn.Flatten) or (op.start_dim, op.end_dim) in ((1, -1), (1, axes - 1))


def _parts(synapse: nn.Sequential) -> tuple[list[nn.Module], list[nn.Module]]:
    """The pools in front, and what follows them."""
    ops, ends = list(synapse), (nn.Conv2d, nn.Linear, nn.Flatten, ChannelScale)
    weighted = [i for i, op in enumerate(ops) if isinstance(op, ends)]
    split = weighted[0] if weighted else len(ops)
    return ops[:split], ops[split:]


def _padded(size: int) -> int:
    """The next whole number of words."""
    return -(-size // WIDTH) * WIDTH


class _Maker:
    """Lays out one layer."""

    def __init__(self, layer: SpikingLayer, layouts, shapes, dtype, constant: bool) -> None:
        self.layer, self.dtype, self.neuron_shape = layer, dtype, tuple(shapes[layer.name])
        self.shape, self.units = _maps(shapes[layer.name]), 2.0**layer.fraction_bits
        fan_outs = layer.fan_outs(shapes)
        self.routes = [
            _Route(path, layouts[source], self.shape, fan_out.numpy(), self.units)
            for (source, path), fan_out in zip(layer.paths, fan_outs, strict=True)
            if not (constant and source == INPUT)  # then it is a current
        ]
        self.sources = tuple(s for s in layer.sources if not (constant and s == INPUT))

    def make(self) -> Gather | Scatter | Accumulate | Maximum:
        """By what suits the kernel: a tile is a place, or a whole row of places."""
        if not self.routes:
            return Accumulate(self.sources, self.neurons(*self._one_tile()))
        route, op = self.routes[0], self.routes[0].op
        if isinstance(self.layer.neuron, MaxPooling):
            windows = [self.layer.neuron.windows(route.before.places.shape, a) for a in (0, 1)]
            neurons = self.neurons(*self._one_tile())
            return Maximum(self.sources, neurons, route.to_windows(windows), route.bits)
        if len(self.routes) > 1 or isinstance(op, (nn.Linear, ChannelScale)):
            return self.gather()
        if op is None:
            return self.scatter(*route.scatter_pool())
        plain = pair(op.stride) == pair(op.dilation) == (1, 1)
        few = self.shape[0] < FEW_CHANNELS
        return self.scatter(*route.scatter_conv()) if few and plain else self.gather()

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
        bias = np.zeros((int(rule.bias is not None), layout.size), self.dtype)
        if rule.bias is not None:
            bias[0, layout.above + layout.places] = self._levels(rule.bias)
        zero = getattr(neuron, "reset_rule", None) == "zero"
        flat, unit = aligned(thresholds.ravel()), 1.0 / self.units
        return Neurons(rule.name, layout, flat, tile, zero, initial, aligned(bias), unit)

    def _levels(self, value: Tensor) -> np.ndarray:
        """Thresholds or biases in whole units, for every neuron [C, H, W]."""
        levels = np.broadcast_to(value.double().numpy() * self.units, self.neuron_shape)
        return levels.reshape(self.shape)

    def _one_tile(self) -> tuple[Layout, int]:
        size = int(np.prod(self.shape))
        words = -(-size // WIDTH)
        layout = Layout(np.arange(size).reshape(self.shape), words, 0, words * WIDTH)
        return layout, words * WIDTH

    # ---- kernels

    def gather(self) -> Gather:
        tables = [route.table() for route in self.routes]
        table = tables[0] if len(tables) == 1 else _joined(tables)
        outputs, height, width = self.shape
        tile, weights = _padded(outputs), table.weights
        places = np.arange(height * width).reshape(height, width) * tile
        places = places + np.arange(outputs)[:, None, None]
        layout = Layout(places, height * width * tile // WIDTH, 0, height * width * tile)
        safe = (2**15 - 1) // max(1, int(np.abs(weights.astype(np.int32)).max()))
        blank = np.zeros(tile + WIDTH, np.int16)  # and a word that may be read and is not used
        segments = table.low.shape[1]
        windows = [x.astype(np.int32).ravel() for x in (table.low, table.high, table.shift)]
        return Gather(
            self.sources,
            self.neurons(layout, tile),
            _routes(table.bits, table.fan_out, table.cell, table.row),
            (*windows, table.cells, segments, weights.size),
            aligned(np.append(weights, blank)),
            safe // 8 * 8,
        )

    def scatter(self, table: np.ndarray, padding, steps: int, by_channel: bool) -> Scatter:
        (route,) = self.routes
        bits, c, y, x = route.arrivals()
        lines, length = table.shape[1:]
        outputs, height, width = self.shape
        row_size = _padded((max(route.pooled()[1] + padding[1], width) + steps - 1) * outputs)
        place = (y + padding[0]) * row_size + (x + padding[1]) * outputs
        band = y + padding[0]
        place, row = (place + c, 0 * c) if by_channel else (place, c * lines * length)
        routes = _routes(bits, route.fan_out, place, row, band)
        above, beside = (lines - 1), (steps - 1) * outputs
        tiles = max(route.pooled()[0] + padding[0], height) + above
        places = np.arange(height)[:, None] * row_size + beside + np.arange(width) * outputs
        places = places + np.arange(outputs)[:, None, None]
        layout = Layout(
            places, height * row_size // WIDTH, above * row_size, tiles * row_size + length
        )
        neurons = self.neurons(layout, row_size)
        return Scatter(
            self.sources, neurons, routes, aligned(table.ravel()), (lines, length, above)
        )


@dataclass(frozen=True)
class _Table:
    """What ``gather`` needs of one path.

    Attributes
    ----------
    fan_out : array [bits of the layer before]
    bits, cell, row : array [arrivals]
        In order of bits.
    low, high, shift : array [tiles, segments]
    cells : int
    weights : array [weights]
    """

    fan_out: np.ndarray
    bits: np.ndarray
    cell: np.ndarray
    row: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shift: np.ndarray
    cells: int
    weights: np.ndarray


def _joined(tables: list[_Table]) -> _Table:
    """Several paths as one, from layers whose words of spikes lie one behind the other."""
    columns: dict[str, list] = {name: [] for name in _Table.__dataclass_fields__}
    bits = cells = weights = 0
    for table in tables:
        columns["bits"].append(table.bits + bits)
        columns["cell"].append(table.cell + cells)
        columns["row"].append(table.row + weights)
        columns["low"].append(table.low + cells)
        columns["high"].append(table.high + cells)
        for name in ("shift", "fan_out", "weights"):
            columns[name].append(getattr(table, name))
        bits += len(table.fan_out)
        cells += table.cells
        weights += table.weights.size
    columns.pop("cells")
    joined = {name: np.concatenate(parts, axis=-1) for name, parts in columns.items()}
    return _Table(cells=cells, **joined)


def _routes(bits: np.ndarray, fan_out: np.ndarray, place, row, band=None) -> Routes:
    first = np.zeros(len(fan_out) + 1, np.int32)
    first[1:] = np.cumsum(np.bincount(bits, minlength=len(fan_out)))
    band = np.zeros(0) if band is None else band
    where = (x.astype(np.int32) for x in (place, band, row))
    return Routes(first, *where, fan_out)


class _Route:
    """Where the spikes of one layer go in another."""

    def __init__(self, path: nn.Sequential, before: Layout, shape, fan_out, units: float) -> None:
        self.before, self.shape, self.units = before, shape, units
        self.pools, rest = _parts(path)
        self.op = rest[-1] if rest else None
        self.bits = before.words * WIDTH
        self.fan_out = np.zeros(self.bits, np.int64)
        self.fan_out[before.places] = fan_out.reshape(before.places.shape)

    def arrivals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Every way of a spike through the pools: its bit, and channel, row, column there."""
        _, height, width = self.before.places.shape
        rows = _ways(height, [_axis(pool, 0) for pool in self.pools])
        columns = _ways(width, [_axis(pool, 1) for pool in self.pools])
        return self._crossed(rows, columns)

    def _crossed(self, rows: np.ndarray, columns: np.ndarray):
        """Ways along rows and along columns [2, ways], combined, in every channel."""
        axes = (self.before.places.shape[0], rows.shape[1], columns.shape[1])
        c, i, j = (x.ravel() for x in np.indices(axes))
        bits = self.before.places[c, rows[0, i], columns[0, j]]
        order = np.argsort(bits, kind="stable")
        return bits[order], c[order], rows[1, i][order], columns[1, j][order]

    def pooled(self) -> tuple[int, int]:
        """(H, W) behind the pools."""
        size = self.before.places.shape[1:]
        for pool in self.pools:
            size = tuple(_pooled_size(n, *_axis(pool, a)) for a, n in enumerate(size))
        return size

    def to_windows(self, windows: list[Tensor]) -> Routes:
        """To the windows [windows, size] along rows and columns that each neuron is in."""
        rows, columns = (np.argwhere(covered.numpy().T).T for covered in windows)
        bits, c, y, x = self._crossed(rows, columns)
        _, height, width = self.shape
        return _routes(bits, self.fan_out, (c * height + y) * width + x, 0 * c)

    # ---- gather

    def table(self) -> _Table:
        """For the kernel ``gather``."""
        if self.shape[1:] == (1, 1) and not isinstance(self.op, nn.Conv2d):
            return self._linear()
        return self._conv()

    def _linear(self) -> _Table:
        channels, (height, width) = self.before.places.shape[0], self.pooled()
        outputs = self.shape[0]
        bits, c, y, x = self.arrivals()
        row = (c * height + y) * width + x
        weights = np.zeros((channels * height * width, _padded(outputs)), np.int16)
        whole = self._whole_weights()
        weights[:, :outputs] = np.diag(whole[:, 0]) if self._is_shortcut else whole.T
        ones = np.ones((1, 1), np.int64)
        at = (bits, np.zeros_like(bits), row * weights.shape[1])
        return _Table(self.fan_out, *at, 0 * ones, ones, 0 * ones, 1, weights.ravel())

    def _conv(self) -> _Table:
        (height, width), dilation = self.pooled(), self._geometry()[2][1]
        length = -(-width // dilation)  # columns of one remainder lie side by side
        slot = np.arange(width) % dilation * length + np.arange(width) // dilation
        weights = self._full_weights().transpose(2, 3, 1, 0)  # [h, w, C, O]
        padded = np.zeros((*weights.shape[:3], _padded(weights.shape[3])), np.int16)
        padded[..., : weights.shape[3]] = weights
        bits, c, y, x = self.arrivals()
        cells = length * dilation
        at = (bits, y * cells + slot[x], (slot[x] * weights.shape[2] + c) * padded.shape[3])
        windows = self._windows(slot, cells, padded.shape)
        return _Table(self.fan_out, *at, *windows, height * cells, padded.ravel())

    def _windows(self, slot: np.ndarray, cells: int, shape) -> tuple:
        """The cells that each place sees, a row of the kernel at a time."""
        (height, width), geometry = self.pooled(), self._geometry()
        lines, steps, channels, length = shape
        _, tall, wide = self.shape
        rows = _kernel_places(tall, lines, geometry, 0)[:, None, :]  # [tall, 1, lines]
        columns = _kernel_places(wide, steps, geometry, 1)  # [wide, steps]
        seen = (columns >= 0) & (columns < width)
        ahead = seen.argmax(1)[None, :, None]  # [1, wide, 1], columns beside the image
        start = slot[columns.clip(0, width - 1)[np.arange(wide), ahead[0, :, 0]]][None, :, None]
        used = (rows >= 0) & (rows < height) & seen.any(1)[None, :, None]
        low = np.where(used, rows * cells + start, 0)
        high = np.where(used, low + seen.sum(1)[None, :, None], 0)
        shift = ((np.arange(lines) * steps + ahead - start) * channels * length) * used
        return tuple(x.reshape(tall * wide, lines) for x in (low, high, shift))

    # ---- scatter

    def scatter_conv(self) -> tuple[np.ndarray, tuple[int, int], int, bool]:
        """Weights, padding, columns of the kernel, and whether channels stay apart."""
        weights = self._full_weights()[:, :, ::-1, ::-1].transpose(1, 2, 3, 0)  # [C, h, w, O]
        channels, lines, steps, outputs = weights.shape
        table = np.zeros((channels, lines, _padded(steps * outputs)), np.int16)
        table[..., : steps * outputs] = weights.reshape(channels, lines, -1)
        return table, pair(self.op.padding), steps, False

    def scatter_pool(self) -> tuple[np.ndarray, tuple[int, int], int, bool]:
        """A pool of its own neurons is a convolution of every channel with a window of one."""
        table = np.zeros((1, 1, WIDTH), np.int16)
        table[0, 0, 0] = self.units
        return table, (0, 0), 1, True

    # ---- weights

    @property
    def _is_shortcut(self) -> bool:
        return isinstance(self.op, ChannelScale)

    def _geometry(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(stride, padding, dilation); a shortcut is a convolution with a window of one."""
        if self._is_shortcut:
            return (1, 1), (0, 0), (1, 1)
        return pair(self.op.stride), pair(self.op.padding), pair(self.op.dilation)

    def _whole_weights(self) -> np.ndarray:
        return (self.op.weight.detach().double().numpy() * self.units).astype(np.int16)

    def _full_weights(self) -> np.ndarray:
        """[O, C, h, w]: with zeros for the channels that a group does not see."""
        weights = self._whole_weights()
        if self._is_shortcut:
            return np.diag(weights[:, 0])[:, :, None, None]
        groups, (outputs, inputs) = self.op.groups, weights.shape[:2]
        full = np.zeros((outputs, inputs * groups, *weights.shape[2:]), np.int16)
        for group, out in enumerate(np.split(np.arange(outputs), groups)):
            full[out, group * inputs : (group + 1) * inputs] = weights[out]
        return full


def _kernel_places(outputs: int, size: int, geometry, axis: int) -> np.ndarray:
    """[outputs, size]: the input that each element of the kernel meets, along one axis."""
    stride, padding, dilation = (value[axis] for value in geometry)
    return np.arange(outputs)[:, None] * stride - padding + np.arange(size) * dilation


def _axis(pool: nn.AvgPool2d, axis: int) -> tuple[int, int, int]:
    """(kernel, stride, padding) along one axis."""
    return tuple(pair(value)[axis] for value in (pool.kernel_size, pool.stride, pool.padding))


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
