"""Arguments on their way to a student's function, and what the function changed in them.

Towards the student they are pickled: whoever unpickles there could run what they like
anyway. Back come only plain values, never a pickle. Both sides number the *parts* of the
arguments (lists, dicts, tensors, arrays, objects with attributes) in the same order, so
a reply can say "part 3 holds this now", or "the result is part 0 itself".
"""

import io
import pickle
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import numpy as np
import torch
from torch import nn

from .networks import refuse_methods
from .wire import NotPlainError, Reader, Writer

CLOSED = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, partial)
PLAIN = (
    type(None), bool, int, float, str, complex, bytes, bytearray, list, tuple, set, frozenset,
    dict, torch.Tensor, torch.dtype, np.ndarray, np.generic,
)  # fmt: skip
LIBRARY = {
    name: value
    for name, value in vars(nn).items()
    if isinstance(value, type) and issubclass(value, nn.Module)
}
Lend = Callable[[object], tuple | None]
Predicate = Callable[[object], bool]


class _Packer(pickle.Pickler):
    """Pickles all but tensors, and what is lent, which are numbered."""

    def __init__(self, file: io.BytesIO, lend: Lend) -> None:
        super().__init__(file, protocol=5)
        self.tensors: list[torch.Tensor] = []
        self._places: dict[int, int] = {}
        self._lend = lend

    def persistent_id(self, value: object) -> tuple | None:
        if not isinstance(value, torch.Tensor):
            return self._lend(value)
        if id(value) not in self._places:
            self._places[id(value)] = len(self.tensors)
            self.tensors.append(value)
        return "tensor", self._places[id(value)]


def pack(value: object, lend: Lend) -> dict[str, object]:
    """A value for the student's process; `lend` numbers what stays here."""
    file = io.BytesIO()
    packer = _Packer(file, lend)
    packer.dump(value)
    slopes = [t.grad if t.is_leaf else None for t in packer.tensors]
    return {"pickle": file.getvalue(), "tensors": packer.tensors, "slopes": slopes}


def unpack(content: dict[str, object], borrow: Callable[[str, int], object]) -> object:
    """What `pack` was given; only ever called in the student's process."""
    tensors = content["tensors"]
    for tensor, slope in zip(tensors, content["slopes"], strict=True):
        tensor.grad = slope

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, key: tuple[str, int]) -> object:
            return tensors[key[1]] if key[0] == "tensor" else borrow(*key)

    return Unpacker(io.BytesIO(content["pickle"])).load()


def parts(root: object, elsewhere: Predicate = lambda value: False) -> list:
    """What a function can change in its arguments, each once, in an order that both sides share.

    `elsewhere` tells which objects live in the other process.
    """
    found, seen = [], set()

    def visit(value: object) -> None:
        if id(value) in seen or isinstance(value, CLOSED) or elsewhere(value):
            return
        seen.add(id(value))
        inner = _inner(value)
        if inner is None:
            return
        if not isinstance(value, tuple):
            found.append(value)
        for child in inner:
            visit(child)

    visit(root)
    return found


def _inner(value: object) -> list | None:
    """What hangs on a value; None for one that nobody can change."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return []
    return list(vars(value).values()) if hasattr(value, "__dict__") else None


class PartWriter(Writer):
    """Knows parts of the arguments by their place, and networks by the library's classes."""

    def __init__(self, known: list, buffers: list[bytes] | None = None) -> None:
        super().__init__(buffers)
        self._places = {id(part): place for place, part in enumerate(known)}
        self._inside = 0  # objects, whose attributes need not all cross

    def special(self, value: object) -> list | None:
        """A part, a network, or in an object what is not plain."""
        if id(value) in self._places:
            return ["part", self._places[id(value)]]
        if isinstance(value, nn.Module) and _is_library(value):
            return ["object", [type(value).__name__, self.attributes(value)]]
        if self._inside and not isinstance(value, PLAIN):
            return ["opaque", type(value).__name__]
        return None

    def attributes(self, value: object) -> object:
        """All attributes of an object."""
        return self.content(dict(vars(value)))

    def content(self, value: object) -> object:
        """What a part holds; where something of it cannot cross, only its class."""
        self._inside += 1
        try:
            return self.bare(value)
        finally:
            self._inside -= 1


class States:
    """What each part of the arguments held, to tell afterwards what changed."""

    def __init__(self, known: list) -> None:
        self._parts = known
        self._before = [self._written(part) for part in known]

    def changes(self, buffers: list[bytes]) -> list:
        """``[place, state]`` of each part that holds something else now."""
        writer = PartWriter(self._parts, buffers)
        pairs = enumerate(zip(self._parts, self._before, strict=True))
        changed = [(n, part) for n, (part, before) in pairs if self._written(part) != before]
        return [[place, _state(part, writer)] for place, part in changed]

    def _written(self, part: object) -> tuple:
        writer = PartWriter(self._parts)
        return repr(_state(part, writer)), writer.buffers


def _state(part: object, writer: PartWriter) -> object:
    if isinstance(part, torch.Tensor):
        slope = part.grad if part.is_leaf else None
        return [writer.bare(part), None if slope is None else writer.bare(slope)]
    if isinstance(part, (list, dict, np.ndarray)):
        return writer.content(part)
    return writer.attributes(part)


def _is_library(value: nn.Module) -> bool:
    return LIBRARY.get(type(value).__name__) is type(value)


class Opaque:
    """Stands for an attribute that did not cross."""


def put(part: object, state: object, reader: Reader) -> None:
    """Give the judge's own part the state that the student's copy has now."""
    if isinstance(part, torch.Tensor):
        _put_tensor(
            part, reader.read(state[0]), None if state[1] is None else reader.read(state[1])
        )
        return
    new = reader.read(state)
    if isinstance(part, list) and isinstance(new, list):
        part[:] = new
    elif isinstance(part, dict) and isinstance(new, dict):
        _put_pairs(part, new)
    elif isinstance(part, np.ndarray) and isinstance(new, np.ndarray):
        part[...] = new
    elif hasattr(part, "__dict__") and isinstance(new, dict):
        refuse_methods(type(part), new.keys() - vars(part).keys())
        _put_pairs(vars(part), new)
    else:
        raise NotPlainError("a state of another kind")


def _put_tensor(part: torch.Tensor, new: object, slope: object) -> None:
    if not isinstance(new, torch.Tensor) or not isinstance(slope, torch.Tensor | None):
        raise NotPlainError("a state of another kind")
    if (part.shape, part.dtype) == (new.shape, new.dtype):
        part.data.copy_(new.data)
    else:
        part.data = new.data
    if part.is_leaf:
        part.requires_grad_(new.requires_grad)
        part.grad = slope


def _put_pairs(pairs: dict, new: dict) -> None:
    """Replace the pairs, but keep what could not cross as it was."""
    kept = {k: pairs[k] for k, v in new.items() if isinstance(v, Opaque) and k in pairs}
    known = {k: v for k, v in new.items() if not isinstance(v, Opaque)}
    order = {k: (kept | known)[k] for k in new if k in kept or k in known}
    pairs.clear()
    pairs.update(order)
