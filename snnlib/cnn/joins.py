"""Functions of several tensors: sums, joins, and arithmetic with constants (chapter 9).

A constant that is the same in each map is a scale or a shift, as of a batch norm.
"""

from dataclasses import replace

import torch
from torch import Tensor, fx

from snnlib.cnn.handlers import affine
from snnlib.cnn.signals import Signal, total
from snnlib.cnn.walking import Joins, Walk


def _terms(walk: Walk, node: fx.Node) -> list[Signal | Tensor | None]:
    """Both arguments: a signal, or a constant in float64, or None for anything else."""
    arguments = [*node.args, *(node.kwargs[k] for k in ("other",) if k in node.kwargs)]
    values = [walk.values.get(x) if isinstance(x, fx.Node) else None for x in arguments[:2]]
    return [v or walk.constant(x) for v, x in zip(values, arguments, strict=False)]


def _add(walk: Walk, node: fx.Node) -> Signal:
    return _sum(walk, node, 1.0)


def _subtract(walk: Walk, node: fx.Node) -> Signal:
    return _sum(walk, node, -1.0)


def _sum(walk: Walk, node: fx.Node, sign: float) -> Signal:
    """a + b, a - b, or with ``alpha``; each may be a constant."""
    alpha = walk.constant(node.kwargs.get("alpha", 1))
    terms = _terms(walk, node)
    if len(terms) != 2 or any(term is None for term in terms) or alpha is None:
        return walk.refuse(node, "adds what is no branch; leave it out and train it again.")
    factor, (a, b) = alpha * sign, terms
    if isinstance(a, tuple) and isinstance(b, tuple):
        return _branches(walk, node, a, _times(walk, node, b, factor))
    if isinstance(a, tuple):
        return _with_constants(walk, node, a, torch.ones(1), factor * b)
    return _with_constants(walk, node, b, factor, a)


def _branches(walk: Walk, node: fx.Node, a: Signal, b: Signal) -> Signal:
    shapes = {walk.shapes.get(n) for n in node.all_input_nodes}
    if len(shapes) > 1:
        return walk.refuse(
            node, "adds branches of different shapes; make them alike and train it again."
        )
    if not all(walk.has_relu(node, part) for part in (*a, *b)):
        return walk.refuse(node)
    same = len(a) == len(b) and (
        len(a) == 1 or [p.width for p in a] == [p.width for p in b] != [None] * len(a)
    )
    if not same:
        sums = [walk.one(node, signal) for signal in (a, b)]
        a, b = ((one,) for one in sums)
    return tuple(_pair(walk, node, p, q) for p, q in zip(a, b, strict=True))


def _pair(walk: Walk, node: fx.Node, p, q):
    """The sum of two parts; if a Flatten waits in one alone, neurons end the waiting."""
    if p.flat != q.flat:
        p, q = (walk.relay(node, one) if one.flat else one for one in (p, q))
    return total([p, q])


def _multiply(walk: Walk, node: fx.Node) -> Signal:
    return _product(walk, node, inverse=False)


def _divide(walk: Walk, node: fx.Node) -> Signal:
    return _product(walk, node, inverse=True)


def _product(walk: Walk, node: fx.Node, *, inverse: bool) -> Signal:
    terms = _terms(walk, node)
    signals = [term for term in terms if isinstance(term, tuple)]
    constants = [term for term in terms if isinstance(term, Tensor)]
    divided_by = inverse and not isinstance(terms[0], tuple)
    if len(signals) != 1 or len(constants) != 1 or divided_by or node.kwargs.get("rounding_mode"):
        return walk.unknown(node)
    factor = 1 / constants[0] if inverse else constants[0]
    if not torch.isfinite(factor).all():
        return walk.refuse(
            node,
            "divides by zero, or multiplies with what is no number; where it normalises, give "
            "every channel a standard deviation above 0 and train it again.",
        )
    return _with_constants(walk, node, signals[0], factor, torch.zeros(1))


def _negate(walk: Walk, node: fx.Node) -> Signal:
    (signal,) = (walk.values[n] for n in node.all_input_nodes)
    return _with_constants(walk, node, signal, -torch.ones(1), torch.zeros(1))


def _times(walk: Walk, node: fx.Node, signal: Signal, factor: Tensor) -> Signal:
    if factor == 1:
        return signal
    return _with_constants(walk, node, signal, factor, torch.zeros(1))


def _with_constants(
    walk: Walk, node: fx.Node, signal: Signal, scale: Tensor, shift: Tensor
) -> Signal:
    """A signal times its scale, plus its shift, both as they broadcast in ``forward``."""
    flat = any(part.is_flat for part in signal)
    numbers = [_of_channels(values.double(), flat) for values in (scale, shift)]
    if any(values is None for values in numbers):
        text = "has a constant that differs within a map; give one number for each channel, "
        text += "and train it again."
        return walk.refuse(node, text)
    if not all(torch.isfinite(values).all() for values in numbers):
        return walk.refuse(node, "has a constant that is NaN or infinite; give a number.")
    walk.arithmetic.append(walk.name(node))
    return affine(walk, node, *numbers, signal)


def _of_channels(values: Tensor, flat: bool) -> Tensor | None:
    """[C] or [1], of a tensor that is the same in each map: [C, 1, 1], say; None for others."""
    axis = -1 if flat else -3
    if values.numel() == 1:
        return values.reshape(1)
    if values.ndim < -axis or values.numel() != values.shape[axis]:
        return None
    return values.reshape(-1)


def _cat(walk: Walk, node: fx.Node) -> Signal:
    """Branches side by side along the channels: parts of one signal."""
    tensors = node.kwargs.get("tensors", node.args[0] if node.args else ())
    axis = node.kwargs.get("dim", node.kwargs.get("axis", node.args[1] if node.args[1:] else 0))
    signals = [walk.values.get(n) for n in tensors] if isinstance(tensors, (tuple, list)) else [0]
    if not all(signals):
        return walk.refuse(
            node, "joins what is no branch; join results of layers and train it again."
        )
    is_map = not any(part.is_flat for signal in signals for part in signal)
    if axis not in ((1, -3) if is_map else (1, -1)):
        text = f"joins along axis {axis}; join channels, torch.cat(..., 1), and train it again."
        return walk.refuse(node, text)
    if not is_map and not walk.shapes:
        return walk.refuse(node, "joins features whose number is not known; give input_shape.")
    parts = [
        replace(part, width=part.width or walk.shapes.get(n, (0, None))[1])
        if len(signal) == 1
        else part
        for n, signal in zip(tensors, signals, strict=True)
        for part in signal
    ]
    return tuple(parts)


JOINS: Joins = {  # by the name of the function
    "add": _add,
    "iadd": _add,
    "sub": _subtract,
    "isub": _subtract,
    "mul": _multiply,
    "imul": _multiply,
    "truediv": _divide,
    "itruediv": _divide,
    "div": _divide,
    "neg": _negate,
    "cat": _cat,
    "concat": _cat,
    "concatenate": _cat,
}
