"""Networks as NIR graphs, which other simulators read (chapter 10, *Take the network elsewhere*).

NIR (Pedersen et al. 2024) states nodes with equations and edges between them:

    Input -> SumPool2d -> Conv2d -> IF -> ... -> Flatten -> Affine -> I -> Output

Its IF obeys dv/dt = r I, spikes when v > v_threshold, and then sets v to v_reset.  That leaves
out half of what decides our spikes, so ``to_nir`` states it in the metadata: of the graph

    snnlib_format      1
    readout            "potential" or "spikes"
    gain               for an input how many times as large as the image biases are
    dt                 1.0, the time of a step, so that a step adds r dt I = I

of each node of neurons (of Output, if the graph ends on weights)

    layer, position    its name, and its place in the network
    fraction_bits      k: all numbers are multiples of 2**-k
    scale              the activation that one spike a step stands for
    reset              "subtract" or "zero"                            (IF only, and the next two)
    initial_potential  v before the first step
    spikes_when        "v >= v_threshold", not >

and of each node in between, ``path``: 0, or the number of the shortcut that it belongs to.
An average is a SumPool2d with weights divided by its window: sums of spikes are exact.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, ChannelScale
from snnlib.cnn.models import WEIGHTED, pair
from snnlib.export.nir_building import from_nir
from snnlib.export.nir_structure import FORMAT, SPIKES_WHEN, NIRError, Node, nir_package
from snnlib.spiking.layer import SpikingLayer, adds_up
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import IFNeuron, Integrator, MaxPooling, is_per_channel

if TYPE_CHECKING:
    import nir

__all__ = ["NIRError", "from_nir", "to_nir"]


@dataclass
class _Draft:
    """Nodes, edges and faults, as they are found."""

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]
    faults: list[str]


def to_nir(snn: SpikingNetwork, *, integrator: bool = True, gain: float = 1.0) -> "nir.NIRGraph":
    """A network as a NIR graph, for ``nir.write`` or another simulator.

    Parameters
    ----------
    snn : SpikingNetwork
        Left as it is.
    integrator : bool
        Whether an output that only accumulates ends on the node I, as NIR has it.  False
        ends the graph on its weights, for simulators that do not know I: add up what they give.
    gain : float
        By what factor the input will be as large as the image, 0.4 for spikes that come in
        0.4 of all steps from a white pixel.  Other simulators know no encoder that could say
        it, so biases are written as ``SpikingNetwork.at_gain`` has them.

    Returns
    -------
    nir.NIRGraph
        From which ``from_nir`` makes a network with the same spikes and potentials, also
        after ``nir.write`` and ``nir.read``.

    Raises
    ------
    ImportError
        If the package nir is not installed.
    NIRError
        With everything that NIR cannot express, or that ``from_nir`` would refuse.
    """
    ir, snn = nir_package(), snn.at_gain(gain)
    shapes = snn.shapes()
    draft = _Draft({INPUT: ir.Input(np.array(snn.input_shape))}, [], [])
    for place, layer in enumerate(snn.layers):
        faults = _faults(layer, shapes, last=place == len(snn.layers) - 1)
        draft.faults += [f"layer {layer.name} {fault}." for fault in faults]
        if not faults:
            _add_paths(draft, layer, shapes)
            if layer.spiking or integrator:
                draft.nodes[_neuron_name(layer.name)] = _neurons(layer, shapes[layer.name], place)
    if draft.faults:
        raise NIRError("NIR cannot express this network:", draft.faults)
    _add_output(draft, snn, shapes)
    facts = {"snnlib_format": FORMAT, "readout": snn.readout, "gain": snn.gain, "dt": 1.0}
    facts |= {"clipped": True} if snn.clipped else {}
    graph = ir.NIRGraph(draft.nodes, draft.edges, metadata=facts)
    from_nir(graph)  # so that nothing is written that could not be read
    return graph


def _add_output(draft: _Draft, snn: SpikingNetwork, shapes: Mapping[str, torch.Size]) -> None:
    """The Output behind the last neurons, or in their place where the graph ends on weights."""
    last = snn.layers[-1]
    end = _neuron_name(last.name)
    output = nir_package().Output(np.array(shapes[last.name]))
    if end in draft.nodes:
        draft.edges.append((end, "output"))
    else:
        draft.edges = [(a, "output" if b == end else b) for a, b in draft.edges]
        output.metadata = _metadata(last, len(snn.layers) - 1)
    draft.nodes["output"] = output


# ---- what is refused


def _faults(layer: SpikingLayer, shapes: Mapping[str, torch.Size], last: bool) -> list[str]:
    """What NIR has no node for."""
    neuron = layer.neuron
    if isinstance(neuron, MaxPooling):
        return ["takes a maximum, for which NIR has no node; use nn.AvgPool2d"]
    if not isinstance(neuron, (IFNeuron, Integrator)):
        return [f"has neurons of type {type(neuron).__name__}; use IFNeuron"]
    faults = [fault for _, path in layer.paths for op in path if (fault := _op_fault(op))]
    if "/" in layer.name:
        faults.append('has a "/" in its name, which separates groups in a file; rename it')
    if isinstance(neuron, Integrator) and not last:
        faults.append("never spikes, but is not the output; give it IFNeuron")
    if layer.bias is not None and not is_per_channel(layer.bias, shapes[layer.name]):
        faults.append("has a bias that differs within a map; give one for each channel")
    if layer.bias is not None and not any(_carries_bias(path) for _, path in layer.paths):
        faults.append("has a bias but no weights that NIR could add it to; use nn.Conv2d")
    return faults


def _op_fault(op: nn.Module) -> str | None:
    if isinstance(op, nn.AvgPool2d):
        return None if adds_up(op) else "pools other than by adding up whole windows; use convert"
    if isinstance(op, nn.Conv2d) and op.padding_mode != "zeros":
        return f"pads with {op.padding_mode}, not with zeros"
    if isinstance(op, (nn.Conv2d, nn.Linear, nn.Flatten, ChannelScale)):
        return None
    return f"has a synapse with {type(op).__name__}; use convert"


def _carries_bias(path: nn.Sequential) -> bool:
    return len(path) > 0 and isinstance(path[-1], WEIGHTED)


# ---- what is written


def _neuron_name(source: str) -> str:
    """The node whose spikes are those of a layer, or of the input."""
    return source if source == INPUT else f"{source}.neurons"


def _add_paths(draft: _Draft, layer: SpikingLayer, shapes: Mapping[str, torch.Size]) -> None:
    """The nodes between the neurons of other layers and those of this one."""
    bias = layer.bias
    for j, (source, path) in enumerate(layer.paths):
        start = layer.name if j == 0 else f"{layer.name}.shortcut{j}"
        before = _neuron_name(source)
        carried = bias if _carries_bias(path) else None
        bias = None if carried is not None else bias  # by the first path that can
        for name, node, fault in _path_nodes(path, shapes[source], carried):
            node.metadata["path"] = j
            name = f"{start}.{name}"
            draft.nodes[name] = node
            draft.edges.append((before, name))
            draft.faults += [f"layer {layer.name} {fault}."] if fault else []
            before = name
        draft.edges.append((before, _neuron_name(layer.name)))


@torch.no_grad()
def _path_nodes(
    path: nn.Sequential, shape: torch.Size, bias: Tensor | None
) -> Iterator[tuple[str, Node, str | None]]:
    """(name, node, fault) of each operation."""
    path, x = copy.deepcopy(path).cpu(), torch.zeros(1, *shape)
    names = [_op_name(op) for op in path]
    for i, (op, name) in enumerate(zip(path, names, strict=True)):
        y = op(x)
        node = _node(op, x.shape[1:], y.shape[1:], bias)
        again = names[:i].count(name)
        yield f"{name}{again + 1}" if again else name, node, _shape_fault(op, node, x, y)
        x = y


def _op_name(op: nn.Module) -> str:
    if isinstance(op, nn.AvgPool2d):
        return "pool"
    return "flatten" if isinstance(op, nn.Flatten) else "weights"


def _node(op: nn.Module, before: torch.Size, after: torch.Size, bias: Tensor | None) -> Node:
    ir = nir_package()
    if isinstance(op, nn.AvgPool2d):
        return ir.SumPool2d(*map(np.array, map(pair, (op.kernel_size, op.stride, op.padding))))
    if isinstance(op, nn.Flatten):
        return ir.Flatten(np.array(before), start_dim=0, end_dim=-1)
    if isinstance(op, ChannelScale):
        return ir.Scale(_numbers(op(torch.ones(1, *before))[0]))
    added = torch.zeros(after[0]) if bias is None else bias.detach().cpu().flatten()
    added = _numbers(added.expand(after[0]))
    if isinstance(op, nn.Linear):
        return ir.Affine(_numbers(op.weight), added)
    sizes = [pair(size) for size in (op.stride, op.padding, op.dilation)]
    return ir.Conv2d(tuple(before[1:]), _numbers(op.weight), *sizes, op.groups, added)


def _shape_fault(op: nn.Module, node: Node, x: Tensor, y: Tensor) -> str | None:
    """Whether the package nir would check edges against wrong shapes, and refuse the file."""
    if node.input_type["input"] is None:  # it is told those of the nodes around
        return None
    types = tuple(node.input_type["input"]), tuple(node.output_type["output"])
    if types == (tuple(x.shape[1:]), tuple(y.shape[1:])):
        return None
    return (
        f"has a {type(op).__name__} from {list(x.shape[1:])} to {list(y.shape[1:])} that the "
        f"package nir takes for one from {list(map(int, types[0]))} to {list(map(int, types[1]))}; "
        "use a square kernel and groups=1"
    )


def _neurons(layer: SpikingLayer, shape: torch.Size, place: int) -> Node:
    """One number a neuron, as NIR has it."""
    ir = nir_package()
    ones, zeros = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    facts = _metadata(layer, place)
    if not layer.spiking:
        return ir.I(r=ones, metadata=facts)
    threshold = _numbers(layer.neuron.threshold.expand(shape))
    return ir.IF(r=ones, v_threshold=threshold, v_reset=zeros, metadata=facts)


def _metadata(layer: SpikingLayer, place: int) -> dict:
    """What NIR's own fields do not say about a layer of neurons."""
    facts = {
        "layer": layer.name,
        "position": place,
        "fraction_bits": layer.fraction_bits,
        "scale": _plain(layer.scale),
    }
    if layer.spiking:
        facts["reset"] = layer.neuron.reset_rule
        facts["initial_potential"] = _plain(layer.neuron.initial)
        facts["spikes_when"] = SPIKES_WHEN
    return facts


def _plain(values: Tensor) -> float | np.ndarray:
    """A number, or an array; an HDF5 file cannot compress an array of no dimension."""
    return _numbers(values) if values.ndim else values.item()


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().astype(np.float32)
