"""Bring every path into the one form that synapses have (chapter 9, *Lift the constraints*).

A synapse pools, flattens, and then has weights; nothing follows them, and nothing is shifted.
Every path is affine, so that it can be written that way once the shapes of images are known:

    path(x) = synapse(x) + path(0)

and what a path makes of nothing is a bias, which differs within a map where padding does not
know of a shift.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import INPUT, ChannelScale, Graph, Op, Path, Stage, bare, per_channel, shifted
from snnlib.cnn.models import WEIGHTED, pair, window_area
from snnlib.cnn.paths import as_scale, convolution, dense, is_pointwise, with_padding
from snnlib.cnn.scales import input_factors

NO_SIDES = (0, 0, 0, 0)


@torch.no_grad()
def lowered(graph: Graph, input_shape: tuple[int, int, int]) -> Graph:
    """The same network with synapses for paths.

    Parameters
    ----------
    graph : Graph
        Left as it is.
    input_shape : tuple of int
        (C, H, W) of one image.

    Returns
    -------
    Graph
        Each path is average pools and upsampling, then a Flatten, then weights, each of which
        may be missing; biases are [C], or [C, H, W] where they differ within a map.
    """
    image = torch.zeros(1, *input_shape, dtype=torch.float64)
    shapes, stages = {INPUT: image.shape}, []
    for stage, activation in graph.run(image):
        stages.append(_lowered_stage(stage, shapes, activation.shape))
        shapes[stage.name] = activation.shape
    return replace(graph, stages=tuple(stages))


def _lowered_stage(stage: Stage, shapes: dict[str, torch.Size], shape: torch.Size) -> Stage:
    if stage.kind == "max":
        return stage
    nothing = [torch.zeros(shapes[path.source], dtype=torch.float64) for path in stage.paths]
    pairs = list(zip(stage.paths, nothing, strict=True))
    shift = sum(path(zeros) for path, zeros in pairs)
    paths = tuple(_lowered_path(path, zeros) for path, zeros in pairs)
    if not shift.any():
        return replace(stage, paths=paths)
    shift = shift if stage.bias is None else shift + per_channel(stage.bias, shift)
    return replace(stage, paths=paths, bias=_smallest(shift[0]))


def _smallest(bias: Tensor) -> Tensor:
    """[C] instead of [C, H, W] where it is the same in each map."""
    first = bias.flatten(1)[:, 0] if bias.ndim > 1 else bias
    return first if torch.equal(per_channel(first, bias[None]).expand_as(bias), bias) else bias


@dataclass(frozen=True)
class _Form:
    """What the operations of a path so far come to.

    Attributes
    ----------
    front : tuple of Op
        Average pools and upsampling.
    flat : Op or None
        The Flatten behind them.
    weights : Op or None
    sides : tuple of int
        Padding that waits for the weights that will do it: left, right, above, below.
    before, now : Tensor
        Zeros in the shape of what is behind the front, and of what goes on.
    """

    before: Tensor
    now: Tensor
    front: tuple[Op, ...] = ()
    flat: Op | None = None
    weights: Op | None = None
    sides: tuple[int, int, int, int] = NO_SIDES

    @property
    def ops(self) -> tuple[Op, ...]:
        """As a path has them."""
        return tuple(op for op in (*self.front, self.flat, self.weights) if op is not None)


def _lowered_path(path: Path, zeros: Tensor) -> Path:
    form = _Form(zeros, zeros)
    for op in path.ops:
        lower = next(do for kinds, do in _RULES if isinstance(op.module, kinds))
        form = replace(lower(form, op), now=op.module(form.now))
    if form.sides != NO_SIDES:
        form = _weights(form, _identity("pad", form.before.shape[1]))
    return Path(path.source, form.ops)


def _identity(name: str, channels: int) -> Op:
    """A convolution that gives what it receives."""
    ones = torch.ones(channels, 1, 1, 1, dtype=torch.float64)
    return Op(name, convolution(ones, (1, 1), (0, 0), channels))


def _in_front(form: _Form, op: Op) -> _Form:
    return replace(form, front=(*form.front, op), before=op.module(form.before))


def _average(form: _Form, op: Op) -> _Form:
    pool = op.module
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        after = pool(form.now).shape[2:]
        window = [n // m for n, m in zip(form.now.shape[2:], after, strict=True)]
        pool = nn.AvgPool2d(tuple(window))
    plain = nn.AvgPool2d(
        pool.kernel_size, pool.stride, pool.padding, divisor_override=pool.divisor_override
    )
    if form.weights is None or is_pointwise(form.weights.module):
        return _in_front(form, Op(op.name, plain))
    return replace(form, weights=Op(form.weights.name, _pooled(form.weights.module, plain)))


def _pooled(conv: nn.Conv2d, pool: nn.AvgPool2d) -> nn.Conv2d:
    """A convolution and an average behind it as one convolution with a larger kernel."""
    (tall, wide), steps = pair(pool.kernel_size), pair(pool.stride)
    (down, across), kernel = conv.stride, dense(conv)
    *channels, h, w = kernel.shape
    whole = kernel.new_zeros(*channels, h + (tall - 1) * down, w + (wide - 1) * across)
    for i in range(tall):
        for j in range(wide):
            whole[..., i * down : i * down + h, j * across : j * across + w] += kernel
    stride = (down * steps[0], across * steps[1])
    divisor = pool.divisor_override or window_area(pool)
    return convolution(whole / divisor, stride, conv.padding, conv.groups)


def _upsampled(form: _Form, op: Op) -> _Form:
    return _in_front(form, op)  # weights that are there already are pointwise: see ``handlers``


def _padded(form: _Form, op: Op) -> _Form:
    """Waits for weights; it moves before those of an identity, as zeros stay zero."""
    sides = tuple(a + b for a, b in zip(form.sides, op.module.padding, strict=True))
    return replace(form, sides=sides)


def _flattened(form: _Form, op: Op) -> _Form:
    weights = form.weights and form.weights.module
    if isinstance(weights, ChannelScale):
        places = form.before[0, 0].numel()
        scale = weights.weight[:, 0].repeat_interleave(places if len(weights.weight) > 1 else 1)
        return replace(form, flat=op, weights=Op(form.weights.name, shifted(scale, None)))
    if isinstance(weights, nn.Conv2d):
        linear = Op(form.weights.name, _as_linear(weights, form.before))
        return replace(form, flat=op, weights=linear)
    return form if form.before.ndim == 2 else replace(form, flat=op)


def _as_linear(conv: nn.Conv2d, zeros: Tensor) -> nn.Linear:
    """What a convolution makes of each pixel [outputs, inputs]: where it comes to lie."""
    pixels = torch.eye(zeros[0].numel(), dtype=torch.float64)
    columns = conv(pixels.view(-1, *zeros.shape[1:])).flatten(1)
    return bare(nn.Linear(1, 1), columns.T)


def _scaled(form: _Form, op: Op) -> _Form:
    scale = op.module.weight[:, 0]
    if form.weights is None:
        return replace(form, weights=Op(op.name, shifted(scale, None)))
    weights = form.weights.module
    if isinstance(weights, ChannelScale):
        return replace(form, weights=Op(op.name, shifted(weights.weight[:, 0] * scale, None)))
    factors = scale.view(-1, *[1] * (weights.weight.ndim - 1))
    weights = bare(weights, weights.weight * factors)
    return replace(form, weights=Op(form.weights.name, weights))


def _weights(form: _Form, op: Op) -> _Form:
    layer, scale = op.module, form.weights and form.weights.module.weight[:, 0]
    if scale is not None:
        layer = bare(layer, layer.weight * input_factors(as_scale(scale), layer))
    if form.sides != NO_SIDES:
        layer = with_padding(layer, form.sides)
    return replace(form, weights=Op(op.name, layer), sides=NO_SIDES)


_RULES: tuple[tuple[type | tuple[type, ...], Callable[[_Form, Op], _Form]], ...] = (
    ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), _average),
    (nn.Upsample, _upsampled),
    (nn.ConstantPad2d, _padded),
    (nn.Flatten, _flattened),
    (ChannelScale, _scaled),
    (WEIGHTED, _weights),
)
