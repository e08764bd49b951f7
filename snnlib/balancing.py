"""Balance weights and thresholds (chapter 5, *Balance weights and thresholds*).

A rate cannot exceed one spike a step, and a neuron that receives little needs
long for its first spike.  Scaling each layer so that its activations are about 1
uses the whole range.  ReLU allows it: relu(a x) = a relu(x) for a > 0, so a factor
taken out of one layer can be put back into the next.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnlib.conversion import require_convertible
from snnlib.data import check_images
from snnlib.models import WEIGHTED, active_layers, weighted_layers, window_area
from snnlib.scales import check_scales, input_factors, output_factors


@torch.no_grad()
def activation_scales(
    cnn: nn.Sequential, images: Tensor, *, percentile: float = 100.0, channelwise: bool = False
) -> list[Tensor]:
    """Data-based scales: how large the activations of each weight layer get on ``images``.

    Parameters
    ----------
    cnn : nn.Sequential
        A network that ``check_constraints`` finds convertible.
    images : Tensor [N, C, H, W]
        Training images; test images must not be used.
    percentile : float
        In (0, 100], of the positive activations.  100 is the maximum (Diehl et al. 2015);
        a little less ignores outliers (Rueckauer et al. 2017).
    channelwise : bool
        One scale for each channel of hidden layers, not one a layer.

    Returns
    -------
    list of Tensor
        One a weight layer, [] or [channels], of activations that occurred.

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    TypeError
        For images that are not float32.
    ValueError
        For unusable images, another percentile, or a layer that is silent on all images.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}; give a number in (0, 100].")
    check_images(images)
    require_convertible(cnn, tuple(images.shape[1:]))
    names = [name for name, _ in weighted_layers(cnn)]
    activations = _activations(cnn, images)
    scales = []
    for name in names:
        split = channelwise and name != names[-1]  # one scale must serve all classes
        scales.append(_scale(name, next(activations), percentile, split))
    return scales


def weight_scales(cnn: nn.Sequential) -> list[Tensor]:
    """Model-based scales (Diehl et al. 2015): no image can drive a layer beyond them.

    Layer l's scale is that of layer l-1 times the largest sum of positive weights
    into one neuron.  Safe, and far above what real images reach.

    Parameters
    ----------
    cnn : nn.Sequential
        A CNN without biases, on pixels in [0, 1].

    Returns
    -------
    list of Tensor
        One scale [] a weight layer.

    Raises
    ------
    ValueError
        If no weight of a layer is positive.
    """
    require_convertible(cnn)
    scales, bound = [], torch.tensor(1.0)  # a pixel is at most 1
    for name, layer in active_layers(cnn):
        if isinstance(layer, nn.AvgPool2d) and layer.divisor_override:
            bound = bound * window_area(layer) / layer.divisor_override
        if not isinstance(layer, WEIGHTED):
            continue
        bound = bound * layer.weight.detach().clamp(min=0).flatten(1).sum(1).max()
        if bound == 0:
            raise ValueError(f"layer {name} is dead: no weight is positive; train it again.")
        scales.append(bound)
    return scales


def normalize_weights(cnn: nn.Sequential, scales: Sequence[Tensor]) -> nn.Sequential:
    """The same predictions, with the activations of weight layer l divided by ``scales[l]``.

    Weights are multiplied by scale_(l-1) / scale_l, and the outputs end up divided by
    the last scale.

    Parameters
    ----------
    cnn : nn.Sequential
        Left as it is.
    scales : sequence of Tensor
        One positive number, or [channels], a weight layer; see ``activation_scales``.

    Returns
    -------
    nn.Sequential
        A new network.

    Raises
    ------
    ValueError
        For a wrong number of scales, a wrong shape, a scale that is not positive, or a
        last scale that differs between outputs.
    """
    require_convertible(cnn)
    scales = check_scales(cnn, scales)
    balanced, before = copy.deepcopy(cnn), torch.tensor(1.0, dtype=torch.float64)
    for (_, layer), scale in zip(weighted_layers(balanced), scales, strict=True):
        weight = layer.weight.detach().double()
        weight = weight * input_factors(before, layer) / output_factors(scale, layer)
        layer.weight = nn.Parameter(weight.to(layer.weight.dtype))
        before = scale
    return balanced


def _activations(cnn: nn.Sequential, images: Tensor):
    """Yields the rectified output of each weight layer on all images, [N, C, ...] float32.

    Computed in float64: what remains of it in float32 does not depend on the machine,
    the batch size, or noise where the exact result is zero.
    """
    x = images.double()
    for layer in copy.deepcopy(cnn).double().eval():
        x = torch.cat([layer(batch) for batch in x.split(250)])
        if isinstance(layer, WEIGHTED):
            yield F.relu(x).float()


def _scale(name: str, activations: Tensor, percentile: float, channelwise: bool) -> Tensor:
    whole = _percentile(activations, percentile)
    if whole == 0:
        raise ValueError(f"layer {name} is dead: no image activates it; train it again.")
    if not channelwise:
        return whole
    channels = torch.stack([_percentile(c, percentile) for c in activations.unbind(1)])
    return torch.where(channels > 0, channels, whole)  # a silent channel keeps any scale


def _percentile(values: Tensor, percentile: float) -> Tensor:
    """The nearest-rank percentile of the positive values; 0 if there are none."""
    positive = values[values > 0]
    if not len(positive):
        return torch.tensor(0.0)
    rank = max(1, -(-len(positive) * percentile // 100))  # ceil
    return positive.kthvalue(int(rank)).values
