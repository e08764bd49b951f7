"""Why a layer cannot be converted, and what to do (chapter 9, *Lift the constraints*)."""

import torch
from torch import nn

from snnlib.cnn.graph import padding_of

_FIXES = (  # names of layers and functions without "_", why they do not convert, the fix
    (
        "sigmoid tanh leakyrelu elu gelu silu softplus relu6 hardtanh selu mish prelu celu "
        "hardswish hardsigmoid logsigmoid softsign rrelu",
        "a firing rate is zero or grows in proportion; use nn.ReLU",
    ),
    (
        "softmax logsoftmax softmin",
        "in the middle of a network it weighs all neurons against each other; drop it",
    ),
    (
        "lstm gru rnn rnnbase lstmcell grucell rnncell",
        "it feeds its output back into itself; use convolutions or linear layers",
    ),
    (
        "multiheadattention scaleddotproductattention transformer transformerencoder "
        "transformerencoderlayer transformerdecoder transformerdecoderlayer",
        "attention multiplies signals with each other; use convolutions or linear layers",
    ),
    (
        "mul imul matmul bmm div truediv einsum",
        "it multiplies or divides signals, and neurons only add; leave it out",
    ),
    (
        "layernorm groupnorm instancenorm instancenorm2d localresponsenorm rmsnorm",
        "it divides by what it measures on each image; use nn.BatchNorm2d, which is fixed then",
    ),
    ("conv2d linear batchnorm", "its weights are not those of a layer; use the nn.Module for it"),
    ("cat concat concatenate", "branches are added, not joined; add them before a ReLU"),
)
KNOWN = "Conv2d, Linear, BatchNorm, ReLU, AvgPool2d, MaxPool2d, Flatten, Dropout, or + before ReLU"


def fix_of(kind: str) -> str | None:
    """What to do about a kind of layer or function that is known not to convert.

    Parameters
    ----------
    kind : str
        Name of the class of a layer, or of a function.

    Returns
    -------
    str or None
        None for a kind that is not known.
    """
    key = kind.replace("_", "").lower()
    return next((fix for kinds, fix in _FIXES if key in kinds.split()), None)


def weight_faults(layer: nn.Module) -> list[str]:
    """What is wrong with a layer of weights, whatever stands beside it.

    Parameters
    ----------
    layer : nn.Conv2d or nn.Linear

    Returns
    -------
    list of str
        Without the name of the layer; empty if nothing is.
    """
    faults = []
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        faults.append(f'pads with "{layer.padding_mode}"; use padding_mode="zeros".')
    try:
        padding_of(layer) if isinstance(layer, nn.Conv2d) else None
    except ValueError as error:
        faults.append(f"has {error}; give a number of pixels.")
    if isinstance(layer.weight, nn.parameter.UninitializedParameter):
        return ["has no weights yet; show it one image first."]
    numbers = [p for p in (layer.weight, getattr(layer, "bias", None)) if p is not None]
    if not all(torch.isfinite(p).all() for p in numbers):
        faults.append("has weights that are NaN or infinite; train it again.")
    return faults


def pool_faults(pool: nn.Module) -> list[str]:
    """What is wrong with an average, likewise.

    Parameters
    ----------
    pool : nn.AvgPool2d or nn.AdaptiveAvgPool2d

    Returns
    -------
    list of str
    """
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return []
    faults = []
    if pool.ceil_mode:
        faults.append("averages over cut-off windows; use ceil_mode=False.")
    if pool.padding not in (0, (0, 0)) and not pool.count_include_pad:
        faults.append("divides by another number at the border; use count_include_pad=True.")
    return faults
