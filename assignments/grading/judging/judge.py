"""The process that decides: it runs the tests, and the student's process only answers.

**Principle.** A test's source never enters the student's process, and nothing that
decides points is computed there. From there, only plain values arrive (`wire`). So
whatever a submission patches in its own process, an answer of its functions is a number,
a tensor, a text or a figure, which is right or wrong.

The grader speaks to this process through its stdin and stdout, a line of JSON each way::

    {"given": source}                                  -> {"error": ""}
    {"test": source, "functions": [...], "classes": [...], "seconds": 20}
        -> {"ready": socket}, {"error": "", "served": true}

**What remains possible**, and why it is accepted:

- A function sees the inputs that hidden tests give it, as it must to answer. A submission
  could print them into its own outputs. Change numbers and inputs from year to year.
- A function may look up answers for inputs that it has met before, for example in visible
  tests. That is why hidden tests use others.
- A function may change its arguments, and that happens here as well, as tests check it.
  A test must therefore not compare with a value that it handed over before: it clones
  first. `tests/grading/test_judge_masters.py` tries each master with functions that erase them.
- An object of a student's own class (assignment 4) stays in the student's process. Its
  attributes and results are plain values or functions, never an object to compare with.
- A network of torch's own layers arrives where the test names its class. Its attributes
  are plain, yet it does what these attributes say, as it would for anybody.
- A test sees that a function moved a global random generator, but what it draws itself
  afterwards is never the student's choice (`surroundings`). It seeds again where that matters.
- Tests that time a function, or that read a file it wrote, cannot be judged here.
"""

import copy
import json
import os
import secrets
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from .proxies import BrokenError, Student

VALUES = (torch.Tensor, torch.nn.Module, np.ndarray, list, dict)
LONGEST = 4000  # characters of an error
GRACE = 3  # seconds after the grader has interrupted the student's kernel


class TestTimeoutError(BaseException):
    """A test's time is over; no test catches this by accident."""


class Judge:
    """A notebook's namespace, in which given cells and tests run in their order.

    Parameters
    ----------
    folder
        Where sockets are made; the student's process can only read it.
    """

    def __init__(self, folder: Path) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config({"HistoryManager": {"enabled": False}})
        self._folder, self._shell = folder, InteractiveShell.instance(config=config)
        self._shell.showtraceback = self._shell.showsyntaxerror = lambda *a, **k: None

    def given(self, source: str) -> str:
        """Run a cell that every student was given; return its error."""
        error = self._run(source)
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            pyplot.close("all")  # as a notebook does after each cell
        return error

    def test(self, listening: socket.socket, order: dict) -> dict[str, object]:
        """Wait for the student's process, run a test against it, return what came of it."""
        self._served = False
        return {"error": self._tested(listening, order), "served": self._served}

    def _tested(self, listening: socket.socket, order: dict) -> str:
        deadline = time.monotonic() + order["seconds"] + GRACE
        signal.setitimer(signal.ITIMER_REAL, order["seconds"] + GRACE)
        try:
            with listening, listening.accept()[0] as connection:
                return self._judge(Student(connection, deadline, order["test"]), order)
        except (TestTimeoutError, OSError) as error:
            return f"{type(error).__name__}: no answer in time"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _judge(self, student: Student, order: dict) -> str:
        """Run a test, and leave the values of given cells as they were before.

        Otherwise a function could spoil what later tests compare with.
        """
        names = self._shell.user_ns
        before = {name: value for name, value in names.items() if _is_value(name, value)}
        kept = copies(before)
        try:
            return self._ask(student, order)
        finally:
            names |= {n: kept[n] for n in kept if names.get(n) is before[n]}

    def _ask(self, student: Student, order: dict) -> str:
        for name in [*order["functions"], *order["classes"]]:
            self._shell.user_ns.pop(name, None)
        try:
            self._shell.user_ns |= student.names(order["functions"], order["classes"])
        except (Exception, BrokenError) as error:  # whatever a forged answer can cause
            return f"ConnectionError: the notebook gave no answer ({error})"
        self._served = True
        error = self._run(order["test"])
        return student.broken or error

    def _run(self, source: str) -> str:
        result = self._shell.run_cell(source, silent=True)
        error = result.error_before_exec or result.error_in_exec
        return "" if error is None else _text(error)

    def listen(self) -> tuple[str, socket.socket]:
        """A new socket that nobody knows yet."""
        path = self._folder / secrets.token_hex(8)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        path.chmod(0o777)  # the student's process is another user
        listening.listen(1)
        return str(path), listening


def copies(values: dict[str, object]) -> dict[str, object]:
    """Copies that share among each other what the values share; those that can be made."""
    memo: dict[int, object] = {}
    made = {}
    for name, value in values.items():
        with suppress(Exception):
            made[name] = copy.deepcopy(value, memo)
    return made


def _is_value(name: str, value: object) -> bool:
    of_the_library = type(value).__module__.startswith("snnlib")
    return not name.startswith("_") and (of_the_library or isinstance(value, VALUES))


def _text(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"[:LONGEST]
    return text.encode("utf-8", "replace").decode()  # no half characters


def main(folder: Path) -> None:
    """Do what the grader says, line by line."""
    out = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)

    def say(**line: object) -> None:
        print(json.dumps(line), file=out, flush=True)

    def over(*_: object) -> None:
        raise TestTimeoutError

    signal.signal(signal.SIGALRM, over)
    judge = Judge(folder)
    for line in sys.stdin:
        order = json.loads(line)
        if "given" in order:
            say(error=judge.given(order["given"]))
            continue
        path, listening = judge.listen()
        say(ready=path)
        say(**judge.test(listening, order))
        with suppress(OSError):
            os.unlink(path)
