"""Multiply what goes into a path, or what comes out of it, and put it beside others (chapter 9).

A path is a chain of affine operations.  Pools, padding with zeros, upsampling and Flatten
treat all channels alike, so that a factor may be moved past them into the nearest weights.
"""

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import SYNAPTIC, ChannelScale, Op, Path, bare, shifted
from snnlib.cnn.models import WEIGHTED
from snnlib.cnn.scales import input_factors, output_factors


def adds_something(op: Op) -> bool:
    """Whether an operation makes something of nothing: a shift, or padding other than zeros.

    Parameters
    ----------
    op : Op

    Returns
    -------
    bool
    """
    if isinstance(op.module, ChannelScale):
        return op.module.bias is not None
    return isinstance(op.module, nn.ConstantPad2d) and op.module.value != 0


def last_scale(path: Path) -> Op | None:
    """The scale at the end of a path, if one is there and shifts nothing.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Op or None
    """
    last = path.ops[-1] if path.ops else None
    is_scale = last is not None and isinstance(last.module, ChannelScale)
    return last if is_scale and not adds_something(last) else None


def extended(path: Path, op: Op) -> Path:
    """With one more operation on maps, before a scale at the end, which commutes.

    Parameters
    ----------
    path : Path
    op : Op
        A pool, say: it treats channels alike and keeps zeros.

    Returns
    -------
    Path
    """
    if last_scale(path) and not adds_something(op):
        return Path(path.source, (*path.ops[:-1], op, path.ops[-1]))
    return Path(path.source, (*path.ops, op))


def scaled(path: Path, scale: Tensor, name: str) -> Path:
    """With all that comes out of it multiplied, channel by channel.

    Parameters
    ----------
    path : Path
    scale : Tensor [C] or [1]
    name : str
        Of an operation that is added, where there are no weights to take the scale.

    Returns
    -------
    Path
    """
    last, op = last_scale(path), path.weighted
    if last:
        return path.with_module(last, shifted(last.module.weight[:, 0] * scale, None))
    behind = path.ops[path.ops.index(op) + 1 :] if op else ()
    if op and not any(adds_something(x) or isinstance(x.module, nn.Flatten) for x in behind):
        factors = output_factors(as_scale(scale), op.module)
        return path.with_module(op, bare(op.module, op.module.weight * factors))
    return Path(path.source, (*path.ops, Op(name, shifted(scale, None))))


def prescaled(path: Path, scale: Tensor, name: str) -> Path:
    """With all that goes into it multiplied, channel by channel.

    Parameters
    ----------
    path : Path
    scale : Tensor [C] or [1]
    name : str
        Of an operation that is added, as for ``scaled``.

    Returns
    -------
    Path
    """
    place = next((i for i, op in enumerate(path.ops) if isinstance(op.module, SYNAPTIC)), None)
    front = path.ops if place is None else path.ops[:place]
    if any(adds_something(op) for op in front):
        return Path(path.source, (Op(name, shifted(scale, None)), *path.ops))
    if place is None:
        return scaled(path, scale, name)
    op, scale = path.ops[place], as_scale(scale)
    layer = bare(op.module, op.module.weight * input_factors(scale, op.module))
    if isinstance(op.module, ChannelScale):
        layer = shifted(op.module.weight[:, 0] * scale, op.module.bias)
    return path.with_module(op, layer)


def folded(path: Path, op: Op) -> Path:
    """With weights at its end, which take a scale before them into themselves.

    Parameters
    ----------
    path : Path
    op : Op
        The weights.

    Returns
    -------
    Path
    """
    last = last_scale(path)
    if last is None:
        return Path(path.source, (*path.ops, op))
    weight = op.module.weight * input_factors(as_scale(last.module.weight[:, 0]), op.module)
    return Path(path.source, (*path.ops[:-1], Op(op.name, bare(op.module, weight))))


def placed(path: Path, rows: Tensor, flat: bool) -> Path:
    """A path that feeds some of more channels.

    Parameters
    ----------
    path : Path
        If it has a layer's weights, they are its end.
    rows : Tensor [all, channels]
        1 where a channel comes to lie, 0 elsewhere.
    flat : bool
        Channels are features.

    Returns
    -------
    Path
    """
    op, last = path.weighted, last_scale(path)
    if op:
        weight = (rows @ op.module.weight.flatten(1)).view(-1, *op.module.weight.shape[1:])
        return path.with_module(op, bare(op.module, weight))
    if last:
        rows, path = rows * last.module.weight[:, 0], Path(path.source, path.ops[:-1])
    layer = nn.Linear(1, 1) if flat else nn.Conv2d(1, 1, 1)
    place = bare(layer, rows if flat else rows[:, :, None, None])
    return Path(path.source, (*path.ops, Op("place", place)))


def as_scale(values: Tensor) -> Tensor:
    """A single number without its axis.

    Parameters
    ----------
    values : Tensor [], [C] or [1]

    Returns
    -------
    Tensor [C] or []
    """
    return values.reshape(()) if values.numel() == 1 else values


def with_padding(conv: nn.Conv2d, sides: tuple[int, int, int, int]) -> nn.Conv2d:
    """A convolution that pads by so much more, also where sides differ.

    Zeros beside the kernel make up for the sides that pad less.

    Parameters
    ----------
    conv : nn.Conv2d
        Without bias; pads with zeros.
    sides : tuple of int
        [pixels] left, right, above and below.

    Returns
    -------
    nn.Conv2d
    """
    left, right, above, below = sides
    if left == right and above == below:
        layer = bare(conv, conv.weight)
        layer.padding = (conv.padding[0] + above, conv.padding[1] + left)
        return layer
    wide, tall = max(left, right, 0), max(above, below, 0)
    around = (wide - left, wide - right, tall - above, tall - below)
    weight = nn.functional.pad(dense(conv), around)
    padding = (conv.padding[0] + tall, conv.padding[1] + wide)
    return convolution(weight, conv.stride, padding, conv.groups)


def convolution(weight: Tensor, stride, padding, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias or dilation.

    Parameters
    ----------
    weight : Tensor [out, in / groups, h, w]
    stride, padding : tuple of int
    groups : int

    Returns
    -------
    nn.Conv2d
    """
    options = {"stride": stride, "padding": padding, "bias": False}
    return bare(nn.Conv2d(groups, groups, 1, groups=groups, **options), weight)


def dense(conv: nn.Conv2d) -> Tensor:
    """The kernel of a convolution with the zeros that dilation leaves out.

    Parameters
    ----------
    conv : nn.Conv2d

    Returns
    -------
    Tensor [out, in / groups, h, w]
    """
    weight, (down, across) = conv.weight.detach(), conv.dilation
    *channels, h, w = weight.shape
    whole = weight.new_zeros(*channels, (h - 1) * down + 1, (w - 1) * across + 1)
    whole[..., ::down, ::across] = weight
    return whole


def ungrouped(conv: nn.Conv2d) -> nn.Conv2d:
    """The same without groups: zeros for the channels that a group does not see.

    Parameters
    ----------
    conv : nn.Conv2d

    Returns
    -------
    nn.Conv2d
    """
    if conv.groups == 1:
        return conv
    out, inputs, *kernel = conv.weight.shape
    whole = conv.weight.new_zeros(out, inputs * conv.groups, *kernel)
    for i, rows in enumerate(torch.arange(out).chunk(conv.groups)):
        whole[rows, i * inputs : (i + 1) * inputs] = conv.weight.detach()[rows]
    return bare(conv, whole, groups=1)


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a layer of weights leaves places apart, so that it commutes with pools.

    Parameters
    ----------
    layer : nn.Module

    Returns
    -------
    bool
    """
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == layer.stride == (1, 1) and layer.padding == (0, 0)
    return not isinstance(layer, WEIGHTED)
