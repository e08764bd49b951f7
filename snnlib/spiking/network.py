"""A spiking network and its state (chapter 4, *Images as spike trains*).

Each layer is a synapse without memory (sum-pool, convolution or linear) and
neurons with one potential each.  Weights are whole multiples of 2**-fraction_bits
and spikes are 0 or 1, so every sum is exact: no order of additions, batch size or
number of threads can change a spike.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import add
from pathlib import Path

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, SYNAPTIC, ChannelScale, counting
from snnlib.cnn.models import WEIGHTED, window_area
from snnlib.spiking.fixed_point import EXACT_UNITS, EXACT_UNITS_WIDE, largest_sum
from snnlib.spiking.neurons import IFNeuron, Integrator, MaxPooling
from snnlib.storage import StorageError, load_tensors, save_tensors

_KINDS = {  # what a synapse is made of, and what must be stored to make it again
    "sum_pool": (nn.AvgPool2d, ("kernel_size", "stride", "padding", "divisor_override")),
    "conv": (
        nn.Conv2d,
        ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    ),
    "linear": (nn.Linear, ("in_features", "out_features")),
    "flatten": (nn.Flatten, ("start_dim", "end_dim")),
    "shortcut": (ChannelScale, ("channels",)),
    "max_pool": (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
}

Current = Tensor | dict[str, Tensor]


class SpikingLayer(nn.Module):
    """Synapses, then neurons.

    Parameters
    ----------
    name : str
        Of the layer of the CNN that it stands for.
    synapse : nn.Sequential
        Maps spikes [N, ...] to currents [N, ...]; keeps no state.
    neuron : IFNeuron, MaxPooling or Integrator
        An Integrator for an output that only accumulates.
    fraction_bits : int
        k: weights, thresholds and currents are multiples of 2**-k.
    sources : tuple of str
        Whose spikes arrive: names of earlier layers or "input", first that of ``synapse``.
        Empty: the layer before.
    shortcuts : tuple of nn.Sequential
        Further synapses, one for each further source; currents are summed.
    bias : Tensor, optional
        A current of every step; broadcasts against one image's neurons.
    scale : Tensor [] or [C], optional
        The activation of the CNN that one spike a step stands for; default 1.
    """

    def __init__(
        self,
        name: str,
        synapse: nn.Sequential,
        neuron: IFNeuron | MaxPooling | Integrator,
        fraction_bits: int,
        *,
        sources: tuple[str, ...] = (),
        shortcuts: tuple[nn.Sequential, ...] = (),
        bias: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.synapse = synapse.requires_grad_(False)
        self.neuron = neuron
        self.fraction_bits = fraction_bits
        self.sources = tuple(sources)
        self.shortcuts = nn.ModuleList(shortcuts).requires_grad_(False)
        self.register_buffer("bias", bias)
        self.register_buffer("scale", torch.tensor(1.0) if scale is None else scale.float())

    @property
    def paths(self) -> list[tuple[str, nn.Sequential]]:
        """(source, synapse) of everything that arrives."""
        return list(zip(self.sources, (self.synapse, *self.shortcuts), strict=True))

    @property
    def weight(self) -> Tensor | None:
        """The weights of the (first) convolution or linear layer; None for a pooling layer."""
        return weight_of(self.synapse)

    @property
    def v(self) -> Tensor | None:
        """Membrane potential of every neuron [N, ...]; None before the first step."""
        return self.neuron.v

    @property
    def spiking(self) -> bool:
        """Whether the layer gives spikes; an Integrator gives its potential."""
        return not isinstance(self.neuron, Integrator)

    def forward(self, *spikes: Tensor | None, given: Tensor | None = None) -> Tensor:
        """One step of the layer.

        Parameters
        ----------
        *spikes : Tensor [N, ...] or None
            Of each source, in the order of ``sources``; None where it is in ``given``.
        given : Tensor [N, ...], optional
            The current from the input with the bias, see ``input_current``.

        Returns
        -------
        Tensor [N, ...]
            Spikes, or the potential, of this layer.
        """
        pairs = zip(self.paths, spikes, strict=True)
        currents = [path(x) for (_, path), x in pairs if x is not None]
        if given is None:
            return self.neuron(self._with_bias(reduce(add, currents)))
        return self.neuron(reduce(add, currents, given))

    def input_current(self, x: Tensor) -> Tensor:
        """What arrives from the input, with the bias; exact for spikes and currents.

        A constant input is summed exactly and rounded once to the grid.

        Parameters
        ----------
        x : Tensor [N, C, H, W]
            Spikes 0 or 1, or pixels in [0, 1].

        Returns
        -------
        Tensor [N, ...]
            Multiples of 2**-k, in the dtype of ``x``.
        """
        paths = [path for source, path in self.paths if source == INPUT]
        if torch.equal(x, x.round()):
            return self._with_bias(reduce(add, [path(x) for path in paths]))
        current = reduce(add, [copy.deepcopy(path).double()(x.double()) for path in paths])
        grid = 2.0**self.fraction_bits
        return self._with_bias((current * grid).round_().div_(grid).to(x.dtype))

    @torch.no_grad()
    def shape(self, shapes: Mapping[str, torch.Size]) -> torch.Size:
        """The shape of one image's neurons.

        Parameters
        ----------
        shapes : mapping of str to torch.Size
            Of one image's neurons, for every source.

        Returns
        -------
        torch.Size
        """
        source, path = self.paths[0]
        x = path(torch.zeros(1, *shapes[source], device=self.device))
        return (self.neuron.pool(x) if isinstance(self.neuron, MaxPooling) else x).shape[1:]

    def fan_outs(self, shapes: Mapping[str, torch.Size]) -> list[tuple[str, Tensor]]:
        """Synapses that lead here from each presynaptic neuron; fewer at the border.

        Found as the gradient of the summed currents when every weight is one.

        Parameters
        ----------
        shapes : mapping of str to torch.Size
            Of one image's neurons, for every source.

        Returns
        -------
        list of tuple
            (source, Tensor in its shape), as in ``paths``.
        """
        if isinstance(self.neuron, MaxPooling):
            (source,) = self.sources
            return [(source, self.neuron.fan_out(shapes[source]).to(self.device))]
        return [(source, self._fan_out(path, shapes[source])) for source, path in self.paths]

    def _fan_out(self, path: nn.Sequential, shape: torch.Size) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            spikes = torch.zeros(1, *shape, device=self.device, requires_grad=True)
            return torch.autograd.grad(counting(path)(spikes).sum(), spikes)[0][0]

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
        total = 0.0 if self.bias is None else self.bias.abs().max().item()
        for _, path in self.paths:
            pools = [op for op in path if isinstance(op, nn.AvgPool2d)]
            pooled = math.prod(window_area(pool) for pool in pools)  # spikes that become one input
            weight = weight_of(path)
            total += pooled * (1.0 if weight is None else largest_sum(weight))
        return total

    def _with_bias(self, current: Tensor) -> Tensor:
        return current if self.bias is None else current + self.bias

    @property
    def device(self) -> torch.device:
        """Where the layer's tensors are."""
        return next(iter((*self.parameters(), *self.buffers()))).device


def weight_of(path: nn.Sequential) -> Tensor | None:
    """The weights of a synapse; None if it only pools.

    Parameters
    ----------
    path : nn.Sequential

    Returns
    -------
    Tensor or None
    """
    return next((op.weight for op in path if isinstance(op, SYNAPTIC)), None)


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

    Raises
    ------
    ValueError
        For a layer that receives from one that is not before it, or names that repeat.
    """

    def __init__(self, layers: list[SpikingLayer], input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        _connect(layers)
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
            For an input of another shape.
        """
        if x.shape[1:] != self.input_shape:
            raise ValueError(
                f"input has shape {list(x.shape)}; expected [N, {str(list(self.input_shape))[1:]}."
            )
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
    def shapes(self) -> dict[str, torch.Size]:
        """The shape of one image's neurons.

        Returns
        -------
        dict of str to torch.Size
            For "input" and each layer.
        """
        shapes = {INPUT: torch.Size(self.input_shape)}
        for layer in self.layers:
            shapes[layer.name] = layer.shape(shapes)
        return shapes

    @torch.no_grad()
    def fan_outs(self) -> dict[str, Tensor]:
        """How many synapses leave each neuron.

        Returns
        -------
        dict of str to Tensor
            For "input" and each hidden layer, in the shape of its neurons.
        """
        shapes, totals = self.shapes(), {}
        for layer in self.layers:
            for source, fan_out in layer.fan_outs(shapes):
                totals[source] = totals.get(source, 0) + fan_out.double()
        return totals

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
            tensors |= _tensors_of(layer, f"{i}.")
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
        width = max(7, *(len(layer.name) for layer in self.layers))
        rows = [_row(layer, width) for layer in self.layers]
        head = f"SpikingNetwork, input {list(self.input_shape)}, readout {self.readout}"
        return "\n".join([head, *rows, f"exact for {self.exact_steps} steps"])


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


def _tensors_of(layer: SpikingLayer, start: str) -> dict[str, Tensor]:
    """A layer's tensors in a file; weights and biases in whole units."""
    units = 2.0**layer.fraction_bits
    tensors = {f"{start}scale": layer.scale}
    for name, path in _named_paths(layer, start):
        if weight_of(path) is not None:
            tensors[name] = (weight_of(path).double() * units).to(torch.int16)
    if layer.bias is not None:
        tensors[f"{start}bias"] = (layer.bias.double() * units).to(torch.int32)
    if layer.spiking:
        tensors[f"{start}threshold"] = layer.neuron.threshold
        tensors[f"{start}initial"] = layer.neuron.initial
    return tensors


def _named_paths(layer: SpikingLayer, start: str) -> list[tuple[str, nn.Sequential]]:
    """The name of each path's weights in a file, and the path."""
    shortcuts = [(f"{start}shortcut{j}", path) for j, path in enumerate(layer.shortcuts)]
    return [(f"{start}weight", layer.synapse), *shortcuts]


def _describe(layer: SpikingLayer) -> dict:
    """The text that stands for a layer in a file, next to its tensors."""
    neuron, is_pool = layer.neuron, isinstance(layer.neuron, MaxPooling)
    return {
        "name": layer.name,
        "fraction_bits": layer.fraction_bits,
        "reset": neuron.reset_rule if isinstance(neuron, IFNeuron) else None,
        "synapse": [_describe_op(op) for op in layer.synapse],
        "sources": list(layer.sources),
        "shortcuts": [[_describe_op(op) for op in path] for path in layer.shortcuts],
        "max_pooling": neuron.rule if is_pool else None,
        "pool": _describe_op(neuron.pool) if is_pool else None,
    }


def _describe_op(op: nn.Module) -> dict:
    kind = next(kind for kind, (made_of, _) in _KINDS.items() if isinstance(op, made_of))
    return {"kind": kind, **{key: getattr(op, key) for key in _KINDS[kind][1]}}


def _build(facts: dict, i: int, tensors: dict[str, Tensor]) -> SpikingLayer:
    """A layer from its text and its tensors, `{i}.weight` and so on."""
    units = 2.0 ** facts["fraction_bits"]
    bias = tensors.get(f"{i}.bias")
    layer = SpikingLayer(
        facts["name"],
        _build_path(facts["synapse"]),
        _build_neuron(facts, i, tensors),
        facts["fraction_bits"],
        sources=tuple(facts.get("sources", ())),
        shortcuts=tuple(_build_path(path) for path in facts.get("shortcuts", ())),
        bias=None if bias is None else bias.double().div(units).float(),
        scale=tensors.get(f"{i}.scale"),
    )
    for name, path in _named_paths(layer, f"{i}."):
        if weight_of(path) is not None:
            weight_of(path).copy_(tensors[name].float() / units)
    return layer


def _build_neuron(facts: dict, i: int, tensors: dict[str, Tensor]) -> nn.Module:
    if facts.get("max_pooling"):
        return MaxPooling(_build_op(dict(facts["pool"])), facts["max_pooling"])
    if not facts["reset"]:
        return Integrator()
    neuron = IFNeuron(tensors[f"{i}.threshold"], reset=facts["reset"])
    neuron.initial = tensors[f"{i}.initial"]
    return neuron


def _build_path(ops: list[dict]) -> nn.Sequential:
    return nn.Sequential(*(_build_op(dict(op)) for op in ops))


def _build_op(facts: dict) -> nn.Module:
    made_of, _ = _KINDS[facts.pop("kind")]
    arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in facts.items()}
    return made_of(**arguments, **({"bias": False} if made_of in WEIGHTED else {}))


def _row(layer: SpikingLayer, width: int) -> str:
    """One line of the table that a network prints as."""
    text = f"  {layer.name:<{width}} {synapse_text(layer):<25} {neuron_text(layer):<28}"
    is_pool = isinstance(layer.neuron, MaxPooling)
    return text.rstrip() if is_pool else f"{text} grid 2**-{layer.fraction_bits}"


def synapse_text(layer: SpikingLayer) -> str:
    """What a layer's synapses are made of, in a few words.

    Parameters
    ----------
    layer : SpikingLayer

    Returns
    -------
    str
    """
    if isinstance(layer.neuron, MaxPooling):
        return "max_pool"
    main = ", ".join(_describe_op(op)["kind"] for op in layer.synapse)
    others = [
        f" + {', '.join(_describe_op(op)['kind'] for op in path)} from {source}"
        for source, path in layer.paths[1:]
    ]
    return "".join([main, *others, " + bias" if layer.bias is not None else ""])


def neuron_text(layer: SpikingLayer) -> str:
    """What a layer's neurons do, in a few words.

    Parameters
    ----------
    layer : SpikingLayer

    Returns
    -------
    str
    """
    if isinstance(layer.neuron, MaxPooling):
        return f"max pooling ({layer.neuron.rule})"
    if not layer.spiking:
        return "accumulates"
    low, high = layer.neuron.threshold.min().item(), layer.neuron.threshold.max().item()
    threshold = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return f"spikes at {threshold}, reset {layer.neuron.reset_rule}"
