"""Norse: integrate-and-fire cells in a SequentialState, step by step or a layer at a time.

Its own IAF can only reset to a value.  For reset by subtraction its SNNCell and SNN take a
step function: that of IAF, with one line changed.  Norse spikes at v > threshold; a start
(and a reset value) half a unit higher makes that v >= threshold.
"""

import torch
from norse.torch import IAF, IAFCell, IAFFeedForwardState, IAFParameters, Lift, SequentialState
from norse.torch.functional.threshold import threshold as spikes_above
from norse.torch.module.snn import SNN, SNNCell
from torch import Tensor, nn

from peers import Peer, hidden, start, synapses, threshold, unit
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork

MODES = ("single-step", "multi-step")
DIFFERENCES = {
    "spikes above the threshold, not at it": {"units": 0.0},
}


class Network(Peer):
    """Our network in Norse's cells, with either reset."""

    def __init__(self, snn: SpikingNetwork, mode: str, *, units: float = 0.5) -> None:
        self.multi = mode == "multi-step"
        wrap = Lift if self.multi else _as_it_is
        *before, output = (wrap(synapse) for synapse in synapses(snn))
        self.neurons = {one.name: _neuron(one, self.multi, units) for one in hidden(snn)}
        self.starts = [start(one, units) for one in hidden(snn)]
        pairs = zip(before, self.neurons.values(), strict=True)
        self.network = SequentialState(*(module for pair in pairs for module in pair), output)

    def __call__(self, arranged: Tensor) -> Tensor:
        """See Peer."""
        states = [s for v in self.starts for s in (None, IAFFeedForwardState(torch.tensor(v)))]
        states.append(None)  # of the output's weights, which have none either
        if self.multi:
            return self.network(arranged, states)[0]
        currents = []
        for x in arranged:
            current, states = self.network(x, states)
            currents.append(current)
        return torch.stack(currents)

    def by_step(self, outputs: list[tuple[Tensor, IAFFeedForwardState]]) -> Tensor:
        """See Peer; a cell gives spikes and its state."""
        return super().by_step([spikes for spikes, _ in outputs])


def _neuron(one: SpikingLayer, multi: bool, units: float) -> nn.Module:
    """Without a surrogate gradient, which only training needs."""
    parameters = IAFParameters(
        v_th=torch.tensor(threshold(one)),
        v_reset=torch.tensor(units * unit(one)),
        method="heaviside",
    )
    if one.neuron.reset_rule == "zero":
        return (IAF if multi else IAFCell)(parameters)
    return (SNN if multi else SNNCell)(subtracting_step, None, parameters)


def subtracting_step(
    current: Tensor, state: IAFFeedForwardState, p: IAFParameters, dt: float
) -> tuple[Tensor, IAFFeedForwardState]:
    """Norse's iaf_feed_forward_step, but for the reset."""
    v = state.v + current
    spikes = spikes_above(v - p.v_th, p.method, p.alpha)
    return spikes, IAFFeedForwardState(v - spikes * p.v_th)


def _as_it_is(synapse: nn.Module) -> nn.Module:
    return synapse
