"""Which layer a function or method stands for (chapter 9, *Lift the constraints*).

torch.fx writes down `F.relu(x)`, `torch.relu(x)` and `x.relu()` as calls of three kinds.
Here each becomes the layer that does the same, so that the rest need only know layers.
"""

import re

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


def label(root: fx.GraphModule, node: fx.Node) -> str:
    """The layer or operation, as errors name it.

    Parameters
    ----------
    root : fx.GraphModule
        Every call of the network.
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
    if name == "relu" or (name in ("clamp", "clamp_min") and _is_relu(args, kwargs)):
        return [nn.ReLU()]
    if name in _SILENT:
        return [nn.Identity()]
    if re.fullmatch(r"(alpha_|feature_alpha_)?dropout[123]?d?", name):
        training = kwargs.get("training", args[1] if len(args) > 1 else name == "dropout")
        return None if training else [nn.Identity()]
    if name in ("softmax", "log_softmax"):
        return [nn.Softmax(kwargs.get("dim", args[0] if args else None))]
    if name == "flatten":
        return [nn.Flatten(**{"start_dim": 0, **_named(("start_dim", "end_dim"), args), **kwargs})]
    if name in ("view", "reshape"):
        source = node.all_input_nodes[0]
        return _reshaped(args, shapes.get(node), shapes.get(source))
    return _pools_of(name, args, kwargs)


def _named(names: tuple[str, ...], args: tuple) -> dict:
    """Positional arguments by their names."""
    return dict(zip(names, args, strict=False))


def _pools_of(name: str, args: tuple, kwargs: dict) -> list[nn.Module] | None:
    if name == "avg_pool2d":
        return [nn.AvgPool2d(*args, **kwargs)]
    if name == "max_pool2d":
        return [nn.MaxPool2d(**_named(_MAX_POOL, args), **kwargs)]
    if name == "adaptive_avg_pool2d":
        return [nn.AdaptiveAvgPool2d(*args, **kwargs)]
    if name == "adaptive_max_pool2d":
        return [nn.AdaptiveMaxPool2d(*args, **kwargs)]
    if name == "mean":
        dims = kwargs.get("dim", args[0] if args else None)
        keep = kwargs.get("keepdim", args[1] if len(args) > 1 else False)
        if isinstance(dims, (tuple, list)) and sorted(d % 4 for d in dims) == [2, 3]:
            return [nn.AdaptiveAvgPool2d(1), *([] if keep else [nn.Flatten()])]
    return None


def _is_relu(args: tuple, kwargs: dict) -> bool:
    """Whether clamp only cuts off what is below zero."""
    low = kwargs.get("min", args[0] if args else None)
    high = kwargs.get("max", args[1] if len(args) > 1 else None)
    return high is None and isinstance(low, (int, float)) and low == 0


def _reshaped(args: tuple, after, before) -> list[nn.Module] | None:
    """A Flatten, if that is what a reshape does; by its look where shapes are not known."""
    sizes = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    if after is not None and before is not None:
        is_flat = tuple(after) == (before[0], before[1:].numel())
    else:
        is_flat = len(sizes) == 2
    return [nn.Flatten()] if is_flat else None
