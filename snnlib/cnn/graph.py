"""A feed-forward ReLU network as layers of neurons (chapter 9, *Lift the constraints*).

However a network is written, what matters for a conversion is a short list of stages in
the order in which they are computed.  A stage is one layer of neurons: paths that lead to
it from earlier stages are summed, a bias is added, and a ReLU follows.  ``snnlib.cnn.tracing``
makes the list; here is what it consists of, and how it computes.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

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
        x = x * self.weight.view(-1, *ones)
        return x if self.bias is None else x + self.bias.view(-1, *ones)


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
        In order: pools and Flatten, then weights; no weights where a shortcut is the identity.
    """

    source: str
    ops: tuple[Op, ...] = ()

    @property
    def synapse(self) -> Op | None:
        """The operation that has weights, if there is one."""
        return next((op for op in self.ops if isinstance(op.module, SYNAPTIC)), None)

    @property
    def weighted(self) -> Op | None:
        """The convolution or linear layer, if there is one."""
        return self.synapse if self.synapse and isinstance(self.synapse.module, WEIGHTED) else None

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
    bias : Tensor [C] or None
        float64.
    kind : str
        "relu", "output", or without weights: "max" and "average", pools of their own.
    pool : nn.MaxPool2d or None
        Of kind "max".
    """

    name: str
    paths: tuple[Path, ...]
    bias: Tensor | None = None
    kind: str = "relu"
    pool: nn.MaxPool2d | None = None

    @property
    def channels(self) -> int | None:
        """How many there are; None where only the images tell."""
        synapses = [path.synapse for path in self.paths if path.synapse]
        return max((len(op.module.weight) for op in synapses), default=None)

    def __call__(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """The activations [N, ...] of this stage, given those of the stages before."""
        x = sum(path(outputs[path.source]) for path in self.paths)
        if self.bias is not None:
            x = x + self.bias.to(x.dtype).view(-1, *[1] * (x.ndim - 2))
        if self.kind == "max":
            return self.pool(x)
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
    """

    stages: tuple[Stage, ...]
    folded: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def scaled(self) -> tuple[Stage, ...]:
        """The stages that have a scale of their own: all but pools, which pass it on."""
        return tuple(stage for stage in self.stages if stage.kind in ("relu", "output"))

    @property
    def is_chain(self) -> bool:
        """Whether every weight belongs to a convolution or linear layer of the network."""
        return all(len(s.paths) == 1 and s.paths[0].weighted for s in self.scaled)

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


@dataclass(frozen=True)
class Sum:
    """Paths on their way to a stage, while a network is traced.

    Attributes
    ----------
    paths : tuple of Path
    bias : Tensor [C] or None
    owed : str or None
        The layer that needs a ReLU behind it: a max pool that was taken before the ReLU.
    flat : bool
        A Flatten waits, to be done behind the ReLU.
    """

    paths: tuple[Path, ...]
    bias: Tensor | None = None
    owed: str | None = None
    flat: bool = False

    @property
    def raw(self) -> bool:
        """Whether it is the activations of one stage, perhaps pooled: nothing below zero."""
        return len(self.paths) == 1 and not self.paths[0].synapse and self.bias is None

    @property
    def scaled(self) -> bool:
        """Whether it is the activations of one stage behind a batch norm."""
        synapse = self.paths[0].synapse
        return len(self.paths) == 1 and synapse is not None and not self.paths[0].weighted

    def with_op(self, op: Op) -> "Sum":
        """With one more operation at its end; before a batch norm's scale, which commutes."""
        (path,) = self.paths
        ops = (*path.ops, op)
        if self.scaled:
            ops = (*path.ops[:-1], op, path.ops[-1])
        return replace(self, paths=(Path(path.source, ops),))


def bare(module: nn.Conv2d | nn.Linear | ChannelScale, weight: Tensor) -> nn.Module:
    """A layer of the same geometry without bias, with other weights.

    Parameters
    ----------
    module : nn.Conv2d, nn.Linear or ChannelScale
    weight : Tensor
        In the shape of ``module.weight``, or [C, 1] for a ChannelScale.

    Returns
    -------
    nn.Module
    """
    if isinstance(module, ChannelScale):
        layer = ChannelScale(len(weight))
    elif isinstance(module, nn.Linear):
        layer = nn.Linear(module.in_features, module.out_features, bias=False)
    else:
        sizes = (module.kernel_size, module.stride, padding_of(module), module.dilation)
        channels = module.in_channels, module.out_channels
        layer = nn.Conv2d(*channels, *sizes, groups=module.groups, bias=False)
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
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
