"""Write down every call that a network makes (chapter 9, *Lift the constraints*).

torch.fx runs ``forward`` once with a stand-in for the image.  Where the shape of an image is
known, the stand-in knows its own: ``x.size(3)`` and ``len(x)`` are then plain numbers.
"""

import copy
import inspect
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor, fx, nn

from snnlib.cnn.calls import label
from snnlib.cnn.graph import ChannelScale, ClippedReLU, ConversionError
from snnlib.cnn.refusals import fix_of

IMAGES = 7  # an odd number of stand-ins, so that mixing them shows
_WRAPPERS = {  # classes that run another network, and where they keep it
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",  # torch.compile
}
_WHOLE = (ChannelScale, ClippedReLU)  # layers of ours that are not looked into
_MISSING = object()


@dataclass(frozen=True)
class Recording:
    """What a network does with an image.

    Attributes
    ----------
    root : fx.GraphModule
        Every call, of a copy of the network on the CPU.
    shapes : dict of fx.Node to torch.Size
        Of calls that give a tensor, for several images; empty if that is not known.
    misfit : list of str
        The first call that an image does not fit, if there is one.
    """

    root: fx.GraphModule | None
    shapes: dict[fx.Node, torch.Size] = field(default_factory=dict)
    misfit: list[str] = field(default_factory=list)


def recorded(cnn: nn.Module, input_shape: tuple[int, int, int] | None = None) -> Recording:
    """Every call that ``cnn.eval().forward`` makes.

    Parameters
    ----------
    cnn : nn.Module
        ``unwrapped``; left as it is.
    input_shape : tuple of int or None
        (C, H, W) of one image; None leaves out whether images fit.

    Returns
    -------
    Recording

    Raises
    ------
    ConversionError
        For a network that is one layer, or whose forward cannot be followed.
    """
    cnn = _with_one_input(copy.deepcopy(cnn).eval().cpu())
    tracer = _Tracer(input_shape and (IMAGES, *input_shape))
    if tracer.is_leaf_module(cnn, ""):
        kind = type(cnn).__name__
        raise ConversionError([f"The network is a {kind}; put it into an nn.Sequential."])
    try:
        root = fx.GraphModule(cnn, tracer.trace(cnn))
    except _MisfitError as misfit:
        return Recording(None, misfit=[misfit.sentence(cnn, input_shape)])
    except Exception as error:  # whatever the user's forward raises
        raise ConversionError(_untraceable(cnn, error)) from error
    root.graph.eliminate_dead_code()
    values = {node: tracer.values.get(node) for node in root.graph.nodes}
    return Recording(root, {n: v.shape for n, v in values.items() if isinstance(v, Tensor)})


def unwrapped(cnn: nn.Module) -> nn.Module:
    """The network inside of DataParallel, torch.compile and the like, wherever they stand.

    Parameters
    ----------
    cnn : nn.Module
        Left as it is.

    Returns
    -------
    nn.Module
        ``cnn`` itself where nothing is wrapped.

    Raises
    ------
    ConversionError
        For something that is no network, a wrapper around nothing, or a network whose
        original cannot be reached.
    """
    if not isinstance(cnn, nn.Module):
        raise ConversionError([f"The network is a {type(cnn).__name__}; give an nn.Module."])
    cnn = _inner("The network", cnn)
    if any(_wrapped_in(module) for module in cnn.modules()):
        cnn = copy.deepcopy(cnn)
        for name, module in list(cnn.named_modules()):
            if _wrapped_in(module):
                cnn.set_submodule(name, _inner(f"Layer {name}", module))
        return unwrapped(cnn)
    for name, module in cnn.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            where = f"Layer {name}" if name else "The network"
            raise ConversionError(
                [
                    f"{where} is compiled by torch.jit, and its forward can no longer be read; "
                    "give the nn.Module that it was made from, with its state_dict."
                ]
            )
    return cnn


def _wrapped_in(module: nn.Module) -> str | None:
    """Where a wrapper keeps its network; None for what is no wrapper."""
    kinds = [kind.__name__ for kind in type(module).__mro__]
    return next((_WRAPPERS[kind] for kind in kinds if kind in _WRAPPERS), None)


def _inner(where: str, module: nn.Module) -> nn.Module:
    while _wrapped_in(module):
        kind, module = type(module).__name__, getattr(module, _wrapped_in(module), None)
        if not isinstance(module, nn.Module):
            raise ConversionError([f"{where} is a {kind} around nothing; give it a network."])
    return module


def _with_one_input(cnn: nn.Module) -> nn.Module:
    """The network, with every further argument of its forward left at its default, in place."""
    kind = type(cnn)
    _, *parameters = list(inspect.signature(kind.forward).parameters.values())[1:] or [None]
    anything = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    optional = [p.default is not p.empty or p.kind in anything for p in parameters]
    if optional and all(optional):
        alone = {"forward": lambda net, x: kind.forward(net, x), "__module__": kind.__module__}
        cnn.__class__ = type(kind.__name__, (kind,), alone)
    return cnn


class _MisfitError(Exception):
    """A call that an image does not fit."""

    def __init__(self, node: fx.Node, received: list[int], error: Exception) -> None:
        self.node, self.received = node, received
        self.reason = _first_line(error)

    def sentence(self, cnn: nn.Module, input_shape: tuple[int, int, int]) -> str:
        """With the layer and the fix."""
        return (
            f"{label(cnn, self.node)} does not fit input_shape {tuple(input_shape)}: it receives "
            f"{self.received} ({self.reason}); give the shape of your images, [C, H, W]."
        )


class _Sized(fx.Proxy):
    """A stand-in that knows its own shape."""

    @property
    def _known(self) -> Tensor | None:
        value = self.tracer.values.get(self.node)
        return value if isinstance(value, Tensor) else None

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "ndim") and self._known is not None:
            return getattr(self._known, name)
        return super().__getattr__(name)

    def size(self, dim: int | None = None) -> Any:
        """As of a tensor."""
        if self._known is None:
            rest = () if dim is None else (dim,)
            return self.tracer.create_proxy("call_method", "size", (self, *rest), {})
        return self._known.size() if dim is None else self._known.size(dim)

    def dim(self) -> Any:
        """As of a tensor."""
        if self._known is None:
            return self.tracer.create_proxy("call_method", "dim", (self,), {})
        return self._known.ndim

    def __len__(self) -> int:
        if self._known is not None:
            return len(self._known)
        if self.node.op == "placeholder":
            return IMAGES
        return super().__len__()


class _Tracer(fx.Tracer):
    """Steps into everything but torch's own layers, and knows the shape of what they give."""

    def __init__(self, shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.shape, self.twins, self.measuring = shape, {}, False
        self.values: dict[fx.Node, Any] = {}  # on the device "meta", where nothing is computed

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, _WHOLE) or super().is_leaf_module(module, name)

    def path_of_module(self, module: nn.Module) -> str:
        """Of a layer that ``forward`` makes, too: it becomes one of the network."""
        with suppress(NameError):
            return super().path_of_module(module)
        name = f"{type(module).__name__.lower()}_{len(list(self.root.modules()))}"
        self.root.add_module(name, module.eval())
        self.submodule_paths[module] = name
        return name

    def call_module(self, module: nn.Module, forward, args: tuple, kwargs: dict) -> Any:
        """Written down, unless it is only to be known what shape it gives."""
        if self.measuring:
            return forward(*args, **kwargs)
        return super().call_module(module, forward, args, kwargs)

    def getattr(self, name: str, value: Any, cache: dict[str, Any]) -> Any:
        """A parameter is written down too, unless only its shape matters."""
        return value if self.measuring else super().getattr(name, value, cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Sized(node, self)

    def create_node(self, kind: str, target, args, kwargs, *rest, **options) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, *rest, **options)
        if self.shape:
            value = self._value(node)
            if value is not _MISSING:
                self.values[node] = value
        return node

    @torch.no_grad()
    def _value(self, node: fx.Node) -> Any:
        """What a call gives; missing where that cannot be said."""
        if node.op == "placeholder":
            is_image = not self.values  # the first
            return torch.zeros(self.shape, device="meta") if is_image else _MISSING
        if node.op == "output" or any(n not in self.values for n in node.all_input_nodes):
            return _MISSING
        args, kwargs = (fx.node.map_arg(x, self.values.get) for x in (node.args, node.kwargs))
        self.measuring = True
        try:
            with warnings.catch_warnings(action="ignore"):
                return self._called(node)(*args, **kwargs)
        except Exception as error:  # whatever does not fit
            shapes = [x.shape for x in args if isinstance(x, Tensor)]
            received = list((shapes or [self.shape])[0])[1:]
            raise _MisfitError(node, received, error) from error
        finally:
            self.measuring = False

    def _called(self, node: fx.Node) -> Callable:
        """What a call calls, on the device where nothing is computed."""
        if node.op == "get_attr":
            return lambda: _on_meta(_attribute(self.root, node.target))
        if node.op == "call_module":
            if node.target not in self.twins:
                module = copy.deepcopy(self.root.get_submodule(node.target))
                self.twins[node.target] = module.float().to("meta")
            return self.twins[node.target]
        if node.op == "call_method":
            return lambda x, *args, **kwargs: getattr(x, node.target)(*args, **kwargs)
        return node.target


def _on_meta(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.detach().to("meta", torch.float32 if value.is_floating_point() else None)


def _attribute(root: nn.Module, target: str) -> Any:
    for name in target.split("."):
        root = getattr(root, name)
    return root


def _untraceable(cnn: nn.Module, error: Exception) -> list[str]:
    """Why a network cannot be followed: a layer that is known for it, or the line of code."""
    kinds = {name: type(layer).__name__ for name, layer in cnn.named_modules()}
    faults = [
        f"Layer {name} ({kind}) cannot be converted: {fix_of(kind)}."
        for name, kind in kinds.items()
        if fix_of(kind) and ("itself" in fix_of(kind) or "attention" in fix_of(kind))
    ]
    if faults:
        return faults
    inside = (str(File(torch.__file__).parent), str(File(__file__).parent.parent))
    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames if not frame.filename.startswith(inside)]
    where = f" at line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    if isinstance(error, fx.proxy.TraceError):
        return [
            f"The forward of {type(cnn).__name__} depends on its data{where} "
            f"({_first_line(error)}); take the condition or loop out, so that every image takes "
            "the same layers, and train it again."
        ]
    return [
        f"The forward of {type(cnn).__name__} cannot be followed{where} ({_first_line(error)})."
    ]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
