"""Why a layer cannot be converted, and what to do (chapter 9, *Lift the constraints*)."""

import torch
from torch import nn

_AGAIN = "and train it again"
_FIXES = (  # names of layers and functions without "_", why they do not convert, the fix
    (
        "sigmoid tanh leakyrelu elu gelu silu softplus relu6 hardtanh selu mish prelu celu "
        "hardswish hardsigmoid logsigmoid softsign rrelu threshold",
        f"a firing rate is zero or grows in proportion; use nn.ReLU {_AGAIN}",
    ),
    (
        "softmax logsoftmax softmin",
        f"in the middle of a network it weighs all neurons against each other; drop it {_AGAIN}",
    ),
    (
        "lstm gru rnn rnnbase lstmcell grucell rnncell",
        f"it feeds its output back into itself; use convolutions or linear layers {_AGAIN}",
    ),
    (
        "multiheadattention scaleddotproductattention transformer transformerencoder "
        "transformerencoderlayer transformerdecoder transformerdecoderlayer",
        f"attention multiplies signals with each other; use convolutions or linear layers {_AGAIN}",
    ),
    (
        "mul imul multiply matmul bmm div divide truediv einsum",
        f"it multiplies or divides signals, and neurons only add; leave it out {_AGAIN}",
    ),
    (
        "layernorm groupnorm instancenorm instancenorm2d localresponsenorm rmsnorm",
        "it divides by what it measures on each image; use nn.BatchNorm2d, which is fixed then, "
        f"{_AGAIN}",
    ),
    (
        "pad reflectionpad2d replicationpad2d circularpad2d",
        f"it pads with something other than a constant; use nn.ZeroPad2d {_AGAIN}",
    ),
    (
        "convtranspose2d pixelshuffle",
        "it spreads pixels with weights of their own; use nn.Upsample(scale_factor=2) and "
        f"nn.Conv2d {_AGAIN}",
    ),
    ("conv2d linear batchnorm", "its weights are not those of a layer; use the nn.Module for it"),
    (
        "stack permute transpose getitem chunk split einops",
        f"it moves channels about; use torch.cat, nn.Flatten and layers of their own {_AGAIN}",
    ),
)
KNOWN = (
    "Conv2d, Linear, BatchNorm, ReLU, AvgPool2d, MaxPool2d, Flatten, Dropout, Upsample, "
    "torch.cat and +, and train it again"
)


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
        faults.append(
            f'pads with "{layer.padding_mode}"; use padding_mode="zeros" and train it again.'
        )
    if isinstance(layer.weight, nn.parameter.UninitializedParameter):
        return ["has no weights yet; show it one image first."]
    numbers = [p for p in (layer.weight, getattr(layer, "bias", None)) if p is not None]
    if not all(torch.isfinite(p).all() for p in numbers):
        faults.append("has weights that are NaN or infinite; train it again.")
    return faults


def uneven_padding(layer: nn.Module) -> tuple[int, int, int, int] | None:
    """What "same" pads around an even kernel: one pixel more on the right and below.

    Parameters
    ----------
    layer : nn.Conv2d or nn.Linear

    Returns
    -------
    tuple of int or None
        [pixels] left, right, above and below; None where both sides are the same.
    """
    if getattr(layer, "padding", None) != "same":
        return None
    tall, wide = (d * (k - 1) for k, d in zip(layer.kernel_size, layer.dilation, strict=True))
    sides = (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)
    return None if sides[0] == sides[1] and sides[2] == sides[3] else sides


def pool_faults(pool: nn.Module, *, cuts: bool = True) -> list[str]:
    """What is wrong with an average, likewise.

    Parameters
    ----------
    pool : nn.AvgPool2d or nn.AdaptiveAvgPool2d
    cuts : bool
        Whether ceil_mode, if it is on, cuts off windows.

    Returns
    -------
    list of str
    """
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return []
    faults = []
    if pool.ceil_mode and cuts:
        faults.append(f"averages over cut-off windows; use ceil_mode=False {_AGAIN}.")
    if pool.padding not in (0, (0, 0)) and not pool.count_include_pad:
        faults.append(
            f"divides by another number at the border; use count_include_pad=True {_AGAIN}."
        )
    return faults
