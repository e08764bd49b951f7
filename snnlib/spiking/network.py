"""A spiking network and its state (chapter 4, *Images as spike trains*)."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT
from snnlib.data import PIXELS
from snnlib.spiking.encoding import Encoder
from snnlib.spiking.gain import gain_of, span_of
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network_file import read_layers, table, write_layers

Current = Tensor | dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Wiring:
    """How the neurons of a network are connected.

    Attributes
    ----------
    layers : tuple of SpikingLayer
        In order.
    shapes : dict of str to torch.Size
        Of one image's neurons, for "input" and each layer.
    fan_outs : dict of str to list of Tensor
        For each layer, and each of its ``paths``: the synapses that lead there from each
        neuron of the source, in its shape.
    """

    layers: tuple[SpikingLayer, ...]
    shapes: dict[str, torch.Size]
    fan_outs: dict[str, list[Tensor]]

    @property
    def total_fan_outs(self) -> dict[str, Tensor]:
        """Synapses that leave each neuron of "input" and each hidden layer, in its shape."""
        totals = {}
        for layer in self.layers:
            for source, fan_out in zip(layer.sources, self.fan_outs[layer.name], strict=True):
                totals[source] = totals.get(source, 0) + fan_out.double()
        return totals


class SpikingNetwork(nn.Module):
    """Layers of spiking neurons, run one time step at a time.

    Currents are exact in float32.  So are potentials for ``exact_steps`` steps, and those
    of the output, kept in float64, for longer.  ``simulate`` runs more steps on ``wide()``.

    Parameters
    ----------
    layers : list of SpikingLayer
        From input to output, as made by ``convert``.
    input_shape : tuple of int
        (C, H, W) of one image.
    gain : float
        For an input how many times as large as the image the biases are, see ``at_gain``.
    clipped : bool
        Whether some ReLU of the CNN has a ceiling (ReLU6): a rate of one spike a step stands
        for it, but only if the input is as bright as the image.

    Raises
    ------
    ValueError
        For a layer that receives from one that is not before it, names that repeat, or
        another gain.
    """

    def __init__(
        self,
        layers: list[SpikingLayer],
        input_shape: tuple[int, int, int],
        gain: float = 1.0,
        clipped: bool = False,
    ) -> None:
        super().__init__()
        _check_gain(gain)
        _connect(layers)
        self.layers = nn.ModuleList(layers)
        self.layers[-1].neuron.wide = True
        self.input_shape, self.gain, self.clipped = tuple(input_shape), gain, clipped
        self._steps_left: int | None = None  # before potentials could be inexact

    @property
    def exact_steps(self) -> int:
        """For how many steps every potential is exact."""
        return min(layer.exact_steps for layer in self.layers)

    @property
    def device(self) -> torch.device:
        """Where the network's tensors are."""
        return self.layers[0].device

    @property
    def output_unit(self) -> Tensor:
        """What the output stands for: [], float64, in the units of the CNN that was converted.

        By so much the CNN's output grows for each unit of potential a step, or for the readout
        "spikes" each spike a step.  A potential adds up what spikes of the layers before stand
        for, so it counts in their largest scale.
        """
        last = self.layers[-1]
        if last.spiking:
            return last.scale.double()
        scales = {layer.name: layer.scale.double().max() for layer in self.layers}
        one = torch.tensor(1.0, dtype=torch.float64, device=self.device)
        return torch.stack([scales.get(source, one) for source in last.sources]).max()

    @property
    def readout(self) -> str:
        """What the decision is read from: "spikes" or "potential" of the output."""
        return "spikes" if self.layers[-1].spiking else "potential"

    def reset(self) -> None:
        """Clear every potential, so that nothing of the last images remains."""
        self._steps_left = None
        for layer in self.layers:
            layer.neuron.reset()

    def keep(self, images: Tensor) -> None:
        """Go on with some of the images only.

        Parameters
        ----------
        images : Tensor [N]
            bool, those that stay.
        """
        for layer in self.layers:
            layer.neuron.keep(images)

    def exact_for(self, steps: int) -> "SpikingNetwork":
        """The network itself, or its wide copy if only that is exact for so many steps.

        Parameters
        ----------
        steps : int

        Returns
        -------
        SpikingNetwork

        Raises
        ------
        ValueError
            If even float64 could not hold every potential exactly.
        """
        network = self if steps <= self.exact_steps else self.wide()
        if steps > network.exact_steps:
            limit = network.exact_steps
            raise ValueError(f"steps is {steps}; potentials are exact for {limit} at most.")
        return network

    def wide(self) -> "SpikingNetwork":
        """A copy, at rest, that keeps all potentials in float64: slower, exact for longer.

        Returns
        -------
        SpikingNetwork
        """
        network = self._copy()
        for layer in network.layers:
            layer.neuron.wide = True
        return network

    def seeing(self, encoder: Encoder) -> "SpikingNetwork":
        """The network as it has to be for the input of an encoder; all that runs it asks this.

        Parameters
        ----------
        encoder : Encoder

        Returns
        -------
        SpikingNetwork
            ``at_gain`` of the encoder, and told between which values its input lies; the
            network itself if nothing changes.

        Raises
        ------
        ValueError
            For a network with biases or ceilings and an encoder that does not say its gain; as
            ``at_gain``; and for inputs too large for exact sums.
        """
        biased = any(layer.bias is not None for layer in self.layers)
        network = self.at_gain(gain_of(encoder)) if biased or self.clipped else self
        span = tuple(map(float, span_of(encoder)))
        if span != PIXELS:
            network = network._copy()
            for layer in network.layers:
                layer.input_span = span
        for layer in [] if network is self else network.layers:
            layer.check_current()
        return network

    @torch.no_grad()
    def at_gain(self, gain: float) -> "SpikingNetwork":
        """The network for an input that is ``gain`` times the image.

        Its biases are multiplied by the gain, and lie on the grid again.  Without them ReLUs
        give gain times as much anyway: so all activations shrink alike, and decisions stay.

        Parameters
        ----------
        gain : float
            Above 0; ``max_rate`` of a PoissonEncoder.

        Returns
        -------
        SpikingNetwork
            A copy, at rest; the network itself if nothing changes.

        Raises
        ------
        ValueError
            For another gain, if the grid is too coarse for so small biases, and for a gain
            other than 1 of a network that is ``clipped``.
        """
        _check_gain(gain)
        if self.clipped and gain != 1:
            raise ValueError(
                f"gain is {gain:.4g}, but the CNN has a ReLU with a ceiling, for which one spike a "
                "step stands: it would not be reached by a darker image. Give an encoder of gain "
                "1: ConstantEncoder() or PoissonEncoder(1.0)."
            )
        if gain == self.gain or all(layer.bias is None for layer in self.layers):
            return self
        network = self._copy()
        network.gain = gain
        for layer in network.layers:
            if layer.bias is not None:
                layer.scale_bias(gain / self.gain)
        return network

    def _copy(self) -> "SpikingNetwork":
        """At rest."""
        network = copy.deepcopy(self)
        network.reset()
        return network

    def forward(self, *args, **kwargs) -> Tensor:
        """There is no output without time steps.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            "a spiking network answers over time steps, not at once; use simulate(snn, data), "
            "record(snn, image) or, one step at a time, snn.step(x)."
        )

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """One time step for a batch of inputs.

        Parameters
        ----------
        x : Tensor [N, C, H, W]
            Spikes 0 or 1, or the constant current of pixels in [0, 1].

        Returns
        -------
        Tensor [N, classes]
            Output spikes, or the output potential so far.

        Raises
        ------
        ValueError
            For an input of another shape.
        RuntimeError
            Past ``exact_steps``; see ``propagate``.
        """
        *_, (_, output) = self.propagate(self.input_current(x))
        return output

    @torch.no_grad()
    def input_current(self, x: Tensor) -> Current:
        """What an input sends into neurons, with their bias; exact for spikes and currents.

        Parameters
        ----------
        x : Tensor [N, C, H, W]
            As for ``step``.

        Returns
        -------
        Tensor [N, ...], or dict of str to Tensor
            Into the first layer; if others receive the input too, into each by its name.

        Raises
        ------
        ValueError
            For an input of another shape, or outside of what ``seeing`` was told.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(
                f"input has shape {list(x.shape)}; expected [N, {str(list(self.input_shape))[1:]}."
            )
        self._check_span(x)
        reached = [layer for layer in self.layers if INPUT in layer.sources]
        currents = {layer.name: layer.input_current(x) for layer in reached}
        return currents if len(currents) > 1 else currents[reached[0].name]

    @torch.no_grad()
    def propagate(self, current: Current) -> Iterator[tuple[SpikingLayer, Tensor]]:
        """One step, layer by layer.

        Parameters
        ----------
        current : Tensor [N, ...], or dict of str to Tensor
            Into the first layer's neurons, or into several, from ``input_current``.

        Yields
        ------
        tuple
            (SpikingLayer, Tensor): each layer and what it gave.

        Raises
        ------
        RuntimeError
            Past ``exact_steps``, rather than round without saying so.
        """
        self._count_step()
        given = current if isinstance(current, dict) else {self.layers[0].name: current}
        outputs = {}
        for layer in self.layers:
            arrived = [outputs.get(source) for source in layer.sources]
            x = layer(*arrived, given=given.get(layer.name))
            outputs[layer.name] = x
            yield layer, x

    @torch.no_grad()
    def wiring(self) -> Wiring:
        """How the neurons are connected: all that an engine has to ask, once.

        Returns
        -------
        Wiring
        """
        shapes, fan_outs = {INPUT: torch.Size(self.input_shape)}, {}
        for layer in self.layers:
            fan_outs[layer.name] = layer.fan_outs(shapes)
            shapes[layer.name] = layer.shape(shapes)
        return Wiring(tuple(self.layers), shapes, fan_outs)

    def shapes(self) -> dict[str, torch.Size]:
        """The shape of one image's neurons.

        Returns
        -------
        dict of str to torch.Size
            For "input" and each layer.
        """
        return self.wiring().shapes

    def fan_outs(self) -> dict[str, Tensor]:
        """How many synapses leave each neuron.

        Returns
        -------
        dict of str to Tensor
            For "input" and each hidden layer, in the shape of its neurons.
        """
        return self.wiring().total_fan_outs

    def _check_span(self, x: Tensor) -> None:
        """Beyond it sums could be inexact."""
        low, high = self.layers[0].input_span
        if x.numel() and not (x.min() >= low and x.max() <= high):
            raise ValueError(
                f"input spans [{x.min():.4g}, {x.max():.4g}], not [{low:.4g}, {high:.4g}]; an "
                "encoder of your own says what it gives: `span = (low, high)`."
            )

    def _count_step(self) -> None:
        if self._steps_left is None:
            self._steps_left = self.exact_steps
        if self._steps_left == 0:
            raise RuntimeError(
                f"potentials are exact for {self.exact_steps} steps only; call reset(), or "
                "continue with snn.wide(), which keeps them in float64."
            )
        self._steps_left -= 1

    def save(self, path: str | Path) -> None:
        """Write the network to one safetensors file: 16-bit weights, and the rest as text.

        Parameters
        ----------
        path : str or Path
        """
        write_layers(path, self.layers, self.input_shape, self.gain, self.clipped)

    @staticmethod
    def load(path: str | Path) -> "SpikingNetwork":
        """Read a network that ``save`` wrote; it gives the same spikes.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        SpikingNetwork

        Raises
        ------
        FileNotFoundError
            For a missing file.
        StorageError
            For one that is truncated, altered or holds something else.
        """
        return SpikingNetwork(*read_layers(path))

    def __repr__(self) -> str:
        head = f"SpikingNetwork, input {list(self.input_shape)}, readout {self.readout}"
        return "\n".join([head, *table(self.layers), f"exact for {self.exact_steps} steps"])


def _check_gain(gain: float) -> None:
    if not 0 < gain < math.inf:
        raise ValueError(f"gain is {gain}; give a factor above 0.")


def _connect(layers: list[SpikingLayer]) -> None:
    """Fill in the sources that were left out, and check that spikes can flow one way."""
    before = [INPUT]
    for layer in layers:
        layer.sources = layer.sources or (before[-1],)
        unknown = [source for source in layer.sources if source not in before]
        if unknown:
            raise ValueError(f"layer {layer.name} receives from {unknown[0]}, not before it.")
        if layer.name in before:
            raise ValueError(f"two layers are named {layer.name}; give each its own name.")
        before.append(layer.name)
