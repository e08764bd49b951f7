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

from snnlib.fixed_point import fraction_bits, on_grid
from snnlib.models import (
    WEIGHTED,
    active_layers,
    check_constraints,
    weighted_layers,
    window_area,
)
from snnlib.network import SpikingLayer, SpikingNetwork
from snnlib.neurons import IFNeuron, Integrator, check_reset
from snnlib.scales import check_scales, input_factors

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
    """A synapse on its way to becoming a layer.

    Pools before its weights add up at most `spikes`, and are owed a division by `divisor`.
    """

    name: str
    ops: tuple[nn.Module, ...]
    divisor: int = 1
    spikes: int = 1


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
    require_convertible(cnn, input_shape)
    neurons = _Neurons(reset, initial_potential, exact_steps)
    scaled, levels = _balance_thresholds(cnn, thresholds)
    stages = _stages(scaled, spiking_pools=pooling == "spiking")
    *hidden, last = stages
    layers = [_layer(stage, levels.get(stage.name), neurons) for stage in hidden]
    neurons = replace(neurons, exact_steps=1)  # the output adds up in float64 anyway
    layers.append(_layer(last, levels[last.name], neurons))
    if readout == "potential":
        layers[-1].neuron = Integrator()
    return SpikingNetwork(layers, input_shape)


def require_convertible(cnn: nn.Module, input_shape: tuple[int, int, int] | None = None) -> None:
    """Raise ConversionError with every violation, if there is any.

    Parameters
    ----------
    cnn : nn.Module
    input_shape : tuple of int or None
        (C, H, W) of one image; None leaves out whether images fit.
    """
    violations = check_constraints(cnn, input_shape=input_shape)
    if violations:
        raise ConversionError(violations)


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
    if isinstance(thresholds, (int, float)) or getattr(thresholds, "ndim", 1) == 0:
        if not 0 < thresholds < math.inf:
            raise ValueError(f"thresholds is {thresholds}; a threshold must be above 0.")
        return cnn, {name: torch.tensor(float(thresholds)) for name, _ in weighted_layers(cnn)}
    scaled, levels, before = copy.deepcopy(cnn).double(), {}, torch.tensor(1.0).double()
    scales = check_scales(cnn, thresholds)
    for (name, layer), scale in zip(weighted_layers(scaled), scales, strict=True):
        layer.weight.data *= input_factors(before / before.max(), layer)
        levels[name], before = scale / before.max(), scale
    return scaled, levels


def _stages(cnn: nn.Sequential, *, spiking_pools: bool) -> list[_Stage]:
    """One stage for each layer of neurons: what feeds them, in order."""
    stages, waiting = [], _Stage("", ())
    for name, layer in active_layers(cnn):
        if not isinstance(layer, nn.ReLU):
            waiting = _joined(waiting, name, layer)
        if isinstance(layer, WEIGHTED) or (spiking_pools and isinstance(layer, nn.AvgPool2d)):
            stages.append(waiting)
            waiting = _Stage("", ())
    return stages


def _joined(stage: _Stage, name: str, layer: nn.Module) -> _Stage:
    """The stage with one more layer at its end.  A pool adds up, which is exact for spikes."""
    if not isinstance(layer, nn.AvgPool2d):
        return replace(stage, name=name, ops=(*stage.ops, copy.deepcopy(layer)))
    pool = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, divisor_override=1)
    area = window_area(layer)
    divisor = stage.divisor * (layer.divisor_override or area)
    return _Stage(name, (*stage.ops, pool), divisor, stage.spikes * area)


def _layer(stage: _Stage, threshold: Tensor | None, neurons: _Neurons) -> SpikingLayer:
    """Neurons behind a synapse.  Without a threshold of its own, a pool spikes at its area,
    which is threshold 1 for the average."""
    if threshold is None:
        threshold, bits = torch.tensor(float(stage.divisor)), POOL_FRACTION_BITS
    else:
        bits = _round_weights(stage, threshold.max().item(), neurons.exact_steps)
    return SpikingLayer(
        stage.name, nn.Sequential(*stage.ops), _neuron(threshold, bits, stage, neurons), bits
    )


def _neuron(threshold: Tensor, bits: int, stage: _Stage, neurons: _Neurons) -> IFNeuron:
    """IF neurons whose threshold and initial potential lie on the grid of 2**-bits."""
    threshold = on_grid(threshold, bits)
    if not (threshold > 0).all():
        raise ValueError(
            f"the threshold of {stage.name} is below the resolution of its weights, 2**-{bits}; "
            "balance the network first (normalize_weights)."
        )
    if threshold.ndim and isinstance(stage.ops[-1], nn.Conv2d):
        threshold = threshold.view(-1, 1, 1)
    neuron = IFNeuron(threshold, reset=neurons.reset)
    neuron.initial = on_grid(threshold * neurons.initial_potential, bits)
    return neuron


def _round_weights(stage: _Stage, threshold: float, exact_steps: int) -> int:
    """Put the stage's weights on the finest grid that is exact for long enough; returns its k."""
    layer = stage.ops[-1]
    weight = layer.weight.detach().double() / stage.divisor
    bits = fraction_bits(weight, spikes=stage.spikes, threshold=threshold, steps=exact_steps)
    layer.weight = nn.Parameter(on_grid(weight, bits))
    return bits
