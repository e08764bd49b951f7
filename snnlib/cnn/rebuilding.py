"""A PyTorch network from its stages (chapter 9, *Lift the constraints*).

The inverse of ``snnlib.cnn.tracing``: where every weight still belongs to a layer of the
network that was traced, a copy of that network with other weights; else a new one.
"""

import copy
from functools import reduce
from operator import add

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from snnlib.cnn.graph import INPUT, SYNAPTIC, Graph, Op, Path, Stage, bare


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
    network = copy.deepcopy(cnn)
    for stage in graph.scaled:
        op = stage.paths[0].weighted
        network.set_submodule(op.name, _layer(op, stage.bias, like.dtype).to(like.device))
    for name in graph.folded:
        network.set_submodule(name, nn.Identity())
    return network


def _layer(op: Op, bias: Tensor | None, dtype: torch.dtype) -> nn.Module:
    """A layer with weights, in that precision."""
    layer = bare(op.module, op.module.weight.to(dtype))
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(dtype))
    return layer.requires_grad_(True)


def _built(graph: Graph, dtype: torch.dtype) -> fx.GraphModule:
    calls, layers = fx.Graph(), {}
    nodes = {INPUT: calls.placeholder("x")}
    for stage in graph.stages:
        bias, terms = stage.bias, []
        for path in stage.paths:
            terms.append(_called(calls, layers, nodes[path.source], path, bias, dtype))
            bias = None  # the first path carries it
        total = reduce(lambda a, b: calls.call_function(add, (a, b)), terms)
        nodes[stage.name] = _closed(calls, layers, total, stage)
    calls.output(total)
    return fx.GraphModule(layers, calls).eval()


def _called(calls, layers: dict, node: fx.Node, path: Path, bias, dtype) -> fx.Node:
    """The calls of one path."""
    for op in path.ops:
        weighted = isinstance(op.module, SYNAPTIC)
        layers[op.name] = _layer(op, bias, dtype) if weighted else op.module
        node = calls.call_module(op.name, (node,))
    return node


def _closed(calls, layers: dict, total: fx.Node, stage: Stage) -> fx.Node:
    """What makes a stage of a sum."""
    if stage.kind == "max":
        layers[stage.name] = stage.pool
        return calls.call_module(stage.name, (total,))
    return calls.call_function(F.relu, (total,)) if stage.kind == "relu" else total
