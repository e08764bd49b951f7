"""From a trained CNN to a spiking network (chapter 4, *Images as spike trains*).

Each `weights, ReLU` becomes `weights, integrate-and-fire neurons`: over time the
rate of a neuron approaches the output of the ReLU (Cao et al. 2015, Diehl et al.
2015, Rueckauer et al. 2017).
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snnlib.models import WEIGHTED, active_layers, check_constraints, weighted_layers
from snnlib.network import SpikingLayer, SpikingNetwork, largest_sum, window_area
from snnlib.neurons import IFNeuron, Integrator, check_reset

WEIGHT_BITS = 15  # a weight is a sign and at most 15 bits, as neuromorphic chips store it
LEAST_BITS = 11  # fewer could cost accuracy; rather promise fewer exact steps
EXACT_UNITS = 2**24  # float32 holds whole numbers up to here
POOL_FRACTION_BITS = 8  # a pooling neuron counts spikes; only its initial potential has a fraction


class ConversionError(ValueError):
    """A network that cannot be converted.

    Attributes
    ----------
    violations : list of str
        Every reason, each with its mend, as ``check_constraints`` lists them.
    """

    def __init__(self, violations: list[str]) -> None:
        self.violations = violations
        super().__init__("\n".join(["This network cannot be converted:", *violations]))


@dataclass(frozen=True)
class _Neurons:
    """What every spiking layer of a network has in common."""

    reset: str
    initial_potential: float
    exact_steps: int


@dataclass(frozen=True)
class _Stage:
    """A synapse on its way to becoming a layer: `divisor` is owed by linear pooling before it."""

    name: str
    ops: tuple[nn.Module, ...]
    divisor: int = 1


def convert(
    cnn: nn.Sequential,
    *,
    thresholds: float | Sequence[Tensor] = 1.0,
    reset: str = "subtract",
    initial_potential: float = 0.5,
    pooling: str = "linear",
    readout: str = "potential",
    input_shape: tuple[int, int, int] = (1, 28, 28),
    exact_steps: int = 128,
) -> SpikingNetwork:
    """A spiking network that classifies as ``cnn`` does, once given time.

    Parameters
    ----------
    cnn : nn.Sequential
        Left as it is.
    thresholds : float or sequence of Tensor
        One number for all weight layers, or one scale a weight layer (threshold
        balancing, Diehl et al. 2015): layer l then spikes at scale_l / scale_(l-1).
        Gives the spikes of ``normalize_weights`` with the same scales, exactly for
        powers of two, else up to the rounding of weights.
    reset : str
        "subtract" or "zero", see ``if_step``.
    initial_potential : float
        Before the first step, as a fraction of the threshold, in [0, 1).
    pooling : str
        "linear": averages go straight into the next layer's currents; "spiking":
        pooling neurons of threshold 1 of their own, as in MathWorks' example.
    readout : str
        "potential": the output adds up its input and never spikes; "spikes": the
        output spikes and its spikes are counted.
    input_shape : tuple of int
        (C, H, W) of one image.
    exact_steps : int
        For how many steps float32 must hold every potential exactly, where that leaves
        weights at least 11 bits.

    Returns
    -------
    SpikingNetwork
        Its weights are rounded to 16-bit multiples of a power of two, so that every
        engine finds the same spikes.

    Raises
    ------
    ConversionError
        With every broken constraint.
    ValueError
        For other arguments.
    """
    _check_options(reset, initial_potential, pooling, readout, exact_steps)
    violations = check_constraints(cnn, input_shape=input_shape)
    if violations:
        raise ConversionError(violations)
    neurons = _Neurons(reset, initial_potential, exact_steps)
    scaled, levels = _balance_thresholds(cnn, thresholds)
    stages = _stages(scaled, spiking_pools=pooling == "spiking")
    *hidden, last = stages
    layers = [_layer(stage, levels.get(stage.name), neurons) for stage in hidden]
    neurons = replace(neurons, exact_steps=1)  # the output adds up in float64
    layers.append(_layer(last, levels[last.name], neurons))
    if readout == "potential":
        layers[-1].neuron = Integrator()
    return SpikingNetwork(layers, input_shape)


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
        Unless there is one positive scale a weight layer.
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


def _check_options(reset, initial_potential, pooling, readout, exact_steps) -> None:
    check_reset(reset)
    if not 0 <= initial_potential < 1:
        raise ValueError(f"initial_potential is {initial_potential}; give a fraction in [0, 1).")
    if pooling not in ("linear", "spiking"):
        raise ValueError(f'pooling is {pooling!r}; choose "linear" or "spiking".')
    if readout not in ("potential", "spikes"):
        raise ValueError(f'readout is {readout!r}; choose "potential" or "spikes".')
    if exact_steps < 1:
        raise ValueError(f"exact_steps is {exact_steps}; give at least 1 step.")


def _balance_thresholds(
    cnn: nn.Sequential, thresholds: float | Sequence[Tensor]
) -> tuple[nn.Sequential, dict[str, Tensor]]:
    """The network and the threshold of each weight layer, from a number or from scales.

    A spike of layer l-1 stands for scale_(l-1), a spike of layer l for scale_l; their
    ratio is the threshold.  Where channels differ, weights carry the difference.
    """
    layers = weighted_layers(cnn)
    if isinstance(thresholds, (int, float)):
        if not 0 < thresholds < math.inf:
            raise ValueError(f"thresholds is {thresholds}; a threshold must be above 0.")
        return cnn, {name: torch.tensor(float(thresholds)) for name, _ in layers}
    scaled, levels, before = copy.deepcopy(cnn).double(), {}, torch.tensor(1.0).double()
    scales = check_scales(cnn, thresholds)
    for (name, layer), scale in zip(weighted_layers(scaled), scales, strict=True):
        layer.weight.data *= input_factors(before / before.max(), layer)
        levels[name], before = scale / before.max(), scale
    return scaled, levels


def _stages(cnn: nn.Sequential, *, spiking_pools: bool) -> list[_Stage]:
    """One stage for each layer of neurons: what feeds them, in order."""
    stages, ops, divisor = [], [], 1
    for name, layer in active_layers(cnn):
        if isinstance(layer, nn.AvgPool2d):
            pool, area = _sum_pool(layer)
            if spiking_pools:
                stages.append(_Stage(name, (*ops, pool), area))
                ops = []
            else:
                ops, divisor = [*ops, pool], divisor * area
        elif isinstance(layer, nn.Flatten):
            ops = [*ops, copy.deepcopy(layer)]
        elif isinstance(layer, WEIGHTED):
            stages.append(_Stage(name, (*ops, copy.deepcopy(layer)), divisor))
            ops, divisor = [], 1
    return stages


def _sum_pool(pool: nn.AvgPool2d) -> tuple[nn.AvgPool2d, int]:
    """Averaging as adding up, which is exact for spikes, and the number to divide by."""
    summing = nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, divisor_override=1)
    return summing, pool.divisor_override or window_area(pool)


def _layer(stage: _Stage, threshold: Tensor | None, neurons: _Neurons) -> SpikingLayer:
    """Neurons behind a synapse.  Without a threshold of its own, a pool spikes at its area,
    which is threshold 1 for the average."""
    if threshold is None:
        threshold, bits = torch.tensor(float(stage.divisor)), POOL_FRACTION_BITS
    else:
        bits = _round_weights(stage, neurons.exact_steps)
    return SpikingLayer(
        stage.name, nn.Sequential(*stage.ops), _neuron(threshold, bits, stage, neurons), bits
    )


def _neuron(threshold: Tensor, bits: int, stage: _Stage, neurons: _Neurons) -> IFNeuron:
    """IF neurons whose threshold and initial potential lie on the grid of 2**-bits."""
    grid = 2.0**bits
    threshold = (threshold.double() * grid).round() / grid
    if not (threshold > 0).all():
        raise ValueError(
            f"the threshold of {stage.name} is below the resolution of its weights, 2**-{bits}; "
            "balance the network first (normalize_weights)."
        )
    if threshold.ndim and isinstance(stage.ops[-1], nn.Conv2d):
        threshold = threshold.view(-1, 1, 1)
    neuron = IFNeuron(threshold, reset=neurons.reset)
    neuron.initial = ((threshold * neurons.initial_potential * grid).round() / grid).float()
    return neuron


def _round_weights(stage: _Stage, exact_steps: int) -> int:
    """Round the stage's weights in place to multiples of 2**-k; returns k.

    k is the largest for which weights fit 16 bits and, unless that would leave
    fewer than 11 bits, sums stay below 2**24 units for `exact_steps` steps.
    """
    layer = stage.ops[-1]
    weight = layer.weight.detach().double() / stage.divisor
    largest = weight.abs().max().item() or 1.0
    current = largest_sum(weight) * stage.divisor or 1.0  # in one step, at most
    fits = _largest_exponent(2**WEIGHT_BITS - 1, largest)
    wanted = _largest_exponent(EXACT_UNITS, current * exact_steps)
    needed = _largest_exponent(EXACT_UNITS, current)
    bits = min(max(min(fits, wanted), fits - (WEIGHT_BITS - LEAST_BITS)), needed)
    layer.weight = nn.Parameter(((weight * 2.0**bits).round() / 2.0**bits).float())
    return bits


def _largest_exponent(limit: float, value: float) -> int:
    """The largest k with value * 2**k <= limit."""
    return math.floor(math.log2(limit / value))
