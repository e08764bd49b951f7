"""The judge's side: functions, classes and gradients whose work is done by the student.

To a test they look like what the student wrote. A call sends its arguments, waits for
the reply, repeats here what the function did to its arguments and to random generators,
and returns a value that this process built itself.
"""

import builtins
import math
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType

import torch
from torch import nn

from .arguments import LIBRARY, Opaque, pack, parts, put
from .networks import refuse_misplaced, refuse_odd_network
from .surroundings import Surroundings, open_figures
from .wire import MOST_BYTES, Line, NotPlainError, Reader

LONGEST_MESSAGE = 10_000
NEVER_RAISED = (StopIteration, StopAsyncIteration)  # would end a test's loop as if it were done
LIBRARIES = ("torch", "numpy", "snnlib", "matplotlib", "math", "functools", "copy")
ERRORS = {
    name: cls
    for name, cls in vars(builtins).items()
    if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, NEVER_RAISED)
}


class BrokenError(BaseException):
    """The line broke, or what came was forged: objects here may be half changed.

    No test catches this, so none goes on to use them.
    """


class Student:
    """The student's process at the other end of a line, for one test.

    Parameters
    ----------
    connection
        What the student's side connected to.
    deadline
        When the test must be over [seconds of `time.monotonic`].
    test
        Its source: a library's object arrives only where its class is named.
    """

    def __init__(self, connection: socket.socket, deadline: float, test: str) -> None:
        self._line, self.words = Line(connection, deadline), set(re.findall(r"\w+", test))
        self._around = Surroundings(secret=test)  # which no student's process ever sees
        self._lent: list[Callable] = []
        self.released: list[int] = []
        self.figures: dict[int, object] = {}
        self.broken = ""  # why no result can be trusted any more

    def names(self, functions: list[str], classes: list[str]) -> dict[str, object]:
        """What the student has under these names: proxies, and values that are none."""
        reply, _ = self._ask({"do": "find", "names": [*functions, *classes]})
        found = {}
        for name, is_callable in _checked(reply.get("names"), list):
            if name in classes:
                found[name] = remote_class(self, name)
            elif name in functions and is_callable:
                found[name] = self._function(name)
            elif name in functions:
                with suppress(TypeError):  # a value that cannot cross is as good as none
                    found[name] = self.request(name, {"do": "fetch", "name": name})
        return found

    def _function(self, name: str) -> FunctionType:
        def function(*positional, **named):
            return self.call(name, name, positional, named)

        function.__name__ = function.__qualname__ = name
        return function

    def call(self, name: str, target: str | int, positional, named, remote: bool = False) -> object:
        """Have the student's process call something, and return the result as a value of ours."""
        values = [positional, named]
        known = parts(values, lambda value: isinstance(value, Remote))
        message = {"do": "call", "target": target, "arguments": pack(values, self._lend)}
        message |= {"around": self._around.news(), "remote": remote}
        message["released"], self.released = self.released, []
        return self.request(name, message, known, remote)

    def request(self, name: str, message: dict, known: list = (), remote: bool = False) -> object:
        """Send a request, answer what is asked in between, read the reply."""
        reply, buffers = self._ask(message)
        with _Trouble(self):
            reader = _ResultReader(self, buffers, known, remote)
            for place, state in _checked(reply.get("changes"), list):
                put(known[place], state, reader)
            for part in known:
                if isinstance(part, nn.Module):
                    refuse_misplaced(part)
            self._around.take(_checked(reader.read(reply.get("around")), dict))
            if reply.get("parts") != len(known):
                raise NotPlainError("arguments that are numbered otherwise")
        if "raise" in reply:
            raise _error(*_checked(reply["raise"], list))
        if "refused" in reply:
            raise TypeError(
                f"{name} returned a {str(reply['refused'])[:100]}, which exists only in the "
                "notebook: return numbers, text, lists, tensors, arrays or a figure"
            )
        with _Trouble(self, NotPlainError):
            return reader.result(name, reply.get("value"))

    def _ask(self, message: dict) -> tuple[dict, list[bytearray]]:
        if self.broken:
            raise ConnectionError(self.broken)
        with _Trouble(self):
            self._line.send_value(message)
            while True:
                reply, buffers = self._line.receive()
                if "back" not in _checked(reply, dict):
                    return reply, buffers
                self._line.send_value(self._called_back(reply, buffers))

    def _called_back(self, request: dict, buffers: list[bytearray]) -> dict:
        """Call a function of the test that the student's function was given."""
        function = self._lent[_checked(request["back"], int)]
        reader = Reader(buffers)
        self._around.take(_checked(reader.read(request.get("around")), dict))
        positional, named = reader.read(request.get("arguments"))
        try:
            result, failed = function(*positional, **named), False
        except Exception as error:
            result, failed = error, True
        answer = {"do": "answer", "value": pack(result, self._lend), "failed": failed}
        return answer | {"around": self._around.news()}

    def _lend(self, value: object) -> tuple | None:
        """Number what stays here: functions of the test; and what is the student's anyway."""
        if isinstance(value, Remote):
            return "held", object.__getattribute__(value, "_number")
        if isinstance(value, FunctionType) and not _is_library(value):
            self._lent.append(value)
            return "lent", len(self._lent) - 1
        return None


class _Trouble:
    """Ends the test if the line breaks, or if what comes is none of ours."""

    def __init__(self, student: Student, kind: type = BaseException) -> None:
        self._student, self._kind = student, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, self._kind) and not self._student.broken:
            self._student.broken = f"{kind.__name__}: {error}"[:300]
        if isinstance(error, self._kind) and isinstance(error, Exception):
            raise BrokenError(self._student.broken) from None


class _ResultReader(Reader):
    """Reads results: also arguments themselves, figures, networks, and tensors with a graph."""

    def __init__(self, student: Student, buffers: list, known: list, remote: bool) -> None:
        super().__init__(buffers)
        self._student, self._known, self._name = student, known, "a function"
        self._inside = True  # in what changed; in a result only in its networks
        self.kinds |= {
            "part": self._part, "opaque": lambda content: Opaque(), "object": self._object,
            "view": self._view, "graph": self._graph, "figure": self._figure,
        }  # fmt: skip
        if remote:
            self.kinds["held"] = self._held

    def result(self, name: str, tree: object) -> object:
        """What a function of this name returned."""
        self._name, self._inside = name, False
        return self.read(tree)

    def _part(self, place: object) -> object:
        if type(place) is not int or not 0 <= place < len(self._known):
            raise NotPlainError("an argument that is not there")
        return self._known[place]

    def _object(self, content: object) -> object:
        """A network: its class is one of torch's, its attributes are plain."""
        name, attributes = content
        if name not in LIBRARY or not (self._inside or name in self._student.words):
            raise NotPlainError(f"{self._name} returned a {name}"[:200])
        outside, self._inside = self._inside, True
        pairs = _checked(self.read(attributes), dict)
        self._inside = outside
        made = LIBRARY[name].__new__(LIBRARY[name])
        vars(made).update({k: v for k, v in pairs.items() if not isinstance(v, Opaque)})
        refuse_odd_network(made)
        return made

    def _view(self, content: object) -> torch.Tensor:
        place, shape, strides, offset = content
        part = _checked(self._part(place), torch.Tensor)
        sides = [*shape, *strides, offset]
        if any(type(n) is not int or n < 0 for n in sides) or len(shape) != len(strides):
            raise NotPlainError("a view of nothing")
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if math.prod(shape) * part.itemsize > MOST_BYTES:
            raise NotPlainError("a view that is too large")
        if 0 not in shape and last >= part.numel():
            raise NotPlainError("a view that looks beyond its tensor")
        if part.is_contiguous():
            return part.detach().as_strided(shape, strides, part.storage_offset() + offset)
        return part.detach().reshape(-1).as_strided(shape, strides, offset)

    def _graph(self, content: object) -> torch.Tensor:
        number, value = content
        inputs = [p for p in self._known if isinstance(p, torch.Tensor) and p.requires_grad]
        value = _checked(self.read(value), torch.Tensor)
        if not inputs:
            return value.requires_grad_()
        return _Graph.apply(_Held(self._student, number), value, *inputs)

    def _figure(self, content: object) -> object:
        """A figure, the same one if the student's is; pyplot's if it was left open."""
        import matplotlib.pyplot as plt

        from .figures import build

        name, number, description = content
        figure = self._student.figures.get(name)
        if figure is None:
            figure = plt.figure(number) if number in open_figures() else plt.Figure()
        figure.clear()
        self._student.figures[name] = figure
        try:
            return build(self.read(description), figure)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as wrong:
            raise NotPlainError(f"no figure: {wrong}"[:200]) from None

    def _held(self, content: object) -> object:
        number, name, is_callable = content
        cls = RemoteFunction if is_callable else Remote
        return type(str(name)[:100], (cls,), {})(self._student, number)


class _Held:
    """A result that the student's process keeps until nobody here needs it."""

    def __init__(self, student: Student, number: int) -> None:
        self.student, self.number = student, number

    def __del__(self) -> None:
        self.student.released.append(self.number)


class _Graph(torch.autograd.Function):
    """A result of the student, differentiated in the student's process."""

    @staticmethod
    def forward(ctx, held: _Held, value: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.held, ctx.inputs = held, inputs
        return value.clone()

    @staticmethod
    def backward(ctx, slope: torch.Tensor) -> tuple:
        student = ctx.held.student
        message = {"do": "slopes", "number": ctx.held.number, "slope": slope}
        slopes = _checked(student.request("backward", message), list)
        for part, one in zip(ctx.inputs, slopes, strict=True):
            if one is not None and (_checked(one, torch.Tensor).shape != part.shape):
                raise TypeError("a gradient of another shape")
        return (None, None, *slopes)


class Remote:
    """An object of a student's class; its attributes are fetched, its methods called."""

    def __init__(self, student: Student, number: int) -> None:
        object.__setattr__(self, "_student", student)
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        message = {"do": "get", "target": self._number, "name": name}
        return self._student.request(name, message, remote=True)


class RemoteFunction(Remote):
    """A function that only the student's process can call."""

    def __getattr__(self, name: str) -> object:
        raise AttributeError(name)

    def __call__(self, *positional, **named) -> object:
        """Have the student's process call it."""
        name = type(self).__name__
        return self._student.call(name, self._number, positional, named, remote=True)


def remote_class(student: Student, name: str) -> type:
    """A class under this name whose instances live in the student's process."""

    class Class(Remote):
        def __new__(cls, *positional, **named) -> Remote:
            made, answer = object.__new__(cls), student.call(name, name, positional, named, True)
            Remote.__init__(made, student, object.__getattribute__(answer, "_number"))
            return made

        def __init__(self, *positional, **named) -> None:
            pass

    Class.__name__ = Class.__qualname__ = name
    return Class


def _is_library(function: FunctionType) -> bool:
    """Whether the student's process has this function too."""
    return str(function.__module__).partition(".")[0] in LIBRARIES


def _checked(value: object, kind: type) -> object:
    if not isinstance(value, kind):
        raise NotPlainError(f"a {kind.__name__} was expected, not {type(value).__name__}")
    return value


def _error(name: object, text: object) -> Exception:
    """An error of Python's own that says what the student's said."""
    text = str(text)[:LONGEST_MESSAGE]
    try:
        return ERRORS[name](text)
    except (KeyError, TypeError):
        return RuntimeError(f"{name}: {text}"[:LONGEST_MESSAGE])
