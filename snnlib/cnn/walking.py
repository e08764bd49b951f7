"""Take the calls of a network in order (chapter 9, *Lift the constraints*).

Each call joins what is on its way to the next layer of neurons, or closes that layer.  What
a kind of layer does is told by its handler, in ``snnlib.cnn.handlers``; here is what all kinds
share: the ends of the network, the layers of neurons so far, and what was refused.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

from torch import Size, Tensor, fx, nn

from snnlib.cnn.calls import asks_only, function_name, label, layers_of
from snnlib.cnn.graph import INPUT, Graph, Op, Path, Stage, Sum
from snnlib.cnn.refusals import KNOWN, fix_of

Handler = Callable[["Walk", fx.Node, nn.Module, Sum], Sum]
Layers = Sequence[tuple[type | tuple[type, ...], Handler]]
Joins = Mapping[str, Callable[["Walk", fx.Node], Sum]]


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
    values : dict of fx.Node to Sum or None
        What each call has become; None for a size or a constant.
    stages : list of Stage
    folded, dropped : list of str
        As of a ``Graph``.
    faults : list of str
        Everything that was refused.
    """

    def __init__(
        self, root: fx.GraphModule, shapes: dict[fx.Node, Size], layers: Layers, joins: Joins
    ) -> None:
        self.root, self.shapes, self.layers, self.joins = root, shapes, layers, joins
        self.values: dict[fx.Node, Sum | None] = {}
        self.stages: list[Stage] = []
        self.names: set[str] = set()
        self.folded: list[str] = []
        self.dropped: list[str] = []
        self.used: dict[int, Tensor] = {}  # parameters, which are not to be used again
        self.faults: list[str] = []

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
        if node.op != "call_module" and function_name(node) in self.joins:
            return self.joins[function_name(node)](self, node)
        modules = self._modules(node) if len(signals) == 1 else None
        if modules is None:
            return self.unknown(node)
        value = self.values[signals[0]]
        for module in modules:
            value = self._handler(module)(self, node, module, value)
        return value

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
        if self._is_unknown(value) and "(Linear)" in label(self.root, last):
            return  # refused before, for another reason
        if last.op == "placeholder":
            self.faults.append("The network has no layers; start from digit_cnn().")
        elif value.raw or value.owed or not end or not isinstance(end.module, nn.Linear):
            self.refuse(last, "is the last layer; end with nn.Linear, one output a class.")
        elif len(self.shapes.get(last, (0, 0))) != 2:
            self.refuse(last, "gives no row for each image; put nn.Flatten() before it.")
        else:
            self.close(last, value, "output")

    def _is_unknown(self, value: Sum) -> bool:
        known = {INPUT, *(stage.name for stage in self.stages)}
        return any(path.source not in known for path in value.paths)

    # ---- layers of neurons

    def close(self, node: fx.Node, value: Sum, kind: str = "relu") -> Sum:
        """Make a layer of neurons of what arrives; it goes on as its activations."""
        paths = sorted(value.paths, key=lambda path: path.weighted is None)  # weights first
        first = paths[0].weighted
        name = first.name if first else self.name(node)
        activations = self.append(Stage(name, tuple(paths), value.bias, kind))
        return activations.with_op(Op("flatten", nn.Flatten())) if value.flat else activations

    def append(self, stage: Stage) -> Sum:
        """One stage more; it goes on as its activations."""
        if stage.name == INPUT:
            self.faults.append(f'Layer {INPUT} has the name of the image; call it "first".')
        self.stages.append(stage)
        return Sum((Path(stage.name),))

    def name(self, node: fx.Node) -> str:
        """Of a layer without weights; it may be used more than once."""
        names = (str(node.target) if node.op == "call_module" else node.name, node.name)
        others = (f"{node.name}_{i}" for i in itertools.count(1))
        name = next(n for n in itertools.chain(names, others) if n not in self.names)
        self.names.add(name)
        return name

    # ---- refusals

    def refuse(self, node: fx.Node, *texts: str) -> Sum:
        """Keep the faults, and go on as if neurons stood here."""
        self.faults += [f"{label(self.root, node)} {text}" for text in texts]
        return Sum((Path(f"unknown {node.name}"),))

    def unknown(self, node: fx.Node) -> Sum:
        """Refuse a kind of layer or function."""
        kind = function_name(node)
        if node.op == "call_module":
            kind = type(self.root.get_submodule(node.target)).__name__
        fix = fix_of(kind)
        if fix:
            return self.refuse(node, f"cannot be converted: {fix}.")
        return self.refuse(node, f"is unknown here; use {KNOWN}.")

    def is_ready(self, node: fx.Node, value: Sum) -> bool:
        """Whether a path may go on: weights have had their ReLU, and branches theirs."""
        if not self.has_relu(value):
            return False
        weighted = value.paths[0].weighted
        if len(value.paths) > 1:
            self.faults.append(
                f"{label(self.root, node.all_input_nodes[0])} adds branches that no ReLU follows; "
                "add before the ReLU, or put nn.ReLU() behind the sum."
            )
        elif weighted:
            kind = type(weighted.module).__name__
            self.faults.append(
                f"Layer {weighted.name} ({kind}) has no ReLU after it; put nn.ReLU() there."
            )
        return len(value.paths) == 1 and not weighted

    def has_relu(self, value: Sum) -> bool:
        """Whether a max pool that was taken before its ReLU has had it."""
        if value.owed:
            self.faults.append(f"{value.owed} has no ReLU before or after it; put nn.ReLU() there.")
        return not value.owed

    def reuse_faults(self, weight: Tensor) -> list[str]:
        """Weights in two places could not be balanced for both."""
        if id(weight) in self.used:
            return ["is used before; give each place a layer of its own."]
        self.used[id(weight)] = weight
        return []

    def _check_branch(self, source: fx.Node) -> None:
        """Sums that are not yet neurons can lead to one place only."""
        value = self.values[source]
        users = [user for user in source.users if not asks_only(user)]
        text = f"{label(self.root, source)} leads to several places without a ReLU; "
        text += "put nn.ReLU() before the branch."
        if len(users) > 1 and not (value.raw and not value.owed) and text not in self.faults:
            self.faults.append(text)
