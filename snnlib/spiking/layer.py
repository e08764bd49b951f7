"""One layer of a spiking network: synapses, then neurons (chapter 4, *Images as spike trains*).

A synapse (sum-pool, convolution or linear) has no memory; neurons keep one potential each.
Weights are whole multiples of 2**-fraction_bits and spikes are 0 or 1, so every sum is
exact: no order of additions, batch size or number of threads can change a spike.
"""

import copy
import math
from collections.abc import Mapping
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, SYNAPTIC, ChannelScale, counting
from snnlib.cnn.models import window_area
from snnlib.data import PIXELS, Span
from snnlib.spiking.fixed_point import EXACT_UNITS, EXACT_UNITS_WIDE, largest_sum, on_grid
from snnlib.spiking.neurons import IFNeuron, Integrator, MaxPooling

COARSEST = 0.02  # of a layer's threshold, weights or biases: more would change what it computes


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
        The activation of the CNN that one spike a step stands for; default 1.  An output
        that only accumulates gives no spikes: what its potential stands for is
        ``SpikingNetwork.output_unit``, and its scale is the one that it was balanced by.

    Attributes
    ----------
    input_span : tuple of float
        The least and the largest value of "input", where that arrives; 0 and 1 unless
        ``SpikingNetwork.seeing`` says otherwise.
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
        self.input_span: Span = PIXELS
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
            Spikes 0 or 1, or pixels in ``input_span``.

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

    def fan_outs(self, shapes: Mapping[str, torch.Size]) -> list[Tensor]:
        """Synapses that lead here from each presynaptic neuron; fewer at the border.

        Found as the gradient of the summed currents when every weight is one.

        Parameters
        ----------
        shapes : mapping of str to torch.Size
            Of one image's neurons, for every source.

        Returns
        -------
        list of Tensor
            One for each of ``paths``, in the shape of its source.
        """
        if isinstance(self.neuron, MaxPooling):
            return [self.neuron.fan_out(shapes[self.sources[0]]).to(self.device)]
        return [self._fan_out(path, shapes[source]) for source, path in self.paths]

    def _fan_out(self, path: nn.Sequential, shape: torch.Size) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            spikes = torch.zeros(1, *shape, device=self.device, requires_grad=True)
            return torch.autograd.grad(counting(path)(spikes).sum(), spikes)[0][0]

    @property
    def exact_steps(self) -> int:
        """For how many steps every potential of the layer is exact."""
        limit = EXACT_UNITS_WIDE if self.neuron.wide else EXACT_UNITS
        room = limit - self._threshold * 2.0**self.fraction_bits
        return max(0, int(room // max(self.largest_current, 1.0)))

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
        start = max(initial, self._threshold) * 2.0**self.fraction_bits
        return start + self.largest_current * steps

    @property
    def _threshold(self) -> float:
        return self.neuron.threshold.max().item() if self.spiking else 0.0

    @property
    def largest_current(self) -> float:
        """No neuron can receive more than this in one step, of either sign [2**-k]."""
        total = 0.0 if self.bias is None else self.bias.abs().max().item()
        for source, path in self.paths:
            span, weight = self.input_span if source == INPUT else PIXELS, weight_of(path)
            one = torch.ones(1, 1) if weight is None else weight  # of a pool's own neurons
            total += most_spikes(path) * largest_sum(one, *span)
        return total * 2.0**self.fraction_bits

    def check_current(self) -> None:
        """Raise unless the current of one step is exact in float32.

        Raises
        ------
        ValueError
            If it could be too large.
        """
        if self.largest_current > EXACT_UNITS:
            raise ValueError(
                f"layer {self.name} could receive more in one step than float32 holds exactly; "
                "give an encoder with a smaller span (limit), or smaller weights."
            )

    def scale_bias(self, gain: float) -> None:
        """Multiply the bias, and round it to the grid once more.

        Parameters
        ----------
        gain : float
            Above 0.

        Raises
        ------
        ValueError
            If the grid is too coarse for so small a bias.
        """
        exact = self.bias.double() * gain
        self.bias = on_grid(exact, self.fraction_bits)
        weights = [weight for _, path in self.paths if (weight := weight_of(path)) is not None]
        sizes = [self._threshold, *(x.abs().max().item() for x in (exact / gain, *weights))]
        if (self.bias - exact).abs().max() > COARSEST * gain * max(sizes):
            raise ValueError(
                f"the biases of {self.name} times {gain:.4g} fall between the steps of its grid, "
                f"2**-{self.fraction_bits}; give an encoder with a higher max_rate (gain)."
            )

    def _with_bias(self, current: Tensor) -> Tensor:
        return current if self.bias is None else current + self.bias

    @property
    def device(self) -> torch.device:
        """Where the layer's tensors are."""
        return next(iter((*self.parameters(), *self.buffers()))).device


def parts(path: nn.Sequential) -> tuple[list[nn.Module], list[nn.Module]]:
    """What a synapse consists of.

    Parameters
    ----------
    path : nn.Sequential

    Returns
    -------
    pools, rest : list of nn.Module
        The average pools and upsampling in front, and what follows them.
    """
    ops = list(path)
    kinds = (nn.AvgPool2d, nn.Upsample)
    first = next((i for i, op in enumerate(ops) if not isinstance(op, kinds)), len(ops))
    return ops[:first], ops[first:]


def most_spikes(path: nn.Sequential) -> int:
    """How many spikes the pools of a synapse can add up to one input of its weights.

    Parameters
    ----------
    path : nn.Sequential

    Returns
    -------
    int
    """
    return math.prod(window_area(op) for op in path if isinstance(op, nn.AvgPool2d))


def adds_up(pool: nn.AvgPool2d) -> bool:
    """Whether a pool adds up whole windows, which is exact for spikes, and does not average.

    Parameters
    ----------
    pool : nn.AvgPool2d

    Returns
    -------
    bool
    """
    return pool.divisor_override == 1 and not pool.ceil_mode


def is_plain(rest: list[nn.Module], before: torch.Size) -> bool:
    """Whether what follows the pools is nothing, or one way to weight all that arrives.

    Parameters
    ----------
    rest : list of nn.Module
        From ``parts``.
    before : torch.Size
        Of one image's neurons in front of the pools.

    Returns
    -------
    bool
        True for nothing, for a convolution of maps that is padded with a number of zeros,
        and for a linear layer or a ChannelScale of features, if need be behind an nn.Flatten
        of all dimensions; a ChannelScale may also stand in front of maps.
    """
    kinds = [type(op) for op in rest]
    if kinds in ([], [nn.Conv2d]):
        known = len(before) == 3 and all(isinstance(op.padding, tuple) for op in rest)
        return known and all(op.padding_mode == "zeros" for op in rest)
    if kinds == [ChannelScale]:
        return True
    flat = kinds[1:] if kinds[:1] == [nn.Flatten] else kinds
    known = flat in ([nn.Linear], [ChannelScale]) and (len(flat) < len(kinds) or len(before) == 1)
    return known and all(_flattens_all(op, len(before) + 1) for op in rest)


def _flattens_all(op: nn.Module, axes: int) -> bool:
    return not isinstance(op, nn.Flatten) or (op.start_dim, op.end_dim) in ((1, -1), (1, axes - 1))


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
