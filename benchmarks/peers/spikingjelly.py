"""SpikingJelly: IFNode with soft reset, step by step or all steps of a layer at once.

It spikes at v >= threshold and subtracts the threshold, as we do.  The start at half the
threshold is set as the value that `reset_net` returns to.
"""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from peers import Peer, hidden, require_subtract, start, synapses, threshold
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork

MODES = ("single-step", "multi-step")
DIFFERENCES = {
    "IFNode as it comes resets to 0, not by the threshold": {"v_reset": 0.0},
}


class Network(Peer):
    """Our network in IFNodes."""

    def __init__(self, snn: SpikingNetwork, mode: str, *, v_reset: float | None = None) -> None:
        require_subtract(snn)
        self.multi = mode == "multi-step"
        wrap = layer.SeqToANNContainer if self.multi else nn.Sequential
        *before, output = (wrap(*synapse) for synapse in synapses(snn))
        self.neurons = {one.name: _neuron(one, v_reset) for one in hidden(snn)}
        pairs = zip(before, self.neurons.values(), strict=True)
        self.network = nn.Sequential(*(module for pair in pairs for module in pair), output)
        functional.set_step_mode(self.network, "m" if self.multi else "s")

    def __call__(self, arranged: Tensor) -> Tensor:
        """See Peer."""
        functional.reset_net(self.network)
        if self.multi:
            return self.network(arranged)
        return torch.stack([self.network(x) for x in arranged])


def _neuron(one: SpikingLayer, v_reset: float | None) -> neuron.IFNode:
    node = neuron.IFNode(v_threshold=threshold(one), v_reset=v_reset)
    node.set_reset_value("v", start(one))
    return node
