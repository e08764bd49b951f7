"""The network as the live lab of the page reads it (chapter 10, *Take the network elsewhere*).

One binary document, all numbers little-endian:

    bytes 0-7    b"snn-lab" and a zero
    8-11         uint32, version of the format
    12-15        uint32, length of the document [bytes]
    16-19        uint32, CRC-32 (as in zip) of everything after it
    20-23        uint32, length of the header [bytes]
    24-          header: JSON; then spaces, so that what follows begins at a multiple of 8
    then         int16, the weights of all layers, in units of 2**-fraction_bits

The lab simulates in whole units, held in float64 as JavaScript holds every number:
exact up to 2**53 units, in any order of additions.  Its spikes are therefore those of
``simulate``; a network for which that cannot be promised is refused here.
"""

import copy
import json
import struct
import zlib

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, ChannelScale
from snnlib.cnn.models import pair
from snnlib.spiking.fixed_point import EXACT_UNITS, WEIGHT_BITS, on_grid
from snnlib.spiking.layer import SpikingLayer, adds_up, is_plain, parts
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import IFNeuron, Integrator, MaxPooling, is_per_channel

MAGIC = b"snn-lab\0"
VERSION = 1
PREFIX = 24  # [bytes] before the header
ALIGNMENT = 8  # [bytes]; weights begin at a multiple


class LabError(ValueError):
    """A network that the lab cannot run with the same spikes.

    Attributes
    ----------
    faults : list of str
        Every reason, each with its layer and the fix.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(["The lab cannot run this network:", *faults]))


def lab_network(snn: SpikingNetwork) -> bytes:
    """A network as one document for ``readNetwork`` of ``snnlib/live/network.mjs``.

    Parameters
    ----------
    snn : SpikingNetwork
        Left as it is.

    Returns
    -------
    bytes
        In the format that the module describes; the same for the same network.

    Raises
    ------
    LabError
        With everything for which the lab cannot promise the spikes of ``simulate``.
    """
    faults = _network_faults(snn)
    if faults:
        raise LabError(faults)
    shapes, layers, weights, start = snn.shapes(), [], [], 0
    for layer in snn.layers:
        units = _weight_units(layer)
        layers.append(_describe(layer, shapes[layer.name], start, units.numel()))
        weights.append(units.numpy().astype("<i2").tobytes())
        start += units.numel()
    facts = {"input_shape": list(snn.input_shape), "readout": snn.readout, "layers": layers}
    return _document(facts, b"".join(weights))


def at_threshold(snn: SpikingNetwork, factor: float) -> SpikingNetwork:
    """The network that the lab runs when its threshold slider is at ``factor``.

    Thresholds of all layers with weights are multiplied, and initial potentials stay the
    same fraction of them, as ``convert(cnn, thresholds=factor)`` does.  A spiking pool
    keeps its threshold: it stands for the average.

    Parameters
    ----------
    snn : SpikingNetwork
        Left as it is.
    factor : float
        Above 0.

    Returns
    -------
    SpikingNetwork
        At rest; thresholds and initial potentials lie on the grid of the weights.

    Raises
    ------
    ValueError
        For a factor that takes a threshold below one unit of the grid, or beyond what
        float32 holds exactly.
    """
    network = copy.deepcopy(snn)
    network.reset()
    for layer in network.layers:
        if isinstance(layer.neuron, IFNeuron) and layer.weight is not None:
            _scale_threshold(layer, factor)
    return network


def _scale_threshold(layer: SpikingLayer, factor: float) -> None:
    neuron, units = layer.neuron, 2.0**layer.fraction_bits
    fraction = neuron.initial.double() / neuron.threshold.double()
    scaled = (neuron.threshold.double() * units * factor).round()
    if not ((scaled >= 1) & (scaled <= EXACT_UNITS)).all():
        raise ValueError(
            f"a threshold factor of {factor} takes layer {layer.name} off its grid of "
            f"2**-{layer.fraction_bits}; give a factor nearer to 1."
        )
    neuron.threshold = (scaled / units).float()
    neuron.initial = on_grid(scaled / units * fraction, layer.fraction_bits)


# ---- what is refused


def _network_faults(snn: SpikingNetwork) -> list[str]:
    """Everything in the way, each with its layer and the fix."""
    shapes, before, faults = snn.shapes(), INPUT, []
    for layer in snn.layers:
        found = _structure_faults(layer, shapes, before)
        found = found or _number_faults(layer, shapes[layer.name])
        faults += [f"layer {layer.name} {fault}." for fault in found]
        before = layer.name
    if len(shapes[before]) != 1:
        faults.append(f"layer {before} gives maps, not classes; end the network on nn.Linear.")
    if any(isinstance(layer.neuron, Integrator) for layer in snn.layers[:-1]):
        faults.append("a layer before the last never spikes; give it IFNeuron.")
    return faults


def _structure_faults(layer: SpikingLayer, shapes: dict[str, torch.Size], before: str) -> list[str]:
    """What a layer has that the lab has not; ``before`` is the layer before it."""
    if isinstance(layer.neuron, MaxPooling):
        return ["takes a maximum; use nn.AvgPool2d"]
    faults = []
    if layer.sources != (before,):
        faults.append("belongs to a branch; use a network whose layers form one chain")
    if layer.bias is not None:
        faults.append("adds a bias; train without biases and batch norms")
    if not isinstance(layer.neuron, (IFNeuron, Integrator)):
        faults.append(f"has neurons of type {type(layer.neuron).__name__}; use IFNeuron")
    if not _is_known(layer.synapse, shapes[layer.sources[0]]):
        faults.append(
            "has a synapse that the lab does not know; use pools that add up, then nothing, "
            "nn.Conv2d padded with zeros, or nn.Flatten and nn.Linear"
        )
    return faults


def _is_known(synapse: nn.Sequential, shape: torch.Size) -> bool:
    """Whether a synapse is pools that add up, and at most one layer of weights after them."""
    pools, rest = parts(synapse)
    known = len(synapse) > 0 and is_plain(rest, shape)
    return known and all(map(adds_up, pools)) and not isinstance(synapse[-1], ChannelScale)


def _number_faults(layer: SpikingLayer, shape: torch.Size) -> list[str]:
    """Numbers that are off the grid, or too large to be exact."""
    grid, faults, weight = f"grid of 2**-{layer.fraction_bits}", [], _units(layer, layer.weight)
    if not _is_whole(weight) or weight.abs().max() >= 2**WEIGHT_BITS:
        faults.append(f"has weights that are no 16-bit multiples on its {grid}; use convert")
    # what one step adds at most: the clock engine's currents are exact in float32 up to here
    elif layer.largest_current > EXACT_UNITS:
        faults.append("can receive more in one step than float32 holds exactly; use convert")
    if not layer.spiking:
        return faults
    values = [_units(layer, layer.neuron.threshold), _units(layer, layer.neuron.initial)]
    if not all(_is_whole(value) for value in values) or values[0].min() < 1:
        faults.append(f"has thresholds or initial potentials off its {grid}; use convert")
    if not all(is_per_channel(value, shape) for value in values):
        faults.append("has thresholds that differ within a map; give one for each channel")
    return faults


def _units(layer: SpikingLayer, values: Tensor | None) -> Tensor:
    """In units of 2**-fraction_bits, float64; a zero where there is nothing."""
    if values is None:
        return torch.zeros(1, dtype=torch.float64)
    return values.detach().cpu().double() * 2.0**layer.fraction_bits


def _is_whole(values: Tensor) -> bool:
    return torch.equal(values, values.round()) and bool(values.isfinite().all())


# ---- what is written


def _describe(layer: SpikingLayer, shape: torch.Size, start: int, count: int) -> dict:
    """The header of a layer whose weights begin at number ``start``; integers are units."""
    pools, rest = parts(layer.synapse)
    facts = {
        "name": layer.name,
        "shape": list(shape),
        "fraction_bits": layer.fraction_bits,
        "pools": [_window(pool) for pool in pools],
        "synapse": _describe_synapse(rest),
        "weights": [start, count],
        "largest_current": int(layer.largest_current),
        "reset": layer.neuron.reset_rule if layer.spiking else None,
    }
    for name in ("threshold", "initial") if layer.spiking else ():
        facts[name] = _units(layer, getattr(layer.neuron, name)).flatten().long().tolist()
    return facts


def _describe_synapse(rest: list[nn.Module]) -> dict:
    """What follows the pools; a spiking pool has nothing more, its neurons add up."""
    if not rest:
        return {"kind": "none"}
    op = rest[-1]
    facts = {"kind": "linear", "weight_shape": list(op.weight.shape)}
    if isinstance(op, nn.Conv2d):
        facts |= _window(op) | {"dilation": pair(op.dilation), "groups": op.groups}
        facts["kind"] = "conv"
    return facts


def _window(op: nn.AvgPool2d | nn.Conv2d) -> dict[str, tuple[int, int]]:
    """Rows, then columns."""
    return {name: pair(getattr(op, name)) for name in ("kernel_size", "stride", "padding")}


def _weight_units(layer: SpikingLayer) -> Tensor:
    """The weights [out, in, ...] as whole units, in a row; empty for a spiking pool."""
    if layer.weight is None:
        return torch.zeros(0, dtype=torch.int16)
    return _units(layer, layer.weight).flatten().to(torch.int16)


def _document(facts: dict, weights: bytes) -> bytes:
    """Header and weights behind the words that tell a damaged or foreign file."""
    header = json.dumps(facts, separators=(",", ":"), ensure_ascii=True).encode()
    header += b" " * (-(PREFIX + len(header)) % ALIGNMENT)
    checked = struct.pack("<I", len(header)) + header + weights
    length = PREFIX + len(header) + len(weights)
    return MAGIC + struct.pack("<III", VERSION, length, zlib.crc32(checked)) + checked
