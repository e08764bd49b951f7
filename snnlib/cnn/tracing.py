"""Read any feed-forward ReLU network, and write it again (chapter 9, *Lift the constraints*).

torch.fx runs ``forward`` once with a stand-in for the image and writes down every call,
whether it is nn.ReLU, F.relu or x.relu().  ``walking`` takes the calls in order, and
``handlers`` tell what each kind of layer becomes.  What cannot be expressed with
integrate-and-fire neurons is refused by name, and what was read must compute the same.
"""

import copy
import traceback
import warnings
from functools import reduce
from operator import add
from pathlib import Path as File

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from snnlib.cnn.calls import label
from snnlib.cnn.graph import (
    INPUT,
    SYNAPTIC,
    ChannelScale,
    ConversionError,
    Graph,
    Op,
    Path,
    Stage,
    bare,
)
from snnlib.cnn.handlers import JOINS, LAYERS
from snnlib.cnn.refusals import fix_of
from snnlib.cnn.walking import Walk

IMAGES = 7  # an odd number of stand-ins, so that mixing them shows


def trace(cnn: nn.Module, input_shape: tuple[int, int, int] | None = None) -> Graph:
    """The layers of neurons that stand for ``cnn``, with batch norms folded into weights.

    Parameters
    ----------
    cnn : nn.Module
        Left as it is.
    input_shape : tuple of int or None
        (C, H, W) of one image; None leaves out whether images fit.

    Returns
    -------
    Graph
        Weights in float64, on the CPU; computes what ``cnn.eval()`` does, but for a softmax at
        its end.

    Raises
    ------
    ConversionError
        With every reason why ``cnn`` cannot be converted.
    """
    if not isinstance(cnn, nn.Module):
        raise ConversionError([f"The network is a {type(cnn).__name__}; give an nn.Module."])
    if all(isinstance(module, nn.Sequential) for module in cnn.modules()):
        raise ConversionError(["The network has no layers; start from digit_cnn()."])
    root = recorded(cnn)
    shapes, misfit = shapes_of(root, input_shape) if input_shape else ({}, [])
    walk = Walk(root, {} if misfit else shapes, LAYERS, JOINS)
    walk.faults += _training_faults(cnn)
    graph = walk.graph()
    faults = walk.faults or misfit or (_differences(cnn, graph, input_shape) if input_shape else [])
    if faults:
        raise ConversionError(faults)
    return graph


@torch.no_grad()
def _differences(cnn: nn.Module, graph: Graph, input_shape: tuple[int, int, int]) -> list[str]:
    """Whether the stages compute something else than the network, on two random images.

    A recording does not show whether `x += y` wrote over what is read again.
    """
    images = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(action="ignore"):
        expected = copy.deepcopy(cnn).eval().cpu().float()(images.clone()).double()
    *_, (_, found) = graph.run(images.double())
    ends = (found, found.softmax(1), found.log_softmax(1))  # a softmax at the end is dropped
    close = [(end - expected).abs().max() <= 1e-3 * expected.abs().max() + 1e-6 for end in ends]
    if any(close):
        return []
    return [
        "The network computes something else than its layers say; do not change a tensor in "
        "place (x += y) that is used again, and use no hooks."
    ]


def _training_faults(cnn: nn.Module) -> list[str]:
    """Batch norms that would still change with what they are shown."""
    return [
        f"Layer {name} ({type(layer).__name__}) is in training mode and still changes; "
        "call cnn.eval() first."
        for name, layer in cnn.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training
    ]


class _Tracer(fx.Tracer):
    """Steps into everything but torch's own layers."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, ChannelScale) or super().is_leaf_module(module, name)


def recorded(cnn: nn.Module) -> fx.GraphModule:
    """Every call that ``cnn.eval().forward`` makes.

    Parameters
    ----------
    cnn : nn.Module
        Left as it is.

    Returns
    -------
    fx.GraphModule
        Of a copy, on the CPU.

    Raises
    ------
    ConversionError
        For a network that is one layer, or whose forward cannot be followed.
    """
    cnn = copy.deepcopy(cnn).eval().cpu()
    tracer = _Tracer()
    if tracer.is_leaf_module(cnn, ""):
        kind = type(cnn).__name__
        raise ConversionError([f"The network is a {kind}; put it into an nn.Sequential."])
    try:
        root = fx.GraphModule(cnn, tracer.trace(cnn))
    except Exception as error:  # whatever the user's forward raises
        raise ConversionError(_untraceable(cnn, error)) from error
    root.graph.eliminate_dead_code()
    return root


def _untraceable(cnn: nn.Module, error: Exception) -> list[str]:
    """Why a network cannot be followed: a layer that is known for it, or the line of code."""
    kinds = {name: type(layer).__name__ for name, layer in cnn.named_modules()}
    faults = [
        f"Layer {name} ({kind}) cannot be converted: {fix_of(kind)}."
        for name, kind in kinds.items()
        if fix_of(kind) and ("itself" in fix_of(kind) or "attention" in fix_of(kind))
    ]
    if faults:
        return faults
    inside = (str(File(torch.__file__).parent), str(File(__file__).parent.parent))
    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames if not frame.filename.startswith(inside)]
    where = f" at line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, fx.proxy.TraceError):
        return [
            f"The forward of {type(cnn).__name__} depends on its data{where} ({reason}); "
            "take the condition or loop out, so that every image takes the same layers."
        ]
    return [f"The forward of {type(cnn).__name__} cannot be followed{where} ({reason})."]


def shapes_of(
    root: fx.GraphModule, input_shape: tuple[int, int, int]
) -> tuple[dict[fx.Node, torch.Size], list[str]]:
    """What shape each call gives; nothing is computed.

    Parameters
    ----------
    root : fx.GraphModule
        From ``recorded``.
    input_shape : tuple of int
        (C, H, W) of one image.

    Returns
    -------
    shapes : dict of fx.Node to torch.Size
        Of calls that give a tensor, for several images.
    faults : list of str
        The first call that does not fit, if there is one.
    """
    interpreter = fx.Interpreter(copy.deepcopy(root).float().to("meta"))
    twins = dict(zip(interpreter.module.graph.nodes, root.graph.nodes, strict=True))
    interpreter.args_iter = iter([torch.zeros(IMAGES, *input_shape, device="meta")])
    shapes, before = {}, [IMAGES, *input_shape]
    for node, twin in twins.items():
        try:
            with warnings.catch_warnings(action="ignore"):
                result = interpreter.env[node] = interpreter.run_node(node)
        except Exception as error:  # whatever does not fit
            sizes = [shapes[twins[n]] for n in node.all_input_nodes if twins[n] in shapes]
            received = list((sizes or [before])[0])[1:]
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return shapes, [
                f"{label(root, twin)} does not fit input_shape {tuple(input_shape)}: it receives "
                f"{received} ({reason}); give the shape of your images, [C, H, W]."
            ]
        if isinstance(result, Tensor):
            shapes[twin] = result.shape
    return shapes, []


# ---- the inverse


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
