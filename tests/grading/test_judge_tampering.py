"""What a student's process does to objects of the judge: no more than a test can forgive."""

import numpy as np
import pytest
import torch
from court import Court
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


# -- attributes that hide methods --------------------------------------------------------

ALWAYS_ONE = nn.Sequential(nn.Flatten(0), nn.Threshold(float("inf"), 1.0))


def equal_to_everything() -> nn.Module:
    """A network whose ``equal`` is a network that says 1."""
    made = nn.Identity()
    vars(made)["equal"] = ALWAYS_ONE
    return made


def test_no_object_arrives_that_equals_everything(court):
    source = "assert f().equal(torch.zeros(1)), 'not an nn.Identity'"
    assert court.judge(source, f=equal_to_everything) != ""


@pytest.mark.parametrize("name", ["forward", "_call_impl", "__deepcopy__"])
def test_no_network_of_the_judge_gets_another_method(court, name):
    def f(network):
        vars(network)[name] = nn.Identity()

    source = f"network = nn.Flatten()\nf(network)\nassert {name!r} in vars(network)"
    assert court.judge(source, f=f) != ""
