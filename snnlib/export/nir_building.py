"""From a NIR graph back to a spiking network (chapter 10, *Take the network elsewhere*).

A graph of ``to_nir`` states everything, and nothing is rounded or assumed.  A graph that
another program wrote has none of our metadata; it is read by NIR's own rule, with the
defaults that ``from_nir`` names.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, ChannelScale, padding_of
from snnlib.cnn.models import window_area
from snnlib.export.nir_structure import (
    FORMAT,
    SPIKES_WHEN,
    Arm,
    Node,
    Unit,
    kind,
    nir_package,
    refuse,
    units_of,
)
from snnlib.spiking.conversion import POOL_FRACTION_BITS
from snnlib.spiking.fixed_point import WEIGHT_BITS, fraction_bits, on_grid
from snnlib.spiking.layer import SpikingLayer, most_spikes, weight_of
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import RESETS, IFNeuron, Integrator

if TYPE_CHECKING:
    import nir

EXACT_STEPS = 128  # for which weights of other programs are rounded, as convert does
Shapes = Mapping[str, torch.Size]
Made = tuple[nn.Module, int, dict]  # neurons, k of the grid, bias and scale of a SpikingLayer


class _NodeError(ValueError):
    """What is wrong with one node, in words that follow its name."""


def from_nir(graph: "nir.NIRGraph", *, dt: float = 1.0) -> SpikingNetwork:
    """A network from a NIR graph.

    A graph that ``to_nir`` wrote gives the same spikes and potentials as the network that it
    was made from.  Any other is read as NIR defines it, one step at a time: v starts at 0, a
    neuron spikes when v > v_threshold and is then set to v_reset = 0, the output is the
    potential if the graph ends on weights or I, and its spikes if it ends on IF.  Weights are
    rounded to 16-bit multiples of a power of two, as by ``convert``.

    Parameters
    ----------
    graph : nir.NIRGraph
        Feed-forward, of the nodes Input, Conv2d, Affine, Linear, Scale, SumPool2d,
        AvgPool2d, Flatten, IF, I, Output.  Left as it is.  Biases of one that does not say its
        gain are taken for those of an input as bright as the image.
    dt : float
        The time of one step, for graphs without our metadata: the current of a step is
        ``r * dt``, which must be 1.

    Returns
    -------
    SpikingNetwork

    Raises
    ------
    ImportError
        If the package nir is not installed.
    TypeError
        For something else than a graph.
    NIRError
        For other nodes, cycles, another reset, shapes that do not fit, and metadata that is
        incomplete or contradicts the nodes.
    """
    if not isinstance(graph, nir_package().NIRGraph):
        raise TypeError(f"graph is of type {type(graph).__name__}; give a nir.NIRGraph.")
    start, units = units_of(graph)
    refuse(_format_faults(graph, units))
    names = {start: INPUT, **{unit.name: _layer_name(unit) for unit in units}}
    shapes, layers = {start: _input_shape(graph.nodes[start])}, []
    for unit in units:
        try:
            layers.append(_layer(unit, names, shapes, dt))
        except _NodeError as fault:
            refuse([f"node {fault}."])
    places = [int(unit.node.metadata.get("position", i)) for i, unit in enumerate(units)]
    in_place = sorted(zip(places, layers, strict=True), key=lambda pair: pair[0])
    return _network([layer for _, layer in in_place], shapes[start], graph.metadata)


def _network(layers: list[SpikingLayer], shape: torch.Size, facts: dict) -> SpikingNetwork:
    try:
        gain, clipped = float(facts.get("gain", 1.0)), bool(facts.get("clipped", False))
        return SpikingNetwork(layers, tuple(shape), gain, clipped)
    except (ValueError, TypeError) as error:  # such as positions that contradict the edges
        refuse([str(error)])
        raise


def _format_faults(graph: Node, units: list[Unit]) -> list[str]:
    """Whether our metadata is whole, or absent."""
    facts = graph.metadata
    if "snnlib_format" not in facts:
        ours = [unit.name for unit in units if "fraction_bits" in unit.node.metadata]
        return [
            f"node {name} has metadata of snnlib, but the graph does not; remove either."
            for name in ours
        ]
    if facts["snnlib_format"] != FORMAT:
        return [f"its format is {facts['snnlib_format']}; this version reads {FORMAT}."]
    faults = [
        f"the metadata of node {unit.name} lacks {key}; write the graph with to_nir again."
        for unit in units
        for key in _needed(unit)
        if key not in unit.node.metadata
    ]
    readout = "spikes" if kind(units[-1].node) == "IF" else "potential"
    if facts.get("readout") != readout:
        faults.append(
            f"the metadata says readout {facts.get('readout')}, but the graph ends on "
            f'{kind(units[-1].node)}, from which "{readout}" is read.'
        )
    return faults


def _needed(unit: Unit) -> list[str]:
    always = ["layer", "position", "fraction_bits", "scale"]
    return always + ["reset", "initial_potential", "spikes_when"] * (kind(unit.node) == "IF")


def _layer_name(unit: Unit) -> str:
    return str(unit.node.metadata.get("layer", unit.name))


def _input_shape(node: Node) -> torch.Size:
    shape = torch.Size(int(size) for size in node.input_type["input"])
    if len(shape) != 3:
        refuse([f"its input has shape {list(shape)}; images are [C, H, W]."])
    return shape


# ---- one layer


def _layer(
    unit: Unit, names: Mapping[str, str], shapes: dict[str, torch.Size], dt: float
) -> SpikingLayer:
    """The layer; its shape is added to ``shapes``."""
    _check_neurons(unit, dt)
    paths = [_path(arm, shapes) for arm in unit.arms]
    shapes[unit.name] = _shape(unit, paths, shapes)
    bias = _bias(unit, shapes[unit.name])
    make = _as_stated if "fraction_bits" in unit.node.metadata else _by_default
    neuron, bits, facts = make(unit, paths, bias, shapes[unit.name])
    main, *shortcuts = paths
    facts |= {"sources": [names[arm.source] for arm in unit.arms], "shortcuts": shortcuts}
    return SpikingLayer(names[unit.name], main, neuron, bits, **facts)


def _as_stated(
    unit: Unit, paths: list[nn.Sequential], bias: Tensor | None, shape: torch.Size
) -> Made:
    """By its metadata: nothing is rounded, so all must be on the grid already."""
    facts = unit.node.metadata
    bits = int(facts["fraction_bits"])
    for arm, path in zip(unit.arms, paths, strict=True):
        for (name, _), op in zip(arm.nodes, path, strict=True):
            if isinstance(op, nn.AvgPool2d) and op.divisor_override != 1:
                raise _NodeError(f"{name} averages; in a graph of to_nir it is a SumPool2d")
            if weight_of(nn.Sequential(op)) is not None:
                _check_grid(name, "weights", op.weight, bits, limit=2.0**WEIGHT_BITS)
    if bias is not None:
        _check_grid(unit.name, "bias", bias, bits)
    neuron = _stated_neuron(unit, shape) if kind(unit.node) == "IF" else Integrator()
    return neuron, bits, {"bias": bias, "scale": torch.tensor(facts["scale"])}


def _stated_neuron(unit: Unit, shape: torch.Size) -> IFNeuron:
    facts, bits = unit.node.metadata, int(unit.node.metadata["fraction_bits"])
    if facts["reset"] not in RESETS:
        raise _NodeError(f"{unit.name} has reset {facts['reset']}; subtract and zero are known")
    if facts["spikes_when"] != SPIKES_WHEN:
        raise _NodeError(f"{unit.name} spikes when {facts['spikes_when']}, not {SPIKES_WHEN}")
    neuron = IFNeuron(_per_channel(_tensor(unit.node.v_threshold)), reset=facts["reset"])
    neuron.initial = torch.as_tensor(facts["initial_potential"], dtype=torch.float32)
    for what, values in (("threshold", neuron.threshold), ("initial potential", neuron.initial)):
        _check_grid(unit.name, what, values, bits)
        if not _fits(values, shape):
            raise _NodeError(f"{unit.name} has {what}s of shape {list(values.shape)}")
    return neuron


def _by_default(
    unit: Unit, paths: list[nn.Sequential], bias: Tensor | None, shape: torch.Size
) -> Made:
    """By NIR's own rule, with weights rounded to the finest grid that is exact for long."""
    divisors = [_add_up(path) for path in paths]
    if len(paths) > 1 or bias is not None:
        for path in paths:
            if weight_of(path) is None:
                path.append(ChannelScale(shape[0]))
    spiking = kind(unit.node) == "IF"
    threshold = _tensor(unit.node.v_threshold) if spiking else torch.zeros(())
    if weight_of(paths[0]) is None:  # neurons that pool: they add up, at a higher threshold
        bits, threshold = POOL_FRACTION_BITS, threshold * divisors[0]
    else:
        bits = _round(paths, divisors, bias, threshold, EXACT_STEPS if spiking else 1)
        bias = None if bias is None else on_grid(bias, bits)
    if not spiking:
        return Integrator(), bits, {"bias": bias}
    # v > threshold, for a v on the grid, is v >= the next multiple
    above = ((threshold.double() * 2.0**bits).floor() + 1) / 2.0**bits
    return IFNeuron(_per_channel(above.float()), reset="zero"), bits, {"bias": bias}


def _add_up(path: nn.Sequential) -> int:
    """Turn averages into sums, in place; what the weights still have to be divided by."""
    divisor = 1
    for op in path:
        if isinstance(op, nn.AvgPool2d):
            divisor *= 1 if op.divisor_override else window_area(op)
            op.divisor_override = 1
    return divisor


def _round(
    paths: list[nn.Sequential],
    divisors: list[int],
    bias: Tensor | None,
    threshold: Tensor,
    steps: int,
) -> int:
    """Divide and round weights, in place; the k of their grid."""
    weights = [weight_of(p).double() / d for p, d in zip(paths, divisors, strict=True)]
    highest = threshold.max().item()
    spikes = [most_spikes(path) for path in paths]
    bits = fraction_bits(weights, spikes=spikes, bias=bias, threshold=highest, steps=steps)
    for path, weight in zip(paths, weights, strict=True):
        weight_of(path).copy_(on_grid(weight, bits))
    return bits


# ---- nodes


def _check_neurons(unit: Unit, dt: float) -> None:
    """Raise unless the neurons obey NIR's rule with v_reset = 0, one step at a time."""
    node = unit.node
    if kind(node) == "Output":
        return
    ours = "fraction_bits" in node.metadata
    step = 1.0 if ours else dt
    if not np.allclose(np.asarray(node.r) * step, 1.0, rtol=1e-6, atol=0):
        fix = "r = 1" if ours else "dt = 1 / r"
        raise _NodeError(f"{unit.name} has r = {_some(node.r)}, but r * dt must be 1: give {fix}")
    if kind(node) == "IF" and not np.all(np.asarray(node.v_reset) == 0):
        raise _NodeError(
            f"{unit.name} resets to {_some(node.v_reset)}; write it with v_reset = 0, "
            "the only value that is known here"
        )
    if kind(node) == "IF" and not np.all(np.asarray(node.v_threshold) > 0):
        low = np.min(node.v_threshold)
        raise _NodeError(f"{unit.name} has a threshold of {low:g}; it must be above 0")


def _path(arm: Arm, shapes: Shapes) -> nn.Sequential:
    """The operations of an arm, for spikes of its source."""
    x, path = torch.zeros(1, *shapes[arm.source]), []
    for name, node in arm.nodes:
        path.append(_OPS[kind(node)](name, node, x.shape[1:]))
        try:
            x = path[-1](x)
        except RuntimeError as error:
            raise _NodeError(f"{name} does not fit what arrives, {list(x.shape[1:])}") from error
    return nn.Sequential(*path).requires_grad_(False)


@torch.no_grad()
def _shape(unit: Unit, paths: list[nn.Sequential], shapes: Shapes) -> torch.Size:
    """Of the neurons: that of all that arrives, and that which the node states."""
    arriving = {
        path(torch.zeros(1, *shapes[arm.source])).shape[1:]
        for arm, path in zip(unit.arms, paths, strict=True)
    }
    stated = torch.Size(int(size) for size in np.atleast_1d(unit.node.input_type["input"]))
    if arriving != {stated}:
        found = " and ".join(str(list(shape)) for shape in sorted(arriving))
        raise _NodeError(f"{unit.name} has shape {list(stated)}, but {found} arrives")
    return stated


def _bias(unit: Unit, shape: torch.Size) -> Tensor | None:
    """The sum of all biases that arrive, to broadcast against the neurons; None if all are 0."""
    total = torch.zeros(shape[0])
    for arm in unit.arms:
        name, node = arm.nodes[-1]
        if kind(node) in ("Conv2d", "Affine"):
            bias = _tensor(node.bias)
            if bias.shape != total.shape:
                raise _NodeError(f"{name} has a bias of shape {list(bias.shape)}")
            total += bias
    return total.view(-1, *[1] * (len(shape) - 1)) if total.any() else None


def _pool(name: str, node: Node, shape: torch.Size) -> nn.AvgPool2d:
    sizes = (_pair(name, node.kernel_size), _pair(name, node.stride), _pair(name, node.padding))
    return nn.AvgPool2d(*sizes, divisor_override=1 if kind(node) == "SumPool2d" else None)


def _flatten(name: str, node: Node, shape: torch.Size) -> nn.Flatten:
    if node.output_type["output"] is not None and len(node.output_type["output"]) != 1:
        raise _NodeError(f"{name} flattens only some dimensions; use start_dim=0, end_dim=-1")
    return nn.Flatten()


def _conv(name: str, node: Node, shape: torch.Size) -> nn.Conv2d:
    weight, groups = _tensor(node.weight), int(node.groups)
    if weight.ndim != 4 or weight.shape[0] % groups:
        raise _NodeError(f"{name} has weights of shape {list(weight.shape)} in {groups} groups")
    if node.input_shape is not None and tuple(node.input_shape) != tuple(shape[1:]):
        raise _NodeError(f"{name} states {list(node.input_shape)}, but {list(shape)} arrives")
    out, inputs, *kernel = weight.shape
    sizes = {key: _pair(name, getattr(node, key)) for key in ("stride", "dilation")}
    conv = nn.Conv2d(inputs * groups, out, kernel, **sizes, groups=groups, bias=False)
    conv.padding = node.padding if isinstance(node.padding, str) else _pair(name, node.padding)
    try:
        conv.padding = padding_of(conv)  # as numbers
    except ValueError as error:
        raise _NodeError(f"{name}: {error}") from error
    return _with_weight(conv, weight)


def _linear(name: str, node: Node, shape: torch.Size) -> nn.Linear:
    weight = _tensor(node.weight)
    if weight.ndim != 2 or shape != weight.shape[1:]:
        raise _NodeError(
            f"{name} has weights of shape {list(weight.shape)}, but {list(shape)} arrives"
        )
    return _with_weight(nn.Linear(weight.shape[1], weight.shape[0], bias=False), weight)


def _scale(name: str, node: Node, shape: torch.Size) -> ChannelScale:
    weight = _tensor(node.scale)
    if weight.shape != shape:
        raise _NodeError(f"{name} has shape {list(weight.shape)}, but {list(shape)} arrives")
    of_channel = weight.flatten(1)[:, :1] if weight.ndim > 1 else weight[:, None]  # [C, 1]
    if not torch.equal(weight.reshape(len(weight), -1), of_channel.expand(-1, weight[0].numel())):
        raise _NodeError(f"{name} scales neurons of a map differently; give one scale a channel")
    return _with_weight(ChannelScale(len(weight)), of_channel)


_OPS: dict[str, Callable[[str, Node, torch.Size], nn.Module]] = {
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
    "Conv2d": _conv,
    "Affine": _linear,
    "Linear": _linear,
    "Scale": _scale,
}


def _with_weight(module: nn.Module, weight: Tensor) -> nn.Module:
    module.weight = nn.Parameter(weight.clone(), requires_grad=False)
    return module


# ---- numbers


def _check_grid(name: str, what: str, values: Tensor, bits: int, limit: float = math.inf) -> None:
    """Raise unless all are multiples of 2**-bits, fewer than so many."""
    units = values.double() * 2.0**bits
    if not torch.equal(units, units.round()) or not (units.abs() < limit).all():
        raise _NodeError(
            f"{name} has {what} that are no multiples of 2**-{bits}, as its metadata says; "
            "write the graph with to_nir again"
        )


def _per_channel(values: Tensor) -> Tensor:
    """The same values in the smallest shape that broadcasts to them."""
    if (values == values.flatten()[0]).all():
        return values.flatten()[0].clone()
    first = values[(slice(None), *[slice(1)] * (values.ndim - 1))]  # [C, 1, ...]
    return first.clone() if torch.equal(first.expand_as(values), values) else values


def _fits(values: Tensor, shape: torch.Size) -> bool:
    """Whether values broadcast against neurons of that shape."""
    sizes = (1,) * (len(shape) - values.ndim) + tuple(values.shape)
    return len(sizes) == len(shape) and all(a in (1, b) for a, b in zip(sizes, shape, strict=True))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def _pair(name: str, value: int | np.ndarray) -> tuple[int, int]:
    """Rows, then columns."""
    sizes = [int(size) for size in np.atleast_1d(value)]
    if len(sizes) not in (1, 2):
        raise _NodeError(f"{name} has {len(sizes)} sizes; give rows and columns")
    return sizes[0], sizes[-1]


def _some(values: np.ndarray) -> str:
    """One value, or the smallest and the largest."""
    low, high = np.min(values), np.max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
