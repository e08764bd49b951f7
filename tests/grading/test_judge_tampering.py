"""What a student's process does to objects of the judge: no more than a test can forgive."""

import socket
from collections import OrderedDict
from contextlib import ExitStack, suppress
from functools import partial

import numpy as np
import pytest
import torch
from court import Court
from grading.judging.wire import Line
from grading.referee import JudgeError
from torch import nn

GIVEN = """
import numpy as np
import torch
from torch import nn
"""


@pytest.fixture(scope="module")
def court():
    court = Court([{"given": GIVEN}])
    yield court
    court.close()


# -- random generators -------------------------------------------------------------------


def only_zeros() -> None:
    """Put both generators into states from which nothing but zeros comes."""
    state = torch.get_rng_state()
    state[24 : 24 + 8 * 624] = 0
    torch.set_rng_state(state)
    np.random.set_state(("MT19937", np.zeros(624, np.uint32), 1, 0, 0.0))


DRAWS = {
    "torch": "nn.Linear(20, 20).weight.unique()",
    "numpy": "np.unique(np.random.rand(20))",
}


@pytest.mark.parametrize("library", DRAWS)
def test_what_a_test_draws_is_not_what_the_student_wants(court, library):
    def f():
        only_zeros()

    assert court.judge(f"f()\nassert len({DRAWS[library]}) == 1, 'varied'", f=f) == (
        "AssertionError: varied"
    )


# -- objects that say yes to everything --------------------------------------------------

ALWAYS_ONE = nn.Sequential(nn.Flatten(0), nn.Threshold(float("inf"), 1.0))


def holding(place: str, name: str) -> nn.Module:
    """A layer that holds a network that says 1, where none belongs."""
    made = nn.Identity()
    inside = vars(made)[place] if place else vars(made)
    inside[name] = ALWAYS_ONE
    return made


ODD = [
    ("", "equal"), ("", "_compiled_call_impl"), ("_parameters", "equal"), ("_buffers", "equal"),
    ("_modules", "equal"), ("_modules", "__torch_function__"), ("_forward_hooks", "equal"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "name"), ODD)
def test_no_object_arrives_that_equals_everything(court, place, name):
    source = "try:\n    f()\nexcept TypeError:\n    pass  # as no nn.Identity"
    assert "NotPlainError: a Identity with" in court.judge(source, f=lambda: holding(place, name))


@pytest.mark.parametrize("name", ["forward", "_call_impl", "__deepcopy__", "parameters"])
def test_no_network_of_the_judge_gets_another_method(court, name):
    def f(network):
        vars(network)[name] = nn.Identity()

    source = "try:\n    f(nn.Flatten())\nexcept TypeError:\n    pass"
    assert f"a Flatten with a '{name}' of its own" in court.judge(source, f=f)


@pytest.mark.parametrize("place", ["_parameters", "_buffers", "_forward_hooks"])
def test_no_network_of_the_judge_gets_a_layer_for_a_weight(court, place):
    def f(network):
        vars(network)[place]["weight"] = ALWAYS_ONE

    source = "try:\n    f(nn.Linear(1, 1))\nexcept TypeError:\n    pass"
    assert f"a Linear with something odd in '{place}'" in court.judge(source, f=f)


# torch.fx writes names of layers into the source of a function, whose lines it indents, but not
# what follows a carriage return
PROGRAM = ['x")', 'vars(__import__("torch"))["taken"] = True', "def rest():", "    pass  # "]
CODE = "\r".join(PROGRAM)
FOLLOW = """
from snnlib import check_constraints
network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))
try:
    network = f(network) or network
except TypeError:
    pass  # as a name is odd
check_constraints(network)
assert 'taken' not in vars(torch), 'code ran in the judge'
"""


def renamed(network: nn.Sequential) -> nn.Sequential:
    """The same layers, the first under a name that is a program."""
    return nn.Sequential(OrderedDict(zip([CODE, "last"], network, strict=True)))


def rename(network: nn.Sequential) -> None:
    """Give the first layer of the judge's own network such a name."""
    network._modules = renamed(network)._modules


@pytest.mark.parametrize("f", [renamed, rename])
def test_no_name_of_a_layer_becomes_code(court, f):
    error = court.judge(FOLLOW, f=f)
    assert error.startswith("NotPlainError: a Sequential with the name 'x")


@pytest.mark.parametrize("name", ["fc1", "0", "first layer", "größe", "conv-1"])
def test_an_ordinary_name_arrives(court, name):
    source = f"assert list(dict(f(nn.Sequential()).named_children())) == [{name!r}]"
    made = nn.Sequential(OrderedDict({name: nn.ReLU()}))
    assert court.judge(source, f=lambda network: made) == ""


# -- what stays in the judge -------------------------------------------------------------


def test_a_given_cell_that_fails_for_what_a_test_left_runs_in_a_new_judge():
    names = {"functions": ["f"], "classes": []}
    script = [
        {"name": "leaves", "test": "left = f()"} | names,
        {"given": "assert 'left' not in globals(), 'no room'"},
        {"name": "after", "test": "assert f() == 3"} | names,
    ]
    court = Court(script)
    assert [court.ask(name, {"f": lambda: 3}) for name in ("leaves", "after")] == ["", ""]
    court.close()


def fill_the_queue(kept: ExitStack, path: str) -> None:
    """Be accepted, then wait in all the places that there are."""
    sockets = (kept.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(100))
    first = next(sockets)
    first.connect(path)
    line = Line(first)
    line.receive()
    with suppress(BlockingIOError):
        for other in sockets:
            other.setblocking(False)
            other.connect(path)
    line.send({"names": []})


def test_nobody_waits_behind_connections_that_fill_the_queue(monkeypatch):
    monkeypatch.setattr("grading.referee.PATIENCE", 4)
    court = Court([{"given": "import signal"}], seconds=1)
    deaf = "signal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass"
    with ExitStack() as kept:
        assert "too long" in court.judge(deaf, partial(fill_the_queue, kept))
    assert court.judge("assert f() == 3", f=lambda: 3) == ""
    court.close()


HUGE = ["x.expand(1 << 40)", "torch.ones(1 << 30, 0)", "torch.ones(0, 1 << 20, 1 << 20)"]


@pytest.mark.parametrize("value", HUGE)
def test_no_tensor_arrives_that_is_larger_than_what_was_sent(court, value):
    error = court.judge("f(torch.ones(1)).sum()", f=eval(f"lambda x: {value}"))
    assert error.startswith("NotPlainError: ")


def test_a_given_cell_that_fails_by_itself_blames_no_student():
    step = {"name": "after", "test": "", "functions": [], "classes": []}
    court = Court([{"given": "1 / 0"}, step])
    with pytest.raises(JudgeError, match="a given cell failed: ZeroDivisionError"):
        court.ask("after", {})
    court.close()
