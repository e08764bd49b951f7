"""Plain values cross unchanged; whatever else arrives is refused."""

import json
import math
import socket
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from grading.judging import figures
from grading.judging.arguments import LIBRARY, PartWriter
from grading.judging.wire import DEEPEST, LENGTHS, Line, NotPlainError, Reader, Writer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes
from matplotlib.figure import Figure

DTYPES = [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64]


def crossed(value, reader=Reader):
    writer = Writer()
    tree = json.loads(json.dumps(writer.write(value)))
    return reader([bytearray(b) for b in writer.buffers]).read(tree)


def same(a, b) -> bool:
    """Equal in type and bits, NaN as well."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        a, b = ([t.dtype, list(t.shape), t.requires_grad, _bits(t)] for t in (a, b))
    elif isinstance(a, (np.ndarray, np.generic)):
        a, b = ([x.dtype, x.shape, x.tobytes()] for x in map(np.asarray, (a, b)))
    elif isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    elif isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    elif isinstance(a, set):
        return sorted(map(repr, a)) == sorted(map(repr, b))
    return repr(a) == repr(b)


def _bits(tensor) -> bytes:
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().tobytes()


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.complex_numbers()
)  # fmt: skip
numbers = arrays(scalar_dtypes(), array_shapes(min_dims=0, min_side=0)).filter(
    lambda a: a.dtype.kind in "biufc" and a.dtype.byteorder != ">"  # arrive as "<"
)
tensors = st.builds(
    lambda dtype, shape, bits: torch.tensor(bits)[: math.prod(shape)].to(dtype).reshape(shape),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=4),
    st.lists(st.floats(width=32), min_size=81, max_size=81),
)
plain = st.recursive(
    scalars | numbers | tensors,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.booleans()), inner, max_size=4)
        | st.sets(st.integers() | st.text(), max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
@settings(max_examples=200, deadline=None)
def test_plain_values_arrive_as_they_left(value):
    assert same(crossed(value), value)


@pytest.mark.parametrize("value", [np.float64(0.5), np.int32(3), np.bool_(True), torch.int64])
def test_numbers_of_numpy_and_dtypes_keep_their_type(value):
    assert same(crossed(value), value)


def test_views_gradients_and_parameters():
    strided = torch.arange(12.0).reshape(3, 4).T[1:, ::2]
    assert same(crossed(strided), strided.contiguous())
    weight = torch.nn.Parameter(torch.ones(2))
    assert same(crossed(weight), weight)
    assert crossed(torch.ones(1, requires_grad=True)).requires_grad


class Text(str):
    pass


class Numbers(list):
    pass


class Truth(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(("value", "base"), [(Text("a"), "a"), (Numbers([1]), [1]), (Truth(3), 3)])
def test_subclasses_arrive_as_their_base(value, base):
    assert same(crossed(value), base)


class EqualsAll:
    def __eq__(self, other):
        return True

    __hash__ = None


@pytest.mark.parametrize(
    "value",
    [
        EqualsAll(), object, print, range(3), iter([]), [EqualsAll()], {"a": (EqualsAll(),)},
        np.array([object()]), np.array(["text"]), np.datetime64("2020"), json,
        torch.ones(2).to_sparse(), torch.ones(2, device="meta"),
    ],
)  # fmt: skip
def test_anything_else_does_not_leave(value):
    with pytest.raises(NotPlainError):
        Writer().write(value)


def test_a_list_in_itself_does_not_leave():
    loop = []
    loop.append(loop)
    with pytest.raises(NotPlainError, match=f"list, nested more than {DEEPEST} deep"):
        Writer().write(loop)


def nested(depth: int) -> list:
    tree = ["list", []]
    for _ in range(depth):
        tree = ["list", [tree]]
    return tree


@pytest.mark.parametrize(
    "tree",
    [
        ["tensor", ["float32", [3], 0, False, False]],  # 16 bytes are 4 numbers
        ["tensor", ["float32", [1 << 62, 0], 0, False, False]],
        ["tensor", ["float32", [-2, -2], 0, False, False]],
        ["tensor", ["float32", [4.0], 0, False, False]],
        ["tensor", ["float32", [1] * 40 + [4], 0, False, False]],
        ["tensor", ["float32", [4], 1, False, False]],
        ["tensor", ["float32", [4], -1, False, False]],
        ["tensor", ["qint8", [16], 0, False, False]],
        ["tensor", ["__class__", [16], 0, False, False]],
        ["tensor", ["int64", [2], 0, True, False]],  # no gradient of whole numbers
        ["array", ["|O8", [2], 0]],
        ["array", ["<f8,<f8", [1], 0]],
        ["array", ["<f8", [3], 0]],
        ["array", ["<f8", [1 << 61], 0]],
        ["bytes", 7],
        ["bytes", True],
        ["complex", ["1", 2.0]],
        ["dict", [[["list", []], 1]]],
        ["dict", [[1, 2, 3]]],
        ["set", [["list", []]]],
        ["set", 5],
        ["pickle", 0],
        ["object", ["os.system", {}]],
        ["part", 0],
        [["list"], []],
        ["list"],
        {"a": 1},
        nested(2 * DEEPEST),
    ],
)
def test_hostile_values_are_refused(tree):
    with pytest.raises(NotPlainError):
        Reader([bytearray(16)]).read(tree)


def test_a_bool_of_another_byte_is_true():
    tree = ["tensor", ["bool", [3], 0, False, False]]
    assert same(Reader([bytearray(b"\0\2\xff")]).read(tree), torch.tensor([False, True, True]))
    array = Reader([bytearray(b"\0\2\xff")]).read(["array", ["|b1", [3], 0]])
    assert array.tobytes() == b"\0\1\1"


def test_too_many_parts_are_refused(monkeypatch):
    monkeypatch.setattr("grading.judging.wire.MOST_VALUES", 100)
    with pytest.raises(NotPlainError, match="too many parts"):
        Reader([]).read(["list", [0] * 200])


@pytest.mark.parametrize(
    "raw",
    [
        LENGTHS.pack(1 << 40, 0),
        LENGTHS.pack(2, 1 << 50),
        LENGTHS.pack(3, 0) + b"abc",
        LENGTHS.pack(2, 0) + b"{}",
        LENGTHS.pack(9, 2) + b"[0, [-2]]" + b"ab",
        LENGTHS.pack(8, 2) + b"[0, [3]]" + b"ab",
        LENGTHS.pack(100_000, 0) + b"[" * 100_000,
    ],
)
def test_hostile_messages_are_refused(raw):
    here, there = socket.socketpair()
    with here, there:
        there.sendall(raw)
        with pytest.raises(NotPlainError):
            Line(here).receive()


def test_a_line_that_ends_or_is_silent():
    here, there = socket.socketpair()
    with here, there:
        with pytest.raises(TimeoutError):
            Line(here, time.monotonic()).receive()
        there.close()
        with pytest.raises(ConnectionError):
            Line(here).receive()


# -- figures -----------------------------------------------------------------------------


def subplots():
    figure, (left, right) = plt.subplots(1, 2, sharey=True)
    left.plot([1, 2, 3], torch.tensor([1.0, 2, 3]), "o--", color="C1", label="line")
    left.axhline(2.0, linestyle=":", color="red")
    left.set(xlabel="x", ylabel="y", xlim=(0.5, 10), title="middle")
    left.set_title("left", loc="left")
    left.set_xscale("log", base=2)
    left.legend(title="which")
    right.bar([0, 1], [3, 4], 0.4, color="green", label="bars")
    right.set_xticks([0, 1], ["a", "b"])
    figure.suptitle("all")
    return figure


def marks():
    figure = plt.figure()
    axes = figure.add_subplot()
    axes.vlines([1, 2], 0, [3, 4], color="blue")
    axes.scatter([1, 2], [3, 4], c=["red", "blue"], marker="s")
    axes.scatter([1, 2], [3, 4], c=[0.1, 0.9], cmap="viridis")
    axes.fill_between([1, 2], [3, 4])
    axes.errorbar([1, 2], [1, 2], yerr=0.1)
    axes.stem([1, 2], [3, 4])
    axes.text(1, 2, "here")
    twin = axes.twinx()
    twin.plot(["a", "b"], [1, math.nan], visible=False)
    figure.legend(["one"])
    return figure


def images():
    figure = Figure()
    axes = figure.subplots(2)
    axes[0].imshow(np.arange(6.0).reshape(2, 3), vmin=0, vmax=9, cmap="gray")
    axes[1].hist([1, 2, 2, 3], histtype="step")
    axes[1].pcolormesh(np.eye(3))
    axes[1].axvspan(1, 2)
    axes[1].set(xticks=[], ylim=(5, 0))
    axes[1].set_yscale("symlog", linthresh=0.5)
    return figure


@pytest.mark.parametrize("draw", [subplots, marks, images])
def test_a_figure_reads_the_same(draw):
    figure = draw()
    first = figures.describe(figure)
    copy = figures.build(crossed(first), Figure())
    assert _shown(figures.describe(copy)) == _shown(first)
    plt.close("all")


def _shown(value):
    """A description with arrays as lists, to be compared."""
    if isinstance(value, dict):
        return {key: _shown(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(part) for part in value]
    if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        return _shown(value.tolist())
    return repr(float(value)) if isinstance(value, (int, float)) else value


def test_networks_leave_by_the_librarys_class_only():
    class Own(torch.nn.ReLU):
        pass

    assert PartWriter([]).write(torch.nn.ReLU())[0] == "object"
    with pytest.raises(NotPlainError, match="Own"):
        PartWriter([]).write(Own())
    assert all(issubclass(cls, torch.nn.Module) for cls in LIBRARY.values())
