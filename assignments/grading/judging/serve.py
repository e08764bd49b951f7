"""The student's side: answer the judge's calls until it hangs up.

Runs in the student's kernel, where anything may have been replaced. That harms nobody
else: what leaves here are plain values, and they are either right or wrong.
"""

import builtins
import socket
from contextlib import suppress

import torch

from .arguments import PLAIN, PartWriter, States, parts, unpack
from .surroundings import Surroundings, open_figures
from .wire import Line, NotPlainError, Writer


def serve(path: str, names: dict[str, object]) -> None:
    """Connect to the judge and do what it asks.

    Parameters
    ----------
    path
        The judge's socket.
    names
        The student's functions and values by name.
    """
    with socket.socket(socket.AF_UNIX) as connection, suppress(ConnectionError):
        connection.connect(path)
        _Server(Line(connection), names).wait()


class _Server:
    """Answers one connection, and keeps what the judge holds by number."""

    def __init__(self, line: Line, names: dict[str, object]) -> None:
        self._line, self._names = line, names
        self._around, self._last = Surroundings(), 0
        self.held: dict[int, object] = {}
        self.inputs: dict[int, list[torch.Tensor]] = {}

    def wait(self) -> dict:
        """Do what is asked, until what was asked for by this side arrives."""
        while True:
            message = self._line.receive_value()
            kind = message.pop("do")
            if kind == "answer":
                return message
            getattr(self, f"_{kind}")(**message)

    def hold(self, value: object) -> int:
        """Number an object that stays here."""
        self._last += 1
        self.held[self._last] = value
        return self._last

    # -- what the judge asks for ---------------------------------------------------------

    def _find(self, names: list[str]) -> None:
        """Which of these names there are, and whether they can be called."""
        here = [[name, callable(self._names[name])] for name in names if name in self._names]
        self._line.send({"names": here})

    def _fetch(self, name: str) -> None:
        self._reply(lambda: self._names[name])

    def _call(self, target, arguments, around, released, remote) -> None:
        """Call a function by its name, or one that the judge holds."""
        for number in released:
            self.held.pop(number, None)
            self.inputs.pop(number, None)
        values = unpack(arguments, self._borrow)
        held = {id(value) for value in self.held.values()}
        known = parts(values, lambda value: id(value) in held)
        self._around.take(around)
        function = self._names[target] if isinstance(target, str) else self.held[target]
        self._reply(lambda: function(*values[0], **values[1]), known, remote)

    def _get(self, target: int, name: str) -> None:
        self._reply(lambda: getattr(self.held[target], name), remote=True)

    def _slopes(self, number: int, slope: torch.Tensor) -> None:
        """Gradients of a result that the judge holds, for the arguments it was made of."""
        made = self.held[number], self.inputs[number], slope
        options = {"retain_graph": True, "allow_unused": True}
        self._reply(lambda: list(torch.autograd.grad(*made, **options)))

    def _reply(self, work, known: list = (), remote: bool = False) -> None:
        """Do the work; send its result or its error, and what it changed."""
        states, writer, reply = States(known), _ResultWriter(self, known, remote), {}
        try:
            result = work()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            reply["raise"] = _error(error)
        else:
            reply |= _written(result, writer)
        reply |= {"changes": states.changes(writer.buffers), "parts": len(known)}
        reply["around"] = Writer(writer.buffers).write(self._around.news())
        self._line.send(reply, writer.buffers)

    def _borrow(self, kind: str, number: int) -> object:
        """An object of this side, or a function that calls the judge back."""
        if kind == "held":
            return self.held[number]

        def lent(*positional, **named):
            writer = Writer()
            request = {"back": number, "arguments": _given(writer, [positional, named])}
            request["around"] = writer.write(self._around.news())
            self._line.send(request, writer.buffers)
            answer = self.wait()
            self._around.take(answer["around"])
            result = unpack(answer["value"], self._borrow)
            if answer["failed"]:
                raise result
            return result

        return lent


class _ResultWriter(PartWriter):
    """Writes a result: also figures, tensors with a graph, and what stays here."""

    def __init__(self, server: _Server, known: list, remote: bool) -> None:
        super().__init__(known)
        self._server, self._remote = server, remote
        self._tensors = [(n, p) for n, p in enumerate(known) if isinstance(p, torch.Tensor)]

    def special(self, value: object) -> list | None:
        found = super().special(value)
        if found or self._inside:
            return found
        if isinstance(value, torch.Tensor):
            return self._graph(value) or self._view(value)
        if type(value).__name__ == "Figure" and hasattr(value, "axes"):
            return self._figure(value)
        if self._remote and not isinstance(value, PLAIN):
            return ["held", [self._server.hold(value), type(value).__name__, callable(value)]]
        return None

    def _graph(self, value: torch.Tensor) -> list | None:
        if value.grad_fn is None:
            return None
        number = self._server.hold(value)
        self._server.inputs[number] = [p for _, p in self._tensors if p.requires_grad]
        return ["graph", [number, self.bare(value.detach())]]

    def _view(self, value: torch.Tensor) -> list | None:
        """A tensor that looks into an argument's memory."""
        for place, part in self._tensors:
            if _shares_memory(value, part):
                look = [list(value.shape), list(value.stride()), value.storage_offset()]
                return ["view", [place, *look]]
        return None

    def _figure(self, figure) -> list:
        from .figures import describe

        number = getattr(figure, "number", None)
        self._server.hold(figure)  # kept, so that no other gets its id
        shown = number if number in open_figures() else None
        return ["figure", [id(figure), shown, self.bare(describe(figure))]]


def _written(result: object, writer: Writer) -> dict:
    try:
        return {"value": writer.write(result)}
    except NotPlainError as refused:
        return {"refused": str(refused)}


def _given(writer: Writer, arguments: list) -> object:
    try:
        return writer.write(arguments)
    except NotPlainError as refused:
        raise TypeError(f"a {refused} was passed on, which exists only in the notebook") from None


def _shares_memory(value: torch.Tensor, part: torch.Tensor) -> bool:
    where = value.untyped_storage().data_ptr()
    return where != 0 and where == part.untyped_storage().data_ptr() and value.dtype == part.dtype


def _error(error: BaseException) -> list[str]:
    """The nearest class of Python's own, and the message."""
    own = [c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c]
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return [own[0], text if own[0] == type(error).__name__ else f"{type(error).__name__}: {text}"]
