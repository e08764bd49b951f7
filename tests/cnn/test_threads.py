"""Training and measuring take one thread of torch, and leave the caller's number as it was."""

import copy
import subprocess
import sys

import pytest
import torch

from snnlib import Digits, Recipe, activation_scales, digit_cnn, evaluate, fit
from snnlib.cnn.threads import one_thread

RECIPE = Recipe(epochs=1)
LEARN = """
import hashlib, sys, torch
from snnlib import Recipe, digit_cnn, fit, load_digits

torch.set_num_threads(int(sys.argv[1]))
torch.ones(2000, 2000) @ torch.ones(2000, 2000)  # threads are there already
cnn = digit_cnn()
history = fit(cnn, load_digits("train", per_class=20), Recipe(epochs=2), progress=False)
weights = b"".join(weight.detach().numpy().tobytes() for weight in cnn.parameters())
print(torch.get_num_threads(), history.loss, hashlib.sha256(weights).hexdigest())
"""


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    """What the caller has chosen; the number before is restored for all tests."""
    torch.set_num_threads(request.param)
    return request.param


def test_the_number_is_restored_after_success(train, threads):
    inside = []
    fit(
        digit_cnn(),
        train[:40],
        RECIPE,
        progress=False,
        on_epoch=lambda history: inside.append(torch.get_num_threads()),
    )
    assert inside == [1]
    assert torch.get_num_threads() == threads


def test_the_number_is_restored_after_an_error(train, threads):
    with pytest.raises(ValueError, match="lower lr"):
        fit(digit_cnn(), train[:80], Recipe(lr=1e20), progress=False)
    assert torch.get_num_threads() == threads
    with pytest.raises(ValueError, match="do not fit"):
        fit(digit_cnn(), Digits(torch.zeros(4, 3, 20, 20), torch.zeros(4, dtype=torch.int64)))
    assert torch.get_num_threads() == threads


def test_the_number_is_restored_after_an_interruption(train, threads):
    def stop(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(digit_cnn(), train[:40], RECIPE, progress=False, on_epoch=stop)
    assert torch.get_num_threads() == threads


def test_a_cnn_is_measured_with_one_thread(cnn, digits, threads):
    inside, cnn = [], copy.deepcopy(cnn)
    cnn.register_forward_hook(lambda *_: inside.append(torch.get_num_threads()))
    evaluate(cnn, digits)
    assert set(inside) == {1}
    assert torch.get_num_threads() == threads


def test_scales_are_measured_with_one_thread(cnn, digits, threads):
    inside = []

    def batches():
        inside.append(torch.get_num_threads())
        yield digits.images

    activation_scales(cnn, batches())
    assert inside == [1]
    assert torch.get_num_threads() == threads


def test_uses_may_stand_in_each_other(threads):
    with one_thread():
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_what_is_learned_does_not_depend_on_the_number():
    one, two = (
        subprocess.run(
            [sys.executable, "-c", LEARN, threads], capture_output=True, text=True, check=True
        ).stdout.split(" ", 1)
        for threads in ("1", "2")
    )
    assert (one[0], two[0]) == ("1", "2")
    assert one[1] == two[1]
