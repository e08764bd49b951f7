"""What each kind of layer does to what is on its way (chapter 9, *Lift the constraints*).

A handler receives the walk, the call, the layer and the ``Sum`` that arrives, and returns the
``Sum`` that goes on: it joins the layer to the paths, closes a layer of neurons, or refuses.
Another kind of layer is one more handler, with a row in the tables at the end.
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from snnlib.cnn.calls import label
from snnlib.cnn.graph import INPUT, SYNAPTIC, ChannelScale, Op, Path, Stage, Sum, bare
from snnlib.cnn.models import window_area
from snnlib.cnn.refusals import pool_faults, weight_faults
from snnlib.cnn.scales import input_factors, output_factors
from snnlib.cnn.walking import Joins, Layers, Walk

# ---- neurons, and what has weights


def _relu(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    if value.owed:
        return replace(value, owed=None)
    return value if value.raw else walk.close(node, value)


def _weights(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    faults = [*weight_faults(module), *walk.reuse_faults(module.weight)]
    if isinstance(module, nn.Linear) and len(walk.shapes.get(node, (0, 0))) != 2:
        faults.append("receives maps, not rows; put nn.Flatten() before it.")
    if faults or not walk.is_ready(node, value):
        return walk.refuse(node, *faults)
    bias = getattr(module, "bias", None)
    bias = None if bias is None else bias.detach().double()
    op = Op(node.target, bare(module, module.weight.detach().double()))
    if value.scaled:
        return _merged(walk, node, value, op, bias)
    return Sum(value.with_op(op).paths, bias)


def _merged(walk: Walk, node: fx.Node, value: Sum, op: Op, bias: Tensor | None) -> Sum:
    """Weights behind a batch norm take its scale and shift into themselves."""
    (path,), layer = value.paths, op.module
    *ops, norm = path.ops
    if value.bias is not None and value.bias.any():
        if any(getattr(layer, "padding", (0, 0))):
            return walk.refuse(
                node,
                f"pads with zeros behind the shift of {norm.name}; set padding=0, or put the "
                "batch norm behind the convolution.",
            )
        shift = (layer.weight * input_factors(value.bias, layer)).flatten(1).sum(1)
        bias = shift if bias is None else bias + shift
    weight = layer.weight * input_factors(norm.module.weight[:, 0], layer)
    flatten = [Op("flatten", nn.Flatten())] if value.flat else []
    ops = (*ops, *flatten, Op(op.name, bare(layer, weight)))
    return Sum((Path(path.source, ops),), bias)


def _batch_norm(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    if module.running_mean is None:
        return walk.refuse(node, "measures each batch; use track_running_stats=True.")
    scale = (module.running_var.double() + module.eps).rsqrt()
    scale = scale if module.weight is None else scale * module.weight.detach().double()
    shift = -module.running_mean.double() * scale
    shift = shift if module.bias is None else shift + module.bias.detach().double()
    if not torch.isfinite(torch.stack([scale, shift])).all():
        return walk.refuse(node, "has numbers that are NaN or infinite; train it again.")
    faults = walk.reuse_faults(module.running_mean)
    if value.owed or value.flat or faults:
        text = "stands between a convolution and its Flatten or ReLU; put it right behind it."
        return walk.refuse(node, (*faults, text)[0])
    walk.folded.append(str(node.target))
    paths = tuple(_scaled(path, scale, str(node.target)) for path in value.paths)
    return Sum(paths, shift if value.bias is None else value.bias * scale + shift)


def _scaled(path: Path, scale: Tensor, name: str) -> Path:
    """A path whose end is multiplied, channel by channel."""
    synapse = path.synapse
    if synapse is None:
        op = Op(name, bare(ChannelScale(len(scale)), scale[:, None]))
        return Path(path.source, (*path.ops, op))
    layer = synapse.module
    op = Op(synapse.name, bare(layer, layer.weight * output_factors(scale, layer)))
    return Path(path.source, tuple(op if old is synapse else old for old in path.ops))


# ---- pools


def _average(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    if isinstance(module, nn.AdaptiveAvgPool2d) and walk.shapes:
        window = _window(walk, node)
        if window is None:
            return walk.refuse(node, "has windows of different sizes; use nn.AvgPool2d.")
        module = nn.AvgPool2d(window)
    faults = pool_faults(module)
    if faults:
        return walk.refuse(node, *faults)
    if not value.raw and not value.scaled and not value.owed and len(value.paths) == 1:
        return walk.refuse(node, "stands before a ReLU; put the ReLU before it.")
    if not walk.is_ready(node, value):
        return walk.refuse(node)
    if value.bias is not None and value.bias.any() and not _keeps_constants(module):
        return walk.refuse(node, "pads behind a batch norm; put the batch norm behind it.")
    return value.with_op(Op(walk.name(node), copy.deepcopy(module)))


def _keeps_constants(pool: nn.Module) -> bool:
    """Whether the average of equal numbers is that number."""
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return True
    divisor = pool.divisor_override or window_area(pool)
    return pool.padding in (0, (0, 0)) and divisor == window_area(pool)


def _maximum(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    """The largest of a window; before a ReLU too, as relu(max(x)) = max(relu(x))."""
    owed = value.owed
    if not value.raw:
        if value.flat:
            return walk.refuse(node, "pools what is flat; put it before the Flatten.")
        owed, value = label(walk.root, node), walk.close(node, value)
    if value.paths[0].source == INPUT:
        return walk.refuse(node, "pools the image itself; put a convolution before it.")
    if value.paths[0].ops:
        return walk.refuse(node, "takes the largest of averages; put it before AvgPool2d.")
    pool = _max_pool(walk, node, module)
    if pool is None:
        return walk.refuse(node, "has no fixed window or return_indices; use nn.MaxPool2d(2).")
    activations = walk.append(Stage(walk.name(node), value.paths, kind="max", pool=pool))
    return replace(activations, owed=owed)


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
    if node not in walk.shapes or node.all_input_nodes[0] not in walk.shapes:
        return None
    before, after = walk.shapes[node.all_input_nodes[0]], walk.shapes[node]
    after = after if len(after) == 4 else (*after, 1, 1)  # x.mean((2, 3))
    sizes = list(zip(before[2:], after[2:], strict=True))
    return None if any(n % m for n, m in sizes) else tuple(n // m for n, m in sizes)


# ---- what computes nothing, and branches


def _flatten(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    last = len(walk.shapes.get(node.all_input_nodes[0], (0, 0))) - 1
    if module.start_dim != 1 or module.end_dim not in (-1, last):
        return walk.refuse(node, "flattens only some axes; use nn.Flatten().")
    if any(isinstance(op.module, (nn.Flatten, nn.Linear)) for op in value.paths[0].ops):
        return value  # flat already
    if value.raw:
        return value.with_op(Op(walk.name(node), nn.Flatten()))
    return replace(value, flat=True)


def _silent(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    if node.op == "call_module":
        walk.dropped.append(str(node.target))
    return value


def _softmax(walk: Walk, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
    if [user.op for user in node.users] != ["output"] or module.dim not in (1, -1, None):
        return walk.unknown(node)
    walk.dropped.append(walk.name(node))
    return value


def _add(walk: Walk, node: fx.Node) -> Sum:
    terms = [walk.values[n] if isinstance(n, fx.Node) else None for n in node.args]
    if None in terms or len(terms) != 2 or node.kwargs.get("alpha", 1) != 1:
        return walk.refuse(node, "adds what is no branch; put a constant into a layer's bias.")
    a, b = terms
    shapes = [walk.shapes.get(n) for n in node.args]
    if shapes[0] != shapes[1] or a.flat != b.flat:
        return walk.refuse(node, "adds branches of different shapes; make them alike.")
    if not all(walk.has_relu(term) for term in terms):
        return walk.refuse(node)
    biases = [term.bias for term in terms if term.bias is not None]
    return Sum(a.paths + b.paths, sum(biases) if biases else None, flat=a.flat)


LAYERS: Layers = (  # the first that fits
    (nn.ReLU, _relu),
    (SYNAPTIC, _weights),
    (nn.modules.batchnorm._BatchNorm, _batch_norm),
    ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), _average),
    ((nn.MaxPool2d, nn.AdaptiveMaxPool2d), _maximum),
    (nn.Flatten, _flatten),
    ((nn.modules.dropout._DropoutNd, nn.Identity), _silent),
    ((nn.Softmax, nn.LogSoftmax), _softmax),
)
JOINS: Joins = {"add": _add, "iadd": _add}  # by the name of the function
