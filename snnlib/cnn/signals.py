"""What is on its way to the next layer of neurons, while a network is read (chapter 9).

A call of a network gives a *signal*: one or more ``Sum``, joined along the channels.  Each is
an affine function of activations that are known already, and stays one until a ReLU makes
neurons of it.  It may therefore lead to several places: each takes a copy of its paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snnlib.cnn.graph import Op, Path, shifted
from snnlib.cnn.models import WEIGHTED
from snnlib.cnn.paths import extended, last_scale, placed, scaled


@dataclass(frozen=True)
class Sum:
    """Paths that add up.

    Attributes
    ----------
    paths : tuple of Path
    bias : Tensor [C] or None
        Added at their end.
    pending : tuple of Op
        What waits for a ReLU, because it may as well come after: max pools and upsampling.
    flat : bool
        A Flatten waits, to be done behind the ReLU or the weights' scale.
    width : int or None
        Channels, or features; None where only the images tell.
    """

    paths: tuple[Path, ...]
    bias: Tensor | None = None
    pending: tuple[Op, ...] = ()
    flat: bool = False
    width: int | None = None

    @property
    def raw(self) -> bool:
        """Whether it is the activations of one stage, perhaps pooled."""
        return len(self.paths) == 1 and self.nonnegative

    @property
    def nonnegative(self) -> bool:
        """Whether nothing is below zero, because it adds up activations as they are."""
        return self.bias is None and not any(path.synapse for path in self.paths)

    @property
    def weighted(self) -> bool:
        """Whether a convolution or linear layer is on the way."""
        return any(path.weighted for path in self.paths)

    @property
    def padded(self) -> bool:
        """Whether there is padding that no layer's weights have taken into themselves yet."""
        ops = [op for path in self.paths if not path.weighted for op in path.ops]
        return any(isinstance(op.module, nn.ConstantPad2d) for op in ops)

    @property
    def is_flat(self) -> bool:
        """Whether it has no rows and columns any more."""
        flat = (nn.Flatten, nn.Linear)
        return self.flat or any(isinstance(op.module, flat) for p in self.paths for op in p.ops)

    @property
    def factors(self) -> Tensor | None:
        """[C] or [1], by which a batch norm multiplied activations; None if that is not all."""
        (path, *others), last = self.paths, last_scale(self.paths[0])
        alone = not others and last and not path.weighted
        return last.module.weight[:, 0] if alone else None

    @property
    def placeable(self) -> bool:
        """Whether it can become some of the channels of a larger sum."""
        ends = [path.ops[-1] for path in self.paths if path.weighted]
        plain = all(
            isinstance(op.module, WEIGHTED) and getattr(op.module, "groups", 1) == 1 for op in ends
        )
        return plain and not self.pending and not self.flat

    def with_op(self, op: Op) -> "Sum":
        """With one more operation on maps that leaves channels apart, and zeros at zero."""
        return replace(self, paths=tuple(extended(path, op) for path in self.paths))

    def inside(self) -> "Sum":
        """The same with its bias inside of a path, where operations may follow that change it."""
        if self.bias is None:
            return self
        first, *others = self.paths
        last = last_scale(first)
        ones = torch.ones(len(self.bias), dtype=torch.float64)
        scale = last.module.weight[:, 0] * ones if last else ones
        ops = first.ops[:-1] if last else first.ops
        op = Op(last.name if last else "shift", shifted(scale, self.bias))
        return replace(self, paths=(Path(first.source, (*ops, op)), *others), bias=None)

    def flattened(self, op: Op, places: int) -> "Sum":
        """Behind a Flatten of so many places, where a channel has as many features."""
        paths = tuple(_flattened(path, op, places) for path in self.paths)
        bias = self.bias
        if bias is not None and len(bias) > 1:
            bias = bias.repeat_interleave(places)
        return replace(self, paths=paths, bias=bias)

    def scaled(self, scale: Tensor, name: str) -> "Sum":
        """Multiplied, channel by channel [C] or [1]."""
        paths = tuple(scaled(path, scale, name) for path in self.paths)
        return replace(self, paths=paths, bias=None if self.bias is None else self.bias * scale)

    def shifted(self, shift: Tensor) -> "Sum":
        """With numbers [C] added; none if all are zero and there was none."""
        if self.bias is None and not shift.any():
            return self
        return replace(self, bias=shift if self.bias is None else self.bias + shift)


Signal = tuple[Sum, ...]


def total(sums: Sequence[Sum]) -> Sum:
    """Several sums of the same shape as one.

    Parameters
    ----------
    sums : sequence of Sum
        None of them pending.

    Returns
    -------
    Sum
    """
    biases = [one.bias for one in sums if one.bias is not None]
    widths = [one.width for one in sums if one.width is not None]
    paths = tuple(path for one in sums for path in one.paths)
    bias, width = sum(biases) if biases else None, max(widths, default=None)
    return Sum(paths, bias, flat=sums[0].flat, width=width)


def widths(signal: Signal, channels: int) -> list[int] | None:
    """How many of so many channels or features belong to each part.

    Parameters
    ----------
    signal : Signal
    channels : int
        In all.

    Returns
    -------
    list of int or None
        None if that is not known.
    """
    if len(signal) == 1:
        return [channels]
    found = [part.width for part in signal]
    if found.count(None) == 1:
        rest = channels - sum(width for width in found if width is not None)
        found = [rest if width is None else width for width in found]
    if None in found or min(found) < 1 or channels % sum(found):
        return None
    return [width * (channels // sum(found)) for width in found]  # places of maps, flattened


def merged(signal: Signal, sizes: list[int]) -> Sum:
    """One sum instead of joined parts: weights with zeros for the channels of the others.

    Parameters
    ----------
    signal : Signal
        All placeable.
    sizes : list of int
        Channels of each part.

    Returns
    -------
    Sum
    """
    if len(signal) == 1:
        return signal[0]
    begins = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = []
    for part, begin, size in zip(signal, begins, sizes, strict=True):
        rows = torch.zeros(sum(sizes), size, dtype=torch.float64)
        rows[begin : begin + size] = torch.eye(size, dtype=torch.float64)
        paths = tuple(placed(path, rows, part.is_flat) for path in part.paths)
        bias = None if part.bias is None else rows @ part.bias.expand(size)
        parts.append(replace(part, paths=paths, bias=bias))
    return replace(total(parts), width=sum(sizes))


def _flattened(path: Path, op: Op, places: int) -> Path:
    last = last_scale(path)
    if last is None:
        return Path(path.source, (*path.ops, op))
    scale = last.module.weight[:, 0]
    scale = scale.repeat_interleave(places) if len(scale) > 1 else scale
    return Path(path.source, (*path.ops[:-1], op, Op(last.name, shifted(scale, None))))
