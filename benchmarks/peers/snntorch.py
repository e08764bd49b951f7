"""snnTorch: Leaky neurons that do not leak (beta = 1), step by step.

They spike at v > threshold; a start half a unit higher makes that v >= threshold.  The
threshold is subtracted one step later, together with the next input, which gives the same
spikes.  `reset_delay=False` does not: a neuron that still lies above its threshold after
the reset loses one more threshold before the next input.
"""

import snntorch
import torch
from torch import Tensor, nn

from peers import Peer, hidden, require_subtract, start, synapses, threshold
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork

MODES = ("single-step",)
DIFFERENCES = {
    "spikes above the threshold, not at it": {"units": 0.0},
    "reset_delay=False subtracts twice from a neuron far above its threshold": {
        "reset_delay": False
    },
}


class Network(Peer):
    """Our network in Leaky neurons."""

    def __init__(
        self, snn: SpikingNetwork, mode: str, *, units: float = 0.5, reset_delay: bool = True
    ) -> None:
        require_subtract(snn)
        *self.synapses, self.output = synapses(snn)
        self.neurons = {one.name: _neuron(one, reset_delay) for one in hidden(snn)}
        self.starts = [start(one, units) for one in hidden(snn)]

    def __call__(self, arranged: Tensor) -> Tensor:
        """See Peer."""
        potentials = [torch.tensor(v) for v in self.starts]
        currents = []
        for x in arranged:
            for i, (synapse, neuron) in enumerate(
                zip(self.synapses, self.neurons.values(), strict=True)
            ):
                current = synapse(x)
                x, potentials[i] = neuron(current, potentials[i].expand_as(current))
            currents.append(self.output(x))
        return torch.stack(currents)

    def by_step(self, outputs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """See Peer; a neuron gives spikes and potentials."""
        return torch.stack([spikes for spikes, _ in outputs])


def _neuron(one: SpikingLayer, reset_delay: bool) -> nn.Module:
    """Without a surrogate gradient, which only training needs."""
    return snntorch.Leaky(
        beta=1.0, threshold=threshold(one), surrogate_disable=True, reset_delay=reset_delay
    )
