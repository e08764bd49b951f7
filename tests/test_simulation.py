import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import random_images, small_cnns, tiny_cnn

from snnlib import (
    ConstantEncoder,
    Digits,
    PoissonEncoder,
    StepReport,
    convert,
    load_digits,
    record,
    simulate,
)
from snnlib.engines import clock
from snnlib.simulation import SimulationResult, decide

OPTIONS = st.fixed_dictionaries(
    {
        "reset": st.sampled_from(["subtract", "zero"]),
        "pooling": st.sampled_from(["linear", "spiking"]),
        "readout": st.sampled_from(["potential", "spikes"]),
        "initial_potential": st.sampled_from([0.0, 0.3, 0.5]),
    }
)
ENCODERS = st.sampled_from([ConstantEncoder(), PoissonEncoder(1.0), PoissonEncoder(0.4, seed=9)])
NAMES = ("a", "b", "c")


def three_classes(images):
    return Digits(images, torch.arange(len(images)) % 3, NAMES)


def inputs_of(encoder, images, steps):
    """[T, N, C, H, W] whole numbers, from the reference's own encoders."""
    pixels = images.numpy()
    if encoder.constant:
        return [reference.pixel_levels(pixels)] * steps
    index = range(len(pixels))
    return [
        reference.poisson_spikes(pixels, encoder.max_rate, encoder.seed, index, step)
        for step in range(steps)
    ]


def reference_run(cnn, snn, images, encoder, steps, **options):
    bits = [layer.fraction_bits for layer in snn.layers]
    initial = options.pop("initial_potential")
    layers = reference.integer_layers(cnn, bits, initial=initial, **options)
    return reference.simulate(
        layers, inputs_of(encoder, images, steps), constant=encoder.constant
    )


def outputs_of(snn, images, *, steps, encoder, index=None):
    """The engine's StepOutputs for one batch."""
    index = torch.arange(len(images)) if index is None else index
    return list(clock.run(snn, images, steps=steps, encoder=encoder, index=index))


def same_result(a: SimulationResult, b: SimulationResult) -> bool:
    counts = a.spike_counts.keys() == b.spike_counts.keys() and all(
        torch.equal(a.spike_counts[name], b.spike_counts[name]) for name in a.spike_counts
    )
    return (
        counts
        and torch.equal(a.predictions, b.predictions)
        and torch.equal(a.confusion, b.confusion)
        and torch.equal(a.synaptic_operations, b.synaptic_operations)
    )


@given(small_cnns(), OPTIONS, ENCODERS, st.sampled_from([1.0, 0.7]))
def test_simulation_equals_the_integer_reference(drawn, options, encoder, threshold):
    cnn, shape = drawn
    images, steps = random_images(0, 4, shape), 8
    snn = convert(cnn, thresholds=threshold, input_shape=shape, **options)
    result = simulate(snn, three_classes(images), steps=steps, encoder=encoder)
    expected = reference_run(cnn, snn, images, encoder, steps, threshold=threshold, **options)
    names = ["input", *(layer.name for layer in snn.layers)]
    for name, spikes in zip(names, expected.spikes, strict=True):
        if name in result.spike_counts:
            assert result.spike_counts[name].tolist() == [int(x.sum()) for x in spikes]
    assert result.synaptic_operations.tolist() == expected.operations
    assert result.predictions.tolist() == reference.decisions(expected, snn.readout)


@given(small_cnns(), OPTIONS, ENCODERS)
def test_every_output_potential_equals_the_integer_reference(drawn, options, encoder):
    cnn, shape = drawn
    images, steps = random_images(1, 4, shape), 8
    snn = convert(cnn, input_shape=shape, **options)
    expected = reference_run(cnn, snn, images, encoder, steps, threshold=1.0, **options)
    units = 2.0 ** snn.layers[-1].fraction_bits
    for step, output in enumerate(outputs_of(snn, images, steps=steps, encoder=encoder)):
        assert np.array_equal(output.potential.numpy() * units, expected.potential[step])
        assert np.array_equal(output.counts.expand(-1, 3), expected.counts[step])


@given(small_cnns(), OPTIONS, ENCODERS)
def test_every_recorded_spike_equals_the_integer_reference(drawn, options, encoder):
    cnn, shape = drawn
    images, steps = random_images(2, 1, shape), 8
    snn = convert(cnn, input_shape=shape, **options)
    expected = reference_run(cnn, snn, images, encoder, steps, threshold=1.0, **options)
    recording = record(snn, images[0], steps=steps, encoder=encoder)
    for layer, spikes in zip(snn.layers, expected.spikes[1:], strict=True):
        if layer.spiking:
            assert np.array_equal(recording.spikes[layer.name], np.stack(spikes)[:, 0])
