"""Take the calls of a network in order (chapter 9, *Lift the constraints*).

Each call joins what is on its way to the next layer of neurons, or closes that layer.  What
a kind of layer does is told by its handler, in ``snnlib.cnn.handlers``; here is what all kinds
share: the ends of the network, the layers of neurons so far, and what was refused.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import torch
from torch import Size, Tensor, fx, nn

from snnlib.cnn.calls import asks_only, function_name, label, layers_of
from snnlib.cnn.graph import INPUT, Graph, Op, Path, Stage
from snnlib.cnn.refusals import KNOWN, fix_of
from snnlib.cnn.signals import Signal, Sum, merged, widths

Handler = Callable[["Walk", fx.Node, nn.Module, Signal], Signal]
Layers = Sequence[tuple[type | tuple[type, ...], Handler]]
Joins = Mapping[str, Callable[["Walk", fx.Node], Signal]]


NEEDS_SHAPE = "joins features whose number is not known; give input_shape, [C, H, W]."


class Walk:
    """One walk through a network.

    Parameters
    ----------
    root : fx.GraphModule
        Every call of the network.
    shapes : dict of fx.Node to torch.Size
        What calls give; empty if that is not known.
    layers : sequence of tuple
        (kinds of layer, handler); the first that fits serves.
    joins : mapping of str to callable
        Handlers of functions of several tensors, by name.

    Attributes
    ----------
    values : dict of fx.Node to Signal or None
        What each call has become; None for a size or a constant.
    constants : dict of fx.Node to Tensor or float
        Parameters, and what is made of them.
    stages : list of Stage
    folded, dropped, arithmetic : list of str
        As of a ``Graph``.
    faults : list of str
        Everything that was refused.
    """

    def __init__(
        self, root: fx.GraphModule, shapes: dict[fx.Node, Size], layers: Layers, joins: Joins
    ) -> None:
        self.root, self.shapes, self.layers, self.joins = root, shapes, layers, joins
        self.values: dict[fx.Node, Signal | None] = {}
        self.constants: dict[fx.Node, Tensor | float] = {}
        self.stages: list[Stage] = []
        self.names: set[str] = set()
        self.folded: list[str] = []
        self.dropped: list[str] = []
        self.arithmetic: list[str] = []
        self.used: dict[int, Tensor] = {}  # parameters, which are not to be used again
        self.faults: list[str] = []

    def graph(self) -> Graph:
        """The stages, and everything that was refused in `faults`."""
        for node in self.root.graph.nodes:
            self.values[node] = self._value(node)
        lists = (self.folded, self.dropped, self.arithmetic)
        return Graph(tuple(self.stages), *map(tuple, lists))

    def _value(self, node: fx.Node) -> Signal | None:
        if node.op == "placeholder":
            return self._input(node)
        if node.op == "output":
            return self._output(node)
        signals = [n for n in node.all_input_nodes if self.values[n]]
        if not signals or asks_only(node):
            self._keep_constant(node)
            return None
        if node.op != "call_module" and function_name(node) in self.joins:
            return self.joins[function_name(node)](self, node)
        modules = self._modules(node) if len(signals) == 1 else None
        if modules is None:
            return self.unknown(node)
        value = self.values[signals[0]]
        for module in modules:
            value = self._handler(module)(self, node, module, value)
        return value

    def _keep_constant(self, node: fx.Node) -> None:
        """Parameters, and what is made of them, such as ``self.mean[None, :, None, None]``."""
        if any(n not in self.constants for n in node.all_input_nodes) or asks_only(node):
            return
        args, kwargs = (fx.node.map_arg(x, self.constants.get) for x in (node.args, node.kwargs))
        if node.op == "get_attr":
            self.constants[node] = reduce(getattr, node.target.split("."), self.root)
        elif node.op == "call_function":
            self.constants[node] = node.target(*args, **kwargs)
        elif node.op == "call_method":
            self.constants[node] = getattr(args[0], node.target)(*args[1:], **kwargs)

    def constant(self, value: object) -> Tensor | None:
        """A number of ``forward``, or a parameter, as float64; None for anything else."""
        value = self.constants.get(value) if isinstance(value, fx.Node) else value
        if isinstance(value, (bool, int, float)):
            return torch.tensor(float(value), dtype=torch.float64)
        return value.detach().double() if isinstance(value, Tensor) else None

    def _handler(self, module: nn.Module) -> Handler | None:
        return next((do for kinds, do in self.layers if isinstance(module, kinds)), None)

    def _modules(self, node: fx.Node) -> list[nn.Module] | None:
        """What is called, as layers of torch; None if it is unknown."""
        if node.op != "call_module":
            return layers_of(node, self.shapes)
        module = self.root.get_submodule(node.target)
        is_plain = not type(module).__module__.startswith("torch.ao")  # else: fake quantization
        return [module] if is_plain and self._handler(module) else None

    # ---- the ends

    def _input(self, node: fx.Node) -> Signal | None:
        if not any(node.op == "placeholder" for node in self.values):
            return (Sum((Path(INPUT),), width=self.shapes.get(node, (0, None))[1]),)
        if node.users:
            self.faults.append(f"The forward takes another input, {node.name}; give it only one.")
        return None

    def _output(self, node: fx.Node) -> None:
        last = node.args[0]
        if not isinstance(last, fx.Node) or not self.values[last]:
            self.faults.append("The forward returns something other than one tensor; return that.")
            return
        value = self.values[last]
        if len(self.shapes.get(last, (0, 0))) != 2:
            self.refuse(
                last,
                "gives maps, no row for each image; put nn.Flatten() behind it, or nn.Flatten() "
                "and nn.Linear, one output a class.",
            )
            return
        if self._is_unknown(value):
            return  # refused before
        if last.op == "placeholder" or (not self.stages and not any(p.weighted for p in value)):
            self.faults.append("The network has no layers; start from digit_cnn().")
        elif all(self.has_relu(last, part) for part in value):
            self.close(last, self._row(self.one(last, value)), "output")

    def _is_unknown(self, value: Signal) -> bool:
        known = {INPUT, *(stage.name for stage in self.stages)}
        return any(path.source not in known for part in value for path in part.paths)

    def _row(self, value: Sum) -> Sum:
        """With the Flatten that waits, as there is no ReLU for it to wait for."""
        if not value.flat:
            return value
        value = value.inside()
        op = Op("flatten", nn.Flatten())
        paths = tuple(Path(path.source, (*path.ops, op)) for path in value.paths)
        return replace(value, paths=paths, flat=False)

    # ---- layers of neurons

    def close(self, node: fx.Node, value: Sum, kind: str = "relu", **options) -> Sum:
        """Make a layer of neurons of what arrives; it goes on as its activations."""
        paths = sorted(value.paths, key=lambda path: path.weighted is None)  # weights first
        name = self.stage_name(node, paths[0])
        activations = self.append(Stage(name, tuple(paths), value.bias, kind, **options))
        activations = replace(activations, width=value.width)
        for op in value.pending:
            activations = self.pooled(activations, op)
        if value.flat:
            activations = activations.with_op(Op("flatten", nn.Flatten()))
        return activations

    def pooled(self, activations: Sum, op: Op) -> Sum:
        """The activations of a stage behind a max pool, which is a stage too, or upsampling."""
        if not isinstance(op.module, nn.modules.pooling._MaxPoolNd | nn.AdaptiveMaxPool2d):
            return activations.with_op(op)
        is_taken = any(stage.name == op.name for stage in self.stages)
        name = self.unique(op.name) if is_taken else op.name
        stage = Stage(name, activations.paths, kind="max", pool=op.module)
        return replace(self.append(stage), width=activations.width)

    def append(self, stage: Stage) -> Sum:
        """One stage more; it goes on as its activations."""
        if stage.name == INPUT:
            self.faults.append(f'Layer {INPUT} has the name of the image; call it "first".')
        self.stages.append(stage)
        self.names.add(stage.name)
        return Sum((Path(stage.name),))

    def relay(self, node: fx.Node, value: Sum) -> Sum:
        """Neurons for what no ReLU follows: a pair, of what is above and what is below zero.

        x = relu(x) - relu(-x), so that nothing changes but that there are more neurons.
        """
        node = next(iter(node.all_input_nodes), node)  # whose result they stand for
        if value.nonnegative:
            return self.close(node, value)
        above = self.close(node, value, is_part=True)
        minus = torch.full((1,), -1.0, dtype=torch.float64)
        below = self.close(node, value.scaled(minus, self.unique("minus")), is_part=True)
        below = below.scaled(minus, "minus")
        return replace(above, paths=above.paths + below.paths)

    def one(self, node: fx.Node, value: Signal, sizes: list[int] | None = None) -> Sum:
        """Joined parts as one sum."""
        if len(value) == 1:
            return value[0]
        parts = tuple(part if part.placeable else self.relay(node, part) for part in value)
        sizes = sizes or [part.width for part in parts]
        if None in sizes:
            return self.refuse(node, NEEDS_SHAPE)[0]
        return merged(parts, sizes)

    def sizes(self, node: fx.Node, value: Signal, channels: int) -> list[int] | None:
        """Channels or features of each part; refused where that is not known."""
        found = widths(value, channels)
        if found is None:
            self.refuse(node, NEEDS_SHAPE)
        return found

    def stage_name(self, node: fx.Node, path: Path) -> str:
        """Of the layer whose weights come first; a copy of these has a number behind it."""
        return self.unique(path.weighted.name) if path.weighted else self.name(node)

    def unique(self, name: str) -> str:
        """A name that no stage has: this one, or with a number behind it."""
        others = (f"{name}_{i}" for i in itertools.count(1))
        return next(n for n in itertools.chain([name], others) if n not in self.names)

    def name(self, node: fx.Node) -> str:
        """Of a layer without weights; it may be used more than once."""
        names = (str(node.target) if node.op == "call_module" else node.name, node.name)
        others = (f"{node.name}_{i}" for i in itertools.count(1))
        name = next(n for n in itertools.chain(names, others) if n not in self.names)
        self.names.add(name)
        return name

    # ---- refusals

    def refuse(self, node: fx.Node, *texts: str) -> Signal:
        """Keep the faults, and go on as if neurons stood here."""
        faults = [f"{label(self.root, node)} {text}" for text in texts]
        self.faults += [fault for fault in faults if fault not in self.faults]
        return (Sum((Path(f"unknown {node.name}"),)),)

    def unknown(self, node: fx.Node) -> Signal:
        """Refuse a kind of layer or function."""
        kind = function_name(node)
        if node.op == "call_module":
            kind = type(self.root.get_submodule(node.target)).__name__
        fix = fix_of(kind)
        if fix:
            return self.refuse(node, f"cannot be converted: {fix}.")
        return self.refuse(node, f"is unknown here; use {KNOWN}.")

    def has_relu(self, node: fx.Node, value: Sum) -> bool:
        """Whether a max pool that was taken before its ReLU has had it."""
        if value.pending:
            self.faults.append(
                f"Layer {value.pending[0].name} (max pool) has no ReLU before or after it; "
                "put nn.ReLU() there and train it again."
            )
        return not value.pending

    def reuse_faults(self, weight: Tensor) -> list[str]:
        """Weights in two places could not be balanced for both."""
        if id(weight) in self.used:
            return ["is used before; give each place a layer of its own, copy.deepcopy(layer)."]
        self.used[id(weight)] = weight
        return []
