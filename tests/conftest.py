"""What all tests share: the digits, the trained networks, and hypothesis that repeats itself."""

from collections import Counter

import matplotlib as mpl
import pytest
import torch
from hypothesis import settings
from node import NODE, Node
from sameness import variants

from snnlib import (
    activation_scales,
    convert,
    load_digits,
    load_trained_cnn,
    normalize_weights,
)

mpl.use("Agg")
settings.register_profile("course", deadline=None, derandomize=True, max_examples=40, database=None)
settings.load_profile("course")


def pytest_configure(config):
    """Torch's tensors still speak the array protocol of numpy 1; figures are drawn from them."""
    for start in ("__array__ implementation", "__array_wrap__ must accept"):
        config.addinivalue_line("filterwarnings", f"ignore:{start}:DeprecationWarning")


def pytest_terminal_summary(terminalreporter):
    """One line for each program or package that is missing, as its tests are skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.items():
        if "is missing" in reason or "is not installed" in reason:
            terminalreporter.write_line(f"{count} tests skipped: {reason}")


@pytest.fixture(scope="session")
def train():
    """The first 100 training images of each class."""
    return load_digits("train", per_class=100)


@pytest.fixture(scope="session")
def digits():
    """The first 10 test images of each class."""
    return load_digits("test", per_class=10)


@pytest.fixture(scope="session")
def cnn():
    """The shipped network, as trained."""
    return load_trained_cnn("digits")


@pytest.fixture(scope="session")
def balanced(cnn, train):
    """The shipped network with activations of about 1."""
    return normalize_weights(cnn, activation_scales(cnn, train.images, percentile=99.9))


@pytest.fixture
def snn(balanced):
    """The spiking network that the defaults give, at rest."""
    return convert(balanced)


@pytest.fixture
def example_snn(cnn):
    """The spiking network of MathWorks' example, at rest."""
    return convert(cnn, reset="zero", initial_potential=0.0, pooling="spiking", readout="spikes")


@pytest.fixture(scope="session")
def conversions(cnn, train):
    """The six conversions of chapters 4 to 6, each with its encoder."""
    return variants(cnn, train.images)


@pytest.fixture(scope="session")
def node():
    """The functions of snnlib/live, ready to be called."""
    if NODE is None:
        pytest.skip("node is missing: the JavaScript of the lab cannot run")
    process = Node()
    yield process
    process.close()


@pytest.fixture(autouse=True)
def torch_settings():
    """One thread, as threads only wait for each other on small networks; all restored after."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
