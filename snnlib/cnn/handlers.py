"""What each kind of layer does to what is on its way (chapter 9, *Lift the constraints*).

A handler receives the walk, the call, the layer and the signal that arrives, and returns the
signal that goes on: it joins the layer to the paths, closes a layer of neurons, or refuses.
Another kind of layer is one more handler, with a row in the table at the end; functions of
several tensors are in ``joins``.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from snnlib.cnn.graph import INPUT, ChannelScale, ClippedReLU, Op, Path, bare
from snnlib.cnn.models import WEIGHTED, pair, window_area
from snnlib.cnn.paths import folded, ungrouped, with_padding
from snnlib.cnn.refusals import pool_faults, uneven_padding, weight_faults
from snnlib.cnn.scales import input_factors
from snnlib.cnn.signals import Signal, Sum, total
from snnlib.cnn.walking import Handler, Layers, Walk

# ---- neurons


def each(handle: Callable[[Walk, fx.Node, nn.Module, Sum], Sum | Signal]) -> Handler:
    """A handler of signals from one that takes the joined parts one by one.

    Parameters
    ----------
    handle : callable

    Returns
    -------
    callable
    """

    def handler(walk: Walk, node: fx.Node, module: nn.Module, value: Signal) -> Signal:
        parts = [handle(walk, node, module, part) for part in value]
        return tuple(p for part in parts for p in (part if isinstance(part, tuple) else (part,)))

    return handler


def _relu(walk: Walk, node: fx.Node, module: nn.Module, value: Signal) -> Signal:
    is_part = len(value) > 1
    return tuple(
        part if _is_rectified(part) else walk.close(node, part, is_part=is_part) for part in value
    )


def _is_rectified(part: Sum) -> bool:
    return part.raw and not part.pending and part.paths[0].source != INPUT


def _rectifier(walk: Walk, node: fx.Node, module: nn.Module, value: Signal) -> Signal:
    """Layers that are a ReLU for some of their numbers, perhaps with a ceiling."""
    ceiling = _ceiling(module)
    if ceiling is None:
        return walk.unknown(node)
    if ceiling == float("inf"):
        return _relu(walk, node, module, value)
    is_part, ceiling = len(value) > 1, torch.tensor(ceiling, dtype=torch.float64)
    return tuple(walk.close(node, part, ceiling=ceiling, is_part=is_part) for part in value)


def _ceiling(module: nn.Module) -> float | None:
    """Of a layer that is max(0, x) up to there; infinite for a ReLU, None for what is neither."""
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        return float(module.max_val) if module.min_val == 0 else None
    if isinstance(module, nn.Threshold):
        slope = module.threshold or module.value
    elif isinstance(module, nn.PReLU):
        slope = module.weight.detach().abs().max()
    else:
        slope = module.negative_slope
    return None if slope != 0 else float("inf")


def _clipped(walk: Walk, node: fx.Node, module: ClippedReLU, value: Signal) -> Signal:
    (part,) = value
    return (walk.close(node, part, ceiling=module.ceiling),)


# ---- what has weights


def _weights(walk: Walk, node: fx.Node, module: nn.Module, value: Signal) -> Signal:
    faults = [*weight_faults(module), *walk.reuse_faults(module.weight)]
    if isinstance(module, nn.Linear) and len(walk.shapes.get(node, (0, 0))) != 2:
        faults.append("receives maps, not rows; put nn.Flatten() before it and train it again.")
    if faults or not all(walk.has_relu(node, part) for part in value):
        return walk.refuse(node, *faults)
    bias = getattr(module, "bias", None)
    bias = None if bias is None else bias.detach().double()
    layer = _without_bias(module)
    parts = [walk.relay(node, part) if part.weighted else part for part in value]
    return (_joined(walk, node, layer, parts, bias),)


def _without_bias(module: nn.Module) -> nn.Module:
    """In float64, with padding in numbers that are the same on both sides."""
    sides = uneven_padding(module)
    if sides is None:
        return bare(module, module.weight.detach().double())
    options = {"stride": module.stride, "dilation": module.dilation, "groups": module.groups}
    plain = bare(nn.Conv2d(module.groups, module.groups, 1, **options), module.weight.double())
    return with_padding(plain, sides)


def _joined(
    walk: Walk, node: fx.Node, layer: nn.Module, parts: list[Sum], bias: Tensor | None
) -> Sum:
    """w * cat(a, b) = w_a * a + w_b * b, plus the bias."""
    name = str(node.target)
    if len(parts) > 1:
        layer = ungrouped(layer) if isinstance(layer, nn.Conv2d) else layer
        sizes = walk.sizes(node, tuple(parts), layer.weight.shape[1])
        if sizes is None:
            return Sum((Path(f"unknown {node.name}"),))
        weights = layer.weight.split(sizes, dim=1)
        layers = [bare(layer, weight, **_one_group(layer)) for weight in weights]
    else:
        layers = [layer]
    sums = [_behind(part, Op(name, one)) for part, one in zip(parts, layers, strict=True)]
    value = total(sums)
    if bias is not None and value.bias is not None:
        bias = bias + value.bias
    bias = value.bias if bias is None else bias
    return replace(value, bias=bias, width=len(layer.weight), flat=False)


def _one_group(layer: nn.Module) -> dict[str, int]:
    return {"groups": 1} if isinstance(layer, nn.Conv2d) else {}


def _behind(part: Sum, op: Op) -> Sum:
    """Weights behind a sum: they take scales and, unless they pad, shifts into themselves."""
    layer, shift = op.module, None
    if part.bias is not None and any(getattr(layer, "padding", (0, 0))):
        part = part.inside()
    if part.bias is not None:
        ones = torch.ones(len(part.bias), dtype=torch.float64)
        factors = part.bias if len(part.bias) == 1 else input_factors(part.bias * ones, layer)
        shift = (layer.weight * factors).flatten(1).sum(1)
    flatten = [Op("flatten", nn.Flatten())] if part.flat else []
    paths = (_flattened(path, flatten) for path in part.paths)
    return Sum(tuple(folded(path, op) for path in paths), shift)


def _flattened(path: Path, flatten: list[Op]) -> Path:
    """With a Flatten before the scale at its end, whose channels ``folded`` repeats."""
    if not flatten:
        return path
    last = path.ops[-1:] if path.ops and isinstance(path.ops[-1].module, ChannelScale) else ()
    if last and last[0].module.bias is not None:
        return Path(path.source, (*path.ops, *flatten))
    return Path(path.source, (*path.ops[: len(path.ops) - len(last)], *flatten, *last))


# ---- scales and shifts


def _batch_norm(walk: Walk, node: fx.Node, module: nn.Module, value: Signal) -> Signal:
    if module.running_mean is None:
        return walk.refuse(
            node, "measures each batch; use track_running_stats=True and train it again."
        )
    scale = (module.running_var.double() + module.eps).rsqrt()
    scale = scale if module.weight is None else scale * module.weight.detach().double()
    shift = -module.running_mean.double() * scale
    shift = shift if module.bias is None else shift + module.bias.detach().double()
    faults = walk.reuse_faults(module.running_mean)
    if not torch.isfinite(torch.stack([scale, shift])).all():
        faults = ["has numbers that are NaN or infinite; train it again."]
    if faults:
        return walk.refuse(node, *faults)
    walk.folded.append(str(node.target))
    return affine(walk, node, scale, shift, value)


def _channel_scale(walk: Walk, node: fx.Node, module: ChannelScale, value: Signal) -> Signal:
    walk.folded.append(str(node.target))
    scale = module.weight.detach().double()[:, 0]
    shift = torch.zeros_like(scale) if module.bias is None else module.bias.detach().double()
    return affine(walk, node, scale, shift, value)


def affine(walk: Walk, node: fx.Node, scale: Tensor, shift: Tensor, value: Signal) -> Signal:
    """Every channel times its scale, plus its shift.

    Parameters
    ----------
    walk : Walk
    node : fx.Node
    scale, shift : Tensor [C] or [1]
        float64
    value : Signal

    Returns
    -------
    Signal
    """
    if len(scale) == 1 == len(shift) or len(value) == 1:
        sizes = None
    else:
        channels = max(len(scale), len(shift))
        scale, shift = scale.expand(channels), shift.expand(channels)
        sizes = walk.sizes(node, value, channels)
        if sizes is None:
            return (Sum((Path(f"unknown {node.name}"),)),)
    scales = [scale] * len(value) if sizes is None else scale.split(sizes)
    shifts = [shift] * len(value) if sizes is None else shift.split(sizes)
    rows = zip(value, scales, shifts, strict=True)
    return tuple(_affine_part(walk, node, *row) for row in rows)


def _affine_part(walk: Walk, node: fx.Node, part: Sum, scale: Tensor, shift: Tensor) -> Sum:
    if part.pending and (scale < 0).any():
        text = "has a negative scale behind a max pool; put it before the pool and train it again."
        return walk.refuse(node, text)[0]
    if part.flat and max(len(scale), len(shift)) > 1:
        part = walk.relay(node, part)
    name = str(node.target) if node.op == "call_module" else node.name
    if (scale != 1).any():
        part = part.scaled(scale, name)
    return part.shifted(shift)


# ---- pools


def _average(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    shape = walk.shapes.get(node.all_input_nodes[0], ())
    if isinstance(module, nn.AdaptiveAvgPool2d) and len(shape) == 4:
        window = _window(walk, node)
        if window is None:
            text = "has windows of different sizes; use nn.AvgPool2d and train it again."
            return walk.refuse(node, text)[0]
        module = nn.AvgPool2d(window)
    faults = pool_faults(module, cuts=_cuts(module, shape))
    if faults or not walk.has_relu(node, value):
        return walk.refuse(node, *faults)[0]
    if value.padded:
        value = walk.relay(node, value)
    if not _keeps_constants(module):  # it tells apart what a shift does at the border
        value = walk.relay(node, value) if value.weighted else value.inside()
    return value.with_op(Op(walk.name(node), copy.deepcopy(module)))


def _cuts(pool: nn.Module, shape: torch.Size | tuple) -> bool:
    """Whether ceil_mode makes a window that is partly outside; unknown without shapes."""
    if not getattr(pool, "ceil_mode", False) or not shape:
        return False
    sizes = (shape[2:], *map(pair, (pool.kernel_size, pool.stride, pool.padding)))
    return any((n + 2 * p - k) % stride for n, k, stride, p in zip(*sizes, strict=True))


def _keeps_constants(pool: nn.Module) -> bool:
    """Whether the average of equal numbers is that number."""
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return True
    divisor = pool.divisor_override or window_area(pool)
    return pair(pool.padding) == (0, 0) and divisor == window_area(pool)


def _maximum(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    """The largest of a window; before a ReLU too, as relu(max(x)) = max(relu(x))."""
    if value.is_flat:
        return walk.refuse(node, "pools what is flat; put it before the Flatten.")[0]
    pool, factors = _max_pool(walk, node, module), value.factors
    if pool is None:
        text = "has no fixed window or return_indices; use nn.MaxPool2d(2) and train it again."
        return walk.refuse(node, text)[0]
    op = Op(walk.name(node), pool)
    if value.pending or value.weighted or (factors is None and not value.nonnegative):
        return replace(value, pending=(*value.pending, op))
    if factors is not None and (factors < 0).any():
        text = "takes the largest behind a batch norm with a negative scale; put the batch norm "
        return walk.refuse(node, text + "before the ReLU and train it again.")[0]
    return _largest(walk, node, op, value)


def _largest(walk: Walk, node: fx.Node, op: Op, value: Sum) -> Sum:
    """Of activations, or of what a batch norm with positive scales made of them."""
    (path, *others), factors = value.paths, value.factors
    inner = Sum((Path(path.source, path.ops[:-1]),)) if factors is not None else value
    inner = replace(inner, bias=None, width=value.width)
    if others or inner.paths[0].ops or inner.paths[0].source == INPUT:
        inner = walk.relay(node, inner)  # the largest of sums, of averages, or of pixels
    pooled = walk.pooled(inner, op)
    if factors is not None:
        pooled = pooled.scaled(factors, path.ops[-1].name)
    return pooled if value.bias is None else pooled.shifted(value.bias)


def _max_pool(walk: Walk, node: fx.Node, module: nn.Module) -> nn.Module | None:
    if module.return_indices:
        return None
    if isinstance(module, nn.MaxPool2d):
        sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
        return nn.MaxPool2d(*sizes, ceil_mode=module.ceil_mode)
    window = _window(walk, node)
    if window is None:  # without the shape of an image, as it is
        return None if walk.shapes else module
    return nn.MaxPool2d(window)


def _window(walk: Walk, node: fx.Node) -> tuple[int, int] | None:
    """Of an adaptive pool; None if windows differ in size or shapes are not known."""
    source = node.all_input_nodes[0]
    if node not in walk.shapes or source not in walk.shapes:
        return None
    before, after = walk.shapes[source], walk.shapes[node]
    after = after if len(after) == 4 else (*after[:2], 1, 1)  # x.mean((2, 3))
    sizes = list(zip(before[2:], after[2:], strict=True))
    return None if any(n % m for n, m in sizes) else tuple(n // m for n, m in sizes)


# ---- what moves maps about


def _pad(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    if not walk.has_relu(node, value):
        return walk.refuse(node)[0]
    value = walk.relay(node, value) if value.weighted else value
    if len(value.paths) > 1 and module.value != 0:
        value = walk.relay(node, value)
    op = Op(walk.name(node), nn.ConstantPad2d(module.padding, module.value))
    if module.value == 0:
        return value.inside().with_op(op)
    (path,) = value.inside().paths  # a number that no scale may multiply
    return replace(value, paths=(Path(path.source, (*path.ops, op)),), bias=None)


def _upsample(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    factors = _upsampling_factors(walk, node, module)
    if module.mode != "nearest" or factors is None:
        text = 'blends or repeats pixels unevenly; use mode="nearest" and a whole scale_factor'
        return walk.refuse(node, f"{text}, and train it again.")[0]
    op = Op(walk.name(node), nn.Upsample(scale_factor=factors))
    value = walk.relay(node, value) if value.padded else value
    if value.weighted or value.pending:
        return replace(value, pending=(*value.pending, op))
    return value.with_op(op)


def _upsampling_factors(walk: Walk, node: fx.Node, module: nn.Module) -> tuple[int, int] | None:
    """Whole numbers, or None."""
    factors = module.scale_factor
    if factors is None:
        before, after = (walk.shapes.get(n) for n in (node.all_input_nodes[0], node))
        if before is None or after is None:
            return None
        factors = tuple(m / n for n, m in zip(before[2:], after[2:], strict=True))
    factors = pair(factors)
    return None if any(f != int(f) or f < 1 for f in factors) else tuple(map(int, factors))


def _flatten(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    shape = walk.shapes.get(node.all_input_nodes[0], (0, 0))
    if module.start_dim != 1 or module.end_dim not in (-1, len(shape) - 1):
        return walk.refuse(node, "flattens only some axes; use nn.Flatten() and train it again.")[0]
    if value.is_flat:
        return value
    value = walk.relay(node, value) if value.padded else value
    after = walk.shapes.get(node, (0, 0))
    places = after[1] // shape[1] if after[1] else 1
    width = value.width and value.width * places  # without shapes, still the channels
    if value.weighted or value.pending or not (value.nonnegative or walk.shapes):
        return replace(value, flat=True, width=width)
    return replace(value.flattened(Op(walk.name(node), nn.Flatten()), places), width=width)


def _silent(walk: Walk, node: fx.Node, module: nn.Module, value: Signal) -> Signal:
    if node.op == "call_module":
        walk.dropped.append(str(node.target))
    return value


def _softmax(walk: Walk, node: fx.Node, module: nn.Module, value: Signal) -> Signal:
    if [user.op for user in node.users] != ["output"] or module.dim not in (1, -1, None):
        return walk.unknown(node)
    walk.dropped.append(walk.name(node))
    return value


LAYERS: Layers = (  # the first that fits
    (nn.ReLU, _relu),
    ((nn.Hardtanh, nn.Threshold, nn.LeakyReLU, nn.PReLU), _rectifier),
    (ClippedReLU, _clipped),
    (WEIGHTED, _weights),
    (ChannelScale, _channel_scale),
    (nn.modules.batchnorm._BatchNorm, _batch_norm),
    ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), each(_average)),
    ((nn.MaxPool2d, nn.AdaptiveMaxPool2d), each(_maximum)),
    (nn.ConstantPad2d, each(_pad)),
    (nn.Upsample, each(_upsample)),
    (nn.Flatten, each(_flatten)),
    ((nn.modules.dropout._DropoutNd, nn.Identity), _silent),
    ((nn.Softmax, nn.LogSoftmax), _softmax),
)
