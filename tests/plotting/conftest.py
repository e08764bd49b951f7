import matplotlib.pyplot as plt
import pytest

from snnlib import PoissonEncoder, convert, record, simulate


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def result(balanced, digits):
    return simulate(convert(balanced), digits, steps=6, encoder=PoissonEncoder(1.0))


@pytest.fixture(scope="module")
def undecided(cnn, digits):
    """A result in which no image is decided yet."""
    snn = convert(cnn, initial_potential=0.0, pooling="spiking", readout="spikes")
    return simulate(snn, digits, steps=2)


@pytest.fixture(scope="module")
def recording(balanced, digits):
    return record(convert(balanced, readout="spikes"), digits.images[0], steps=20)
