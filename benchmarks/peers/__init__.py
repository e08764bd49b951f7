"""Other simulators, each made to run our converted network with its own neurons.

A module a peer, all with the same face:

    MODES                        ways to run it, such as "single-step"
    Network(snn, mode, **options)  our network, a Peer
    DIFFERENCES                  {why it would differ: the options that make it so}

All get the same weights, thresholds and initial potentials.  They are given the input
spikes ready-made, and return the currents into the output, from which `decisions` reads
what our networks say with readout "potential".
"""

import copy
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn

from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork

NAMES = {  # module and package: what it calls itself
    "spikingjelly": "SpikingJelly",
    "snntorch": "snnTorch",
    "sinabs": "sinabs",
    "norse": "Norse",
}


class Peer:
    """A network in a peer's neurons.

    Attributes
    ----------
    neurons : dict of str to nn.Module
        The hidden neurons, by our names of the layers.
    """

    neurons: dict[str, nn.Module]

    def arrange(self, spikes: Tensor) -> Tensor:
        """Input spikes [T, N, C, H, W] in the order that the peer reads; not timed."""
        return spikes

    def __call__(self, arranged: Tensor) -> Tensor:
        """From cleared potentials through all steps: currents into the output [T, N, classes]."""
        raise NotImplementedError

    def by_step(self, outputs: list) -> Tensor:
        """All that some neurons gave during a call, as spikes [T, N, ...]."""
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs)


def load(name: str) -> ModuleType:
    """The adapter of a peer, which imports the peer."""
    return import_module(f"peers.{name}")


def decisions(currents: Tensor) -> Tensor:
    """After each step, the class with the highest potential so far [T, N]."""
    return currents.double().cumsum(0).argmax(2)


def synapses(snn: SpikingNetwork) -> list[nn.Sequential]:
    """Copies of what has weights, from input to output; they keep no state."""
    return [copy.deepcopy(layer.synapse) for layer in snn.layers]


def hidden(snn: SpikingNetwork) -> list[SpikingLayer]:
    """The layers that spike."""
    return list(snn.layers[:-1])


def threshold(layer: SpikingLayer) -> float:
    """The one threshold of a layer."""
    return layer.neuron.threshold.item()


def start(layer: SpikingLayer, units: float = 0.0) -> float:
    """The initial potential, raised by some units of the grid on which potentials lie.

    Half a unit makes a neuron that spikes *above* its threshold do what one does that spikes
    *at* it: no potential can then equal the threshold, and none crosses it that should not.
    """
    return layer.neuron.initial.item() + units * unit(layer)


def unit(layer: SpikingLayer) -> float:
    """Potentials of the layer are multiples of this."""
    return 2.0**-layer.fraction_bits


def require_subtract(snn: SpikingNetwork) -> None:
    """Raise unless the network resets as the adapter does."""
    for layer in hidden(snn):
        if layer.neuron.reset_rule != "subtract":
            raise ValueError(f'{layer.name} resets to zero; give a network with reset="subtract".')
