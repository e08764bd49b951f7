"""A spiking network in whole numbers, written without snnlib, to compare it with.

Weights, potentials and thresholds are numpy int64, in units of 2**-k; loops are
plain.  Of the network under test it takes nothing but the exponents k.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

LEVELS = 2**24


@dataclass
class Op:
    """One module of the CNN, on whole numbers; a pool adds up and does not divide."""

    module: nn.Module
    weight: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        m = self.module
        if isinstance(m, nn.Flatten):
            return x.reshape(len(x), -1)
        if isinstance(m, nn.Linear):
            return x @ self.weight.T
        if isinstance(m, nn.Conv2d):
            return convolve(x, self.weight, m.stride, m.padding, m.dilation, m.groups)
        ones = np.ones((x.shape[1], 1, *pair(m.kernel_size)), np.int64)
        return convolve(x, ones, pair(m.stride), pair(m.padding), (1, 1), x.shape[1])

    def counting(self) -> "Op":
        """The same with every weight 1: how many synapses meet in each neuron."""
        return replace(self, weight=None if self.weight is None else np.ones_like(self.weight))


@dataclass
class Layer:
    """Operations, then neurons; threshold None: they only add up."""

    ops: list[Op]
    reset: str
    threshold: int | None
    initial: int
    unit: int = 1  # what a spike adds where the operations have no weights

    def current(self, x: np.ndarray) -> np.ndarray:
        for op in self.ops:
            x = op(x)
        return x * self.unit

    def additions(self, spikes: np.ndarray) -> int:
        """How many synapses the spikes cross."""
        for op in self.ops:
            spikes = op.counting()(spikes)
        return int(spikes.sum())


@dataclass
class Run:
    """What happened; spikes[l] is [T, N, ...] of layer l + 1, spikes[0] the input."""

    spikes: list[list] = field(default_factory=list)
    potential: list = field(default_factory=list)  # of the output [T, N, classes]
    counts: list = field(default_factory=list)  # of the output [T, N, classes]
    operations: list = field(default_factory=list)  # [T]


def integer_layers(
    cnn: nn.Sequential, bits: list[int], *, threshold, initial, reset, pooling, readout
) -> list[Layer]:
    """The layers that `convert` promises, with weights rounded to multiples of 2**-k."""
    layers, ops, divisor, bits = [], [], 1, iter(bits)
    for module in cnn:
        if isinstance(module, nn.Flatten):
            ops.append(Op(module))
        elif isinstance(module, nn.AvgPool2d):
            ops.append(Op(module))
            area = module.divisor_override or int(np.prod(pair(module.kernel_size)))
            if pooling == "linear":
                divisor *= area
            else:
                unit = 2 ** next(bits)
                layers.append(Layer(ops, reset, area * unit, round(area * unit * initial), unit))
                ops = []
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            grid = 2.0 ** next(bits)
            weight = module.weight.detach().numpy().astype(np.float64) / divisor
            ops.append(Op(module, np.round(weight * grid).astype(np.int64)))
            level = round(threshold * grid)
            layers.append(Layer(ops, reset, level, round(level * initial)))
            ops, divisor = [], 1
    if readout == "potential":
        layers[-1].threshold, layers[-1].initial = None, 0
    return layers


def simulate(layers: list[Layer], inputs, *, constant: bool) -> Run:
    """inputs  [T, N, C, H, W] int64: spikes, or for constant=True the pixels times 2**24"""
    run, v, counts = Run([[] for _ in range(len(layers) + 1)]), [la.initial for la in layers], 0
    for x in inputs:
        operations = 0
        for i, layer in enumerate(layers):
            run.spikes[i].append(x)
            analog = constant and i == 0
            operations += 0 if analog else layer.additions(x)
            current = layer.current(x)
            v[i] = v[i] + (divide_to_even(current) if analog else current)
            x = np.zeros_like(current)
            if layer.threshold is not None:
                x = (v[i] >= layer.threshold).astype(np.int64)
                v[i] = v[i] - x * (layer.threshold if layer.reset == "subtract" else v[i])
        run.spikes[-1].append(x)
        counts = counts + x
        run.counts.append(counts)
        run.potential.append(v[-1])
        run.operations.append(operations)
    return run


def decisions(run: Run, readout: str) -> list[list[int]]:
    """[T][N]: most spikes, then highest potential, then lowest class; -1 without a spike."""
    return [
        [decide(counts[n], potential[n], readout) for n in range(len(counts))]
        for counts, potential in zip(run.counts, run.potential, strict=True)
    ]


def decide(counts, potential, readout: str) -> int:
    if readout == "spikes" and max(counts) == 0:
        return -1
    return max(range(len(counts)), key=lambda c: (counts[c], potential[c], -c))


def convolve(x, weight, stride, padding, dilation, groups) -> np.ndarray:
    """[N, C, H, W] and [O, C / groups, h, w] -> [N, O, H', W'], a kernel element at a time."""
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    outputs, inputs, *kernel = weight.shape
    size = [(x.shape[2 + a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in (0, 1)]
    result = np.zeros((len(x), outputs, *size), np.int64)
    for o, i, row, column in np.ndindex(weight.shape):
        channel = o // (outputs // groups) * inputs + i
        rows = row * dilation[0] + stride[0] * np.arange(size[0])
        columns = column * dilation[1] + stride[1] * np.arange(size[1])
        result[:, o] += weight[o, i, row, column] * x[:, channel][:, rows[:, None], columns]
    return result


def divide_to_even(total: np.ndarray) -> np.ndarray:
    """total / 2**24, rounded to the nearest whole number, halves to the even one."""
    whole, rest = np.divmod(total, LEVELS)
    return whole + ((rest > LEVELS // 2) | ((rest == LEVELS // 2) & (whole % 2 == 1)))


def pixel_levels(images: np.ndarray, max_rate: float = 1.0) -> np.ndarray:
    """floor(pixel * rate * 2**24), the grid of rates and currents."""
    return np.floor(images.astype(np.float64) * max_rate * LEVELS).astype(np.int64)


def poisson_spikes(images: np.ndarray, max_rate: float, seed: int, index, step: int) -> np.ndarray:
    """The course's counter-based spikes [N, C, H, W]."""
    image_keys = mix(np.asarray(index) ^ mix(seed ^ 0x9E3779B9))
    step_keys = mix(image_keys ^ step).reshape(-1, 1, 1, 1)
    pixel_keys = mix(np.arange(1, images[0].size + 1)).reshape(images[0].shape)
    draws = mix(step_keys ^ pixel_keys) >> 8
    return (draws < pixel_levels(images, max_rate)).astype(np.int64)


def mix(x):
    """lowbias32 (Wellons 2018): xor-shifts and multiplications modulo 2**32, held in int64."""
    x = x ^ x >> 16
    x = multiply(x, 0x7FEB352D)
    x = x ^ x >> 15
    x = multiply(x, 0x846CA68B)
    return x ^ x >> 16


def multiply(x, factor: int):
    """x * factor modulo 2**32, in halves so that int64 holds every product."""
    low, high = x & 0xFFFF, x >> 16
    return (low * factor + ((high * factor & 0xFFFF) << 16)) & 0xFFFFFFFF


def pair(value) -> tuple[int, int]:
    """A size as (rows, columns)."""
    return value if isinstance(value, tuple) else (value, value)
