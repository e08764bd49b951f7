"""Where the neurons of each layer lie in memory, and the kernel that suits it.

Everything that depends on geometry is worked out here, once.
"""

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, ChannelScale
from snnlib.cnn.models import pair
from snnlib.engines.event.plan import (
    WIDTH,
    Accumulate,
    Gather,
    Laid,
    Layout,
    Maximum,
    Neurons,
    Plan,
    Routes,
    Scatter,
    aligned,
    padded,
)
from snnlib.engines.event.routes import Route, joined
from snnlib.spiking.encoding import pixel_keys
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import Wiring
from snnlib.spiking.neurons import MAX_POOLING, MaxPooling

LARGEST = 2**31 - 1  # whole number of 32 bits
FEW_CHANNELS = 32  # below this, a row of neurons makes a better tile than one place


def make_plan(wiring: Wiring, steps: int, *, constant: bool) -> Plan:
    """Lay a network out.

    Parameters
    ----------
    wiring : Wiring
    steps : int
        For so many steps potentials must fit.
    constant : bool
        The input is a current.

    Returns
    -------
    Plan
    """
    shape, layouts = wiring.shapes[INPUT], {}
    pixels = shape.numel()
    places = np.arange(pixels).reshape((*shape, 1, 1)[:3])  # as those of any layer
    layouts[INPUT] = Layout(places, padded(pixels) // WIDTH, 0, pixels)
    keys = np.zeros(padded(pixels), np.int32)
    keys[:pixels] = pixel_keys(shape, torch.device("cpu")).flatten()
    driven = [layer.name for layer in wiring.layers if constant and INPUT in layer.sources]
    plan = Plan(shape, keys, [], tuple(driven))
    fits = all(layer.largest_potential(steps + 1) < LARGEST for layer in wiring.layers)
    for layer in wiring.layers:
        made = _Maker(layer, layouts, wiring, np.int32 if fits else np.int64, constant).make()
        plan.layers.append(made)
        layouts[layer.name] = made.neurons.layout
    return plan


class _Maker:
    """Lays out one layer."""

    def __init__(
        self,
        layer: SpikingLayer,
        layouts: dict[str, Layout],
        wiring: Wiring,
        dtype: type[np.integer],
        constant: bool,
    ) -> None:
        self.layer, self.dtype, self.neuron_shape = layer, dtype, wiring.shapes[layer.name]
        # (C, H, W); a linear layer's neurons are channels of one place
        self.shape = (*self.neuron_shape, 1, 1)[:3]
        self.units = 2.0**layer.fraction_bits
        paths = zip(layer.paths, wiring.fan_outs[layer.name], strict=True)
        self.routes = [
            Route(path, layouts[source], self.shape, fan_out.numpy(), self.units)
            for (source, path), fan_out in paths
            if not (constant and source == INPUT)  # then it is a current
        ]
        self.sources = tuple(s for s in layer.sources if not (constant and s == INPUT))

    def make(self) -> Laid:
        """By what suits the kernel: a tile is a place, or a whole row of places."""
        if not self.routes:
            return Accumulate(self.sources, self.neurons(*self._one_tile()))
        route, op = self.routes[0], self.routes[0].op
        if isinstance(self.layer.neuron, MaxPooling):
            windows = [self.layer.neuron.windows(route.before.places.shape, a) for a in (0, 1)]
            neurons = self.neurons(*self._one_tile())
            rule = MAX_POOLING.index(self.layer.neuron.rule)
            tables = (route.to_windows(windows), route.members(windows))
            return Maximum(self.sources, neurons, *tables, rule, route.bits)
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
        rules = rule.spiking, zero
        return Neurons(rule.name, layout, flat, tile, *rules, initial, aligned(bias), unit)

    def _levels(self, value: Tensor) -> np.ndarray:
        """Thresholds or biases in whole units, for every neuron [C, H, W]."""
        levels = np.broadcast_to(value.double().numpy() * self.units, self.neuron_shape)
        return levels.reshape(self.shape)

    def _one_tile(self) -> tuple[Layout, int]:
        size = self.neuron_shape.numel()
        tile = padded(size)
        return Layout(np.arange(size).reshape(self.shape), tile // WIDTH, 0, tile), tile

    # ---- kernels

    def gather(self) -> Gather:
        table = joined([route.table() for route in self.routes])
        outputs, height, width = self.shape
        tile, weights = padded(outputs), table.weights
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
            Routes.of(table.bits, table.fan_out, table.cell, table.row),
            (*windows, table.cells, segments, weights.size),
            aligned(np.append(weights, blank)),
            safe // 8 * 8,
        )

    def scatter(self, table: np.ndarray, padding, steps: int, by_channel: bool) -> Scatter:
        (route,) = self.routes
        bits, c, y, x = route.arrivals()
        lines, length = table.shape[1:]
        outputs, height, width = self.shape
        row_size = padded((max(route.pooled()[1] + padding[1], width) + steps - 1) * outputs)
        place = (y + padding[0]) * row_size + (x + padding[1]) * outputs
        band = y + padding[0]
        place, row = (place + c, 0 * c) if by_channel else (place, c * lines * length)
        routes = Routes.of(bits, route.fan_out, place, row, band)
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
