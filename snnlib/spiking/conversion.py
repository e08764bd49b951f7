"""From a trained CNN to a spiking network (chapter 4, *Images as spike trains*).

Each `weights, ReLU` becomes `weights, integrate-and-fire neurons`: over time the
rate of a neuron approaches the output of the ReLU (Cao et al. 2015, Diehl et al.
2015, Rueckauer et al. 2017).  Biases become currents, batch norms fold into weights,
branches add up, and max pools count spikes (chapter 9, *Lift the constraints*).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import (
    INPUT,
    SYNAPTIC,
    ChannelScale,
    ConversionError,
    Graph,
    Path,
    Stage,
    bare,
)
from snnlib.cnn.lowering import lowered
from snnlib.cnn.models import window_area
from snnlib.cnn.scales import check_scales, input_factors
from snnlib.cnn.tracing import trace
from snnlib.spiking.fixed_point import fraction_bits, on_grid
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import IFNeuron, Integrator, MaxPooling, check_max_pooling, check_reset

__all__ = ["ConversionError", "convert"]

POOL_FRACTION_BITS = 8  # a pooling neuron counts spikes; only its initial potential has a fraction


@dataclass(frozen=True)
class _Neurons:
    """What every spiking layer of a network has in common."""

    reset: str
    initial_potential: float
    exact_steps: int
    max_pooling: str


@dataclass(frozen=True)
class _Balance:
    """How large activations are: what a spike of each stage stands for, and thresholds.

    Attributes
    ----------
    scales : dict of str to Tensor
        [] or [C], of each stage and "input".
    thresholds : dict of str to Tensor
        [] or [C], of each stage that has weights.
    """

    scales: dict[str, Tensor]
    thresholds: dict[str, Tensor]

    def unit(self, stage: Stage) -> Tensor:
        """The activation that a current of 1 into a stage stands for."""
        return torch.stack([self.scales[path.source].max() for path in stage.paths]).max()


@dataclass(frozen=True)
class _Synapse:
    """A path whose pools add up, which is exact for spikes, instead of averaging.

    Attributes
    ----------
    ops : tuple of nn.Module
    divisor : int
        What the weights still have to be divided by.
    spikes : int
        That the pools add up at most.
    """

    ops: tuple[nn.Module, ...]
    divisor: int = 1
    spikes: int = 1


def convert(
    cnn: nn.Module,
    *,
    thresholds: float | Sequence[Tensor] = 1.0,
    reset: str = "subtract",
    initial_potential: float = 0.5,
    pooling: str = "linear",
    readout: str = "potential",
    input_shape: tuple[int, int, int] = (1, 28, 28),
    exact_steps: int = 128,
    max_pooling: str = "exact",
) -> SpikingNetwork:
    """A spiking network that classifies as ``cnn`` does, once given time.

    Parameters
    ----------
    cnn : nn.Module
        Any feed-forward network of convolutions and linear layers, each followed by a ReLU,
        in any style, with biases, batch norms, average and max pools, and branches that add
        before a ReLU.  Left as it is.
    thresholds : float or sequence of Tensor
        One number for all weight layers, or one scale a weight layer (threshold
        balancing, Diehl et al. 2015): layer l then spikes at scale_l / scale_(l-1).
        Gives the spikes of ``normalize_weights`` with the same scales, exactly for
        powers of two, else up to the rounding of weights.  Biases and shortcuts are scaled
        along, so that the network still computes the same.
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
    max_pooling : str
        How a max pool spikes, see ``MaxPooling``: "exact", "gate" or "or".

    Returns
    -------
    SpikingNetwork
        Its weights are rounded to 16-bit multiples of a power of two, so that every
        engine finds the same spikes.

    Raises
    ------
    ConversionError
        With every layer that has no spiking counterpart.
    ValueError
        For other arguments.
    """
    _check_options(reset, initial_potential, pooling, readout, exact_steps)
    check_max_pooling(max_pooling)
    graph = lowered(trace(cnn, input_shape), input_shape)
    if pooling == "spiking":
        graph = replace(graph, stages=tuple(with_spiking_pools(graph)))
    balance = _balance(graph, thresholds)
    neurons = _Neurons(reset, initial_potential, exact_steps, max_pooling)
    image = torch.zeros(1, *input_shape, dtype=torch.float64)
    layers = []
    for stage, activation in graph.run(image):
        if stage.kind == "output":  # it adds up in float64 anyway
            neurons = replace(neurons, exact_steps=1)
        layers.append(_layer(stage, balance, neurons, activation.shape[1:]))
    if readout == "potential":
        layers[-1].neuron = Integrator()
    clipped = any(stage.ceiling is not None for stage in graph.stages)
    network = SpikingNetwork(layers, input_shape, clipped=clipped)
    return network.to(next(cnn.parameters()).device)


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


def _balance(graph: Graph, thresholds: float | Sequence[Tensor]) -> _Balance:
    """Thresholds from a number, or from scales: the ratio of scales from layer to layer.

    A spike of layer l-1 stands for scale_(l-1), a spike of layer l for scale_l; their
    ratio is the threshold.  Where channels or branches differ, weights carry the difference.
    """
    is_number = isinstance(thresholds, (int, float)) or getattr(thresholds, "ndim", 1) == 0
    if is_number and not 0 < thresholds < math.inf:
        raise ValueError(f"thresholds is {thresholds}; a threshold must be above 0.")
    given = iter(()) if is_number else iter(check_scales(graph, thresholds))
    balance = _Balance({INPUT: torch.tensor(1.0, dtype=torch.float64)}, {})
    for stage in graph.stages:
        unit = balance.unit(stage)
        if stage.kind in ("max", "average"):
            balance.scales[stage.name] = balance.scales[stage.paths[0].source]
        elif is_number:
            balance.thresholds[stage.name] = torch.tensor(float(thresholds))
            balance.scales[stage.name] = unit * float(thresholds)
        else:
            scale = next(given)
            balance.thresholds[stage.name], balance.scales[stage.name] = scale / unit, scale
        if stage.ceiling is not None:  # a rate of 1 is the most there is
            scale = torch.minimum(balance.scales[stage.name], stage.ceiling)
            balance.thresholds[stage.name], balance.scales[stage.name] = scale / unit, scale
    return balance


def with_spiking_pools(graph: Graph) -> Iterator[Stage]:
    """The stages, with an average pool as a stage of its own wherever there is one.

    Parameters
    ----------
    graph : Graph

    Yields
    ------
    Stage
    """
    made: dict[tuple, str] = {}
    for stage in graph.stages:
        paths = []
        for path in stage.paths:
            source, ops = path.source, path.ops
            while ops and any(isinstance(op.module, nn.AvgPool2d) for op in ops):
                pool, *ops = ops
                key = (source, pool.name)
                if key not in made:
                    made[key] = pool.name
                    yield Stage(pool.name, (Path(source, (pool,)),), kind="average")
                source = made[key]
            paths.append(Path(source, tuple(ops)))
        yield replace(stage, paths=tuple(paths))


def _layer(stage: Stage, balance: _Balance, neurons: _Neurons, shape: torch.Size) -> SpikingLayer:
    """Neurons of that shape behind synapses."""
    scale = balance.scales[stage.name]
    if stage.kind == "max":
        neuron, synapses, bias, bits = MaxPooling(stage.pool, neurons.max_pooling), [], None, 0
    elif stage.kind == "average":  # spikes at the area of its window: threshold 1 for the average
        synapses, bias, bits = [_synapse(path) for path in stage.paths], None, POOL_FRACTION_BITS
        neuron = _neuron(stage, torch.tensor(float(synapses[0].divisor)), bits, neurons, shape)
    else:
        threshold = balance.thresholds[stage.name]
        synapses, bias, bits = _on_grid(stage, balance, threshold, neurons.exact_steps, shape)
        neuron = _neuron(stage, threshold, bits, neurons, shape)
    main, *shortcuts = [nn.Sequential(*synapse.ops) for synapse in synapses] or [nn.Sequential()]
    sources = tuple(path.source for path in stage.paths)
    options = {"sources": sources, "shortcuts": shortcuts, "bias": bias, "scale": scale}
    return SpikingLayer(stage.name, main, neuron, bits, **options)


def _on_grid(
    stage: Stage, balance: _Balance, threshold: Tensor, exact_steps: int, shape: torch.Size
) -> tuple[list[_Synapse], Tensor | None, int]:
    """Balanced weights and bias on the finest grid that is exact for long enough, and its k."""
    unit = balance.unit(stage)
    synapses = [
        _weighted(_synapse(path), balance.scales[path.source] / unit, shape[0])
        for path in stage.paths
    ]
    weights = [synapse.ops[-1].weight.double() / synapse.divisor for synapse in synapses]
    spikes = [synapse.spikes for synapse in synapses]
    bias = None if stage.bias is None else per_neuron(stage.bias / unit, shape)
    limits = {"bias": bias, "threshold": threshold.max().item(), "steps": exact_steps}
    bits = fraction_bits(weights, spikes=spikes, **limits)
    for synapse, weight in zip(synapses, weights, strict=True):
        synapse.ops[-1].weight = nn.Parameter(on_grid(weight, bits))
    return synapses, None if bias is None else on_grid(bias, bits), bits


def _neuron(
    stage: Stage, threshold: Tensor, bits: int, neurons: _Neurons, shape: torch.Size
) -> IFNeuron:
    """IF neurons whose threshold and initial potential lie on the grid of 2**-bits."""
    threshold = on_grid(threshold, bits)
    if not (threshold > 0).all():
        raise ValueError(
            f"the threshold of {stage.name} is below the resolution of its weights, 2**-{bits}; "
            "balance the network first (normalize_weights)."
        )
    neuron = IFNeuron(per_neuron(threshold, shape), reset=neurons.reset)
    neuron.initial = on_grid(neuron.threshold * neurons.initial_potential, bits)
    return neuron


def per_neuron(values: Tensor, shape: torch.Size) -> Tensor:
    """One value a channel, shaped to broadcast against one image's neurons.

    Parameters
    ----------
    values : Tensor [], [C] or [C, ...]
    shape : torch.Size
        Of one image's neurons.

    Returns
    -------
    Tensor
        [], or [C, 1, ...] with as many dimensions as ``shape``; as it was if it had them.
    """
    return values.view(-1, *[1] * (len(shape) - 1)) if values.ndim == 1 else values


def _synapse(path: Path) -> _Synapse:
    """A path with pools that add up; weights are still as they were."""
    ops, divisor, spikes = [], 1, 1
    for op in path.ops:
        layer = op.module
        if isinstance(layer, nn.AvgPool2d):
            ops.append(
                nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, divisor_override=1)
            )
            divisor *= layer.divisor_override or window_area(layer)
            spikes *= window_area(layer)
        else:
            ops.append(nn.Flatten() if isinstance(layer, nn.Flatten) else layer)
    return _Synapse(tuple(ops), divisor, spikes)


def _weighted(synapse: _Synapse, factor: Tensor, channels: int) -> _Synapse:
    """Its weights, or those of an identity shortcut, times what spikes of the source stand for."""
    ops = list(synapse.ops)
    if not ops or not isinstance(ops[-1], SYNAPTIC):
        ops.append(ChannelScale(channels))
    layer = ops.pop()
    if isinstance(layer, ChannelScale):
        layer = bare(layer, layer.weight.double().expand(channels, 1))
    ops.append(bare(layer, layer.weight * input_factors(factor, layer)))
    return replace(synapse, ops=tuple(ops))
