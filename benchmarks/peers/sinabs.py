"""sinabs: IAFSqueeze layers, one step or all steps of a layer at once.

With SingleSpike they spike once a step at v >= threshold and subtract it, as we do.  What
`from_torch.from_model` sets differs: several spikes a step, and no potential below -1.
"""

import torch
from sinabs.activation import MultiSpike, SingleSpike
from sinabs.layers import IAFSqueeze
from torch import Tensor, nn

from peers import Peer, hidden, require_subtract, start, synapses, threshold
from snnlib.spiking.network import SpikingNetwork

MODES = ("single-step", "multi-step")
DIFFERENCES = {
    "MultiSpike, the default, sends several spikes in a step": {"spike_fn": MultiSpike},
    "min_v_mem=-1, the default of from_model, cuts potentials off": {"min_v_mem": -1.0},
}


class Network(Peer):
    """Our network in IAFSqueeze layers; multi-step, they read image by image, all steps of each."""

    def __init__(self, snn: SpikingNetwork, mode: str, **options) -> None:
        require_subtract(snn)
        self.multi = mode == "multi-step"
        options = {"spike_fn": SingleSpike, **options}
        self.neurons = {
            one.name: IAFSqueeze(num_timesteps=1, spike_threshold=threshold(one), **options)
            for one in hidden(snn)
        }
        *before, output = synapses(snn)
        self.starts = [start(one) for one in hidden(snn)]
        self.shapes = _shapes(before, snn.input_shape)
        pairs = zip(before, self.neurons.values(), strict=True)
        self.network = nn.Sequential(*(module for pair in pairs for module in pair), output)

    def arrange(self, spikes: Tensor) -> Tensor:
        """[T, N, C, H, W], or multi-step [N, T, C, H, W]."""
        return spikes.transpose(0, 1).contiguous() if self.multi else spikes

    def __call__(self, arranged: Tensor) -> Tensor:
        """See Peer."""
        if not self.multi:
            self._clear(arranged.shape[1], steps=1)
            return torch.stack([self.network(x) for x in arranged])
        self._clear(*arranged.shape[:2])
        currents = self.network(arranged.flatten(0, 1))  # [N * T, classes]
        return currents.unflatten(0, arranged.shape[:2]).transpose(0, 1)

    def by_step(self, outputs: list[Tensor]) -> Tensor:
        """See Peer; multi-step, a layer gives [N * T, ...] at once."""
        if not self.multi:
            return torch.stack(outputs)
        steps = next(iter(self.neurons.values())).num_timesteps
        return outputs[0].unflatten(0, (-1, steps)).transpose(0, 1)

    def _clear(self, images: int, steps: int) -> None:
        for neuron, shape, v in zip(self.neurons.values(), self.shapes, self.starts, strict=True):
            neuron.num_timesteps = steps
            neuron.init_state_with_shape((images, *shape))
            neuron.v_mem.fill_(v)


@torch.no_grad()
def _shapes(before: list[nn.Module], input_shape: tuple[int, int, int]) -> list[torch.Size]:
    """Of the neurons behind each synapse, for one image."""
    x, shapes = torch.zeros(1, *input_shape), []
    for synapse in before:
        x = synapse(x)
        shapes.append(x.shape[1:])
    return shapes
