"""A spiking network and its state (chapter 4, *Images as spike trains*).

Each layer is a synapse without memory (sum-pool, convolution or linear) and
neurons with one potential each.  Weights are whole multiples of 2**-fraction_bits
and spikes are 0 or 1, so every sum is exact: no order of additions, batch size or
number of threads can change a spike.
"""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from snnlib.fixed_point import EXACT_UNITS, EXACT_UNITS_WIDE, largest_sum
from snnlib.models import WEIGHTED, window_area
from snnlib.neurons import IFNeuron, Integrator
from snnlib.storage import StorageError, load_tensors, save_tensors

_KINDS = {  # what a synapse is made of, and what must be stored to make it again
    "sum_pool": (nn.AvgPool2d, ("kernel_size", "stride", "padding", "divisor_override")),
    "conv": (
        nn.Conv2d,
        ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    ),
    "linear": (nn.Linear, ("in_features", "out_features")),
    "flatten": (nn.Flatten, ("start_dim", "end_dim")),
}


class SpikingLayer(nn.Module):
    """Synapse, then neurons.

    Parameters
    ----------
    name : str
        Of the layer of the CNN that it stands for.
    synapse : nn.Sequential
        Maps spikes [N, ...] to currents [N, ...]; keeps no state.
    neuron : IFNeuron or Integrator
        An Integrator for an output that only accumulates.
    fraction_bits : int
        k: weights, thresholds and currents are multiples of 2**-k.
    """

    def __init__(
        self, name: str, synapse: nn.Sequential, neuron: IFNeuron | Integrator, fraction_bits: int
    ) -> None:
        super().__init__()
        self.name = name
        self.synapse = synapse.requires_grad_(False)
        self.neuron = neuron
        self.fraction_bits = fraction_bits

    @property
    def weight(self) -> Tensor | None:
        """The weights of the convolution or linear layer; None for a pooling layer."""
        return next((op.weight for op in self.synapse if isinstance(op, WEIGHTED)), None)

    @property
    def v(self) -> Tensor | None:
        """Membrane potential of every neuron [N, ...]; None before the first step."""
        return self.neuron.v

    @property
    def spiking(self) -> bool:
        """Whether the layer gives spikes; an Integrator gives its potential."""
        return isinstance(self.neuron, IFNeuron)

    def forward(self, spikes: Tensor) -> Tensor:
        """One step of the layer.

        Parameters
        ----------
        spikes : Tensor [N, ...]
            Of the layer before.

        Returns
        -------
        Tensor [N, ...]
            Spikes, or the potential, of this layer.
        """
        return self.neuron(self.synapse(spikes))

    def analog_current(self, x: Tensor) -> Tensor:
        """The current of a constant input, summed exactly and rounded once to the grid.

        Parameters
        ----------
        x : Tensor [N, ...]
            Pixels in [0, 1].

        Returns
        -------
        Tensor [N, ...]
            Multiples of 2**-k, in the dtype of ``x``.
        """
        current = copy.deepcopy(self.synapse).double()(x.double())
        grid = 2.0**self.fraction_bits
        return (current * grid).round_().div_(grid).to(x.dtype)

    def fan_out(self, input_shape: torch.Size) -> Tensor:
        """Synapses that leave each presynaptic neuron; fewer at the border.

        Found as the gradient of the summed currents when every weight is one.

        Parameters
        ----------
        input_shape : torch.Size
            Of one image's presynaptic neurons.

        Returns
        -------
        Tensor
            In that shape.
        """
        with torch.inference_mode(False), torch.enable_grad():
            ones = copy.deepcopy(self.synapse)
            for op in ones:
                if isinstance(op, WEIGHTED):
                    nn.init.ones_(op.weight)
            spikes = torch.zeros(1, *input_shape, device=self.device, requires_grad=True)
            return torch.autograd.grad(ones(spikes).sum(), spikes)[0][0]

    @property
    def exact_steps(self) -> int:
        """For how many steps every potential of the layer is exact."""
        units = 2.0**self.fraction_bits
        limit = EXACT_UNITS_WIDE if self.neuron.wide else EXACT_UNITS
        room = limit - self._threshold * units
        return max(0, int(room // max(self._largest_current * units, 1.0)))

    def largest_potential(self, steps: int) -> float:
        """What no potential can exceed, of either sign, within so many steps.

        Parameters
        ----------
        steps : int

        Returns
        -------
        float
            In units of 2**-k.
        """
        initial = self.neuron.initial.abs().max().item() if self.spiking else 0.0
        start = max(initial, self._threshold)
        return (start + self._largest_current * steps) * 2.0**self.fraction_bits

    @property
    def _threshold(self) -> float:
        return self.neuron.threshold.max().item() if self.spiking else 0.0

    @property
    def _largest_current(self) -> float:
        """No neuron can receive more than this in one step, of either sign."""
        pools = [op for op in self.synapse if isinstance(op, nn.AvgPool2d)]
        pooled = math.prod(window_area(pool) for pool in pools)  # spikes that add up to one input
        return pooled * (1.0 if self.weight is None else largest_sum(self.weight))

    @property
    def device(self) -> torch.device:
        """Where the layer's tensors are."""
        return next(iter((*self.parameters(), *self.buffers()))).device


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
    """

    def __init__(self, layers: list[SpikingLayer], input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.layers[-1].neuron.wide = True
        self.input_shape = tuple(input_shape)
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
            if layer.v is not None:
                layer.neuron.v = layer.v[images]

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
        network = copy.deepcopy(self)
        network.reset()
        for layer in network.layers:
            layer.neuron.wide = True
        return network

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
    def input_current(self, x: Tensor) -> Tensor:
        """What an input sends into the first layer's neurons; exact for spikes and currents.

        Parameters
        ----------
        x : Tensor [N, C, H, W]
            As for ``step``.

        Returns
        -------
        Tensor [N, ...]

        Raises
        ------
        ValueError
            For an input of another shape.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(
                f"input has shape {list(x.shape)}; expected [N, {str(list(self.input_shape))[1:]}."
            )
        first = self.layers[0]
        is_spikes = torch.equal(x, x.round())
        return first.synapse(x) if is_spikes else first.analog_current(x)

    @torch.no_grad()
    def propagate(self, current: Tensor) -> Iterator[tuple[SpikingLayer, Tensor]]:
        """One step, layer by layer.

        Parameters
        ----------
        current : Tensor [N, ...]
            Into the first layer's neurons, from ``input_current``.

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
        first, *others = self.layers
        x = first.neuron(current)
        yield first, x
        for layer in others:
            x = layer(x)
            yield layer, x

    @torch.no_grad()
    def fan_outs(self) -> dict[str, Tensor]:
        """How many synapses leave each neuron.

        Returns
        -------
        dict of str to Tensor
            For "input" and each hidden layer, in the shape of its neurons.
        """
        x = torch.zeros(1, *self.input_shape, device=self.device)
        fan_outs, source = {}, "input"
        for layer in self.layers:
            fan_outs[source], source = layer.fan_out(x.shape[1:]).double(), layer.name
            x = layer.synapse(x)
        return fan_outs

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
        tensors = {}
        for i, layer in enumerate(self.layers):
            if layer.weight is not None:
                units = layer.weight.double() * 2.0**layer.fraction_bits
                tensors[f"{i}.weight"] = units.to(torch.int16)
            if layer.spiking:
                tensors[f"{i}.threshold"] = layer.neuron.threshold
                tensors[f"{i}.initial"] = layer.neuron.initial
        description = [_describe(layer) for layer in self.layers]
        save_tensors(path, tensors, {"input_shape": self.input_shape, "layers": description})

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
        tensors, facts = load_tensors(path)
        if "layers" not in facts:
            raise StorageError(f"{path} holds no spiking network; write one with snn.save(path).")
        layers = [_build(facts_of, i, tensors) for i, facts_of in enumerate(facts["layers"])]
        return SpikingNetwork(layers, tuple(facts["input_shape"]))

    def __repr__(self) -> str:
        rows = [_row(layer) for layer in self.layers]
        head = f"SpikingNetwork, input {list(self.input_shape)}, readout {self.readout}"
        return "\n".join([head, *rows, f"exact for {self.exact_steps} steps"])


def _describe(layer: SpikingLayer) -> dict:
    """The text that stands for a layer in a file, next to its tensors."""
    return {
        "name": layer.name,
        "fraction_bits": layer.fraction_bits,
        "reset": layer.neuron.reset_rule if layer.spiking else None,
        "synapse": [_describe_op(op) for op in layer.synapse],
    }


def _describe_op(op: nn.Module) -> dict:
    kind = next(kind for kind, (made_of, _) in _KINDS.items() if isinstance(op, made_of))
    return {"kind": kind, **{key: getattr(op, key) for key in _KINDS[kind][1]}}


def _build(facts: dict, i: int, tensors: dict[str, Tensor]) -> SpikingLayer:
    """A layer from its text and its tensors, `{i}.weight` and so on."""
    synapse = nn.Sequential(*(_build_op(dict(op)) for op in facts["synapse"]))
    neuron = Integrator()
    if facts["reset"]:
        neuron = IFNeuron(tensors[f"{i}.threshold"], reset=facts["reset"])
        neuron.initial = tensors[f"{i}.initial"]
    layer = SpikingLayer(facts["name"], synapse, neuron, facts["fraction_bits"])
    if layer.weight is not None:
        layer.weight.copy_(tensors[f"{i}.weight"].float() / 2.0**layer.fraction_bits)
    return layer


def _build_op(facts: dict) -> nn.Module:
    made_of, _ = _KINDS[facts.pop("kind")]
    arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in facts.items()}
    return made_of(**arguments, **({"bias": False} if made_of in WEIGHTED else {}))


def _row(layer: SpikingLayer) -> str:
    """One line of the table that a network prints as."""
    synapse = ", ".join(_describe_op(op)["kind"] for op in layer.synapse)
    neuron = "accumulates"
    if layer.spiking:
        low, high = layer.neuron.threshold.min().item(), layer.neuron.threshold.max().item()
        threshold = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        neuron = f"spikes at {threshold}, reset {layer.neuron.reset_rule}"
    return f"  {layer.name:<7} {synapse:<25} {neuron:<28} grid 2**-{layer.fraction_bits}"
