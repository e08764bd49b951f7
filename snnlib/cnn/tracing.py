"""Read any feed-forward ReLU network (chapter 9, *Lift the constraints*).

torch.fx runs ``forward`` once with a stand-in for the image and writes down every call,
whether it is nn.ReLU, F.relu or x.relu().  The calls are then taken in order, and each
joins what is on its way to the next layer of neurons, or closes that layer.  What cannot
be expressed with integrate-and-fire neurons is refused by name.
"""

import copy
import itertools
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as File

import torch
from torch import Tensor, fx, nn

from snnlib.cnn.calls import asks_only, function_name, layers_of
from snnlib.cnn.graph import (
    INPUT,
    SYNAPTIC,
    ChannelScale,
    ConversionError,
    Graph,
    Op,
    Path,
    Stage,
    Sum,
    bare,
    padding_of,
)
from snnlib.cnn.models import window_area
from snnlib.cnn.scales import input_factors, output_factors

IMAGES = 7  # an odd number of stand-ins, so that mixing them shows

_FIXES = (  # names of layers and functions without "_", why they do not convert, the fix
    (
        "sigmoid tanh leakyrelu elu gelu silu softplus relu6 hardtanh selu mish prelu celu "
        "hardswish hardsigmoid logsigmoid softsign rrelu",
        "a firing rate is zero or grows in proportion; use nn.ReLU",
    ),
    (
        "softmax logsoftmax softmin",
        "in the middle of a network it weighs all neurons against each other; drop it",
    ),
    (
        "lstm gru rnn rnnbase lstmcell grucell rnncell",
        "it feeds its output back into itself; use convolutions or linear layers",
    ),
    (
        "multiheadattention scaleddotproductattention transformer transformerencoder "
        "transformerencoderlayer transformerdecoder transformerdecoderlayer",
        "attention multiplies signals with each other; use convolutions or linear layers",
    ),
    (
        "mul imul matmul bmm div truediv einsum",
        "it multiplies or divides signals, and neurons only add; leave it out",
    ),
    (
        "layernorm groupnorm instancenorm instancenorm2d localresponsenorm rmsnorm",
        "it divides by what it measures on each image; use nn.BatchNorm2d, which is fixed then",
    ),
    ("conv2d linear batchnorm", "its weights are not those of a layer; use the nn.Module for it"),
    ("cat concat concatenate", "branches are added, not joined; add them before a ReLU"),
)
_KNOWN = "Conv2d, Linear, BatchNorm, ReLU, AvgPool2d, MaxPool2d, Flatten, Dropout, or + before ReLU"


def trace(cnn: nn.Module, input_shape: tuple[int, int, int] | None = None) -> Graph:
    """The layers of neurons that stand for ``cnn``, with batch norms folded into weights.

    Parameters
    ----------
    cnn : nn.Module
        Left as it is.
    input_shape : tuple of int or None
        (C, H, W) of one image; None leaves out whether images fit.

    Returns
    -------
    Graph
        Weights in float64, on the CPU; computes what ``cnn.eval()`` does, but for a softmax at
        its end.

    Raises
    ------
    ConversionError
        With every reason why ``cnn`` cannot be converted.
    """
    if not isinstance(cnn, nn.Module):
        raise ConversionError([f"The network is a {type(cnn).__name__}; give an nn.Module."])
    if all(isinstance(module, nn.Sequential) for module in cnn.modules()):
        raise ConversionError(["The network has no layers; start from digit_cnn()."])
    faults = _training_faults(cnn)
    root = _recorded(cnn)
    shapes, misfit = _shapes(root, input_shape) if input_shape else ({}, [])
    walk = _Walk(root, {} if misfit else shapes)
    walk.faults += faults
    graph = walk.graph()
    faults = walk.faults or misfit or (_differences(cnn, graph, input_shape) if input_shape else [])
    if faults:
        raise ConversionError(faults)
    return graph


@torch.no_grad()
def _differences(cnn: nn.Module, graph: Graph, input_shape: tuple[int, int, int]) -> list[str]:
    """Whether the stages compute something else than the network, on two random images.

    A recording does not show whether `x += y` wrote over what is read again.
    """
    images = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(action="ignore"):
        expected = copy.deepcopy(cnn).eval().cpu().float()(images.clone()).double()
    *_, (_, found) = graph.run(images.double())
    ends = (found, found.softmax(1), found.log_softmax(1))  # a softmax at the end is dropped
    close = [(end - expected).abs().max() <= 1e-3 * expected.abs().max() + 1e-6 for end in ends]
    if any(close):
        return []
    return [
        "The network computes something else than its layers say; do not change a tensor in "
        "place (x += y) that is used again, and use no hooks."
    ]


class _Tracer(fx.Tracer):
    """Steps into everything but torch's own layers."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, ChannelScale) or super().is_leaf_module(module, name)


def _recorded(cnn: nn.Module) -> fx.GraphModule:
    """Every call that ``cnn.eval().forward`` makes."""
    cnn = copy.deepcopy(cnn).eval().cpu()
    tracer = _Tracer()
    if tracer.is_leaf_module(cnn, ""):
        kind = type(cnn).__name__
        raise ConversionError([f"The network is a {kind}; put it into an nn.Sequential."])
    try:
        root = fx.GraphModule(cnn, tracer.trace(cnn))
    except Exception as error:  # whatever the user's forward raises
        raise ConversionError(_untraceable(cnn, error)) from error
    root.graph.eliminate_dead_code()
    return root


def _untraceable(cnn: nn.Module, error: Exception) -> list[str]:
    """Why a network cannot be followed: a layer that is known for it, or the line of code."""
    kinds = {name: type(layer).__name__ for name, layer in cnn.named_modules()}
    faults = [
        f"Layer {name} ({kind}) cannot be converted: {_fix(kind)}."
        for name, kind in kinds.items()
        if _fix(kind) and ("itself" in _fix(kind) or "attention" in _fix(kind))
    ]
    if faults:
        return faults
    inside = (str(File(torch.__file__).parent), str(File(__file__).parent.parent))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if inside[0] not in f.filename]
    frames = [frame for frame in frames if inside[1] not in frame.filename]
    where = f" at line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, fx.proxy.TraceError):
        return [
            f"The forward of {type(cnn).__name__} depends on its data{where} ({reason}); "
            "take the condition or loop out, so that every image takes the same layers."
        ]
    return [f"The forward of {type(cnn).__name__} cannot be followed{where} ({reason})."]


def _training_faults(cnn: nn.Module) -> list[str]:
    """Batch norms that would still change with what they are shown."""
    return [
        f"Layer {name} ({type(layer).__name__}) is in training mode and still changes; "
        "call cnn.eval() first."
        for name, layer in cnn.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training
    ]


def _shapes(
    root: fx.GraphModule, input_shape: tuple[int, int, int]
) -> tuple[dict[fx.Node, torch.Size], list[str]]:
    """What shape each call gives, and the first that does not fit; nothing is computed."""
    interpreter = fx.Interpreter(copy.deepcopy(root).float().to("meta"))
    twins = dict(zip(interpreter.module.graph.nodes, root.graph.nodes, strict=True))
    interpreter.args_iter = iter([torch.zeros(IMAGES, *input_shape, device="meta")])
    shapes, before = {}, [IMAGES, *input_shape]
    for node, twin in twins.items():
        try:
            with warnings.catch_warnings(action="ignore"):
                result = interpreter.env[node] = interpreter.run_node(node)
        except Exception as error:  # whatever does not fit
            sizes = [shapes[twins[n]] for n in node.all_input_nodes if twins[n] in shapes]
            received = list((sizes or [before])[0])[1:]
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            return shapes, [
                f"{_label(root, twin)} does not fit input_shape {tuple(input_shape)}: it receives "
                f"{received} ({reason}); give the shape of your images, [C, H, W]."
            ]
        if isinstance(result, Tensor):
            shapes[twin] = result.shape
    return shapes, []


def _fix(kind: str) -> str | None:
    """What to do about a kind of layer or function that is known not to convert."""
    key = kind.replace("_", "").lower()
    return next((fix for kinds, fix in _FIXES if key in kinds.split()), None)


def _label(root: fx.GraphModule, node: fx.Node) -> str:
    """The layer or operation, as errors name it."""
    if node.op == "call_module":
        return f"Layer {node.target} ({type(root.get_submodule(node.target)).__name__})"
    if node.op == "output":
        return "The output"
    return f"Operation {node.name} ({function_name(node)})"


class _Walk:
    """Takes the calls in order; `values` holds what each has become."""

    def __init__(self, root: fx.GraphModule, shapes: dict[fx.Node, torch.Size]) -> None:
        self.root, self.shapes = root, shapes
        self.values: dict[fx.Node, Sum | None] = {}  # None: a size or a constant
        self.stages: list[Stage] = []
        self.names: set[str] = set()
        self.folded: list[str] = []
        self.dropped: list[str] = []
        self.used: dict[int, Tensor] = {}  # parameters, which are not to be used again
        self.faults: list[str] = []
        self.handlers: tuple[tuple[type | tuple, Callable], ...] = (
            (nn.ReLU, self._relu),
            (SYNAPTIC, self._weights),
            (nn.modules.batchnorm._BatchNorm, self._batch_norm),
            ((nn.AvgPool2d, nn.AdaptiveAvgPool2d), self._average),
            ((nn.MaxPool2d, nn.AdaptiveMaxPool2d), self._maximum),
            (nn.Flatten, self._flatten),
            ((nn.modules.dropout._DropoutNd, nn.Identity), self._silent),
            ((nn.Softmax, nn.LogSoftmax), self._softmax),
        )

    def graph(self) -> Graph:
        """The stages, and everything that was refused in `faults`."""
        for node in self.root.graph.nodes:
            self.values[node] = self._value(node)
        return Graph(tuple(self.stages), tuple(self.folded), tuple(self.dropped))

    def _value(self, node: fx.Node) -> Sum | None:
        if node.op == "placeholder":
            return self._input(node)
        if node.op == "output":
            return self._output(node)
        signals = [n for n in node.all_input_nodes if self.values[n]]
        if not signals or asks_only(node):
            return None
        for source in signals:
            self._check_branch(source)
        if node.op != "call_module" and function_name(node) in ("add", "iadd"):
            return self._add(node)
        modules = self._modules(node) if len(signals) == 1 else None
        if modules is None:
            return self._unknown(node)
        value = self.values[signals[0]]
        for module in modules:
            value = next(do for kinds, do in self.handlers if isinstance(module, kinds))(
                node, module, value
            )
        return value

    def _modules(self, node: fx.Node) -> list[nn.Module] | None:
        """What is called, as layers of torch; None if it is unknown."""
        if node.op != "call_module":
            return layers_of(node, self.shapes)
        module = self.root.get_submodule(node.target)
        known = any(isinstance(module, kinds) for kinds, _ in self.handlers)
        is_plain = not type(module).__module__.startswith("torch.ao")  # else: fake quantization
        return [module] if known and is_plain else None

    # ---- the ends

    def _input(self, node: fx.Node) -> Sum | None:
        if not any(node.op == "placeholder" for node in self.values):
            return Sum((Path(INPUT),))
        if node.users:
            self.faults.append(f"The forward takes another input, {node.name}; give it only one.")
        return None

    def _output(self, node: fx.Node) -> None:
        last = node.args[0]
        if not isinstance(last, fx.Node) or not self.values[last]:
            self.faults.append("The forward returns something other than one tensor; return that.")
            return
        value = self.values[last]
        end = value.paths[0].weighted or next((p.weighted for p in value.paths if p.weighted), None)
        if self._is_unknown(value) and "(Linear)" in _label(self.root, last):
            return  # refused before, for another reason
        if last.op == "placeholder":
            self.faults.append("The network has no layers; start from digit_cnn().")
        elif value.raw or value.owed or not end or not isinstance(end.module, nn.Linear):
            self._refuse(last, "is the last layer; end with nn.Linear, one output a class.")
        elif len(self.shapes.get(last, (0, 0))) != 2:
            self._refuse(last, "gives no row for each image; put nn.Flatten() before it.")
        else:
            self._stage(last, value, "output")

    # ---- what closes a stage

    def _relu(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        if value.owed:
            return replace(value, owed=None)
        return value if value.raw else self._stage(node, value)

    def _stage(self, node: fx.Node, value: Sum, kind: str = "relu") -> Sum:
        paths = sorted(value.paths, key=lambda path: path.weighted is None)  # weights first
        first = paths[0].weighted
        stage = Stage(first.name if first else self._name(node), tuple(paths), value.bias, kind)
        self._append(stage)
        flatten = (Op("flatten", nn.Flatten()),) if value.flat else ()
        return Sum((Path(stage.name, flatten),))

    def _append(self, stage: Stage) -> None:
        if stage.name == INPUT:
            self.faults.append(f'Layer {INPUT} has the name of the image; call it "first".')
        self.stages.append(stage)

    def _name(self, node: fx.Node) -> str:
        """Of a layer without weights; it may be used more than once."""
        names = (str(node.target) if node.op == "call_module" else node.name, node.name)
        others = (f"{node.name}_{i}" for i in itertools.count(1))
        name = next(n for n in itertools.chain(names, others) if n not in self.names)
        self.names.add(name)
        return name

    def _maximum(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        """The largest of a window; before a ReLU too, as relu(max(x)) = max(relu(x))."""
        owed = value.owed
        if not value.raw:
            if value.flat:
                return self._refuse(node, "pools what is flat; put it before the Flatten.")
            owed, value = _label(self.root, node), self._stage(node, value)
        if value.paths[0].source == INPUT:
            return self._refuse(node, "pools the image itself; put a convolution before it.")
        if value.paths[0].ops:
            return self._refuse(node, "takes the largest of averages; put it before AvgPool2d.")
        pool = self._max_pool(node, module)
        if pool is None:
            return self._refuse(node, "has no fixed window or return_indices; use nn.MaxPool2d(2).")
        stage = Stage(self._name(node), value.paths, kind="max", pool=pool)
        self._append(stage)
        return Sum((Path(stage.name),), owed=owed)

    def _max_pool(self, node: fx.Node, module: nn.Module) -> nn.Module | None:
        if module.return_indices:
            return None
        if isinstance(module, nn.MaxPool2d):
            sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
            return nn.MaxPool2d(*sizes, ceil_mode=module.ceil_mode)
        window = self._window(node)
        if window is None:  # without the shape of an image, as it is
            return None if self.shapes else module
        return nn.MaxPool2d(window)

    def _window(self, node: fx.Node) -> tuple[int, int] | None:
        """Of an adaptive pool; None if windows differ in size or shapes are not known."""
        if node not in self.shapes or node.all_input_nodes[0] not in self.shapes:
            return None
        before, after = self.shapes[node.all_input_nodes[0]], self.shapes[node]
        after = after if len(after) == 4 else (*after, 1, 1)  # x.mean((2, 3))
        sizes = list(zip(before[2:], after[2:], strict=True))
        return None if any(n % m for n, m in sizes) else tuple(n // m for n, m in sizes)

    # ---- what joins a path

    def _weights(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        faults = [*_weight_faults(module), *self._reuse_faults(module.weight)]
        if isinstance(module, nn.Linear) and len(self.shapes.get(node, (0, 0))) != 2:
            faults.append("receives maps, not rows; put nn.Flatten() before it.")
        if faults:
            for fault in faults:
                self._refuse(node, fault)
            return _unknown_source(node)
        if not self._is_ready(node, value):
            return _unknown_source(node)
        bias = getattr(module, "bias", None)
        bias = None if bias is None else bias.detach().double()
        op = Op(node.target, bare(module, module.weight.detach().double()))
        if value.scaled:
            return self._merged(node, value, op, bias)
        return Sum(value.with_op(op).paths, bias)

    def _merged(self, node: fx.Node, value: Sum, op: Op, bias: Tensor | None) -> Sum:
        """Weights behind a batch norm take its scale and shift into themselves."""
        (path,), layer = value.paths, op.module
        *ops, norm = path.ops
        if value.bias is not None and value.bias.any():
            if any(getattr(layer, "padding", (0, 0))):
                return self._refuse(
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

    def _batch_norm(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        if module.running_mean is None:
            return self._refuse(node, "measures each batch; use track_running_stats=True.")
        scale = (module.running_var.double() + module.eps).rsqrt()
        scale = scale if module.weight is None else scale * module.weight.detach().double()
        shift = -module.running_mean.double() * scale
        shift = shift if module.bias is None else shift + module.bias.detach().double()
        if not torch.isfinite(torch.stack([scale, shift])).all():
            return self._refuse(node, "has numbers that are NaN or infinite; train it again.")
        faults = self._reuse_faults(module.running_mean)
        if value.owed or value.flat or faults:
            text = "stands between a convolution and its Flatten or ReLU; put it right behind it."
            return self._refuse(node, (*faults, text)[0])
        self.folded.append(str(node.target))
        paths = tuple(_scaled(path, scale, str(node.target)) for path in value.paths)
        return Sum(paths, shift if value.bias is None else value.bias * scale + shift)

    def _average(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        if isinstance(module, nn.AdaptiveAvgPool2d) and self.shapes:
            window = self._window(node)
            if window is None:
                return self._refuse(node, "has windows of different sizes; use nn.AvgPool2d.")
            module = nn.AvgPool2d(window)
        faults = _pool_faults(module)
        if faults:
            return self._refuse(node, faults[0])
        if not value.raw and not value.scaled and not value.owed and len(value.paths) == 1:
            return self._refuse(node, "stands before a ReLU; put the ReLU before it.")
        if not self._is_ready(node, value):
            return _unknown_source(node)
        if value.bias is not None and value.bias.any() and not _keeps_constants(module):
            return self._refuse(node, "pads behind a batch norm; put the batch norm behind it.")
        return value.with_op(Op(self._name(node), copy.deepcopy(module)))

    def _flatten(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        last = len(self.shapes.get(node.all_input_nodes[0], (0, 0))) - 1
        if module.start_dim != 1 or module.end_dim not in (-1, last):
            return self._refuse(node, "flattens only some axes; use nn.Flatten().")
        if any(isinstance(op.module, (nn.Flatten, nn.Linear)) for op in value.paths[0].ops):
            return value  # flat already
        if value.raw:
            return value.with_op(Op(self._name(node), nn.Flatten()))
        return replace(value, flat=True)

    def _silent(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        if node.op == "call_module":
            self.dropped.append(str(node.target))
        return value

    def _softmax(self, node: fx.Node, module: nn.Module, value: Sum) -> Sum:
        if [user.op for user in node.users] != ["output"] or module.dim not in (1, -1, None):
            return self._unknown(node)
        self.dropped.append(self._name(node))
        return value

    def _add(self, node: fx.Node) -> Sum:
        terms = [self.values[n] if isinstance(n, fx.Node) else None for n in node.args]
        if None in terms or len(terms) != 2 or node.kwargs.get("alpha", 1) != 1:
            return self._refuse(node, "adds what is no branch; put a constant into a layer's bias.")
        a, b = terms
        shapes = [self.shapes.get(n) for n in node.args]
        if shapes[0] != shapes[1] or a.flat != b.flat:
            return self._refuse(node, "adds branches of different shapes; make them alike.")
        if not all(self._has_relu(node, term) for term in terms):
            return _unknown_source(node)
        biases = [term.bias for term in terms if term.bias is not None]
        return Sum(a.paths + b.paths, sum(biases) if biases else None, flat=a.flat)

    # ---- refusals

    def _is_ready(self, node: fx.Node, value: Sum) -> bool:
        """Whether a path may go on: weights have had their ReLU, and branches theirs."""
        if not self._has_relu(node, value):
            return False
        weighted = value.paths[0].weighted
        if len(value.paths) > 1:
            self.faults.append(
                f"{_label(self.root, node.all_input_nodes[0])} adds branches that no ReLU follows; "
                "add before the ReLU, or put nn.ReLU() behind the sum."
            )
        elif weighted:
            kind = type(weighted.module).__name__
            self.faults.append(
                f"Layer {weighted.name} ({kind}) has no ReLU after it; put nn.ReLU() there."
            )
        return len(value.paths) == 1 and not weighted

    def _has_relu(self, node: fx.Node, value: Sum) -> bool:
        if value.owed:
            self.faults.append(f"{value.owed} has no ReLU before or after it; put nn.ReLU() there.")
        return not value.owed

    def _check_branch(self, source: fx.Node) -> None:
        """Sums that are not yet neurons can lead to one place only."""
        value = self.values[source]
        users = [user for user in source.users if not asks_only(user)]
        text = f"{_label(self.root, source)} leads to several places without a ReLU; "
        text += "put nn.ReLU() before the branch."
        if len(users) > 1 and not (value.raw and not value.owed) and text not in self.faults:
            self.faults.append(text)

    def _reuse_faults(self, weight: Tensor) -> list[str]:
        """Weights in two places could not be balanced for both."""
        if id(weight) in self.used:
            return ["is used before; give each place a layer of its own."]
        self.used[id(weight)] = weight
        return []

    def _unknown(self, node: fx.Node) -> Sum:
        kind = function_name(node)
        if node.op == "call_module":
            kind = type(self.root.get_submodule(node.target)).__name__
        fix = _fix(kind)
        if fix:
            return self._refuse(node, f"cannot be converted: {fix}.")
        return self._refuse(node, f"is unknown here; use {_KNOWN}.")

    def _refuse(self, node: fx.Node, text: str) -> Sum:
        """Keep the fault, and go on as if neurons stood here."""
        self.faults.append(f"{_label(self.root, node)} {text}")
        return _unknown_source(node)

    def _is_unknown(self, value: Sum) -> bool:
        known = {INPUT, *(stage.name for stage in self.stages)}
        return any(path.source not in known for path in value.paths)


def _unknown_source(node: fx.Node) -> Sum:
    return Sum((Path(f"unknown {node.name}"),))


def _scaled(path: Path, scale: Tensor, name: str) -> Path:
    """A path whose end is multiplied, channel by channel."""
    synapse = path.synapse
    if synapse is None:
        op = Op(name, bare(ChannelScale(len(scale)), scale[:, None]))
        return Path(path.source, (*path.ops, op))
    layer = synapse.module
    op = Op(synapse.name, bare(layer, layer.weight * output_factors(scale, layer)))
    return Path(path.source, tuple(op if old is synapse else old for old in path.ops))


def _keeps_constants(pool: nn.Module) -> bool:
    """Whether the average of equal numbers is that number."""
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return True
    divisor = pool.divisor_override or window_area(pool)
    return pool.padding in (0, (0, 0)) and divisor == window_area(pool)


def _weight_faults(layer: nn.Module) -> list[str]:
    faults = []
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        faults.append(f'pads with "{layer.padding_mode}"; use padding_mode="zeros".')
    try:
        padding_of(layer) if isinstance(layer, nn.Conv2d) else None
    except ValueError as error:
        faults.append(f"has {error}; give a number of pixels.")
    if isinstance(layer.weight, nn.parameter.UninitializedParameter):
        return ["has no weights yet; show it one image first."]
    numbers = [p for p in (layer.weight, getattr(layer, "bias", None)) if p is not None]
    if not all(torch.isfinite(p).all() for p in numbers):
        faults.append("has weights that are NaN or infinite; train it again.")
    return faults


def _pool_faults(pool: nn.Module) -> list[str]:
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return []
    if pool.ceil_mode:
        return ["averages over cut-off windows; use ceil_mode=False."]
    if pool.padding not in (0, (0, 0)) and not pool.count_include_pad:
        return ["divides by another number at the border; use count_include_pad=True."]
    return []
