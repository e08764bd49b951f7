"""A CNN that can be converted (chapter 3, *A CNN that can be converted*).

A spiking neuron without a leak adds weighted spikes and fires in proportion to
what it received, never below zero.  It can therefore stand in for
`ReLU(weights @ input)`, and for little else: hence the constraints below
(Cao et al. 2015, Diehl et al. 2015).
"""

import copy
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

WEIGHTED = (nn.Conv2d, nn.Linear)
SILENT = (nn.Dropout, nn.Identity)  # they do nothing when a network only predicts

_MENDS = (
    (
        (nn.MaxPool2d, nn.MaxPool1d, nn.AdaptiveMaxPool2d),
        "the larger of two spike trains is not known at any one step; use nn.AvgPool2d",
    ),
    (
        (nn.BatchNorm1d, nn.BatchNorm2d),
        "it shifts and scales with numbers a spike cannot carry; train without it",
    ),
    (
        (nn.Sigmoid, nn.Tanh, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU),
        "a firing rate is zero or grows in proportion; use nn.ReLU",
    ),
    (
        (nn.Softmax, nn.LogSoftmax),
        "drop it: the largest output stays the largest",
    ),
)


def digit_cnn(*, seed: int = 0) -> nn.Sequential:
    """The network of Diehl et al. 2015, 12c5-2s-64c5-2s-10, with random weights.

    Parameters
    ----------
    seed : int
        Of the weights.

    Returns
    -------
    nn.Sequential
        Input [N, 1, 28, 28], output [N, 10]; 29,740 weights and no bias.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(1, 12, 5, bias=False),  # [N, 12, 24, 24]
                relu1=nn.ReLU(),
                pool1=nn.AvgPool2d(2),  # [N, 12, 12, 12]
                conv2=nn.Conv2d(12, 64, 5, bias=False),  # [N, 64, 8, 8]
                relu2=nn.ReLU(),
                pool2=nn.AvgPool2d(2),  # [N, 64, 4, 4]
                flatten=nn.Flatten(),  # [N, 1024]
                output=nn.Linear(1024, 10, bias=False),  # [N, 10]
            )
        )


def check_constraints(
    cnn: nn.Module, *, input_shape: tuple[int, int, int] = (1, 28, 28)
) -> list[str]:
    """What keeps ``cnn`` from being converted.

    Parameters
    ----------
    cnn : nn.Module
    input_shape : tuple of int
        (C, H, W) of one image.

    Returns
    -------
    list of str
        One sentence a violation, which names the layer, says what is wrong, and how to
        mend it; empty if nothing is.
    """
    if not isinstance(cnn, nn.Sequential):
        return [f"The network is a {type(cnn).__name__}; write it as one nn.Sequential."]
    layers = active_layers(cnn)
    if not layers:
        return ["The network has no layers; start from digit_cnn()."]
    return [
        *(text for name, layer in layers for text in _layer_faults(name, layer)),
        *_order_faults(layers),
        *_shape_faults(layers, input_shape),
    ]


def active_layers(cnn: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """The named layers that do something when the network only predicts.

    Parameters
    ----------
    cnn : nn.Sequential

    Returns
    -------
    list of tuple
        (name, layer), in order; without dropout and identity.
    """
    return [(name, layer) for name, layer in cnn.named_children() if not isinstance(layer, SILENT)]


def weighted_layers(cnn: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """The named convolutions and linear layers.

    Parameters
    ----------
    cnn : nn.Sequential

    Returns
    -------
    list of tuple
        (name, layer), in order.
    """
    return [(name, layer) for name, layer in cnn.named_children() if isinstance(layer, WEIGHTED)]


def _layer_faults(name: str, layer: nn.Module) -> list[str]:
    """What is wrong with one layer, whatever stands beside it."""
    label = _label(name, layer)
    if isinstance(layer, WEIGHTED):
        return [f"{label} {fault}" for fault in _weight_faults(layer)]
    if isinstance(layer, nn.AvgPool2d):
        return [f"{label} {fault}" for fault in _pool_faults(layer)]
    if isinstance(layer, (nn.ReLU, nn.Flatten)):
        return []
    for kinds, mend in _MENDS:
        if isinstance(layer, kinds):
            return [f"{label} cannot be converted: {mend}."]
    return [f"{label} is unknown here; use Conv2d, Linear, ReLU, AvgPool2d, Flatten or Dropout."]


def _weight_faults(layer: nn.Module) -> list[str]:
    faults = []
    if layer.bias is not None:
        faults.append("has a bias, an input without spikes; build it with bias=False.")
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        faults.append(f'pads with "{layer.padding_mode}"; use padding_mode="zeros".')
    if isinstance(getattr(layer, "padding", 0), str):
        faults.append(f'has padding="{layer.padding}"; give it as a number of pixels.')
    if not torch.isfinite(layer.weight).all():
        faults.append("has weights that are NaN or infinite; train it again.")
    return faults


def _pool_faults(layer: nn.AvgPool2d) -> list[str]:
    faults = []
    if layer.ceil_mode:
        faults.append("averages over cut-off windows; use ceil_mode=False.")
    if layer.padding not in (0, (0, 0)) and not layer.count_include_pad:
        faults.append("divides by another number at the border; use count_include_pad=True.")
    return faults


def _order_faults(layers: list[tuple[str, nn.Module]]) -> list[str]:
    """What is wrong with how layers follow each other."""
    faults = []
    for (name, layer), (_, follower) in pairwise(layers):
        if isinstance(layer, WEIGHTED) and isinstance(follower, (*WEIGHTED, nn.AvgPool2d)):
            faults.append(f"{_label(name, layer)} has no ReLU after it; put nn.ReLU() there.")
        if isinstance(follower, nn.ReLU) and isinstance(layer, (nn.AvgPool2d, nn.Flatten)):
            faults.append(f"{_label(name, layer)} stands before a ReLU; put the ReLU before it.")
    name, last = layers[-1]
    if not isinstance(last, nn.Linear):
        faults.append(
            f"{_label(name, last)} is the last layer; end with nn.Linear, one output a class."
        )
    return faults


def _shape_faults(
    layers: list[tuple[str, nn.Module]], input_shape: tuple[int, int, int]
) -> list[str]:
    """The first layer that an image of `input_shape` does not fit, found without computing."""
    x = torch.zeros(1, *input_shape, device="meta")
    for name, layer in layers:
        try:
            x = copy.deepcopy(layer).eval().to("meta")(x)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            return [
                f"{_label(name, layer)} does not fit input_shape {tuple(input_shape)}: it receives "
                f"{list(x.shape[1:])} ({reason}); give the shape of your images, [C, H, W]."
            ]
    return []


def _label(name: str, layer: nn.Module) -> str:
    return f"Layer {name} ({type(layer).__name__})"
