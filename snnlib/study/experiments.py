"""What each cause does to a rate, one switched off at a time (chapter 7, *Where conversion
loses accuracy*).

Let a be the activation of a neuron of the CNN in units of its scale, and r = n / T the rate
of its spiking counterpart, which gave n spikes in T steps.  The error r - a is split by a
chain of networks, from the CNN to the spiking network, that differ from one to the next in
one thing.  Each computes all layers from its own outputs of the layers before, so that a
piece is what the cause does in this layer and what it did before:

    a   the CNN, on what the encoder shows on average
    b   the same ReLUs behind the spiking network's rounded weights and thresholds
    c   b with every activation clamped to at most 1, as a neuron spikes once a step at most
    d   c in steps of 1 / T: n = floor((T z + v0) / threshold), clamped to [0, T], which is
        what a neuron gives that receives T z in even portions and starts at v0
    e   the spiking network on a constant current, with the reset "subtract"
    f   e with the reset that the network has
    g   f with the encoder that it has: n / T = r

    b - a  rounding       c - b  clipping     d - c  quantisation
    e - d  unevenness: spikes arrive in other portions than even ones
    f - e  reset: what a reset to zero discards
    g - f  noise: of random input spikes

The sum telescopes to r - a, whatever the network.  Everything is computed in float64, so the
pieces of a neuron sum to its error up to 1e-14 times the largest activation, or times 1.
Where a network has no such cause a piece is exactly zero: reset for "subtract", noise for a
constant input, unevenness in a first layer and, if T is 1, in all.

An output that accumulates has no spikes to count.  Its rate is its potential / T in units of
its scale, and it neither clips nor rounds: its pieces are what arrives there.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, Graph, Stage, counting
from snnlib.cnn.lowering import lowered
from snnlib.cnn.threads import one_thread
from snnlib.cnn.tracing import trace
from snnlib.data import check_pixels
from snnlib.engines.clock import exact_arithmetic
from snnlib.simulation import check_steps
from snnlib.spiking.conversion import per_neuron, with_spiking_pools
from snnlib.spiking.decisions import decide
from snnlib.spiking.encoding import LEVELS, ConstantEncoder, Encoder, InputStream, rate_levels
from snnlib.spiking.gain import check_gain, gain_of, span_of
from snnlib.spiking.layer import SpikingLayer
from snnlib.spiking.network import SpikingNetwork
from snnlib.spiking.neurons import IFNeuron, MaxPooling

PIECES = ("rounding", "clipping", "quantisation", "unevenness", "reset", "noise")
FEW = 20  # images are enough to see whether two networks belong together
CLOSE = 0.1  # of the largest activation of a channel: more than rounding of weights does

Totals = dict[str, Tensor]  # of each layer: spikes of T steps, or T times an activation
Response = Callable[[SpikingLayer, Tensor, int], Tensor]


@dataclass(frozen=True, eq=False)
class LayerErrors:
    """The error of every neuron of a layer, in pieces.

    Attributes
    ----------
    activation : Tensor [N, ...]
        float64, of the CNN, in units of the layer's scale.
    rate : Tensor [N, ...]
        float64, of the spiking network [spikes/step].
    pieces : dict of str to Tensor [N, ...]
        By the names in ``PIECES``; their sum is ``rate - activation``.
    """

    activation: Tensor
    rate: Tensor
    pieces: dict[str, Tensor]

    @property
    def error(self) -> Tensor:
        """[N, ...], the rate less the activation."""
        return self.rate - self.activation


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the chain of networks gave for a batch.

    Attributes
    ----------
    layers : dict of str to LayerErrors
    decisions : Tensor [N]
        int64, of the spiking network after the last step; -1 undecided.
    expected : Tensor [N]
        int64, the decisions of the CNN.
    """

    layers: dict[str, LayerErrors]
    decisions: Tensor
    expected: Tensor


class Pair:
    """A CNN beside the spiking network that was made from it.

    Both see what an encoder shows: an image made darker by its gain, with biases that are
    smaller by as much.

    Parameters
    ----------
    cnn, snn, encoder
        As for ``error_pieces``.
    images : Tensor [N, C, H, W]
        Some of those that it will be measured on.

    Raises
    ------
    ConversionError
        If ``cnn`` cannot be converted.
    TypeError
        For images that are not float32.
    ValueError
        For unusable images, networks that do not belong together, or an encoder that does not
        say its gain, or says a wrong one.
    """

    def __init__(
        self, cnn: nn.Module, snn: SpikingNetwork, images: Tensor, encoder: Encoder
    ) -> None:
        check_pixels(images, span_of(encoder))
        if images.shape[1:] != snn.input_shape:
            raise ValueError(
                f"images have shape {list(images.shape[1:])}, but the spiking network takes "
                f"{list(snn.input_shape)}; give images of that shape."
            )
        check_gain(encoder, images)
        self.encoder, gain = encoder, gain_of(encoder)
        self.snn = snn.seeing(encoder)
        self.stages = tuple(_at_gain(stage, gain) for stage in _stages_like(cnn, snn))
        self.double = copy.deepcopy(self.snn).double()  # to compute with rates instead of spikes
        self.scales = {INPUT: torch.tensor(1.0, dtype=torch.float64)}
        self.scales |= {layer.name: layer.scale for layer in self.double.layers}
        self._check_weights(mean_input(encoder, images[:FEW]))

    @one_thread()
    @torch.no_grad()
    def measure(self, images: Tensor, steps: int, index: Tensor | None = None) -> Measurement:
        """The errors of one batch.

        Parameters
        ----------
        images, steps, index
            As for ``error_pieces``.

        Returns
        -------
        Measurement

        Raises
        ------
        ValueError
            As ``error_pieces`` does.
        """
        check_steps(steps)
        mean = mean_input(self.encoder, images)
        given, outputs = self._given(mean), self._outputs(mean)
        chain = [self._forward(given, steps, respond) for respond in (_relu, _clip, _quantise)]
        runs = self._runs(images, mean, steps, index)
        networks = chain + [totals for totals, _ in runs]
        layers = {
            name: _errors(a, [self._rates(name, totals[name], steps) for totals in networks])
            for name, a in self._activations(outputs).items()
        }
        totals, potential = runs[-1]
        counts = totals[self.snn.layers[-1].name]
        decisions = decide(counts, potential, self.snn.readout)
        return Measurement(layers, decisions, outputs[self.stages[-1].name].argmax(1))

    def _outputs(self, mean: Tensor) -> Totals:
        """What the CNN's stages give [N, ...]; the last without a ReLU."""
        return {stage.name: x for stage, x in Graph(self.stages).run(mean.double())}

    def _activations(self, outputs: Totals) -> Totals:
        """The same in units of scales; with a ReLU where the output spikes."""
        names = [stage.name for stage in self.stages]
        activations = {name: outputs[name] / self._scale(name, outputs[name]) for name in names}
        if self.snn.layers[-1].spiking:
            activations[names[-1]] = activations[names[-1]].clamp(min=0)
        return activations

    def _scale(self, name: str, x: Tensor) -> Tensor:
        """The scale of a layer, shaped like ``x``."""
        return per_neuron(self.scales[name], x.shape[1:])

    def _rates(self, name: str, totals: Tensor, steps: int) -> Tensor:
        """Per step, and of an output that accumulates in units of its scale."""
        layer = self.snn.layers[-1]
        if name != layer.name or layer.spiking:
            return totals / steps
        return totals * self.double.output_unit / self._scale(name, totals) / steps

    def _given(self, mean: Tensor) -> Totals:
        """Currents of one step from a constant input, on the grid, with the bias; by layer."""
        with exact_arithmetic():
            current = self.snn.input_current(mean)
        current = current if isinstance(current, dict) else {self.snn.layers[0].name: current}
        return {name: x.double() for name, x in current.items()}

    def _forward(self, given: Totals, steps: int, respond: Response) -> Totals:
        """All layers, with other neurons in place of theirs."""
        totals: Totals = {}
        for layer in self.double.layers:
            totals[layer.name] = _respond(layer, totals, given, steps, respond)
        return totals

    def _runs(self, images, mean, steps: int, index) -> list[tuple[Totals, Tensor]]:
        """The spiking network: evenly fed with a gentle reset, with its own, as it is."""
        own = _run(self.snn, steps, lambda step: mean, constant=True)
        gentle = _with_reset(self.snn, "subtract")
        first = own if gentle is self.snn else _run(gentle, steps, lambda step: mean, constant=True)
        if self.encoder.constant:
            return [first, own, own]
        stream = self.encoder.stream(images, index)
        return [first, own, _run(self.snn, steps, stream, constant=False)]

    @one_thread()
    @torch.no_grad()
    def _check_weights(self, images: Tensor) -> None:
        """Each layer, given the CNN's activations, must give the CNN's in most channels."""
        activations, given = self._activations(self._outputs(images)), self._given(images)
        for layer in self.double.layers:
            found = self._rates(layer.name, _respond(layer, activations, given, 1, _relu), 1)
            slack = self._rates(layer.name, _rounding(layer, activations, images), 1)
            off = by_channel((found - activations[layer.name]).abs() - slack).amax(1)
            size = by_channel(torch.maximum(found.abs(), activations[layer.name].abs())).amax(1)
            if ((off > CLOSE * size).sum() * 2 > (size > 0).sum()).item():
                raise ValueError(
                    f"cnn and snn do not belong together: {layer.name} computes something else; "
                    "give the very network that was converted (the balanced one, if it was "
                    "balanced with normalize_weights)."
                )


def error_pieces(
    cnn: nn.Module,
    snn: SpikingNetwork,
    images: Tensor,
    steps: int,
    *,
    encoder: Encoder = ConstantEncoder(),
    index: Tensor | None = None,
) -> dict[str, LayerErrors]:
    """The error of every neuron, in pieces that sum to it.

    Parameters
    ----------
    cnn : nn.Module
    snn : SpikingNetwork
        From ``convert(cnn)``, whatever its options.
    images : Tensor [N, C, H, W]
        A batch: the results are as large as all layers for all images, 8 times.
    steps : int
        T, at least 1.
    encoder : Encoder
        That says its gain.  With a PoissonEncoder of max_rate below 1 the CNN sees images as
        much darker, with biases as much smaller: its decisions are the same.
    index : Tensor [N], optional
        Place of each image in its data set; default 0..N-1.

    Returns
    -------
    dict of str to LayerErrors
        By the name of the layer, as in ``snn``.

    Raises
    ------
    ConversionError
        If ``cnn`` cannot be converted.
    TypeError
        For images that are not float32.
    ValueError
        For unusable images or steps, networks that do not belong together, or an encoder
        that does not say its gain, or says a wrong one.
    """
    return Pair(cnn, snn, images, encoder).measure(images, steps, index).layers


def mean_input(encoder: Encoder, images: Tensor) -> Tensor:
    """What an encoder shows on average.

    Parameters
    ----------
    encoder : Encoder
        That says its gain.
    images : Tensor [N, C, H, W]

    Returns
    -------
    Tensor [N, C, H, W]
        On the encoder's grid.
    """
    if encoder.constant:
        return encoder.stream(images)(0)
    return rate_levels(images, gain_of(encoder)).float() / LEVELS  # exact: 24 bits fit a float32


def _at_gain(stage: Stage, gain: float) -> Stage:
    """A stage of the CNN that, given gain times its input, gives gain times its output."""
    return stage if stage.bias is None else replace(stage, bias=stage.bias * gain)


def _errors(activation: Tensor, rates: list[Tensor]) -> LayerErrors:
    pieces = [after - before for before, after in pairwise([activation, *rates])]
    return LayerErrors(activation, rates[-1], dict(zip(PIECES, pieces, strict=True)))


def _stages_like(cnn: nn.Module, snn: SpikingNetwork) -> tuple[Stage, ...]:
    """The stages of the CNN that the layers of the spiking network stand for."""
    graph = lowered(trace(cnn, snn.input_shape), snn.input_shape)
    names = [layer.name for layer in snn.layers]
    for stages in (graph.stages, tuple(with_spiking_pools(graph))):
        if [stage.name for stage in stages] == names:
            return stages
    expected = ", ".join(stage.name for stage in graph.stages)
    raise ValueError(
        f"cnn and snn do not belong together: the CNN has the layers {expected}, the spiking "
        f"network {', '.join(names)}; give the very network that was converted."
    )


# ---- neurons that could stand in for those of a layer: from T times the current to spikes


def _respond(
    layer: SpikingLayer, totals: Totals, given: Totals, steps: int, respond: Response
) -> Tensor:
    """What a layer gives in all steps, given what earlier ones gave."""
    arrived = [path(totals[source]) for source, path in layer.paths if source != INPUT]
    if isinstance(layer.neuron, MaxPooling):
        return layer.neuron.pool(arrived[0])
    constant = given.get(layer.name, layer.bias)
    charge = sum(arrived) if constant is None else sum(arrived, steps * constant)
    return respond(layer, charge, steps) if layer.spiking else charge


def _relu(layer: SpikingLayer, charge: Tensor, steps: int) -> Tensor:
    return (charge / layer.neuron.threshold).clamp(min=0)


def _clip(layer: SpikingLayer, charge: Tensor, steps: int) -> Tensor:
    return (charge / layer.neuron.threshold).clamp(0, steps)


def _quantise(layer: SpikingLayer, charge: Tensor, steps: int) -> Tensor:
    """Exact, as charge and threshold are whole multiples of the layer's grid."""
    neuron = layer.neuron
    return ((charge + neuron.initial) / neuron.threshold).floor().clamp(0, steps)


def _rounding(layer: SpikingLayer, totals: Totals, images: Tensor) -> Tensor:
    """By how much rounding to the grid can change what a layer gives in one step, at most."""
    if isinstance(layer.neuron, MaxPooling):
        return torch.zeros(())
    sizes = totals | {INPUT: images.double().abs()}
    arrived = [counting(path)(sizes[source]) for source, path in layer.paths]
    # the bias twice, in `convert` and by the gain, and the current
    charge = (sum(arrived) + 3.0) * 2.0 ** -(layer.fraction_bits + 1)
    return _relu(layer, charge, 1) if layer.spiking else charge


def by_channel(x: Tensor) -> Tensor:
    """[N, C, ...] as [C, N * ...]."""
    return x.transpose(0, 1).flatten(1)


# ---- the spiking network itself


def _with_reset(snn: SpikingNetwork, reset: str) -> SpikingNetwork:
    """The network itself if all its neurons have that reset, else a copy in which they do."""
    neurons = [layer.neuron for layer in snn.layers if isinstance(layer.neuron, IFNeuron)]
    if all(neuron.reset_rule == reset for neuron in neurons):
        return snn
    snn = copy.deepcopy(snn)
    for layer in snn.layers:
        if isinstance(layer.neuron, IFNeuron):
            layer.neuron.reset_rule = reset
    return snn


def _run(
    snn: SpikingNetwork, steps: int, stream: InputStream, *, constant: bool
) -> tuple[Totals, Tensor]:
    """Spikes of every neuron in all steps, and the potential of the output at the end."""
    snn, totals = snn.exact_for(steps), {}
    snn.reset()
    for step in range(steps):
        with exact_arithmetic():
            if step == 0 or not constant:
                current = snn.input_current(stream(step))
            for layer, output in snn.propagate(current):
                if layer.name in totals and layer.spiking:
                    totals[layer.name] += output
                else:
                    totals[layer.name] = output.double()
    potential = snn.layers[-1].v.double()
    snn.reset()
    return totals, potential
