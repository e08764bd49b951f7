"""What spikes cost, beside multiplications (chapter 8, *Count the spikes*).

A spike that crosses a synapse causes one accumulate (AC): a weight is added.  A CNN, and
a spiking layer whose input is a current, needs a multiply-accumulate (MAC) there.

The energies are those of arithmetic alone, in a 45 nm process (Horowitz 2014).  Left out
is what often costs more: reading weights and potentials from memory, moving spikes,
comparing with thresholds.  So they compare operations, and predict no chip.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, SYNAPTIC, Path, counting
from snnlib.cnn.tracing import trace
from snnlib.simulation import SimulationResult
from snnlib.spiking.network import SpikingNetwork


@dataclass(frozen=True)
class Arithmetic:
    """Energy of one operation.

    Attributes
    ----------
    accumulate, multiply_accumulate : float
        [pJ]
    """

    accumulate: float
    multiply_accumulate: float


ARITHMETIC = {  # a sum; a product and a sum [pJ], 45 nm at 0.9 V (Horowitz 2014)
    "float32": Arithmetic(0.9, 3.7 + 0.9),
    "int32": Arithmetic(0.1, 3.1 + 0.1),
    "int8": Arithmetic(0.03, 0.2 + 0.03),
}


@dataclass(frozen=True)
class Cost:
    """Operations for one image.

    Attributes
    ----------
    accumulates, multiply_accumulates : float
        Of a spiking network: an average over the images simulated.
    """

    accumulates: float
    multiply_accumulates: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.accumulates + other.accumulates,
            self.multiply_accumulates + other.multiply_accumulates,
        )

    def energy(self, arithmetic: Arithmetic) -> float:
        """What the operations cost [pJ].

        Parameters
        ----------
        arithmetic : Arithmetic
            One of ``ARITHMETIC``, say.

        Returns
        -------
        float
        """
        sums = self.accumulates * arithmetic.accumulate
        return sums + self.multiply_accumulates * arithmetic.multiply_accumulate


@torch.no_grad()
def cnn_cost(cnn: nn.Module, *, input_shape: tuple[int, int, int] = (1, 28, 28)) -> Cost:
    """Operations of one pass of a CNN over one image.

    Parameters
    ----------
    cnn : nn.Module
        Any that ``convert`` takes; batch norms cost nothing, as they fold into weights.
    input_shape : tuple of int
        (C, H, W)

    Returns
    -------
    Cost
        A MAC for each weight that meets an input (at borders, padding is no input); an AC
        for each input of an average pool's window, each bias, and each sum of two branches.
        Comparisons, in ReLUs and max pools, are left out.

    Raises
    ------
    ConversionError
        For a network that cannot be converted.
    """
    graph, cost = trace(cnn, input_shape), Cost(0.0, 0.0)
    sources = {INPUT: torch.zeros(1, *input_shape, dtype=torch.float64)}
    for stage, x in graph.run(sources[INPUT]):
        sums = x.numel() * (len(stage.paths) - 1 + (stage.bias is not None))
        costs = [_path_cost(path, sources[path.source]) for path in stage.paths]
        cost = reduce(add, costs, cost + Cost(float(sums), 0.0))
        sources[stage.name] = x
    return cost


@torch.no_grad()
def snn_cost(snn: SpikingNetwork, result: SimulationResult) -> Cost:
    """Operations of a spiking network for one image, over all steps until it stops.

    Parameters
    ----------
    snn : SpikingNetwork
    result : SimulationResult
        Of that network.

    Returns
    -------
    Cost
        An AC for each synapse that a spike crosses, and in each step for each neuron with a
        bias.  If the input is a constant current: its MACs once, and an AC in each step for
        each neuron that it enters.
    """
    images, shapes = len(result.labels), snn.shapes()
    analog = INPUT not in result.spike_counts
    neurons = sum(
        shapes[layer.name].numel()
        for layer in snn.layers
        if layer.bias is not None or (analog and INPUT in layer.sources)
    )
    sums = result.synaptic_operations.sum().item() + neurons * result.steps_used.sum().item()
    products = snn.fan_outs()[INPUT].sum().item() if analog else 0.0
    return Cost(sums / images, products)


def mean_rate(snn: SpikingNetwork, result: SimulationResult) -> float:
    """How often a synapse is crossed [spikes/step]: the mean rate, weighted by fan-out.

    Parameters
    ----------
    snn : SpikingNetwork
    result : SimulationResult
        Of that network.

    Returns
    -------
    float
        In [0, 1].
    """
    crossings = _synapses(snn, result) * result.steps_used.sum().item()
    return result.synaptic_operations.sum().item() / crossings


def break_even_rate(
    cnn: Cost, snn: SpikingNetwork, result: SimulationResult, arithmetic: Arithmetic
) -> float:
    """The mean rate at which spikes would cost what the CNN costs.

    Parameters
    ----------
    cnn : Cost
        Of one pass, from ``cnn_cost``.
    snn : SpikingNetwork
    result : SimulationResult
        Of that network: tells the mean number of steps, and whether the input spikes.
    arithmetic : Arithmetic

    Returns
    -------
    float
        [spikes/step]; compare with ``mean_rate``.  Below 0 if the input's MACs alone cost
        more than the CNN, above 1 if no number of spikes can.
    """
    crossed = result.synaptic_operations.sum().item() / len(result.labels)
    fixed = snn_cost(snn, result).energy(arithmetic) - crossed * arithmetic.accumulate
    crossings = _synapses(snn, result) * result.steps_used.double().mean().item()
    return (cnn.energy(arithmetic) - fixed) / (crossings * arithmetic.accumulate)


def _synapses(snn: SpikingNetwork, result: SimulationResult) -> float:
    """How many synapses spikes can cross."""
    fan_outs = snn.fan_outs()
    if INPUT not in result.spike_counts:
        del fan_outs[INPUT]
    return sum(fan_out.sum().item() for fan_out in fan_outs.values())


def _path_cost(path: Path, x: Tensor) -> Cost:
    """Of what leads from one layer to another, given one image's activations there."""
    cost = Cost(0.0, 0.0)
    for op in path.ops:
        met = float(_meetings(op.module, x))
        cost += Cost(0.0, met) if isinstance(op.module, SYNAPTIC) else Cost(met, 0.0)
        x = op.module(x)
    return cost


def _meetings(layer: nn.Module, x: Tensor) -> int:
    """How often an input of one image, padding apart, enters a sum or a product."""
    if not isinstance(layer, (*SYNAPTIC, nn.AvgPool2d)):
        return 0
    (counter,) = counting(nn.Sequential(layer))
    if isinstance(layer, nn.AvgPool2d):
        counter.divisor_override = 1
    return int(counter(torch.ones_like(x)).sum())
