"""Scales of activations, one a weight layer or one a channel (chapter 5).

A scale says how large a layer's activations are.  Weights and thresholds are
balanced by multiplying and dividing with them; here is how.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snnlib.models import weighted_layers


def check_scales(cnn: nn.Sequential, scales: Sequence[Tensor]) -> list[Tensor]:
    """The scales as float64 tensors, once checked.

    Parameters
    ----------
    cnn : nn.Sequential
    scales : sequence of Tensor
        One positive number, or [channels], a weight layer.

    Returns
    -------
    list of Tensor
        float64, in the same order.

    Raises
    ------
    ValueError
        Unless there is one positive scale a weight layer, and the last is one number.
    """
    layers = weighted_layers(cnn)
    if len(scales) != len(layers):
        names = ", ".join(name for name, _ in layers)
        raise ValueError(f"{len(scales)} scales for {len(layers)} weight layers; give {names}.")
    scales = [torch.as_tensor(scale, dtype=torch.float64) for scale in scales]
    for (name, layer), scale in zip(layers, scales, strict=True):
        if scale.ndim and scale.shape != layer.weight.shape[:1]:
            raise ValueError(
                f"the scale of {name} has shape {list(scale.shape)}; "
                f"give one number or [{len(layer.weight)}]."
            )
        if not (torch.isfinite(scale) & (scale > 0)).all():
            raise ValueError(f"the scale of {name} is {scale.min():.4g}; scales must be above 0.")
    if scales and scales[-1].ndim:
        raise ValueError("the last scale must be one number, or the decisions would change.")
    return scales


def input_factors(scale: Tensor, layer: nn.Conv2d | nn.Linear) -> Tensor:
    """A scale of the layer before, shaped to multiply the inputs of ``layer.weight``.

    Parameters
    ----------
    scale : Tensor [] or [C]
        One a channel: a linear layer sees each channel's pixels side by side.
    layer : nn.Conv2d or nn.Linear

    Returns
    -------
    Tensor
        [], [in_features], or [out, in / groups, 1, 1] for a convolution.
    """
    if scale.ndim == 0:
        return scale
    if isinstance(layer, nn.Linear):
        return scale.repeat_interleave(layer.in_features // len(scale))  # [in_features]
    groups = scale.view(layer.groups, -1).repeat_interleave(layer.out_channels // layer.groups, 0)
    return groups[:, :, None, None]  # [out, in / groups, 1, 1]


def output_factors(scale: Tensor, layer: nn.Conv2d | nn.Linear) -> Tensor:
    """A scale of ``layer``, shaped to multiply the outputs of ``layer.weight``.

    Parameters
    ----------
    scale : Tensor [] or [out]
    layer : nn.Conv2d or nn.Linear

    Returns
    -------
    Tensor
        [], or [out, 1, ...] with as many dimensions as the weight.
    """
    return scale if scale.ndim == 0 else scale.view(-1, *[1] * (layer.weight.ndim - 1))
