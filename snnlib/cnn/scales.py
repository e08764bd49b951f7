"""Scales of activations, one a layer of neurons or one a channel (chapter 5).

A scale says how large a layer's activations are.  Weights and thresholds are
balanced by multiplying and dividing with them; here is how.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import ChannelScale, Graph


def check_scales(graph: Graph, scales: Sequence[Tensor]) -> list[Tensor]:
    """The scales as float64 tensors, once checked.

    Parameters
    ----------
    graph : Graph
        Of the network.
    scales : sequence of Tensor
        One positive number, or [channels], for each layer of neurons with weights.

    Returns
    -------
    list of Tensor
        float64, in the same order.

    Raises
    ------
    ValueError
        Unless there is one positive scale a layer, and the last is one number.
    """
    stages = graph.scaled
    if len(scales) != len(stages):
        names = ", ".join(stage.name for stage in stages)
        raise ValueError(f"{len(scales)} scales for {len(stages)} weight layers; give {names}.")
    scales = [torch.as_tensor(scale, dtype=torch.float64) for scale in scales]
    for stage, scale in zip(stages, scales, strict=True):
        if scale.ndim and scale.shape != (stage.channels or len(scale),):
            raise ValueError(
                f"the scale of {stage.name} has shape {list(scale.shape)}; "
                f"give one number or [{stage.channels}]."
            )
        if not (torch.isfinite(scale) & (scale > 0)).all():
            raise ValueError(
                f"the scale of {stage.name} is {scale.min():.4g}; scales must be above 0."
            )
    if scales and scales[-1].ndim:
        raise ValueError("the last scale must be one number, or the decisions would change.")
    return scales


def input_factors(scale: Tensor, layer: nn.Conv2d | nn.Linear | ChannelScale) -> Tensor:
    """A scale of the layer before, shaped to multiply the inputs of ``layer.weight``.

    Parameters
    ----------
    scale : Tensor [] or [C]
        One a channel: a linear layer sees each channel's pixels side by side.
    layer : nn.Conv2d, nn.Linear or ChannelScale

    Returns
    -------
    Tensor
        [], [in_features], [out, in / groups, 1, 1] for a convolution, or [C, 1].
    """
    if scale.ndim == 0:
        return scale
    if isinstance(layer, nn.Linear):
        return scale.repeat_interleave(layer.in_features // len(scale))  # [in_features]
    if isinstance(layer, ChannelScale):
        return scale.repeat_interleave(max(1, layer.channels // len(scale)))[:, None]  # [C, 1]
    groups = scale.view(layer.groups, -1).repeat_interleave(layer.out_channels // layer.groups, 0)
    return groups[:, :, None, None]  # [out, in / groups, 1, 1]


def output_factors(scale: Tensor, layer: nn.Conv2d | nn.Linear | ChannelScale) -> Tensor:
    """A scale of ``layer``, shaped to multiply the outputs of ``layer.weight``.

    Parameters
    ----------
    scale : Tensor [] or [out]
    layer : nn.Conv2d, nn.Linear or ChannelScale

    Returns
    -------
    Tensor
        [], or [out, 1, ...] with as many dimensions as the weight.
    """
    return scale if scale.ndim == 0 else scale.view(-1, *[1] * (layer.weight.ndim - 1))
