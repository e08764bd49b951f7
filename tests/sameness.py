"""What both engines are shown, and whether they gave the same."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from nets import linear
from torch import nn

from snnlib import (
    ConstantEncoder,
    Digits,
    PoissonEncoder,
    SimulationResult,
    activation_scales,
    convert,
    normalize_weights,
)
from snnlib.engines import clock, event

NAMES = ("a", "b", "c")
OPTIONS = st.fixed_dictionaries(
    {
        "reset": st.sampled_from(["subtract", "zero"]),
        "pooling": st.sampled_from(["linear", "spiking"]),
        "readout": st.sampled_from(["potential", "spikes"]),
        "initial_potential": st.sampled_from([0.0, 0.3, 0.5]),
    }
)


ENCODERS = st.sampled_from([ConstantEncoder(), PoissonEncoder(1.0), PoissonEncoder(0.4, seed=9)])


def three_classes(images):
    return Digits(images, torch.arange(len(images)) % 3, NAMES)


def same_result(a: SimulationResult, b: SimulationResult) -> bool:
    counts = list(a.spike_counts) == list(b.spike_counts) and all(
        torch.equal(a.spike_counts[name], b.spike_counts[name]) for name in a.spike_counts
    )
    return (
        counts
        and torch.equal(a.predictions, b.predictions)
        and torch.equal(a.confusion, b.confusion)
        and torch.equal(a.synaptic_operations, b.synaptic_operations)
        and torch.equal(a.outputs.nan_to_num(), b.outputs.nan_to_num())
    )


def falling_network(exact_steps):
    """Weights on a coarse grid that any number of exact steps allows; one potential falls."""
    cnn = nn.Sequential(nn.Flatten(), linear(4, 6), nn.ReLU(), linear(6, 3))
    generator = torch.Generator().manual_seed(0)
    for weight in cnn.parameters():
        weight.data = torch.randint(-800, 800, weight.shape, generator=generator) / 512
    cnn[1].weight.data[0] = -799 / 512
    return convert(cnn, input_shape=(1, 2, 2), exact_steps=exact_steps), cnn


EXAMPLE = {"reset": "zero", "initial_potential": 0.0, "pooling": "spiking", "readout": "spikes"}


def outputs_of(engine, snn, images, *, steps, encoder, index=None):
    index = torch.arange(len(images)) if index is None else index
    return list(engine.prepare(snn, steps=steps, encoder=encoder)(images, index))


def assert_same(snn, images, *, steps, encoder, index=None):
    """Every field of every step's output is the same from both engines."""
    arguments = {"steps": steps, "encoder": encoder, "index": index}
    ours = outputs_of(event, snn, images, **arguments)
    theirs = outputs_of(clock, snn, images, **arguments)
    assert len(ours) == len(theirs) == steps
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.potential, b.potential)
        assert torch.equal(a.counts.double(), b.counts.double())
        assert list(a.spikes.items()) == list(b.spikes.items())
        assert a.synaptic_operations == b.synaptic_operations


def variants(cnn, images):
    """The six conversions of chapters 4 to 6, each with the encoder that it is shown with."""
    highest = activation_scales(cnn, images)
    most = activation_scales(cnn, images, percentile=99.9)
    by_channel = activation_scales(cnn, images, percentile=99.9, channelwise=True)
    return {
        "example": (convert(cnn, **EXAMPLE), PoissonEncoder(0.4)),
        "defaults": (convert(cnn), PoissonEncoder(0.4)),
        "diehl": (convert(normalize_weights(cnn, highest), **EXAMPLE), PoissonEncoder(1.0)),
        "percentile": (convert(normalize_weights(cnn, most)), PoissonEncoder(1.0)),
        "channelwise": (convert(cnn, thresholds=by_channel), PoissonEncoder(1.0)),
        "constant": (convert(normalize_weights(cnn, most)), ConstantEncoder()),
    }


VARIANTS = ("example", "defaults", "diehl", "percentile", "channelwise", "constant")


@dataclass(frozen=True)
class Flicker:
    """Bright pixels spike at every step of some period: an encoder that the library lacks."""

    period: int = 2
    constant = False
    value: float = 1.0

    def stream(self, images, index=None):
        return lambda step: (images > 0.5).float() * (step % self.period == 0) * self.value
