"""One image through a spiking network, with everything kept (chapter 6, *Classify, one time step
at a time*)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from snnlib.cnn.threads import one_thread
from snnlib.data import check_pixels
from snnlib.engines.clock import exact_arithmetic
from snnlib.simulation import check_network, check_steps
from snnlib.spiking.decisions import decide
from snnlib.spiking.encoding import Encoder, PoissonEncoder
from snnlib.spiking.gain import check_gain, span_of
from snnlib.spiking.network import SpikingNetwork


@dataclass(frozen=True, eq=False)
class Recording:
    """Every spike and potential of one image.

    Attributes
    ----------
    image : Tensor [C, H, W]
    input : Tensor [T, C, H, W]
        Spikes, or the constant current.
    spikes : dict of str to Tensor [T, ...]
        Of each layer that spikes.
    potentials : dict of str to Tensor [T, ...]
        After each step's reset, in units of the threshold (the output that only
        accumulates: in units of threshold 1).
    decisions : Tensor [T]
        int64, -1 undecided.
    """

    image: Tensor
    input: Tensor
    spikes: dict[str, Tensor]
    potentials: dict[str, Tensor]
    decisions: Tensor

    @property
    def output(self) -> Tensor:
        """[T, classes]: output spikes so far, or the output potential if it never spikes."""
        name = list(self.potentials)[-1]
        return self.spikes[name].cumsum(0) if name in self.spikes else self.potentials[name]


@one_thread()
def record(
    snn: SpikingNetwork,
    image: Tensor,
    *,
    steps: int = 40,
    encoder: Encoder = PoissonEncoder(),
    index: int = 0,
) -> Recording:
    """Show one image for ``steps`` steps and keep everything.

    Parameters
    ----------
    snn : SpikingNetwork
    image : Tensor [C, H, W]
        Or of whatever shape the network takes.
    steps : int
        At least 1.
    encoder : PoissonEncoder, ConstantEncoder, SignedEncoder or any ``Encoder``
    index : int
        Place of the image in its data set: gives it the spikes that ``simulate`` gives it.

    Returns
    -------
    Recording

    Raises
    ------
    TypeError
        For something else than a spiking network and a float32 tensor.
    ValueError
        For another number of steps, an image that does not fit the network, and as ``simulate``
        for an encoder.
    """
    check_steps(steps)
    check_network(snn)
    batch = _batch_of_one(image, snn, encoder)
    stream = encoder.stream(batch, torch.tensor([index]))
    snn = snn.seeing(encoder).exact_for(steps)
    trace = _Trace(snn)
    snn.reset()
    for step in range(steps):
        with exact_arithmetic():
            trace.add(stream(step))
    snn.reset()
    return trace.recording(image)


class _Trace:
    """Gathers every spike and potential of one image."""

    def __init__(self, snn: SpikingNetwork) -> None:
        self.snn, self.counts = snn, torch.zeros(())
        self.inputs, self.decisions = [], []
        self.spikes = {layer.name: [] for layer in snn.layers if layer.spiking}
        self.potentials = {layer.name: [] for layer in snn.layers}

    def add(self, x: Tensor) -> None:
        self.inputs.append(x[0])
        for layer, output in self.snn.propagate(self.snn.input_current(x)):
            unit = layer.neuron.threshold if layer.spiking else 1.0
            self.potentials[layer.name].append((layer.v / unit)[0])
            if layer.spiking:
                self.spikes[layer.name].append(output[0])
        self.counts = self.counts + (output if layer.spiking else torch.zeros_like(output))
        self.decisions.append(decide(self.counts, layer.v, self.snn.readout))

    def recording(self, image: Tensor) -> Recording:
        spikes = {name: torch.stack(rows) for name, rows in self.spikes.items()}
        potentials = {name: torch.stack(rows) for name, rows in self.potentials.items()}
        return Recording(
            image, torch.stack(self.inputs), spikes, potentials, torch.cat(self.decisions)
        )


def _batch_of_one(image: Tensor, snn: SpikingNetwork, encoder: Encoder) -> Tensor:
    """[1, ...], if the network can be shown the image."""
    if not isinstance(image, Tensor):
        raise TypeError(f"image is a {type(image).__name__}; give one image: digits.images[0].")
    batch = image.unsqueeze(0)
    check_pixels(batch, span_of(encoder))
    check_gain(encoder, batch)
    if image.shape != snn.input_shape:
        raise ValueError(
            f"image has shape {list(image.shape)}, but the network takes {list(snn.input_shape)}."
        )
    return batch
