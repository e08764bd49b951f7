"""What a network must keep to be converted by the basic method (chapter 3, *A CNN that can be
converted*).

A spiking neuron without a leak adds weighted spikes and fires in proportion to
what it received, never below zero.  It can therefore stand in for
`ReLU(weights @ input)`, and for little else: hence the constraints below
(Cao et al. 2015, Diehl et al. 2015).
"""

from collections import OrderedDict
from itertools import pairwise, takewhile

from torch import nn

from snnlib.cnn.models import WEIGHTED
from snnlib.cnn.recording import IMAGES, recorded
from snnlib.cnn.refusals import pool_faults, weight_faults

SILENT = (nn.Dropout, nn.Identity)  # they do nothing when a network only predicts

_FIXES = (  # kinds of layer, why they do not convert, and the fix
    (
        (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool2d),
        "the larger of two spike trains is not known at any one step; use nn.AvgPool2d",
    ),
    (
        (nn.BatchNorm1d, nn.BatchNorm2d),
        "its shift is a bias, an input without spikes; train without it",
    ),
    (
        (nn.Sigmoid, nn.Tanh, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU),
        "a firing rate is zero or grows in proportion; use nn.ReLU",
    ),
    (
        (nn.Softmax, nn.LogSoftmax),
        "it is not needed, as the largest output stays the largest; drop it",
    ),
)

_SHAPED = (*WEIGHTED, nn.ReLU, nn.AvgPool2d, nn.Flatten, *(k for m in _FIXES for k in m[0]))


def check_constraints(
    cnn: nn.Module, *, input_shape: tuple[int, int, int] | None = (1, 28, 28)
) -> list[str]:
    """What keeps ``cnn`` from being converted by the basic method, without any additions.

    These are the constraints that chapter 3 derives, of a chain of layers (Cao et al. 2015,
    Diehl et al. 2015), and a network that keeps them is simplest to convert and to explain.
    ``convert`` itself lifts several of them (chapter 9): it takes biases, batch norm, max
    pooling and branches, in a network that is written in any way, and names what it refuses.

    Parameters
    ----------
    cnn : nn.Module
    input_shape : tuple of int or None
        (C, H, W) of one image; None leaves out whether images fit.

    Returns
    -------
    list of str
        One sentence a violation, which names the layer, says what is wrong, and how to
        fix it; empty if nothing is, and then ``convert`` accepts the network.
    """
    if not isinstance(cnn, nn.Sequential):
        return [f"The network is a {type(cnn).__name__}; write it as one nn.Sequential."]
    children = cnn._modules.items()  # torch's named_children leaves out the second use of a layer
    layers = [(name, layer) for name, layer in children if not isinstance(layer, SILENT)]
    if not layers:
        return ["The network has no layers; start from digit_cnn()."]
    return [
        *(text for name, layer in layers for text in _layer_faults(name, layer)),
        *_order_faults(layers),
        *(_shape_faults(layers, input_shape) if input_shape else []),
    ]


def _layer_faults(name: str, layer: nn.Module) -> list[str]:
    """What is wrong with one layer, whatever stands beside it."""
    label = _label(name, layer)
    if isinstance(layer, WEIGHTED):
        return [f"{label} {fault}" for fault in _weight_faults(layer)]
    if isinstance(layer, nn.AvgPool2d):
        return [f"{label} {fault}" for fault in pool_faults(layer)]
    if isinstance(layer, (nn.ReLU, nn.Flatten)):
        return []
    for kinds, fix in _FIXES:
        if isinstance(layer, kinds):
            return [f"{label} does not convert as it is: {fix}."]
    return [f"{label} is unknown here; use Conv2d, Linear, ReLU, AvgPool2d, Flatten or Dropout."]


def _weight_faults(layer: nn.Conv2d | nn.Linear) -> list[str]:
    faults = []
    if layer.bias is not None:
        faults.append("has a bias, an input without spikes; build it with bias=False.")
    if isinstance(getattr(layer, "padding", 0), str):
        faults.append(f'has padding="{layer.padding}"; give it as a number of pixels.')
    return faults + weight_faults(layer)


def _order_faults(layers: list[tuple[str, nn.Module]]) -> list[str]:
    """What is wrong with how layers follow each other; a Flatten moves nothing."""
    faults = []
    chain = [(name, layer) for name, layer in layers if not isinstance(layer, nn.Flatten)]
    for (name, layer), (_, follower) in pairwise(chain):
        if isinstance(layer, WEIGHTED) and isinstance(follower, (*WEIGHTED, nn.AvgPool2d)):
            faults.append(f"{_label(name, layer)} has no ReLU after it; put nn.ReLU() there.")
        if isinstance(layer, nn.AvgPool2d) and isinstance(follower, nn.ReLU):
            faults.append(f"{_label(name, layer)} stands before a ReLU; put the ReLU before it.")
    return faults + _reuse_faults(layers) + _end_faults(layers)


def _reuse_faults(layers: list[tuple[str, nn.Module]]) -> list[str]:
    """Weights in two places could not be balanced for both."""
    weighted = [(name, layer) for name, layer in layers if isinstance(layer, WEIGHTED)]
    return [
        f"{_label(name, layer)} is used before; give each place a layer of its own."
        for i, (name, layer) in enumerate(weighted)
        if any(layer.weight is other.weight for _, other in weighted[:i])
    ]


def _end_faults(layers: list[tuple[str, nn.Module]]) -> list[str]:
    """A network ends with a linear layer; a softmax behind it has its own sentence."""
    ends = [pair for pair in layers if not isinstance(pair[1], (nn.Softmax, nn.LogSoftmax))]
    name, last = (ends or layers)[-1]
    if isinstance(last, nn.Linear):
        return []
    return [f"{_label(name, last)} is the last layer; end with nn.Linear, one output a class."]


def _shape_faults(
    layers: list[tuple[str, nn.Module]], input_shape: tuple[int, int, int]
) -> list[str]:
    """The first layer that an image of `input_shape` does not fit, found without computing."""
    known = list(takewhile(lambda named: isinstance(named[1], _SHAPED), layers))
    if not known:
        return []
    recording = recorded(nn.Sequential(OrderedDict(known)), input_shape)
    if recording.misfit or len(known) < len(layers):  # what unknown layers make of it is unknown
        return recording.misfit
    *_, last, _ = recording.root.graph.nodes
    shape = recording.shapes[last]
    if len(shape) != 2 or shape[0] != IMAGES:
        return [
            f"{_label(*layers[-1])} gives {list(shape)} for {IMAGES} images; "
            "put nn.Flatten() before it, so that each image has one row."
        ]
    return []


def _label(name: str, layer: nn.Module) -> str:
    return f"Layer {name} ({type(layer).__name__})"
