"""A feed-forward ReLU network as layers of neurons (chapter 9, *Lift the constraints*).

However a network is written, what matters for a conversion is a short list of stages in
the order in which they are computed.  A stage is one layer of neurons: paths that lead to
it from earlier stages are summed, a bias is added, and a ReLU follows.  ``snnlib.cnn.tracing``
makes the list; here is what it consists of, and how it computes.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnlib.cnn.models import WEIGHTED

INPUT = "input"  # where the paths of the first stages come from: the image


class ConversionError(ValueError):
    """A network that cannot be converted.

    Attributes
    ----------
    violations : list of str
        Every reason, each with its layer and the fix.
    """

    def __init__(self, violations: list[str]) -> None:
        self.violations = violations
        super().__init__("\n".join(["This network cannot be converted:", *violations]))


class ChannelScale(nn.Module):
    """One weight a channel, from each neuron to its like: an identity shortcut, scaled.

    Parameters
    ----------
    channels : int
        1 serves any number of channels alike.
    bias : Tensor [C], optional
    """

    def __init__(self, channels: int, bias: Tensor | None = None) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels, 1), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Every channel times its weight, plus its bias.

        Parameters
        ----------
        x : Tensor [N, C, ...]

        Returns
        -------
        Tensor
            In the same shape.
        """
        ones = [1] * (x.ndim - 2)
        x = x * self.weight.to(x.dtype).view(-1, *ones)
        return x if self.bias is None else x + self.bias.to(x.dtype).view(-1, *ones)


class ClippedReLU(nn.Module):
    """A ReLU with a ceiling, as a rate has one: ReLU6, say.

    Parameters
    ----------
    ceiling : float or Tensor [] or [C]
        The largest activation, above 0.
    """

    def __init__(self, ceiling: float | Tensor) -> None:
        super().__init__()
        self.register_buffer("ceiling", torch.as_tensor(ceiling, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Activations [N, C, ...], between 0 and the ceiling."""
        return torch.minimum(F.relu(x), per_channel(self.ceiling.to(x.dtype), x))


SYNAPTIC = (*WEIGHTED, ChannelScale)  # what has weights


@dataclass(frozen=True)
class Op:
    """One operation on a path.

    Attributes
    ----------
    name : str
        Of the layer of the network.
    module : nn.Module
        A pool, Flatten, or weights without a bias, in float64.
    """

    name: str
    module: nn.Module


@dataclass(frozen=True)
class Path:
    """How one stage reaches another.

    Attributes
    ----------
    source : str
        Name of the stage where it begins, or "input".
    ops : tuple of Op
        In order; no weights where a shortcut is the identity.  All are affine, each keeps what
        is zero at zero or adds a shift, and at most one of them is a convolution or linear layer.
    """

    source: str
    ops: tuple[Op, ...] = ()

    @property
    def synapse(self) -> Op | None:
        """The last operation that has weights, if there is one; the layer's, if it has any."""
        synapses = [op for op in self.ops if isinstance(op.module, SYNAPTIC)]
        layers = [op for op in synapses if isinstance(op.module, WEIGHTED)]
        return (layers or synapses or [None])[-1]

    @property
    def is_plain(self) -> bool:
        """Whether nothing but a convolution or linear layer has numbers, and none is shifted."""
        return sum(isinstance(op.module, SYNAPTIC) for op in self.ops) == bool(self.weighted)

    @property
    def weighted(self) -> Op | None:
        """The convolution or linear layer, if there is one."""
        return self.synapse if self.synapse and isinstance(self.synapse.module, WEIGHTED) else None

    def with_module(self, op: Op, module: nn.Module) -> "Path":
        """The same with another module in the place of one of its operations."""
        new = Op(op.name, module)
        return Path(self.source, tuple(new if old is op else old for old in self.ops))

    def __call__(self, x: Tensor) -> Tensor:
        """What arrives at the end of the path [N, ...]."""
        for op in self.ops:
            x = op.module(x)
        return x


@dataclass(frozen=True)
class Stage:
    """One layer of neurons.

    Attributes
    ----------
    name : str
    paths : tuple of Path
        Summed; the one that has a layer's weights first.
    bias : Tensor [C] or [C, H, W], or None
        float64.
    kind : str
        "relu", "output", or without weights: "max" and "average", pools of their own.
    pool : nn.MaxPool2d or None
        Of kind "max".
    ceiling : Tensor [] or [C], or None
        float64, of a clipped ReLU.
    is_part : bool
        One of several that stand for one layer of the network: it may be silent on all images.
    """

    name: str
    paths: tuple[Path, ...]
    bias: Tensor | None = None
    kind: str = "relu"
    pool: nn.MaxPool2d | None = None
    ceiling: Tensor | None = None
    is_part: bool = False

    @property
    def channels(self) -> int | None:
        """How many there are; None where only the images tell."""
        layers = [path.synapse.module for path in self.paths if path.synapse]
        known = [la for la in layers if not isinstance(la, ChannelScale) or la.channels > 1]
        return max((len(layer.weight) for layer in known), default=None)

    def __call__(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """The activations [N, ...] of this stage, given those of the stages before."""
        x = sum(path(outputs[path.source]) for path in self.paths)
        if self.bias is not None:
            x = x + per_channel(self.bias.to(x.dtype), x)
        if self.kind == "max":
            return self.pool(x)
        if self.ceiling is not None:
            return ClippedReLU(self.ceiling)(x)
        return F.relu(x) if self.kind == "relu" else x


@dataclass(frozen=True)
class Graph:
    """The whole network.

    Attributes
    ----------
    stages : tuple of Stage
        Each behind those that it needs; the last is the output.
    folded : tuple of str
        Batch norms that are now part of weights and biases.
    dropped : tuple of str
        Layers that change no decision: dropout, identity, a softmax at the end.
    arithmetic : tuple of str
        Sums and products with constants in ``forward``, likewise folded.
    """

    stages: tuple[Stage, ...]
    folded: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    arithmetic: tuple[str, ...] = ()

    @property
    def scaled(self) -> tuple[Stage, ...]:
        """The stages that have a scale of their own: all but pools, which pass it on."""
        return tuple(stage for stage in self.stages if stage.kind in ("relu", "output"))

    @property
    def is_chain(self) -> bool:
        """Whether every number belongs to a convolution or linear layer of the network."""
        if self.arithmetic or any(stage.ceiling is not None for stage in self.stages):
            return False
        paths = [stage.paths[0] for stage in self.scaled]
        names = {path.weighted.name for path in paths if path.weighted and path.is_plain}
        return len(names) == len(paths) == sum(len(stage.paths) for stage in self.scaled)

    def run(self, x: Tensor) -> Iterator[tuple[Stage, Tensor]]:
        """The stages one by one, each with its activations.

        Parameters
        ----------
        x : Tensor [N, C, H, W]
            float64.

        Yields
        ------
        tuple
            (Stage, Tensor [N, ...])
        """
        outputs = {INPUT: x}
        for stage in self.stages:
            outputs[stage.name] = stage(outputs)
            yield stage, outputs[stage.name]


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Numbers shaped to broadcast against activations.

    Parameters
    ----------
    values : Tensor [], [C] or [C, ...]
    x : Tensor [N, C, ...]

    Returns
    -------
    Tensor
        [], [C, 1, ...] or as it was.
    """
    return values.view(-1, *[1] * (x.ndim - 2)) if values.ndim == 1 else values


def bare(
    module: nn.Conv2d | nn.Linear | ChannelScale, weight: Tensor, *, groups: int | None = None
) -> nn.Module:
    """A layer of the same geometry without bias, with other weights.

    Parameters
    ----------
    module : nn.Conv2d, nn.Linear or ChannelScale
    weight : Tensor
        As ``module.weight``, perhaps with other channels, or [C, 1] for a ChannelScale.
    groups : int, optional
        Of a convolution; default as it has.

    Returns
    -------
    nn.Module
    """
    if isinstance(module, ChannelScale):
        layer = ChannelScale(len(weight))
    elif isinstance(module, nn.Linear):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        groups = groups or module.groups
        channels = weight.shape[1] * groups, weight.shape[0]
        options = {"padding": padding_of(module), "groups": groups, "bias": False}
        sizes = {"stride": module.stride, "dilation": module.dilation}
        layer = nn.Conv2d(*channels, tuple(weight.shape[2:]), **sizes, **options)
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    return layer


def shifted(scale: Tensor, shift: Tensor | None) -> ChannelScale:
    """Every channel times its scale, plus its shift.

    Parameters
    ----------
    scale : Tensor [C] or [1]
    shift : Tensor [C] or None

    Returns
    -------
    ChannelScale
        float64
    """
    layer = bare(ChannelScale(len(scale)), scale.double()[:, None])
    if shift is not None:
        layer.bias = nn.Parameter(shift.detach().double(), requires_grad=False)
    return layer


def counting(path: nn.Sequential) -> nn.Sequential:
    """The same synapses with every weight one: they count what arrives.

    Parameters
    ----------
    path : nn.Sequential
        Left as it is.

    Returns
    -------
    nn.Sequential
    """
    path = copy.deepcopy(path)
    for op in path:
        if isinstance(op, SYNAPTIC):
            nn.init.ones_(op.weight)
            op.bias = None
    return path


def padding_of(conv: nn.Conv2d) -> tuple[int, int]:
    """The padding of a convolution as numbers, also where it is "same" or "valid".

    Parameters
    ----------
    conv : nn.Conv2d

    Returns
    -------
    tuple of int
        [pixels] on either side, of rows and of columns.

    Raises
    ------
    ValueError
        For "same" with an even kernel, which pads one side more than the other.
    """
    if not isinstance(conv.padding, str):
        return conv.padding
    whole = [d * (k - 1) for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
    if conv.padding == "valid":
        return 0, 0
    if any(n % 2 for n in whole):
        raise ValueError('padding="same" of an even kernel pads one side more than the other')
    return whole[0] // 2, whole[1] // 2
