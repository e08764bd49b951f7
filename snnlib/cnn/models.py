"""A CNN that can be converted (chapter 3, *A CNN that can be converted*).

A spiking neuron without a leak adds weighted spikes and fires in proportion to
what it received, never below zero.  It can therefore stand in for
`ReLU(weights @ input)`, and for little else: hence the constraints below
(Cao et al. 2015, Diehl et al. 2015).  ``DeepCNN`` keeps none of them: chapter 9,
*Lift the constraints*, converts it.
"""

import copy
import math
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTED = (nn.Conv2d, nn.Linear)
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


class ResidualBlock(nn.Module):
    """Two convolutions, added to what came in, then a ReLU (He et al. 2016).

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    stride : int
        Of the first convolution; where it or the channels change the shape, the shortcut
        is a convolution of 1 x 1 instead of the identity.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Activations [N, outputs, H', W'] of [N, inputs, H, W]."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class DeepCNN(nn.Module):
    """Eight weight layers with biases, batch norms, max pools and two residual blocks.

    Written as one writes a network that nobody means to convert.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.block1 = ResidualBlock(16, 16)
        self.block2 = ResidualBlock(16, 32, stride=2)
        self.dropout = nn.Dropout(0.3)
        self.hidden = nn.Linear(32 * 3 * 3, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [N, 10] for images [N, 1, 28, 28]."""
        x = F.relu(self.norm(self.conv(x)))  # [N, 16, 28, 28]
        x = self.block1(self.pool(x))  # [N, 16, 14, 14]
        x = self.pool(self.block2(x))  # [N, 32, 7, 7], then [N, 32, 3, 3]
        x = F.relu(self.hidden(self.dropout(x.flatten(1))))  # [N, 64]
        return self.output(x)


def deep_cnn(*, seed: int = 0) -> DeepCNN:
    """The network that chapter 9 converts, with random weights.

    Parameters
    ----------
    seed : int
        Of the weights.

    Returns
    -------
    DeepCNN
        Input [N, 1, 28, 28], output [N, 10].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DeepCNN()


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
    layers = active_layers(cnn)
    if not layers:
        return ["The network has no layers; start from digit_cnn()."]
    return [
        *(text for name, layer in layers for text in _layer_faults(name, layer)),
        *_order_faults(layers),
        *(_shape_faults(layers, input_shape) if input_shape else []),
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
    return [(name, layer) for name, layer in _children(cnn) if not isinstance(layer, SILENT)]


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
    return [(name, layer) for name, layer in _children(cnn) if isinstance(layer, WEIGHTED)]


def window_area(pool: nn.AvgPool2d) -> int:
    """How many inputs a pooling window covers.

    Parameters
    ----------
    pool : nn.AvgPool2d

    Returns
    -------
    int
    """
    return math.prod(pair(pool.kernel_size))


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """What torch keeps as one number or two: rows, then columns.

    Parameters
    ----------
    value : int or tuple of int
        A kernel size, stride, padding or dilation.

    Returns
    -------
    tuple of int
    """
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _children(cnn: nn.Sequential) -> list[tuple[str, nn.Module]]:
    """Every layer in order; torch's named_children leaves out the second use of one."""
    return list(cnn._modules.items())


def _layer_faults(name: str, layer: nn.Module) -> list[str]:
    """What is wrong with one layer, whatever stands beside it."""
    label = _label(name, layer)
    if isinstance(layer, WEIGHTED):
        return [f"{label} {fault}" for fault in _weight_faults(layer)]
    if isinstance(layer, nn.AvgPool2d):
        return [f"{label} {fault}" for fault in _pool_faults(layer)]
    if isinstance(layer, (nn.ReLU, nn.Flatten)):
        return []
    for kinds, fix in _FIXES:
        if isinstance(layer, kinds):
            return [f"{label} does not convert as it is: {fix}."]
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
    x = torch.zeros(2, *input_shape, device="meta")  # two images, so that mixing them shows
    for name, layer in layers:
        if not isinstance(layer, _SHAPED):
            return []  # what an unknown layer makes of an image is unknown too
        try:
            y = copy.deepcopy(layer).eval().to("meta")(x)
        except (RuntimeError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0]
            return [
                f"{_label(name, layer)} does not fit input_shape {tuple(input_shape)}: it receives "
                f"{list(x.shape[1:])} ({reason}); give the shape of your images, [C, H, W]."
            ]
        if not isinstance(y, torch.Tensor):
            return []
        x = y
    if x.ndim != 2 or len(x) != 2:
        return [
            f"{_label(*layers[-1])} gives {list(x.shape)} for two images; "
            "put nn.Flatten() before it, so that each image has one row."
        ]
    return []


def _label(name: str, layer: nn.Module) -> str:
    return f"Layer {name} ({type(layer).__name__})"
