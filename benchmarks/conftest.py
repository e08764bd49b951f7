"""What the tests of both comparisons need; warnings of the peers about their own code are no
faults of ours."""

import parity
import pytest
from common import networks


def pytest_configure(config):
    for start in ("`torch.jit", "__array__ implementation", "nirtorch.load is being deprecated"):
        config.addinivalue_line("filterwarnings", f"ignore:{start}:DeprecationWarning")


@pytest.fixture(scope="module")
def networks_by_reset():
    return {reset: networks(reset)[1] for reset in ("subtract", "zero")}


@pytest.fixture(scope="module")
def ours(networks_by_reset, spikes):
    return {reset: parity.our_trace(snn, spikes) for reset, snn in networks_by_reset.items()}
