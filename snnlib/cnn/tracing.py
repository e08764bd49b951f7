"""Read any feed-forward ReLU network (chapter 9, *Lift the constraints*).

``recording`` writes down every call, whether it is nn.ReLU, F.relu or x.relu().  ``walking``
takes the calls in order; ``handlers`` and ``joins`` tell what each kind of layer becomes.
What cannot be expressed with integrate-and-fire neurons is refused by name, and what was
read must compute the same.
"""

import copy
import warnings

import torch
from torch import nn

from snnlib.cnn.graph import ConversionError, Graph
from snnlib.cnn.handlers import LAYERS
from snnlib.cnn.joins import JOINS
from snnlib.cnn.recording import recorded, unwrapped
from snnlib.cnn.walking import Walk


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
    cnn = unwrapped(cnn)
    if all(isinstance(module, nn.Sequential) for module in cnn.modules()):
        raise ConversionError(["The network has no layers; start from digit_cnn()."])
    recording = recorded(cnn, input_shape)
    whole = recorded(cnn) if recording.misfit else recording  # whatever else is wrong comes first
    walk = Walk(whole.root, whole.shapes, LAYERS, JOINS)
    walk.faults += _training_faults(cnn)
    graph = walk.graph()
    faults = walk.faults or recording.misfit
    if input_shape and not faults:
        faults = _differences(cnn, graph, input_shape)
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
