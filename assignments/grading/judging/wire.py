"""Plain values as JSON and bytes: all that ever comes out of a student's process.

`Reader` can build None, bool, int, float, complex, str, bytes, list, tuple, dict, set,
torch tensors and numpy arrays of numbers, and what its `special` says. Nothing is
imported or called by a name that arrives. So an object that claims to equal everything
cannot arrive: its class does not exist here.

A message is two lengths, JSON, and the bytes of all tensors and arrays, one after
another. In the JSON, ``[kind, content]`` stands for whatever JSON itself has no word for.
"""

import json
import math
import socket
import struct
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

DTYPES = {
    str(d).removeprefix("torch."): d
    for d in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
        torch.complex64, torch.complex128,
    )
}  # fmt: skip
NUMPY_KINDS = "biufc"  # bool, whole numbers, floats, complex
DEEPEST, MOST_VALUES = 60, 2_000_000
LONGEST_TEXT, MOST_BYTES = 32 << 20, 512 << 20  # of one message
LENGTHS = struct.Struct("!QQ")
MOST_DIMENSIONS, LARGEST_DIMENSION = 32, 1 << 40

Maker = Callable[[object], object]


class NotPlainError(TypeError):
    """A value that cannot cross, or a message that no honest process sends."""


class Writer:
    """Writes values as JSON, and their numbers into `buffers`."""

    def __init__(self, buffers: list[bytes] | None = None) -> None:
        self.buffers: list[bytes] = [] if buffers is None else buffers
        self._depth = 0

    def special(self, value: object) -> object:
        """JSON of a value that is not written as usual; None for all others."""
        return None

    def write(self, value: object) -> object:
        """The JSON of a value, subclasses of plain types as their base.

        Raises
        ------
        NotPlainError
            With the name of a class that cannot cross.
        """
        special = self.special(value)
        return self.bare(value) if special is None else special

    def bare(self, value: object) -> object:
        """The same, but `special` is asked about what is inside only."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise NotPlainError(f"{type(value).__name__}, nested more than {DEEPEST} deep")
            return self._tagged(value)
        finally:
            self._depth -= 1

    def _tagged(self, value: object) -> object:
        for kind, base, content in self._kinds():
            if isinstance(value, base):
                return [kind, content(value)]
        for base in (int, float, str):
            if isinstance(value, base):
                return base.__str__(value) if base is str else base(value)
        raise NotPlainError(type(value).__name__)

    def _kinds(self) -> list[tuple[str, type, Maker]]:
        return [
            ("tensor", torch.Tensor, self._tensor),
            ("array", np.ndarray, self._array),
            ("number", np.generic, lambda value: self._array(np.asarray(value))),
            ("dtype", torch.dtype, lambda value: str(value).removeprefix("torch.")),
            ("complex", complex, lambda value: [value.real, value.imag]),
            ("bytes", (bytes, bytearray), self._buffer),
            ("list", list, self._items),
            ("tuple", tuple, self._items),
            ("set", (set, frozenset), self._items),
            ("dict", dict, lambda value: [self._items(pair) for pair in value.items()]),
        ]

    def _items(self, values: object) -> list:
        return [self.write(value) for value in values]

    def _buffer(self, data: bytes) -> int:
        self.buffers.append(bytes(data))
        return len(self.buffers) - 1

    def _tensor(self, value: torch.Tensor) -> list:
        if value.layout != torch.strided or value.device.type != "cpu":
            raise NotPlainError(f"{value.layout} tensor on {value.device}")
        name = str(value.dtype).removeprefix("torch.")
        if name not in DTYPES:
            raise NotPlainError(f"tensor of {value.dtype}")
        numbers = value.detach().resolve_conj().resolve_neg().reshape(-1).contiguous()
        raw = numbers.view(torch.uint8).numpy().tobytes()
        parameter = isinstance(value, torch.nn.Parameter)
        return [name, list(value.shape), self._buffer(raw), value.requires_grad, parameter]

    def _array(self, value: np.ndarray) -> list:
        if value.dtype.kind not in NUMPY_KINDS:
            raise NotPlainError(f"array of {value.dtype}")
        value = np.ma.getdata(value)
        little = value.astype(value.dtype.newbyteorder("<"))
        return [little.dtype.str, list(value.shape), self._buffer(little.tobytes())]


class Reader:
    """Builds values from JSON that may have been made to do harm.

    Parameters
    ----------
    buffers
        Bytes that the JSON refers to.
    """

    def __init__(self, buffers: list[bytearray]) -> None:
        self._buffers, self._depth, self._left = buffers, 0, MOST_VALUES
        self.kinds: dict[str, Maker] = {
            "tensor": self._tensor,
            "array": self._array,
            "number": lambda content: self._array(content)[()],
            "dtype": lambda content: _among(DTYPES, content),
            "complex": lambda content: complex(*_floats(content)),
            "bytes": lambda content: bytes(self._buffer(content)),
            "list": self._items,
            "tuple": lambda content: tuple(self._items(content)),
            "set": lambda content: set(self._items(content)),
            "dict": lambda content: dict(self._items(pair) for pair in _list(content)),
        }

    def read(self, tree: object) -> object:
        """The value that JSON stands for.

        Raises
        ------
        NotPlainError
            For whatever `Writer` would not have written.
        """
        self._depth, self._left = self._depth + 1, self._left - 1
        try:
            if self._depth > DEEPEST or self._left < 0:
                raise NotPlainError("a value nested too deeply, or of too many parts")
            if tree is None or type(tree) in (bool, int, float, str):
                return tree
            kind, content = _list(tree, 2)
            return _among(self.kinds, kind)(content)
        except NotPlainError:
            raise
        except (TypeError, ValueError, LookupError, OverflowError, RuntimeError) as wrong:
            raise NotPlainError(f"not a plain value: {wrong}"[:200]) from None
        finally:
            self._depth -= 1

    def _items(self, content: object) -> list:
        return [self.read(item) for item in _list(content)]

    def _buffer(self, place: object) -> bytearray:
        if type(place) is not int or not 0 <= place < len(self._buffers):
            raise NotPlainError("bytes that are not there")
        return self._buffers[place]

    def _tensor(self, content: object) -> torch.Tensor:
        name, shape, place, requires_grad, parameter = _list(content, 5)
        dtype, raw = _among(DTYPES, name), self._buffer(place)
        _check_size(shape, dtype.itemsize, raw)
        # a bool of another byte than 0 and 1 could be equal and unequal at once
        raw = bytearray(map(bool, raw)) if dtype is torch.bool else bytearray(raw)
        flat = (
            torch.frombuffer(raw, dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)
        )
        value = flat.view(dtype).reshape(shape)
        if parameter:
            return torch.nn.Parameter(value, bool(requires_grad))
        return value.requires_grad_(bool(requires_grad))

    def _array(self, content: object) -> np.ndarray:
        code, shape, place = _list(content, 3)
        dtype = np.dtype(str(code))
        if dtype.kind not in NUMPY_KINDS or dtype.str != code:
            raise NotPlainError(f"array of {code!r}"[:100])
        raw = self._buffer(place)
        _check_size(shape, dtype.itemsize, raw)
        if dtype.kind == "b":
            raw = bytearray(map(bool, raw))
        return np.frombuffer(bytearray(raw), dtype).reshape(shape)


def _list(content: object, length: int | None = None) -> list:
    if type(content) is not list or length not in (None, len(content)):
        raise NotPlainError("a list of another length was expected")
    return content


def _among(table: dict, name: object) -> object:
    if type(name) is not str or name not in table:
        raise NotPlainError(f"unknown: {name!r}"[:100])
    return table[name]


def _floats(content: object) -> list[float]:
    if any(type(part) is not float for part in _list(content, 2)):
        raise NotPlainError("a complex number of no numbers")
    return content


def _check_size(shape: object, itemsize: int, raw: bytearray) -> None:
    """Refuse a shape that its bytes do not fill exactly."""
    sides = _list(shape)
    good = all(type(side) is int and 0 <= side < LARGEST_DIMENSION for side in sides)
    good = good and math.prod(side or 1 for side in sides) <= MOST_BYTES
    if not good or len(sides) > MOST_DIMENSIONS or math.prod(sides) * itemsize != len(raw):
        raise NotPlainError("bytes that do not fill their shape")


class Line:
    """One end of a connection that carries messages: a dict of plain values each.

    Parameters
    ----------
    connection
        A connected socket.
    deadline
        When to give up [seconds of `time.monotonic`].
    """

    def __init__(self, connection: socket.socket, deadline: float = math.inf) -> None:
        self._socket, self._deadline = connection, deadline

    def send(self, tree: object, buffers: list[bytes] = ()) -> None:
        """Send JSON and bytes."""
        text = json.dumps([tree, [len(buffer) for buffer in buffers]]).encode()
        self._in_time()
        self._socket.sendall(b"".join([LENGTHS.pack(len(text), sum(map(len, buffers))), text]))
        for buffer in buffers:
            self._in_time()
            self._socket.sendall(buffer)

    def send_value(self, value: dict) -> None:
        """Send a plain value."""
        writer = Writer()
        self.send(writer.write(value), writer.buffers)

    def receive_value(self) -> dict:
        """The next message, sent by `send_value`."""
        tree, buffers = self.receive()
        return Reader(buffers).read(tree)

    def receive(self) -> tuple[object, list[bytearray]]:
        """The next message.

        Raises
        ------
        ConnectionError, TimeoutError, NotPlainError
            If the other side is gone, too slow, or sent something else.
        """
        text_length, rest = LENGTHS.unpack(self._exactly(LENGTHS.size))
        if text_length > LONGEST_TEXT or rest > MOST_BYTES:
            raise NotPlainError("a message that is too long")
        text, raw = self._exactly(text_length), self._exactly(rest)
        try:
            tree, lengths = json.loads(bytes(text))
            if any(type(n) is not int or n < 0 for n in lengths) or sum(lengths) != rest:
                raise NotPlainError("lengths that do not add up")
        except (ValueError, TypeError, RecursionError):
            raise NotPlainError("a message that is none") from None
        ends = np.cumsum([0, *lengths]).tolist()
        return tree, [raw[a:b] for a, b in pairwise(ends)]

    def _exactly(self, count: int) -> bytearray:
        data, got = bytearray(count), 0
        while got < count:
            self._in_time()
            size = self._socket.recv_into(memoryview(data)[got:])
            if not size:
                raise ConnectionError("the other side hung up")
            got += size
        return data

    def _in_time(self) -> None:
        if self._deadline == math.inf:
            return
        if (left := self._deadline - time.monotonic()) <= 0:
            raise TimeoutError("time is over")
        self._socket.settimeout(left)
