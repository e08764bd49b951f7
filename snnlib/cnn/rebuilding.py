"""Write a network that was read again (chapter 9, *Lift the constraints*)."""

import copy
import itertools
from functools import reduce
from operator import add

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from snnlib.cnn.graph import (
    INPUT,
    SYNAPTIC,
    ChannelScale,
    ClippedReLU,
    Graph,
    Op,
    Path,
    Stage,
    bare,
    shifted,
)
from snnlib.cnn.recording import unwrapped


def rebuild(cnn: nn.Module, graph: Graph) -> nn.Module:
    """A network that computes what ``graph`` does.

    Parameters
    ----------
    cnn : nn.Module
        From which the graph was traced; left as it is.
    graph : Graph
        Perhaps with other weights and biases.

    Returns
    -------
    nn.Module
        In the precision of ``cnn``, on its device.  If the graph is a chain, a copy of
        ``cnn`` with nn.Identity for each batch norm; else an fx.GraphModule with the same names.
    """
    like = next(cnn.parameters())
    if not graph.is_chain:
        return _built(graph, like.dtype).to(like.device)
    network = copy.deepcopy(unwrapped(cnn))
    for stage in graph.scaled:
        op = stage.paths[0].weighted
        network.set_submodule(op.name, _layer(op, stage.bias, like.dtype).to(like.device))
    for name in graph.folded:
        network.set_submodule(name, nn.Identity())
    return network


def _layer(op: Op, bias: Tensor | None, dtype: torch.dtype) -> nn.Module:
    """A layer with weights, in that precision."""
    layer = bare(op.module, op.module.weight.to(dtype))
    if isinstance(layer, ChannelScale):
        layer = shifted(layer.weight[:, 0], op.module.bias).to(dtype)
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(dtype))
    return layer.requires_grad_(True)


class _Layers(dict):
    """Layers by name, each under one that is free."""

    def put(self, name: str, layer: nn.Module) -> str:
        """The name that it got: the one that was asked for, or with a number behind it."""
        others = (f"{name}_{i}" for i in itertools.count(1))
        name = next(n for n in itertools.chain([name], others) if n not in self)
        self[name] = layer
        return name


def _built(graph: Graph, dtype: torch.dtype) -> fx.GraphModule:
    calls, layers = fx.Graph(), _Layers()
    nodes = {INPUT: calls.placeholder("x")}
    for stage in graph.stages:
        total = _total(calls, layers, nodes, stage, dtype)
        nodes[stage.name] = _closed(calls, layers, total, stage, dtype)
    calls.output(nodes[graph.stages[-1].name])
    return fx.GraphModule(layers, calls).eval()


def _total(calls: fx.Graph, layers: _Layers, nodes: dict, stage: Stage, dtype) -> fx.Node:
    """What arrives at a stage; the first path that ends on a layer's weights carries the bias."""
    bias, terms = stage.bias, []
    for path in stage.paths:
        carries = bool(path.ops) and path.ops[-1] is path.weighted
        given = bias if carries else None
        terms.append(_called(calls, layers, nodes[path.source], path, given, dtype))
        bias = None if carries else bias
    total = reduce(lambda a, b: calls.call_function(add, (a, b)), terms)
    if bias is None:
        return total
    name = layers.put(f"{stage.name}_shift", shifted(torch.ones(len(bias)), bias).to(dtype))
    return calls.call_module(name, (total,))


def _called(calls: fx.Graph, layers: _Layers, node: fx.Node, path: Path, bias, dtype) -> fx.Node:
    """The calls of one path."""
    for op in path.ops:
        given = bias if op is path.weighted else None
        layer = _layer(op, given, dtype) if isinstance(op.module, SYNAPTIC) else op.module
        node = calls.call_module(layers.put(op.name, layer), (node,))
    return node


def _closed(calls: fx.Graph, layers: _Layers, total: fx.Node, stage: Stage, dtype) -> fx.Node:
    """What makes a stage of a sum."""
    if stage.kind == "max":
        return calls.call_module(layers.put(stage.name, stage.pool), (total,))
    if stage.ceiling is not None:
        name = layers.put(f"{stage.name}_relu", ClippedReLU(stage.ceiling).to(dtype))
        return calls.call_module(name, (total,))
    return calls.call_function(F.relu, (total,)) if stage.kind == "relu" else total
