"""The judge sees a student's functions as if they were in its own process, and no more."""

import json
import socket
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from court import Court
from grading.judging.wire import LENGTHS, Line
from torch import nn

GIVEN = """
%xmode Minimal
import copy, math
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
"""


@pytest.fixture(scope="module")
def court():
    court = Court([{"given": GIVEN}])
    yield court
    court.close()
    plt.close("all")


# -- as in one process -------------------------------------------------------------------


def test_a_right_answer_passes_and_a_wrong_one_does_not(court):
    source = "assert double(torch.ones(2)).tolist() == [2, 2], 'two ones'"
    assert court.judge(source, double=lambda x: 2 * x) == ""
    assert court.judge(source, double=lambda x: 3 * x) == "AssertionError: two ones"


def test_names_that_are_missing_or_no_functions(court):
    assert court.judge("f()", f=3) == "TypeError: 'int' object is not callable"
    court.judge("f()", f=lambda: 1)
    name = court.script[-1]["name"]
    assert court.ask(name, {}) == "NameError: name 'f' is not defined"
    assert court.judge("assert limit == [1, 2]", limit=[1, 2]) == ""


class OwnError(ValueError):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("layer conv7"), "ValueError: layer conv7"),
        (OwnError("layer conv7"), "ValueError: OwnError: layer conv7"),
        (NotImplementedError("not solved yet"), "NotImplementedError: not solved yet"),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("half \ud800"), "ValueError: half ?"),
        (SystemExit(3), "RuntimeError: SystemExit: 3"),
        (StopIteration("done"), "RuntimeError: StopIteration: done"),
        (UnicodeDecodeError("utf8", b"", 0, 1, "x"), "RuntimeError: UnicodeDecodeError"),
    ],
)
def test_errors_come_back_as_pythons_own(court, error, expected):
    def f():
        raise error

    assert court.judge("f()", f=f).startswith(expected)


def test_a_loop_cannot_be_ended_by_the_function_it_calls(court):
    def f(x):
        raise StopIteration

    source = "assert all(x == 1 for x in map(f, [1, 2]))"
    assert court.judge(source, f=f).startswith("RuntimeError: StopIteration")


def test_what_a_function_does_to_its_arguments(court):
    def f(numbers, pairs, tensor, array, network):
        numbers.append(torch.ones(1))
        del pairs["a"]
        pairs["b"] = numbers
        tensor.add_(1)
        array[0] = 7
        network.train(False)
        network.weight.data.zero_()
        network.weight.grad = torch.ones(1, 1)
        network.added = nn.ReLU()

    source = """
numbers, pairs, tensor, array = [1], {"a": 1, "c": 3}, torch.zeros(2), np.zeros(2)
network = nn.Linear(1, 1, bias=False)
f(numbers, pairs, tensor, array, network)
assert len(numbers) == 2 and numbers[1].tolist() == [1]
assert list(pairs) == ["c", "b"] and pairs["b"] is numbers
assert tensor.tolist() == [1, 1] and array.tolist() == [7, 0]
assert not network.training and network.weight.item() == 0
assert isinstance(network.weight, nn.Parameter) and network.weight.grad.item() == 1
assert type(network.added) is nn.ReLU
"""
    assert court.judge(source, f=f) == ""


def test_a_function_that_changes_nothing(court):
    source = """
network, images = nn.Linear(2, 2), torch.rand(3, 2)
state, before = copy.deepcopy(network.state_dict()), images.clone()
mark = network.mark = np.random.RandomState(1)
out = f(network, images)
assert torch.equal(out, network(images)) and torch.equal(images, before)
assert network.mark is mark
assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
"""
    assert court.judge(source, f=lambda n, x: n(x)) == ""


def test_results_that_are_arguments_or_look_into_their_memory(court):
    source = """
x = torch.arange(6.0)
assert same(x) is x and same([x])[0] is x
part = tail(x)
part.zero_()
assert x.tolist() == [0, 1, 2, 3, 0, 0], x
square = grid(x)
square[0, 1] = 9
assert x[3] == 9
wide = torch.arange(10.0)[::2]
tail(wide)
copy_ = copied(x)
copy_.zero_()
assert x[3] == 9
"""
    functions = {"same": lambda x: x, "tail": lambda x: x[4:], "copied": lambda x: x.clone()}
    assert court.judge(source, grid=lambda x: x.view(2, 3).T, **functions) == ""


def test_random_generators_are_the_same_on_both_sides(court):
    source = """
torch.manual_seed(3), np.random.seed(3)
mine = torch.rand(1).item(), np.random.rand()
torch.manual_seed(3), np.random.seed(3)
assert draw() == mine
state = torch.get_rng_state().tolist(), str(np.random.get_state())
quiet()
assert (torch.get_rng_state().tolist(), str(np.random.get_state())) == state
draw()
assert torch.get_rng_state().tolist() != state[0] and str(np.random.get_state()) != state[1]
"""

    def draw():
        return torch.rand(1).item(), float(np.random.rand())

    def quiet():
        return torch.rand(1, generator=torch.Generator().manual_seed(1))

    assert court.judge(source, draw=draw, quiet=quiet) == ""


def test_functions_of_the_test_are_called_back(court):
    source = """
seen = []
def neuron(x, scale=1):
    seen.append(x.clone())
    assert x.ndim == 1, f"one axis, not {x.ndim}"
    return x * scale, other(x)
def nested(x):
    return apply(lambda y: (y + 1,), x)
both = apply(partial(neuron, scale=3), torch.ones(2))
assert [part.tolist() for part in both] == [[3, 3], [5, 5]]
assert len(seen) == 1 and seen[0].tolist() == [1, 1]
assert apply(nested, torch.ones(1))[0].item() == 2
assert apply(math.sqrt, 4) == 2
apply(neuron, torch.ones(1, 1))
"""
    names = {"apply": lambda f, x: f(x), "other": lambda x: 5 * x}
    error = court.judge("from functools import partial\n" + source, **names)
    assert error == "AssertionError: one axis, not 2"


def test_gradients_reach_the_judges_network(court):
    def loss(network, images, strength):
        return network(images).square().mean() + strength * network.weight.abs().sum()

    source = """
def reference(network, images, strength):
    return network(images).square().mean() + strength * network.weight.abs().sum()
torch.manual_seed(0)
one, images = nn.Linear(3, 2), torch.rand(4, 3)
two = copy.deepcopy(one)
optimizers = [torch.optim.SGD(n.parameters(), lr=0.1, momentum=0.9) for n in (one, two)]
for _ in range(3):
    for network, f, optimizer in zip((one, two), (loss, reference), optimizers):
        optimizer.zero_grad()
        value = f(network, images, 0.5)
        assert list(value.shape) == [] and value.requires_grad
        value.backward()
        optimizer.step()
    assert torch.allclose(one.weight, two.weight) and torch.allclose(one.bias, two.bias)
assert not loss(one, images, 0.5).detach().requires_grad
"""
    assert court.judge(source, loss=loss) == ""


class Encoder:
    constant = False

    def __init__(self, cycle):
        self.cycle = cycle

    def stream(self, images):
        levels = (images * self.cycle).round()
        return lambda step: (levels == step).float()


def test_objects_of_the_students_own_class(court):
    source = """
encoder = Encoder(4)
assert encoder.constant is False and encoder.cycle == 4
assert isinstance(encoder, Encoder) and type(encoder).__name__ == "Encoder"
assert not hasattr(encoder, "nothing")
stream = encoder.stream(torch.tensor([0.25, 0.5]))
assert callable(stream)
assert stream(1).tolist() == [1, 0] and stream(2).tolist() == [0, 1]
"""
    assert court.judge(source, classes=["Encoder"], Encoder=Encoder) == ""


def leave_open():
    figure, axes = plt.subplots()
    axes.plot([1, 2], [3, 4], label="line")
    return figure


def close():
    figure = leave_open()
    plt.close(figure)
    return figure


def test_figures_that_stay_open_are_closed_or_drawn_again(court):
    source = """
before = plt.get_fignums()
figure = close()
assert isinstance(figure, plt.Figure) and plt.get_fignums() == before
assert not plt.fignum_exists(getattr(figure, "number", -1))
figure = leave_open()
assert len(plt.get_fignums()) == len(before) + 1 and plt.fignum_exists(figure.number)
assert figure.axes[0].lines[0].get_label() == "line"
first, second = current(), current()
assert first is second and len(first.axes[0].lines) == 3
plt.close("all")
assert count() == 0
leave_open()
plt.close(leave_open())
assert count() == 1
"""

    def current():
        plt.plot([1, 2])
        return plt.gcf()

    names = {"close": close, "leave_open": leave_open, "current": current}
    plt.close("all")
    assert court.judge(source, count=lambda: len(plt.get_fignums()), **names) == ""


def test_networks_arrive_where_the_test_names_their_class(court):
    def fix(old):
        return nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()

    source = """
new = fix(nn.Linear(2, 2))
assert isinstance(new, nn.Sequential) and not new.training
assert new(torch.ones(1, 2)).shape == (1, 2)
assert [type(layer).__name__ for layer in new] == ["Linear", "ReLU"]
"""
    assert court.judge(source, fix=fix) == ""
    assert "fix returned a Sequential" in court.judge("assert fix(1) != 3", fix=fix)


# -- and no more -------------------------------------------------------------------------


class Anything:
    """Whatever a test asks of it is true."""

    def __eq__(self, other):
        return True

    def __getattr__(self, name):
        return Anything()

    def __call__(self, *arguments, **named):
        return Anything()

    __bool__ = __lt__ = __contains__ = __eq__
    __hash__ = None


@pytest.mark.parametrize("wrapped", [lambda x: x, lambda x: [x], lambda x: {"a": (x,)}])
def test_objects_that_equal_everything_do_not_arrive(court, wrapped):
    error = court.judge("assert f() == 3", f=lambda: wrapped(Anything()))
    assert "f returned a Anything, which exists only in the notebook: return numbers" in error


def test_results_of_an_own_class_do_not_arrive_either(court):
    class Sneaky(Encoder):
        def stream(self, images):
            return lambda step: Anything.__new__(Odd)

    class Odd(Anything):
        __call__ = None

    source = "assert Sneaky(1).stream(torch.ones(1))(0).tolist() == [1]"
    assert court.judge(source, classes=["Sneaky"], Sneaky=Sneaky) != ""


def reply(line: Line, tree: object, names: list) -> None:
    """Answer which names there are, then everything with one tree."""
    line.receive()
    line.send({"names": names})
    while True:
        line.receive()
        line.send(tree)


FINE = {"changes": [], "parts": 0, "around": ["dict", []]}
ANSWERS = [
    FINE | {"value": ["part", 0]},
    FINE | {"value": ["view", [0, [2], [1], 0]]},
    FINE | {"value": ["held", [1, "Foo", True]]},
    FINE | {"value": ["graph", [1, 3]]},
    FINE | {"value": ["figure", [1, 1, ["dict", []]]]},
    FINE | {"value": ["object", ["Linear", 3]]},
    FINE | {"value": ["object", ["__import__", ["dict", []]]]},
    FINE | {"value": ["opaque", "x"]},
    FINE | {"parts": 1, "value": True},
    FINE | {"changes": [[0, True]], "value": True},
    FINE | {"around": ["dict", [["torch", 3]]], "value": True},
    FINE | {"around": ["dict", [["figures", ["list", [-1]]]]], "value": True},
    FINE | {"raise": ["BaseException", "x"]},
    FINE | {"raise": ["__import__", "os"]},
    FINE | {"raise": 3},
    FINE,
    {"value": True},
    {"back": 0, "arguments": ["list", [["list", []], ["dict", []]]]},
    {"back": "0"},
    {"names": [["f", True]]},
    [],
    None,
    "answer",
]


@pytest.mark.parametrize("names", [3, [["f"]], [3], [[["list"], True]], [[None, None]]], ids=str)
def test_forged_names_earn_nothing(court, names):
    def server(path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            reply(Line(connection), FINE | {"value": True}, names)

    assert court.judge("assert f()", server, f=None) != ""
    assert court.judge("assert f() == 1", f=lambda: 1) == ""


@pytest.mark.parametrize("answer", ANSWERS, ids=json.dumps)
def test_a_forged_answer_earns_nothing(court, answer):
    def server(path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            reply(Line(connection), answer, [["f", True]])

    # even where the test itself forgives everything
    source = "try:\n    assert f() == 3\nexcept ValueError:\n    pass\n"
    assert court.judge(source, server, f=None) != ""


def raw(data: bytes, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(data)
        connection.recv(1 << 20)


def flood(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        while True:
            connection.sendall(b"x" * 10**6)


def never_connect(path: str) -> None:
    pass


def connect_twice(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.connect(path)
        second.connect(path)
        second.sendall(b'{"error": "", "served": true}\n')


@pytest.mark.parametrize(
    "server",
    [
        partial(raw, b"nonsense" * 100),
        partial(raw, LENGTHS.pack(1 << 50, 1 << 50)),
        partial(raw, LENGTHS.pack(5, 0) + b'{"a":'),
        flood, never_connect, connect_twice,
    ],
)  # fmt: skip
def test_a_hostile_server_earns_nothing_and_stops_nobody(court, server):
    assert court.judge("f()", server, f=None) != ""
    assert court.judge("assert f() == 1", f=lambda: 1) == ""


def test_a_server_that_never_answers_ends_with_its_time():
    court = Court([{"given": "import math"}], seconds=1)

    def silent(path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.recv(1)
            connection.recv(1 << 20)
            while connection.recv(1):
                pass

    assert "Error" in court.judge("f()", silent, f=None)
    assert court.judge("assert f() == math.pi", f=lambda: np.pi) == ""
    court.close()


def test_a_judge_that_hangs_is_started_anew(monkeypatch):
    monkeypatch.setattr("grading.referee.PATIENCE", 4)
    court = Court([{"given": "import math, signal"}], seconds=1)
    deaf = "f(), signal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass"
    assert "too long" in court.judge(deaf, f=lambda: True)
    assert court.judge("assert f() == math.pi", f=lambda: np.pi) == ""
    court.close()
