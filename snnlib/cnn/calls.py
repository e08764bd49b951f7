"""Which layer a function or method stands for (chapter 9, *Lift the constraints*).

torch.fx writes down `F.relu(x)`, `torch.relu(x)` and `x.relu()` as calls of three kinds.
Here each becomes the layer that does the same, so that the rest need only know layers.
"""

import operator
import re
from collections.abc import Callable

import torch
from torch import fx, nn

_MAX_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_SILENT = ("contiguous", "clone", "detach", "float", "double", "to")


def function_name(node: fx.Node) -> str:
    """The plain name of what is called: ``relu`` for ``F.relu``, ``torch.relu`` and ``x.relu_``.

    Parameters
    ----------
    node : fx.Node
        A call of a function or method.

    Returns
    -------
    str
    """
    target = node.target if isinstance(node.target, str) else node.target.__name__
    return target.strip("_") if node.op in ("call_function", "call_method") else target


def label(root: nn.Module, node: fx.Node) -> str:
    """The layer or operation, as errors name it.

    Parameters
    ----------
    root : nn.Module
        The network.
    node : fx.Node
        One of its calls.

    Returns
    -------
    str
    """
    if node.op == "call_module":
        return f"Layer {node.target} ({type(root.get_submodule(node.target)).__name__})"
    if node.op == "output":
        return "The output"
    return f"Operation {node.name} ({function_name(node)})"


def asks_only(node: fx.Node) -> bool:
    """Whether a call only asks for a shape or the like.

    Parameters
    ----------
    node : fx.Node

    Returns
    -------
    bool
    """
    if node.op == "call_method":
        return node.target in ("size", "dim", "numel")
    return node.target is getattr and node.args[1] in ("shape", "ndim", "device", "dtype")


def layers_of(node: fx.Node, shapes: dict[fx.Node, torch.Size]) -> list[nn.Module] | None:
    """The layers that a function or method of one tensor stands for.

    Parameters
    ----------
    node : fx.Node
        A call of a function or method.
    shapes : dict of fx.Node to torch.Size
        What calls give; empty if that is not known.

    Returns
    -------
    list of nn.Module or None
        None if there are none that do the same.
    """
    name, args, kwargs = function_name(node), node.args[1:], dict(node.kwargs)
    if "input" in kwargs:
        args = node.args
        kwargs.pop("input")
    kwargs.pop("inplace", None)
    source = node.all_input_nodes[0]
    before, after = shapes.get(source), shapes.get(node)
    if name in ("view", "reshape", "squeeze", "unsqueeze", "flatten"):
        return _reshaped(name, args, kwargs, before, after)
    if name == "mean":
        return _mean(args, kwargs, before, after)
    if name in _SILENT:
        return [nn.Identity()]
    if re.fullmatch(r"(alpha_|feature_alpha_)?dropout[123]?d?", name):
        training = kwargs.get("training", args[1] if len(args) > 1 else name == "dropout")
        return None if training else [nn.Identity()]
    if name in ("softmax", "log_softmax"):
        return [nn.Softmax(kwargs.get("dim", args[0] if args else None))]
    if any(isinstance(x, fx.Node) for x in _leaves((args, kwargs))):
        return _global_pool(name, args, kwargs, source)
    make = _LAYERS.get(name)
    return None if make is None else make(args, kwargs)


def _named(names: tuple[str, ...], args: tuple) -> dict:
    """Positional arguments by their names."""
    return dict(zip(names, args, strict=False))


def _clamp(args: tuple, kwargs: dict) -> list[nn.Module] | None:
    """A ReLU, if that is what cutting off does, or one with a ceiling."""
    options = {"min": None, "max": None} | _named(("min", "max"), args) | kwargs
    low, high = options["min"], options["max"]
    if not isinstance(low, (int, float)) or low != 0 or isinstance(high, torch.Tensor):
        return None
    return [nn.ReLU() if high is None else nn.Hardtanh(0.0, high)]


def _pad(args: tuple, kwargs: dict) -> list[nn.Module] | None:
    """Padding of rows and columns with one number."""
    given = {"mode": "constant", "value": 0} | _named(("pad", "mode", "value"), args) | kwargs
    sides = [*given["pad"], 0, 0, 0, 0]
    if given["mode"] != "constant" or any(sides[4:]):
        return None
    return [nn.ConstantPad2d(tuple(sides[:4]), given["value"] or 0)]


def _max_pool(args: tuple, kwargs: dict) -> list[nn.Module]:
    return [nn.MaxPool2d(**_named(_MAX_POOL, args), **kwargs)]


def _upsampling(args: tuple, kwargs: dict) -> list[nn.Module]:
    given = _named(("size", "scale_factor", "mode"), args) | kwargs
    return [nn.Upsample(given.get("size"), given.get("scale_factor"), given.get("mode", "nearest"))]


def _as_layer(kind: type[nn.Module]) -> Callable[[tuple, dict], list[nn.Module]]:
    """For a function whose arguments are those of a layer."""
    return lambda args, kwargs: [kind(*args, **kwargs)]


_LAYERS: dict[str, Callable[[tuple, dict], list[nn.Module] | None]] = {
    "relu": lambda args, kwargs: [nn.ReLU()],
    "relu6": lambda args, kwargs: [nn.ReLU6()],
    "hardtanh": _as_layer(nn.Hardtanh),
    "threshold": _as_layer(nn.Threshold),
    "leaky_relu": _as_layer(nn.LeakyReLU),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "pad": _pad,
    "avg_pool2d": _as_layer(nn.AvgPool2d),
    "max_pool2d": _max_pool,
    "adaptive_avg_pool2d": _as_layer(nn.AdaptiveAvgPool2d),
    "adaptive_max_pool2d": _as_layer(nn.AdaptiveMaxPool2d),
    "interpolate": _upsampling,
    "upsample": _upsampling,
    "upsample_nearest": _upsampling,
}


def _leaves(value) -> list:
    """Everything in tuples, lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _global_pool(name: str, args: tuple, kwargs: dict, source: fx.Node) -> list[nn.Module] | None:
    """A pool over all there is, whose window is the size of what it pools."""
    kinds = {"avg_pool2d": nn.AdaptiveAvgPool2d, "max_pool2d": nn.AdaptiveMaxPool2d}
    asked = [x for x in _leaves((args, kwargs)) if isinstance(x, fx.Node)]
    while any(x is not source and not asks_only(x) for x in asked):
        if not all(asks_only(x) or x.target is operator.getitem for x in asked):
            return None
        asked = [x if asks_only(x) else x.args[0] for x in asked]
    whole = all(x.args[0] is source for x in asked)
    return [kinds[name](1)] if whole and name in kinds and len(args) + len(kwargs) == 1 else None


def _mean(args: tuple, kwargs: dict, before, after) -> list[nn.Module] | None:
    """A global average, with or without the axes that it leaves."""
    dims = kwargs.get("dim", args[0] if args else None)
    keep = kwargs.get("keepdim", args[1] if len(args) > 1 else False)
    if before is not None and after is not None:
        if len(before) < 3 or before[:2] != after[:2] or after[2:].numel() != 1:
            return None
        return [nn.AdaptiveAvgPool2d(1), *([nn.Flatten()] if len(after) == 2 else [])]
    if isinstance(dims, (tuple, list)) and sorted(d % 4 for d in dims) == [2, 3]:
        return [nn.AdaptiveAvgPool2d(1), *([] if keep else [nn.Flatten()])]
    return None


def _reshaped(name: str, args: tuple, kwargs: dict, before, after) -> list[nn.Module] | None:
    """A Flatten or nothing, if that is what a reshape does; by its look without shapes."""
    if before is not None and after is not None:
        if before[:1] != after[:1]:
            return None
        if len(after) == 2:
            return [nn.Identity() if len(before) == 2 else nn.Flatten()]
        in_a_row = len(after) == 3 or after[2:].numel() == 1  # no rows and columns to mix up
        kept = len(before) > 2 and before[1] == after[1] and (in_a_row or before == after)
        return [nn.Identity()] if kept else None
    if name == "flatten":
        return [nn.Flatten(**{"start_dim": 0, **_named(("start_dim", "end_dim"), args), **kwargs})]
    if name == "squeeze":
        axes = [args or kwargs.get("dim", ())]
        return [nn.Flatten()] if all(axis % 4 in (2, 3) for axis in _leaves(axes)) else None
    sizes = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    return [nn.Flatten()] if name in ("view", "reshape") and len(sizes) == 2 else None
